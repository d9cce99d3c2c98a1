//! What happens when a database is opened?
//!
//! 1. Take the lock, and make sure that the files of a killed process are durable (writer only).
//! 2. Load the catalog: segments and watermark. In a store, claim it (writer only).
//! 3. Replay the log behind the watermark into the buffer.
//! 4. Cut off the log's torn tail, delete orphans, start the log and the background task (writer only).
//!
//! A reader beside a writer does 2 and 3, and then checks the catalog again: if a flush has committed meanwhile, the
//! log may have been truncated during the replay, so it starts over.

use std::sync::Arc;

use parking_lot::RwLock;

use super::resources::Resources;
use super::storage::{LogStorage, Storage};
use super::writer::Writer;
use super::{Database, Inner};
use crate::buffer::Buffer;
use crate::catalog::{Catalog, Change};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventBatch, KeyDictionary};
use crate::maintenance::{Deliveries, Ground, Hold, Live, Sweeper};
use crate::wal::{self, FileLog, Log, ObjectLog, Replay, SequenceNumber, Takeover, delivery};

/// Most attempts of a reader that starts over because a flush came in between. One flush takes longer than one
/// attempt, so more than a few in a row mean that something else is wrong.
const READ_ATTEMPTS_MAX: usize = 20;

/// See [`Database::open_with`]; without `resources` the database gets its own.
pub(super) async fn open(settings: Settings, resources: Option<&Resources>) -> Result<Database> {
    let (storage, lock) = Storage::open(&settings).await?;
    let lease = storage.lease.clone();
    let opened = async {
        let resources = resources.cloned().map_or_else(|| Resources::of_writer(&settings), Ok)?;
        open_in(settings, storage, lock, resources).await
    };
    let database = match (opened.await, lease) {
        (Err(error), Some(lease)) => {
            lease.release().await;
            return Err(error);
        }
        (opened, _) => opened?,
    };
    database.writer()?.start_background();
    Ok(database)
}

/// Opens the database in `storage` without background work; `lock` is held until the last write has ended.
pub(super) async fn open_in(
    settings: Settings,
    storage: Storage,
    lock: Arc<Hold>,
    resources: Resources,
) -> Result<Database> {
    if let Some(placement) = storage.placement.clone() {
        let settled = tokio::task::spawn_blocking(move || placement.settle()).await;
        settled.map_err(|e| Error::internal("scanning the data directory failed").with_source(e))??;
    }
    let inner = inner(settings, storage, Access::Write, resources);
    let catalog = Arc::new(inner.load_catalog().await?);
    let ground = Ground::new(
        Arc::clone(&inner.live),
        Arc::clone(&catalog),
        Arc::clone(&inner.storage.store),
        Arc::clone(&inner.settings.clock),
        Arc::clone(inner.resources.capacity()),
    );
    Sweeper::new(ground.clone()).refuse_lost_catalog().await?;
    if let Some(claim) = inner.storage.claim.clone() {
        catalog.claim(claim, inner.settings.remote.abandon_log).await?;
    }
    if catalog.snapshot().version == 0 {
        catalog.commit(Change::default()).await?;
    }
    for delivered in catalog.snapshot().deliveries.iter() {
        for id in delivered.ids.iter() {
            // They are in segments, so their sequence numbers do not matter any more.
            inner.live.deliveries().remember(*id, SequenceNumber::ZERO, delivered.at_ns);
        }
    }
    let (buffer, log) = open_log(&inner, &catalog).await?;
    let rows = buffer.rows();
    inner.live.replace(catalog.snapshot(), buffer);
    catalog.keys().fill(inner.live.keys());

    let writer = Writer::start(&inner, ground, lock, log).await?;
    *inner.writer.write() = Some(Arc::new(writer));
    let segments = inner.live.view().0.segments.len();
    tracing::info!(data = %inner.settings.data, segments, replayed_rows = rows, "opened the database");
    Ok(Database { inner: Arc::new(inner) })
}

/// See [`Database::open_read_only_with`]; without `resources` the database gets its own.
pub(super) async fn open_read_only(settings: Settings, resources: Option<&Resources>) -> Result<Database> {
    let Some(storage) = Storage::open_read_only(&settings).await? else { return Err(no_database(&settings)) };
    let resources = resources.cloned().map_or_else(|| Resources::of_reader(&settings), Ok)?;
    open_read_only_in(settings, storage, resources).await
}

/// Opens the database in `storage` for reading.
pub(super) async fn open_read_only_in(
    settings: Settings,
    storage: Storage,
    resources: Resources,
) -> Result<Database> {
    let inner = inner(settings, storage, Access::Read, resources);
    refresh(&inner).await?;
    if inner.live.view().0.version == 0 {
        return Err(no_database(&inner.settings));
    }
    Ok(Database { inner: Arc::new(inner) })
}

fn no_database(settings: &Settings) -> Error {
    let data = &settings.data;
    Error::new(ErrorKind::NotFound, format!("there is no Broadloom database in {data}"))
}

/// See [`Database::refresh`].
pub(super) async fn refresh(inner: &Inner) -> Result<()> {
    for _ in 0..READ_ATTEMPTS_MAX {
        let catalog = inner.load_catalog().await?;
        let read = read_log(inner, &catalog).await;
        if catalog.is_behind().await? {
            continue;
        }
        let (buffer, replay) = read?;
        report(&catalog, &replay);
        catalog.keys().fill(inner.live.keys());
        inner.live.replace(catalog.snapshot(), buffer);
        return Ok(());
    }
    let data = &inner.settings.data;
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("{data} changed {READ_ATTEMPTS_MAX} times while being read: try again"),
    ))
}

/// Access of a process to the data directory.
#[derive(Debug, Clone, Copy)]
enum Access {
    Read,
    Write,
}

fn inner(settings: Settings, storage: Storage, access: Access, resources: Resources) -> Inner {
    let keys = Arc::new(KeyDictionary::new());
    let live = Live::remembering(Arc::default(), keys, settings.deliveries, resources.buffers());
    let (live, engine) = (Arc::new(live), resources.engine().clone());
    let read_only = matches!(access, Access::Read);
    Inner { settings, storage, live, engine, resources, writer: RwLock::new(None), read_only }
}

/// Collects the batches and messages of a replay.
struct Intake {
    buffer: Buffer,
    keys: Arc<KeyDictionary>,
    deliveries: Arc<Deliveries>,
    now_ns: i64,
}

impl Intake {
    fn new(inner: &Inner) -> Self {
        Self {
            buffer: Buffer::default(),
            keys: Arc::clone(inner.live.keys()),
            deliveries: Arc::clone(inner.live.deliveries()),
            now_ns: inner.settings.clock.now_ns(),
        }
    }

    fn take(&mut self, seq: SequenceNumber, payload: &[u8]) -> Result<()> {
        let (delivery, payload) = delivery::split(payload);
        if let Some(id) = delivery {
            self.deliveries.remember(id, seq, self.now_ns);
        }
        let batch = EventBatch::decode(payload).map_err(|e| e.context(format!("batch {seq} of the log")))?;
        self.keys.observe(&batch);
        self.buffer.push(seq, Arc::new(batch), self.now_ns);
        Ok(())
    }
}

/// Reads the batches above the catalog's watermark.
async fn read_log(inner: &Inner, catalog: &Catalog) -> Result<(Buffer, Replay)> {
    let after = catalog.snapshot().wal_watermark;
    let mut intake = Intake::new(inner);
    match inner.storage.log.clone() {
        LogStorage::Files { directory, options } => {
            let replay = move || {
                let take = |seq, payload: Vec<u8>| intake.take(seq, &payload);
                wal::replay(options.disk.as_ref(), &directory, after, take)
                    .map(|replay| (intake.buffer, replay))
            };
            let replayed = tokio::task::spawn_blocking(replay).await;
            replayed.map_err(|e| Error::internal("replay of the log failed").with_source(e))?
        }
        LogStorage::Objects { store, .. } => {
            let take = &mut |seq, payload: Vec<u8>| intake.take(seq, &payload);
            let replay = wal::replay_objects(&store, after, take).await?;
            Ok((intake.buffer, replay))
        }
    }
}

/// Like [`read_log`], and opens the log for writing.
async fn open_log(inner: &Inner, catalog: &Catalog) -> Result<(Buffer, Box<dyn Log>)> {
    let after = catalog.snapshot().wal_watermark;
    match (&inner.storage.log, &inner.storage.claim) {
        (LogStorage::Objects { store: client, options }, Some(claim)) => {
            let mut intake = Intake::new(inner);
            let take = &mut |seq, payload: Vec<u8>| intake.take(seq, &payload);
            let store = Arc::clone(&inner.storage.store);
            let now_ns = inner.settings.clock.now_ns();
            let takeover = Takeover { writer: &claim.writer, now_ns, after };
            let (log, replay) = ObjectLog::take_over(store, options.clone(), takeover, take).await?;
            report(catalog, &replay);
            Ok((intake.buffer, Box::new(log.through(Arc::clone(client)))))
        }
        (LogStorage::Objects { .. }, None) => {
            Err(Error::internal("the log in the store cannot be written without a claim"))
        }
        (LogStorage::Files { directory, options }, _) => {
            let (buffer, replay) = read_log(inner, catalog).await?;
            report(catalog, &replay);
            replay.repair(options.disk.as_ref(), directory)?;
            let next = replay.last.max(after).next();
            Ok((buffer, Box::new(FileLog::open(directory, &replay, next, options.clone())?)))
        }
    }
}

/// Logs damage and gaps. The rest of the log is read all the same.
fn report(catalog: &Catalog, replay: &Replay) {
    for damage in &replay.damage {
        tracing::error!(%damage, "a part of the log cannot be read; its file will be set aside");
    }
    let after = catalog.snapshot().wal_watermark;
    if replay.has_gap_after(after) {
        tracing::error!(
            after = after.0,
            "the log does not continue where the segments end: a file is missing"
        );
    }
}
