//! How do commits get into the log, and a snapshot out of it?

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::CatalogSnapshot;
use super::commit::{self, Change, Checkpoint, Commit, FORMAT, Keys};
use crate::config::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::NewSegment;

/// A checkpoint is written every so many commits: opening reads at most so many small objects.
const CHECKPOINT_COMMITS: u64 = 64;
/// Checkpoints that are kept: a reader may be about to read the one before the last.
const CHECKPOINTS_KEPT: usize = 2;
/// Other writers' commits that one commit steps over before it gives up.
const RETRIES_MAX: usize = 100;

/// The catalog of one database.
#[derive(Debug)]
pub struct Catalog {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    /// One commit at a time in this process; between processes `PutMode::Create` decides.
    committing: Mutex<()>,
    head: RwLock<Head>,
}

/// The newest state that we know.
#[derive(Debug, Clone, Default)]
struct Head {
    snapshot: Arc<CatalogSnapshot>,
    keys: Arc<Keys>,
}

impl Catalog {
    /// Reads the latest checkpoint and the commits behind it. An empty store gives version 0.
    pub async fn load(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut head = latest_checkpoint(&store).await?;
        while let Some(commit) = read_commit(&store, head.snapshot.version + 1).await? {
            head.apply(&commit)?;
        }
        Ok(Self { store, clock, committing: Mutex::new(()), head: RwLock::new(head) })
    }

    /// The newest snapshot that this process knows.
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        Arc::clone(&self.head.read().snapshot)
    }

    /// Every attribute key of the committed events.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.head.read().keys)
    }

    /// Whether the store has a commit after the newest that this process knows.
    pub async fn is_behind(&self) -> Result<bool> {
        let next = self.snapshot().version + 1;
        Ok(read(&self.store, &log_path(next)).await?.is_some())
    }

    /// Makes `change` the next commit and returns the snapshot that has it.
    ///
    /// Fails with [`ErrorKind::Conflict`] when `change` no longer fits what others committed meanwhile;
    /// [`snapshot`](Self::snapshot) is then up to date. After any other failure nothing was committed, or
    /// the store cannot be reached to find out: then the next commit finds out.
    pub async fn commit(&self, change: Change) -> Result<Arc<CatalogSnapshot>> {
        let _one_at_a_time = self.committing.lock().await;
        for _ in 0..RETRIES_MAX {
            let before = self.head.read().clone();
            let version = before.snapshot.version + 1;
            let commit = Commit {
                format: FORMAT,
                id: Uuid::new_v4().simple().to_string(),
                at_ns: self.clock.now_ns(),
                add: change.add.clone(),
                remove: change.remove.clone(),
                keys: change.keys.new_to(&before.keys),
                wal: change.wal,
            };
            let mut after = before.clone();
            after.apply(&commit)?;
            if self.put(version, &commit).await? {
                let snapshot = Arc::clone(&after.snapshot);
                *self.head.write() = after;
                self.checkpoint_if_due().await;
                return Ok(snapshot);
            }
            let other = read_commit(&self.store, version).await?;
            let other =
                other.ok_or_else(|| Error::internal(format!("commit {version} exists and is not found")))?;
            let mut after = before;
            after.apply(&other)?;
            *self.head.write() = after;
        }
        Err(Error::new(ErrorKind::Conflict, format!("{RETRIES_MAX} commits of others came first: try again")))
    }

    /// Whether the commit is now version `version`; not so when another one is.
    async fn put(&self, version: u64, commit: &Commit) -> Result<bool> {
        let json =
            serde_json::to_vec(commit).map_err(|e| Error::internal("commit as JSON").with_source(e))?;
        match self.store.put_opts(&log_path(version), json.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(true),
            // An answer may get lost after the object was stored: whose commit is it?
            Err(error) => match read_commit(&self.store, version).await? {
                Some(stored) => Ok(stored.id == commit.id),
                None => Err(Error::from(error).context(format!("cannot store catalog commit {version}"))),
            },
        }
    }

    /// Checkpoints only save time, so a failure is logged, and the next one is written 64 commits later.
    async fn checkpoint_if_due(&self) {
        let head = self.head.read().clone();
        if head.snapshot.version.is_multiple_of(CHECKPOINT_COMMITS)
            && let Err(error) = write_checkpoint(&self.store, &head).await
        {
            tracing::warn!(%error, version = head.snapshot.version, "could not write a catalog checkpoint");
        }
    }
}

impl Head {
    fn apply(&mut self, commit: &Commit) -> Result<()> {
        commit.apply(Arc::make_mut(&mut self.snapshot))?;
        if !commit.keys.is_empty() {
            Arc::make_mut(&mut self.keys).extend(commit.keys.clone());
        }
        Ok(())
    }
}

fn log_path(version: u64) -> Path {
    Path::from(format!("catalog/log/{version:020}.json"))
}

fn checkpoint_path(version: u64) -> Path {
    Path::from(format!("catalog/checkpoint/{version:020}.json.zst"))
}

async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Option<Bytes>> {
    match store.get(path).await {
        Ok(object) => Ok(Some(object.bytes().await?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn read_commit(store: &Arc<dyn ObjectStore>, version: u64) -> Result<Option<Commit>> {
    let path = log_path(version);
    read(store, &path).await?.map(|json| commit::parse(path.as_ref(), &json)).transpose()
}

/// Paths of all checkpoints, oldest first.
async fn checkpoints(store: &Arc<dyn ObjectStore>) -> Result<Vec<Path>> {
    let folder = Path::from("catalog/checkpoint");
    let mut paths: Vec<_> = store.list(Some(&folder)).map_ok(|object| object.location).try_collect().await?;
    paths.retain(|path| path.as_ref().ends_with(".json.zst"));
    paths.sort_unstable();
    Ok(paths)
}

async fn latest_checkpoint(store: &Arc<dyn ObjectStore>) -> Result<Head> {
    // Newest first: one that vanishes while we look has been replaced by a newer one.
    for path in checkpoints(store).await?.iter().rev() {
        let Some(compressed) = read(store, path).await? else { continue };
        let json = zstd::stream::decode_all(compressed.as_ref())
            .map_err(|e| Error::corrupt(format!("{path} is no zstd frame")).with_source(e))?;
        let Checkpoint { version, wal, segments, keys, removed, .. } = commit::parse(path.as_ref(), &json)?;
        let (wal_watermark, removed) = (wal, Arc::new(removed));
        let snapshot = CatalogSnapshot { version, wal_watermark, removed, ..CatalogSnapshot::of(&segments) };
        return Ok(Head { snapshot: Arc::new(snapshot), keys: Arc::new(keys) });
    }
    Ok(Head::default())
}

async fn write_checkpoint(store: &Arc<dyn ObjectStore>, head: &Head) -> Result<()> {
    let CatalogSnapshot { version, segments, wal_watermark, removed, columns } = head.snapshot.as_ref();
    let checkpoint = Checkpoint {
        format: FORMAT,
        version: *version,
        wal: *wal_watermark,
        segments: segments
            .iter()
            .filter_map(|meta| {
                let columns = Arc::clone(columns.recent(meta.id)?);
                Some(NewSegment { meta: meta.as_ref().clone(), columns })
            })
            .collect(),
        keys: head.keys.as_ref().clone(),
        removed: removed.as_ref().clone(),
    };
    let json =
        serde_json::to_vec(&checkpoint).map_err(|e| Error::internal("checkpoint as JSON").with_source(e))?;
    let compressed = zstd::bulk::compress(&json, 3)?;
    match store.put_opts(&checkpoint_path(*version), compressed.into(), PutMode::Create.into()).await {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let paths = checkpoints(store).await?;
    for old in paths.iter().rev().skip(CHECKPOINTS_KEPT) {
        store.delete(old).await?;
    }
    Ok(())
}
