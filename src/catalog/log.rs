//! How are commits written to the catalog's log, and how is a snapshot read from it?

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use parking_lot::RwLock;
use tokio::sync::Mutex;

use super::CatalogSnapshot;
use super::checkpoint::{self, Checkpoint, Sources};
use super::claim::Claim;
use super::columns::ColumnSource;
use super::commit::{self, Change, Commit, FORMAT, FORMAT_WITH_WRITER, Keys, WholeCheckpoint};
use crate::config::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::index::RunSet;

/// Commits per checkpoint. Bounds the number of small objects that opening reads.
const CHECKPOINT_COMMITS: u64 = 64;
/// Suffix of checkpoints.
pub(super) const CHECKPOINT: &str = ".checkpoint";
/// Suffix of checkpoints in the first format.
const WHOLE_CHECKPOINT: &str = ".json.zst";
/// Number of checkpoints kept: a reader may be about to read the last but one.
const CHECKPOINTS_KEPT: usize = 2;
/// Number of commits kept before the oldest kept checkpoint, beside all commits after it. A reader that is opening
/// while more than this many commits are made sees the state from before.
pub(super) const COMMITS_KEPT: u64 = 256;
/// Attempts to put a commit when the store reports an object that does not exist.
const CONFLICTS_MAX: u32 = 10;
/// Number of other writers' commits after which a commit gives up.
const RETRIES_MAX: usize = 100;

/// The catalog of one database.
#[derive(Debug)]
pub struct Catalog {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    /// Held during a commit: one at a time in this process. Between processes `PutMode::Create` decides.
    committing: Mutex<()>,
    head: RwLock<Head>,
    /// UUID of this process's claim; not set in a directory, which needs none.
    writer: OnceLock<String>,
}

/// Newest state known to this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) snapshot: Arc<CatalogSnapshot>,
    pub(super) keys: Arc<Keys>,
}

impl Catalog {
    /// Reads the latest checkpoint and the commits after it. An empty store yields version 0.
    pub async fn load(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut head = latest_checkpoint(&store).await?;
        while let Some(commit) = read_commit(&store, head.next_version()?).await? {
            head.apply(&commit)?;
        }
        let (committing, head, writer) = (Mutex::new(()), RwLock::new(head), OnceLock::new());
        Ok(Self { store, clock, committing, head, writer })
    }

    /// Newest snapshot known to this process.
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        Arc::clone(&self.head.read().snapshot)
    }

    /// All attribute keys of the committed events.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.head.read().keys)
    }

    /// True if the store has a commit after the newest one known to this process.
    pub async fn is_behind(&self) -> Result<bool> {
        let next = self.head.read().next_version()?;
        Ok(read(&self.store, &log_path(next)).await?.is_some())
    }

    /// Makes this process the only one that may commit, in place of any earlier one.
    ///
    /// Fails with [`ErrorKind::Conflict`] while events may be in an unreachable log, unless they are
    /// `abandoned`.
    pub async fn claim(&self, claim: Claim, abandoned: bool) -> Result<()> {
        if !abandoned {
            self.snapshot().permits(&claim)?;
        }
        let writer = claim.writer.clone();
        self.commit(Change { claim: Some(claim), ..Change::default() }).await?;
        let _ = self.writer.set(writer);
        self.is_owner()
    }

    /// Releases the claim: this process will not write any more, and its log holds no events.
    pub async fn release(&self) -> Result<()> {
        match self.writer.get() {
            Some(_) => self.commit(Change { release: true, ..Change::default() }).await.map(drop),
            None => Ok(()),
        }
    }

    /// Fails with [`ErrorKind::Poisoned`] if this process knows that another one has taken over.
    pub fn is_owner(&self) -> Result<()> {
        self.writer.get().map_or(Ok(()), |writer| self.head.read().snapshot.is_claimed_by(writer))
    }

    /// Like [`is_owner`](Self::is_owner), after reading new commits of other processes.
    pub async fn confirm_owner(&self) -> Result<()> {
        if self.writer.get().is_none() {
            return Ok(());
        }
        let _one_at_a_time = self.committing.lock().await;
        loop {
            let mut after = self.head.read().clone();
            let Some(commit) = read_commit(&self.store, after.next_version()?).await? else { break };
            after.apply(&commit)?;
            *self.head.write() = after;
        }
        self.is_owner()
    }

    /// Commits `change` and returns the snapshot that includes it.
    ///
    /// Fails with [`ErrorKind::Conflict`] if `change` contradicts a commit of another process;
    /// [`snapshot`](Self::snapshot) is then up to date. After any other failure, either nothing was committed, or
    /// the outcome is unknown because the store cannot be reached: then the next commit finds out.
    ///
    /// # Panics
    /// If the commit does not make the next version.
    pub async fn commit(&self, change: Change) -> Result<Arc<CatalogSnapshot>> {
        let _one_at_a_time = self.committing.lock().await;
        for _ in 0..RETRIES_MAX {
            let before = self.head.read().clone();
            let version = before.next_version()?;
            if change.claim.is_none() {
                self.is_owner()?;
            }
            if let Some(gone) = change.unchanged.iter().find(|segment| !before.snapshot.has(segment)) {
                let message = format!("the segment {} was changed by another commit", gone.id);
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            let keys = change.keys.new_to(&before.keys);
            let commit = Commit { keys, ..change.at(self.clock.now_ns(), self.writer.get().cloned()) };
            let mut after = before.clone();
            after.apply(&commit)?;
            assert_eq!(after.snapshot.version, version, "a commit makes the next version");
            if self.put(version, &commit).await? {
                *self.head.write() = after;
                self.checkpoint_if_due().await;
                return Ok(self.snapshot());
            }
            let other = read_commit(&self.store, version).await?;
            let other = other
                .ok_or_else(|| Error::internal(format!("commit {version} exists but cannot be found")))?;
            let mut after = before;
            after.apply(&other)?;
            *self.head.write() = after;
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("other processes committed first {RETRIES_MAX} times: try again"),
        ))
    }

    /// Puts a commit as version `version`. Returns false if another commit has that version.
    async fn put(&self, version: u64, commit: &Commit) -> Result<bool> {
        let json = serde_json::to_vec(commit)
            .map_err(|e| Error::internal("cannot encode the commit as JSON").with_source(e))?;
        let (path, json) = (log_path(version), Bytes::from(commit::seal(json)));
        let mut attempt = 1;
        loop {
            let put = self.store.put_opts(&path, json.clone().into(), PutMode::Create.into());
            let Err(error) = put.await else { return Ok(true) };
            // The answer may have been lost after the object was stored, so compare the ids.
            if let Some(stored) = read_commit(&self.store, version).await? {
                return Ok(stored.id == commit.id);
            }
            if !is_conflict(&error) || attempt == CONFLICTS_MAX {
                return Err(Error::from(error).context(format!("cannot store catalog commit {version}")));
            }
            attempt += 1;
        }
    }

    /// Writes a checkpoint every 64 commits. Checkpoints only save time, so a failure is just logged, and the next
    /// one comes 64 commits later.
    async fn checkpoint_if_due(&self) {
        let head = self.head.read().clone();
        let version = head.snapshot.version;
        if !version.is_multiple_of(CHECKPOINT_COMMITS) {
            return;
        }
        match write_checkpoint(&self.store, &head).await {
            Ok(Some(lighter)) => *self.head.write() = lighter,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, version, "could not write a catalog checkpoint"),
        }
    }
}

/// True if a store reports that an object exists. If it does not exist, the store answered 409: S3 does that while
/// other conditional requests for the same name are in progress, and expects a retry.
fn is_conflict(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })
}

impl Head {
    /// Version of the next commit.
    fn next_version(&self) -> Result<u64> {
        let version = self.snapshot.version;
        version.checked_add(1).ok_or_else(|| {
            Error::corrupt(format!("the catalog is at version {version}, which has no successor"))
        })
    }

    pub(super) fn apply(&mut self, commit: &Commit) -> Result<()> {
        commit.apply(Arc::make_mut(&mut self.snapshot))?;
        if !commit.keys.is_empty() {
            Arc::make_mut(&mut self.keys).extend(commit.keys.clone());
        }
        Ok(())
    }
}

pub(super) fn log_path(version: u64) -> Path {
    Path::from(format!("catalog/log/{version:020}.json"))
}

fn checkpoint_path(version: u64) -> Path {
    Path::from(format!("catalog/checkpoint/{version:020}{CHECKPOINT}"))
}

pub(super) async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Option<Bytes>> {
    match store.get(path).await {
        Ok(object) => Ok(Some(object.bytes().await?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn read_commit(store: &Arc<dyn ObjectStore>, version: u64) -> Result<Option<Commit>> {
    let path = log_path(version);
    read(store, &path).await?.map(|json| parse_commit(&path, &json)).transpose()
}

/// Checks the checksum of a commit, and parses it.
pub(super) fn parse_commit(path: &Path, json: &[u8]) -> Result<Commit> {
    if let Some((found, expected)) = commit::checksums(json).filter(|(found, expected)| found != expected) {
        let message = format!("{path}: its checksum is {found:08x}, but its bytes have {expected:08x}");
        return Err(Error::corrupt(message));
    }
    let commit: Commit = commit::parse(path.as_ref(), json, FORMAT..=FORMAT_WITH_WRITER)?;
    let segments = commit.add.iter().map(|segment| &segment.meta);
    commit::check(path, segments, commit.wal.map(|wal| wal.through))?;
    Ok(commit)
}

/// Lists all checkpoints, oldest first.
pub(super) async fn checkpoints(store: &Arc<dyn ObjectStore>) -> Result<Vec<ObjectMeta>> {
    let folder = Path::from("catalog/checkpoint");
    let mut objects: Vec<_> = store.list(Some(&folder)).try_collect().await?;
    objects.retain(|object| {
        [CHECKPOINT, WHOLE_CHECKPOINT].iter().any(|end| object.location.as_ref().ends_with(end))
    });
    objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    Ok(objects)
}

async fn latest_checkpoint(store: &Arc<dyn ObjectStore>) -> Result<Head> {
    // Newest first. If one disappears meanwhile, a newer one has replaced it.
    for object in checkpoints(store).await?.iter().rev() {
        let read = if object.location.as_ref().ends_with(CHECKPOINT) {
            read_checkpoint(store, object).await
        } else {
            read_whole_checkpoint(store, &object.location).await
        };
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => return read,
        }
    }
    Ok(Head::default())
}

async fn read_checkpoint(store: &Arc<dyn ObjectStore>, object: &ObjectMeta) -> Result<Head> {
    let (checkpoint, head) = Checkpoint::open(store, object.location.as_ref(), object.size).await?;
    Ok(head_of(checkpoint, head))
}

/// State at a checkpoint.
pub(super) fn head_of(checkpoint: Checkpoint, head: checkpoint::Head) -> Head {
    let checkpoint::Head {
        version,
        wal: wal_watermark,
        segments,
        keys,
        removed,
        runs,
        deletions,
        deliveries,
        claim,
        begins,
        ..
    } = head;
    let segments = segments.into_iter().map(Arc::new).collect();
    let columns = ColumnSource::in_checkpoint(checkpoint);
    let removed = Arc::new(removed);
    let runs = Arc::new(RunSet::new(runs.into_iter().map(Arc::new).collect()));
    let (deletions, deliveries) = (Arc::new(deletions), Arc::new(deliveries));
    let snapshot = CatalogSnapshot {
        version,
        segments,
        wal_watermark,
        removed,
        runs,
        deliveries,
        deletions,
        claim: claim.map(Arc::new),
        begins,
        columns,
    };
    Head { snapshot: Arc::new(snapshot), keys: Arc::new(keys) }
}

/// Reads a checkpoint of the first format.
pub(super) async fn read_whole_checkpoint(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Head> {
    let compressed = store.get(path).await?.bytes().await?;
    let json = checkpoint::plain(&compressed)
        .map_err(|e| Error::corrupt(format!("{path} is not a zstd frame")).with_source(e))?;
    let WholeCheckpoint { version, wal, segments, keys } =
        commit::parse(path.as_ref(), &json, FORMAT..=FORMAT)?;
    commit::check(path, segments.iter().map(|segment| &segment.meta), Some(wal))?;
    let snapshot = CatalogSnapshot { version, wal_watermark: wal, ..CatalogSnapshot::of(&segments) };
    Ok(Head { snapshot: Arc::new(snapshot), keys: Arc::new(keys) })
}

/// Writes a checkpoint of `head`, and returns the same state with its columns in the checkpoint; `None` if
/// another process has written it. Then deletes old checkpoints and commits.
async fn write_checkpoint(store: &Arc<dyn ObjectStore>, head: &Head) -> Result<Option<Head>> {
    let written = put_checkpoint(store, head).await?;
    let objects = checkpoints(store).await?;
    let (kept, old): (Vec<_>, Vec<_>) =
        objects.iter().rev().enumerate().partition(|(i, _)| *i < CHECKPOINTS_KEPT);
    for (_, old) in old {
        store.delete(&old.location).await?;
    }
    if let Some(oldest) = kept.last().and_then(|(_, oldest)| version_of(&oldest.location)) {
        delete_commits(store, oldest.saturating_sub(COMMITS_KEPT)).await?;
    }
    Ok(written)
}

async fn put_checkpoint(store: &Arc<dyn ObjectStore>, head: &Head) -> Result<Option<Head>> {
    let snapshot = head.snapshot.as_ref();
    let CatalogSnapshot { version, segments, wal_watermark, removed, runs, deletions, columns, .. } =
        snapshot;
    let masked = segments.iter().any(|segment| segment.mask.is_some());
    let stored = checkpoint::Head {
        format: match (snapshot.claim.is_some(), masked) {
            (true, _) => checkpoint::FORMAT_WITH_CLAIM,
            (false, true) => checkpoint::FORMAT_WITH_MASKS,
            (false, false) => checkpoint::FORMAT,
        },
        version: *version,
        wal: *wal_watermark,
        segments: segments.iter().map(|segment| segment.as_ref().clone()).collect(),
        keys: head.keys.as_ref().clone(),
        removed: removed.as_ref().clone(),
        runs: runs.runs().iter().map(|run| run.as_ref().clone()).collect(),
        deletions: deletions.as_ref().clone(),
        deliveries: snapshot.deliveries.as_ref().clone(),
        claim: snapshot.claim.as_deref().cloned(),
        begins: snapshot.begins,
    };
    let sources = Sources::read(columns).await?;
    let encode = tokio::task::spawn_blocking(move || sources.encode(&stored));
    let object =
        encode.await.map_err(|e| Error::internal("the checkpoint writer failed").with_source(e))??;
    let (path, bytes) = (checkpoint_path(*version), object.content_length() as u64);
    match put_new(store, &path, object).await {
        Ok(()) => {
            let (checkpoint, _) = Checkpoint::open(store, path.as_ref(), bytes).await?;
            let columns = ColumnSource::in_checkpoint(checkpoint);
            let snapshot = CatalogSnapshot { columns, ..head.snapshot.as_ref().clone() };
            Ok(Some(Head { snapshot: Arc::new(snapshot), keys: Arc::clone(&head.keys) }))
        }
        Err(object_store::Error::AlreadyExists { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Puts an object if its name is free. Retries if the store reports an object that does not exist.
async fn put_new(store: &Arc<dyn ObjectStore>, path: &Path, object: PutPayload) -> object_store::Result<()> {
    let mut attempt = 1;
    loop {
        let Err(error) = store.put_opts(path, object.clone(), PutMode::Create.into()).await else {
            return Ok(());
        };
        if !is_conflict(&error) || attempt == CONFLICTS_MAX {
            return Err(error);
        }
        match store.head(path).await {
            Err(object_store::Error::NotFound { .. }) => attempt += 1,
            _ => return Err(error),
        }
    }
}

/// State for a backup.
#[derive(Debug)]
pub struct BackupState {
    /// Snapshot of the database.
    pub snapshot: Arc<CatalogSnapshot>,
    /// Attribute keys of all events.
    pub keys: Keys,
    /// Segments made from the log, and the batches that are in them.
    pub change: Change,
    /// Time of the backup, in nanoseconds since the Unix epoch.
    pub at_ns: i64,
}

impl BackupState {
    /// Makes this the newest state of the catalog in `store`, atomically: with a checkpoint of version `version`,
    /// which must be above all existing ones. Returns the state.
    pub async fn publish(self, store: &Arc<dyn ObjectStore>, version: u64) -> Result<Arc<CatalogSnapshot>> {
        let Self { snapshot, keys, change, at_ns } = self;
        let mut head = Head { snapshot, keys: Arc::new(keys) };
        // The writer of the database does not write to the backup.
        Arc::make_mut(&mut head.snapshot).claim = None;
        head.apply(&change.at(at_ns, None))?;
        let snapshot = Arc::make_mut(&mut head.snapshot);
        (snapshot.version, snapshot.begins) = (version, version);
        // Removed objects are not copied.
        snapshot.removed = Arc::default();
        let published = put_checkpoint(store, &head).await?;
        let published = published.ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                format!("another backup has already written version {version}: try again"),
            )
        })?;
        Ok(published.snapshot)
    }
}

/// Deletes the checkpoints of `store` before `version`.
///
/// Fails with [`ErrorKind::Conflict`] if there is a newer one; then it deletes only the one of `version`.
pub async fn keep_only(store: &Arc<dyn ObjectStore>, version: u64) -> Result<()> {
    let checkpoints = checkpoints(store).await?;
    let versions = checkpoints.iter().filter_map(|object| version_of(&object.location));
    if let Some(newer) = versions.max().filter(|newest| *newest > version) {
        store.delete(&checkpoint_path(version)).await?;
        let message =
            format!("another backup has already written the newer version {newer}, beyond {version}");
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    for object in checkpoints {
        if version_of(&object.location).is_some_and(|old| old < version) {
            store.delete(&object.location).await?;
        }
    }
    Ok(())
}

/// Deletes the commits up to and including version `through`, which a checkpoint includes.
async fn delete_commits(store: &Arc<dyn ObjectStore>, through: u64) -> Result<()> {
    let commits: Vec<_> = store.list(Some(&Path::from("catalog/log"))).try_collect().await?;
    for commit in commits {
        if version_of(&commit.location).is_some_and(|version| version <= through) {
            store.delete(&commit.location).await?;
        }
    }
    Ok(())
}

/// Version in the name of a commit or checkpoint.
pub(super) fn version_of(path: &Path) -> Option<u64> {
    path.filename()?.split('.').next()?.parse().ok()
}
