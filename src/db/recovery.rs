//! What happens when a database is opened?
//!
//! 1. Take the lock, and make sure that what a killed process left is on disk (writer only).
//! 2. Load the catalog: segments and watermark.
//! 3. Replay the log behind the watermark into the buffer.
//! 4. Cut off the log's torn tail, delete what nobody needs, start the log and the background task (writer only).
//!
//! A reader beside a writer does 2 and 3, and looks at the catalog again: if a flush has committed
//! meanwhile, the log may have been truncated under its eyes, so it starts over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use parking_lot::RwLock;

use super::lock::DirectoryLock;
use super::writer::{Lock, Writer};
use super::{Database, Inner};
use crate::buffer::Buffer;
use crate::catalog::{Catalog, Change};
use crate::config::Settings;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventBatch, KeyDictionary};
use crate::index::IndexCache;
use crate::maintenance::{Deliveries, Live, Sweeper};
use crate::query::Engine;
use crate::segment::DurableFileSystem;
use crate::segment::placement::Placement;
use crate::wal::{self, Replay, SequenceNumber, WalOptions, delivery};

/// How often a reader starts over because a flush came in between. One flush takes longer than one
/// attempt, so more than a few in a row mean that something else is wrong.
const READ_ATTEMPTS_MAX: usize = 20;

/// What the bytes of a database are kept in.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub(super) store: Arc<dyn ObjectStore>,
    /// What the store puts objects with.
    pub(super) placement: Arc<Placement>,
    /// How, and on which disk, the log is kept.
    pub(super) log: WalOptions,
}

impl From<DurableFileSystem> for Storage {
    fn from(files: DurableFileSystem) -> Self {
        let placement = Arc::clone(files.placement());
        Self { store: Arc::new(files), placement, log: WalOptions::default() }
    }
}

/// See [`Database::open`].
pub(super) async fn open(settings: Settings) -> Result<Database> {
    let files = DurableFileSystem::create(&settings.data).map_err(|e| {
        Error::from(e).context(format!("cannot use {} as data directory", settings.data.display()))
    })?;
    let lock = DirectoryLock::acquire(&settings.data, settings.clock.now_ns())?;
    let database = open_in(settings, files.into(), Arc::new(lock)).await?;
    database.writer()?.start_background(database.settings());
    Ok(database)
}

/// Opens the database in `storage`, where nothing happens by itself; `lock` is held until nothing is written
/// any more.
pub(super) async fn open_in(settings: Settings, storage: Storage, lock: Arc<Lock>) -> Result<Database> {
    let placement = Arc::clone(&storage.placement);
    let settled = tokio::task::spawn_blocking(move || placement.settle()).await;
    settled.map_err(|e| Error::internal("looking through the directory failed").with_source(e))??;
    let inner = inner(settings, storage, Access::Write)?;
    let catalog = Arc::new(inner.load_catalog().await?);
    let sweeper = Arc::new(Sweeper::new(
        Arc::clone(&inner.live),
        Arc::clone(&catalog),
        Arc::clone(&inner.storage.store),
        Arc::clone(&inner.settings.clock),
        Arc::default(),
    ));
    sweeper.remove_orphans(inner.settings.maintenance.grace).await?;
    if catalog.snapshot().version == 0 {
        catalog.commit(Change::default()).await?;
    }
    for delivered in catalog.snapshot().deliveries.iter() {
        for id in delivered.ids.iter() {
            // They are in segments, so their numbers do not matter any more.
            inner.live.deliveries().remember(*id, SequenceNumber::ZERO, delivered.at_ns);
        }
    }
    let (buffer, replay) = read_log(&inner, &catalog).await?;
    report(&catalog, &replay);
    replay.repair(inner.storage.log.disk.as_ref(), &inner.wal_directory())?;
    let rows = buffer.rows();
    inner.live.replace(catalog.snapshot(), buffer);
    catalog.keys().fill(inner.live.keys());

    let next = replay.last.max(catalog.snapshot().wal_watermark).next();
    let writer = Writer::start(&inner, catalog, lock, &replay, next, sweeper).await?;
    *inner.writer.write() = Some(Arc::new(writer));
    let segments = inner.live.view().0.segments.len();
    tracing::info!(data = %inner.settings.data.display(), segments, replayed_rows = rows, "opened the database");
    Ok(Database { inner: Arc::new(inner) })
}

/// See [`Database::open_read_only`].
pub(super) async fn open_read_only(settings: Settings) -> Result<Database> {
    if !settings.data.is_dir() {
        return Err(no_database(&settings));
    }
    let files = DurableFileSystem::new(&settings.data)?;
    open_read_only_in(settings, files.into()).await
}

/// Opens the database in `storage` for reading.
pub(super) async fn open_read_only_in(settings: Settings, storage: Storage) -> Result<Database> {
    let inner = inner(settings, storage, Access::Read)?;
    refresh(&inner).await?;
    if inner.live.view().0.version == 0 {
        return Err(no_database(&inner.settings));
    }
    Ok(Database { inner: Arc::new(inner) })
}

fn no_database(settings: &Settings) -> Error {
    let data = settings.data.display();
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
    let data = inner.settings.data.display();
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("{data} changed {READ_ATTEMPTS_MAX} times while being read: try again"),
    ))
}

/// What a process may do with the data directory.
#[derive(Debug, Clone, Copy)]
enum Access {
    Read,
    Write,
}

fn inner(settings: Settings, storage: Storage, access: Access) -> Result<Inner> {
    let keys = Arc::new(KeyDictionary::new());
    let live = Live::remembering(Arc::default(), Buffer::default(), keys, settings.deliveries);
    let live = Arc::new(live);
    let (read_only, spill) = match access {
        Access::Write => (false, emptied(settings.data.join("spill"))),
        // A reader changes nothing in the directory.
        Access::Read => (true, std::env::temp_dir().join("broadloom-spill")),
    };
    let indexes = Arc::new(IndexCache::new(settings.index.memory_bytes_max));
    let engine = Engine::new(&settings.query, indexes, spill)?;
    Ok(Inner { settings, storage, live, engine, writer: RwLock::new(None), read_only })
}

/// Removes what queries had spilled when the process was killed.
fn emptied(spill: PathBuf) -> PathBuf {
    match std::fs::remove_dir_all(&spill) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, directory = %spill.display(), "could not remove what queries had spilled");
        }
        _ => {}
    }
    spill
}

/// The batches behind the catalog's watermark.
async fn read_log(inner: &Inner, catalog: &Catalog) -> Result<(Buffer, Replay)> {
    let after = catalog.snapshot().wal_watermark;
    let (directory, now_ns) = (inner.wal_directory(), inner.settings.clock.now_ns());
    let keys = Arc::clone(inner.live.keys());
    let disk = Arc::clone(&inner.storage.log.disk);
    let deliveries = Arc::clone(inner.live.deliveries());
    let replay = move || replay_into_buffer(disk.as_ref(), &directory, after, &keys, &deliveries, now_ns);
    tokio::task::spawn_blocking(replay)
        .await
        .map_err(|e| Error::internal("replay of the log failed").with_source(e))?
}

fn replay_into_buffer(
    disk: &dyn Disk,
    directory: &Path,
    after: SequenceNumber,
    keys: &KeyDictionary,
    deliveries: &Deliveries,
    now_ns: i64,
) -> Result<(Buffer, Replay)> {
    let mut buffer = Buffer::default();
    let replay = wal::replay(disk, directory, after, |seq, payload| {
        let (delivery, payload) = delivery::split(&payload);
        if let Some(id) = delivery {
            deliveries.remember(id, seq, now_ns);
        }
        let batch = EventBatch::decode(payload).map_err(|e| e.context(format!("batch {seq} of the log")))?;
        keys.observe(&batch);
        buffer.push(seq, Arc::new(batch), now_ns);
        Ok(())
    })?;
    Ok((buffer, replay))
}

/// Damage is not silently skipped, and does not keep the rest from being read.
fn report(catalog: &Catalog, replay: &Replay) {
    for damage in &replay.damage {
        tracing::error!(%damage, "a part of the log cannot be read; its file will be kept aside");
    }
    let after = catalog.snapshot().wal_watermark;
    if replay.has_gap_after(after) {
        tracing::error!(
            after = after.0,
            "the log does not continue where the segments end: a file is missing"
        );
    }
}
