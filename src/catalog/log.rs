//! How do commits get into the log, and a snapshot out of it?

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

/// A checkpoint is written every so many commits: opening reads at most so many small objects.
const CHECKPOINT_COMMITS: u64 = 64;
/// How names of checkpoints end.
pub(super) const CHECKPOINT: &str = ".checkpoint";
/// How they ended in the first format.
const WHOLE_CHECKPOINT: &str = ".json.zst";
/// Checkpoints that are kept: a reader may be about to read the one before the last.
const CHECKPOINTS_KEPT: usize = 2;
/// Commits that are kept besides those that the kept checkpoints do not sum up. A reader that takes longer to
/// open than as many commits sees the catalog as it was then.
pub(super) const COMMITS_KEPT: u64 = 256;
/// How often a commit is put that a store says is there, and is not.
const CONFLICTS_MAX: u32 = 10;
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
    /// Under which claim this process commits; directories need none.
    writer: OnceLock<String>,
}

/// The newest state that we know.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) snapshot: Arc<CatalogSnapshot>,
    pub(super) keys: Arc<Keys>,
}

impl Catalog {
    /// Reads the latest checkpoint and the commits behind it. An empty store gives version 0.
    pub async fn load(store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut head = latest_checkpoint(&store).await?;
        while let Some(commit) = read_commit(&store, head.next_version()?).await? {
            head.apply(&commit)?;
        }
        let (committing, head, writer) = (Mutex::new(()), RwLock::new(head), OnceLock::new());
        Ok(Self { store, clock, committing, head, writer })
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
        let next = self.head.read().next_version()?;
        Ok(read(&self.store, &log_path(next)).await?.is_some())
    }

    /// Makes this process the only one that may commit. Whoever was it before, is not any more.
    ///
    /// Fails with [`ErrorKind::Conflict`] while events may be in a log that is out of reach, unless they are to
    /// be `abandoned`.
    pub async fn claim(&self, claim: Claim, abandoned: bool) -> Result<()> {
        if !abandoned {
            self.snapshot().permits(&claim)?;
        }
        let writer = claim.writer.clone();
        self.commit(Change { claim: Some(claim), ..Change::default() }).await?;
        let _ = self.writer.set(writer);
        self.is_owner()
    }

    /// Says that this process writes no more, and that its log holds nothing.
    pub async fn release(&self) -> Result<()> {
        match self.writer.get() {
            Some(_) => self.commit(Change { release: true, ..Change::default() }).await.map(drop),
            None => Ok(()),
        }
    }

    /// Fails with [`ErrorKind::Poisoned`] when it is known that another process has taken over.
    pub fn is_owner(&self) -> Result<()> {
        self.writer.get().map_or(Ok(()), |writer| self.head.read().snapshot.is_claimed_by(writer))
    }

    /// Like [`is_owner`](Self::is_owner), after a look at what others may have committed.
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

    /// Makes `change` the next commit and returns the snapshot that has it.
    ///
    /// Fails with [`ErrorKind::Conflict`] when `change` no longer fits what others committed meanwhile;
    /// [`snapshot`](Self::snapshot) is then up to date. After any other failure nothing was committed, or
    /// the store cannot be reached to find out: then the next commit finds out.
    pub async fn commit(&self, change: Change) -> Result<Arc<CatalogSnapshot>> {
        let _one_at_a_time = self.committing.lock().await;
        for _ in 0..RETRIES_MAX {
            let before = self.head.read().clone();
            let version = before.next_version()?;
            if change.claim.is_none() {
                self.is_owner()?;
            }
            if let Some(gone) = change.unchanged.iter().find(|segment| !before.snapshot.has(segment)) {
                let message = format!("the segment {} was changed meanwhile", gone.id);
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
        let (path, json) = (log_path(version), Bytes::from(commit::seal(json)));
        let mut attempt = 1;
        loop {
            let put = self.store.put_opts(&path, json.clone().into(), PutMode::Create.into());
            let Err(error) = put.await else { return Ok(true) };
            // An answer may get lost after the object was stored: whose commit is it?
            if let Some(stored) = read_commit(&self.store, version).await? {
                return Ok(stored.id == commit.id);
            }
            if !is_conflict(&error) || attempt == CONFLICTS_MAX {
                return Err(Error::from(error).context(format!("cannot store catalog commit {version}")));
            }
            attempt += 1;
        }
    }

    /// Checkpoints only save time, so a failure is logged, and the next one is written 64 commits later.
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

/// Whether a store says that an object is there. Where it is not, the store answered 409: S3 does so when other
/// conditional requests for the same name are under way, and wants this one to be repeated.
fn is_conflict(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })
}

impl Head {
    /// The version of the commit after this state.
    fn next_version(&self) -> Result<u64> {
        let version = self.snapshot.version;
        version.checked_add(1).ok_or_else(|| Error::corrupt(format!("the catalog is at version {version}")))
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

/// Checks and reads a commit.
pub(super) fn parse_commit(path: &Path, json: &[u8]) -> Result<Commit> {
    if let Some((found, expected)) = commit::checksums(json).filter(|(found, expected)| found != expected) {
        let message = format!("{path}: checksum {found:08x}, but its bytes have {expected:08x}");
        return Err(Error::corrupt(message));
    }
    let commit: Commit = commit::parse(path.as_ref(), json, FORMAT..=FORMAT_WITH_WRITER)?;
    let segments = commit.add.iter().map(|segment| &segment.meta);
    commit::check(path, segments, commit.wal.map(|wal| wal.through))?;
    Ok(commit)
}

/// All checkpoints, oldest first.
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
    // Newest first: one that vanishes while we look has been replaced by a newer one.
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

/// The state at a checkpoint.
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
        .map_err(|e| Error::corrupt(format!("{path} is no zstd frame")).with_source(e))?;
    let WholeCheckpoint { version, wal, segments, keys } =
        commit::parse(path.as_ref(), &json, FORMAT..=FORMAT)?;
    commit::check(path, segments.iter().map(|segment| &segment.meta), Some(wal))?;
    let snapshot = CatalogSnapshot { version, wal_watermark: wal, ..CatalogSnapshot::of(&segments) };
    Ok(Head { snapshot: Arc::new(snapshot), keys: Arc::new(keys) })
}

/// Writes a checkpoint of `head`, and returns the same state, its columns being in the checkpoint; `None`
/// when another process has written it. Deletes what is no longer needed with it.
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

/// Puts an object where there is none. That there is one is an error only when there is.
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

/// What a backup is made of.
#[derive(Debug)]
pub struct BackupState {
    /// The segments, and what else the catalog knows.
    pub snapshot: Arc<CatalogSnapshot>,
    /// The attribute keys of all events.
    pub keys: Keys,
    /// The segments that were made of the log, and how far.
    pub change: Change,
    /// When that was.
    pub at_ns: i64,
}

impl BackupState {
    /// Makes it the newest state of the catalog in `store`, at once: with a checkpoint of version `version`, which
    /// is beyond all that are there. Returns the state.
    pub async fn publish(self, store: &Arc<dyn ObjectStore>, version: u64) -> Result<Arc<CatalogSnapshot>> {
        let Self { snapshot, keys, change, at_ns } = self;
        let mut head = Head { snapshot, keys: Arc::new(keys) };
        // Whoever writes to the database does not write to the backup.
        Arc::make_mut(&mut head.snapshot).claim = None;
        head.apply(&change.at(at_ns, None))?;
        let snapshot = Arc::make_mut(&mut head.snapshot);
        (snapshot.version, snapshot.begins) = (version, version);
        // Their objects are not copied.
        snapshot.removed = Arc::default();
        let published = put_checkpoint(store, &head).await?;
        let published = published.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, format!("another backup has written version {version} meanwhile"))
        })?;
        Ok(published.snapshot)
    }
}

/// Deletes the checkpoints of `store` before `version`.
///
/// Fails with [`ErrorKind::Conflict`] when there is one beyond it, and then deletes only that of `version`.
pub async fn keep_only(store: &Arc<dyn ObjectStore>, version: u64) -> Result<()> {
    let checkpoints = checkpoints(store).await?;
    let versions = checkpoints.iter().filter_map(|object| version_of(&object.location));
    if let Some(newer) = versions.max().filter(|newest| *newest > version) {
        store.delete(&checkpoint_path(version)).await?;
        let message = format!("another backup has written version {newer} meanwhile, beyond {version}");
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    for object in checkpoints {
        if version_of(&object.location).is_some_and(|old| old < version) {
            store.delete(&object.location).await?;
        }
    }
    Ok(())
}

/// Deletes the commits up to and including version `through`, which a checkpoint sums up.
async fn delete_commits(store: &Arc<dyn ObjectStore>, through: u64) -> Result<()> {
    let commits: Vec<_> = store.list(Some(&Path::from("catalog/log"))).try_collect().await?;
    for commit in commits {
        if version_of(&commit.location).is_some_and(|version| version <= through) {
            store.delete(&commit.location).await?;
        }
    }
    Ok(())
}

/// The version in the name of a commit or checkpoint.
pub(super) fn version_of(path: &Path) -> Option<u64> {
    path.filename()?.split('.').next()?.parse().ok()
}
