//! How does a database get into another place, as a whole and as of one moment?
//!
//! ```text
//! snapshot ─▶ copy objects that are not there ─▶ make segments of the log ─▶ checkpoint ─▶ remove what is not named
//!    ▲             │ one has gone meanwhile            (in the target)        (counts from here on)
//!    └─────────────┘
//! ```
//!
//! The target has no log and no commits: one checkpoint says all, and putting it there is the one step by which
//! a backup begins to count. A backup that is cut off before leaves what was there: the one before, or none.
//! Objects are never changed under their name, so the next backup copies those that are new.
//!
//! What a database replaces while it is copied stays for the grace period; when that is over before it was
//! copied, whoever calls comes again with a newer snapshot, and only what is missing is copied then.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::flush::store_segment;
use crate::catalog::log::{BackupState, forget_before};
use crate::catalog::{Catalog, CatalogSnapshot, Change, Keys, WalRange};
use crate::config::{Clock, IndexSettings};
use crate::error::{Error, ErrorKind, Problem, Result};
use crate::event::EventBatch;
use crate::index::checksums::Checksums;
use crate::index::sidecar::Sidecar;
use crate::segment::{ROWS_MAX, SegmentId, SegmentMeta, mask};
use crate::wal::DeliveryId;

/// Says what the objects of a target are, so that nothing else is taken for a backup and overwritten.
const MARKER: &str = "backup.json";
const MARKER_FORMAT: u32 = 1;
/// Segments that are copied at once; each is in memory as a whole.
const COPIES: usize = 3;

/// What is copied.
#[derive(Debug)]
pub struct BackupSource {
    /// The segments.
    pub catalog: Arc<CatalogSnapshot>,
    /// The batches that are in none yet.
    pub batches: Arc<[Arc<EventBatch>]>,
    /// What these are in the log.
    pub wal: WalRange,
    /// The messages that they came in.
    pub deliveries: Vec<DeliveryId>,
    /// The attribute keys of all events.
    pub keys: Keys,
    /// Where the objects are.
    pub store: Arc<dyn ObjectStore>,
    /// Of what the new segments get indexes.
    pub index: IndexSettings,
}

/// What a copy is for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A backup of the database of this name, besides which nothing may be in the target.
    BackupOf(&'a str),
    /// A database to go on with, in a target that is empty.
    Restore,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy)]
pub struct BackupProgress {
    /// Events of the segments that are in the target.
    pub rows_done: u64,
    /// Events of all segments.
    pub rows: u64,
}

/// What a copy did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BackupReport {
    /// Version of the catalog in the target.
    pub version: u64,
    /// Events in it.
    pub events: u64,
    /// Of these, events that were in the log.
    pub log_events: u64,
    /// Segments in it.
    pub segments: u64,
    /// Objects that were copied.
    pub copied: u64,
    /// Size of these.
    pub copied_bytes: u64,
    /// Objects that were there.
    pub kept: u64,
    /// Size of these.
    pub kept_bytes: u64,
    /// Objects that were removed, as the database has them no more.
    pub removed: u64,
    /// What is damaged or missing in the source. It is copied as it is.
    pub problems: Vec<Problem>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    /// Name of the database.
    of: String,
    /// Paths of objects that were damaged when they were copied: the next backup may find them sound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<String>,
}

/// An object to be copied.
#[derive(Debug)]
struct Object {
    path: String,
    bytes: u64,
    content: ObjectKind,
}

#[derive(Debug)]
enum ObjectKind {
    /// With what its side-car knows of it.
    Segment(Option<Checksums>),
    /// A side-car or a run.
    Index,
    Mask,
}

/// What has become of an object.
#[derive(Debug)]
struct Done {
    bytes: u64,
    copied: bool,
    problems: Vec<Problem>,
}

/// A place that a database is copied to.
#[derive(Debug)]
pub struct BackupTarget {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    /// Version of the catalog that is there.
    version: u64,
    /// Objects that were there, by path, with their sizes.
    present: HashMap<String, u64>,
    /// Those of them that the catalog there names: they were compared when they were copied.
    named: HashSet<String>,
    /// By path.
    done: Mutex<HashMap<String, Done>>,
    /// None when this is no backup.
    marker: Option<Marker>,
}

impl BackupTarget {
    /// Looks at what is in `store`.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] when that is something else than `purpose` allows. Whoever calls
    /// sees to it that no other process writes there.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        purpose: Purpose<'_>,
    ) -> Result<Self> {
        let listed: Vec<ObjectMeta> = store.list(None).try_collect().await?;
        let mut present: HashMap<String, u64> =
            listed.into_iter().map(|object| (object.location.to_string(), object.size)).collect();
        present.remove("LOCK");
        let marker = match purpose {
            Purpose::BackupOf(of) => Some(claim(&store, &present, of).await?),
            Purpose::Restore if present.is_empty() => None,
            Purpose::Restore => return Err(Error::invalid("it is not empty")),
        };
        let catalog = Catalog::load(Arc::clone(&store), Arc::clone(&clock)).await?.snapshot();
        let named = objects(&catalog).filter(|(path, bytes)| present.get(path) == Some(bytes));
        let was_damaged = |path: &String| marker.as_ref().is_some_and(|marker| marker.damaged.contains(path));
        let named = named.map(|(path, _)| path).filter(|path| !was_damaged(path)).collect();
        Ok(Self { store, clock, version: catalog.version, present, named, done: Mutex::default(), marker })
    }

    /// Copies `source`, as far as it is not there, and makes it what the target is. Memory is that of three
    /// segments' objects, and of the events in the log.
    ///
    /// Fails with [`ErrorKind::NotFound`] when an object is gone, which is a matter of course when the database
    /// has replaced it meanwhile: then this is to be called again with what it is now. With `is_final` there is
    /// nothing newer: the loss is reported, and the rest copied.
    pub async fn copy(
        &self,
        source: &BackupSource,
        is_final: bool,
        mut progress: impl FnMut(BackupProgress),
    ) -> Result<BackupReport> {
        let catalog = &source.catalog;
        let mut step = BackupProgress { rows_done: 0, rows: catalog.rows_stored() };
        let copies = catalog
            .segments
            .iter()
            .map(async |segment| self.segment(source, segment, is_final).await.map(|()| segment.rows));
        let mut copies = Box::pin(stream::iter(copies).buffer_unordered(COPIES));
        progress(step);
        while let Some(rows) = copies.try_next().await? {
            step.rows_done += rows;
            progress(step);
        }
        for run in catalog.runs.runs() {
            let object = Object { path: run.path(), bytes: run.bytes, content: ObjectKind::Index };
            self.object(source, &object, is_final).await?;
        }
        self.remember_damage().await?;
        let published = self.publish(source).await?;
        let removed = self.remove_others(&published).await?;
        Ok(self.report(&published, source, removed))
    }

    /// Copies what a segment consists of.
    async fn segment(&self, source: &BackupSource, segment: &SegmentMeta, is_final: bool) -> Result<()> {
        let mut checksums = None;
        if let Some(bytes) = segment.index {
            let object = Object { path: segment.index_path(), bytes, content: ObjectKind::Index };
            self.object(source, &object, is_final).await?;
            // That it cannot be read has been said.
            let sidecar = Sidecar::open(Arc::clone(&self.store), &object.path, bytes).await.ok();
            checksums = match &sidecar {
                Some(sidecar) => Checksums::read(sidecar, segment.bytes).await.ok().flatten(),
                None => None,
            };
        }
        if let Some((mask, path)) = segment.mask.zip(segment.mask_path()) {
            let object = Object { path, bytes: mask.bytes, content: ObjectKind::Mask };
            self.object(source, &object, is_final).await?;
        }
        let content = ObjectKind::Segment(checksums);
        self.object(source, &Object { path: segment.path(), bytes: segment.bytes, content }, is_final).await
    }

    /// Copies an object, unless it is there as it should be.
    async fn object(&self, source: &BackupSource, object: &Object, is_final: bool) -> Result<()> {
        if self.done.lock().contains_key(&object.path) {
            return Ok(());
        }
        let path = Path::from(object.path.as_str());
        let done = |copied, bytes, problems| {
            self.done.lock().insert(object.path.clone(), Done { bytes, copied, problems });
            Ok(())
        };
        if self.named.contains(&object.path) || self.was_left(object, &path).await? {
            return done(false, object.bytes, Vec::new());
        }
        let bytes = match read(&source.store, &path).await {
            Err(error) if error.kind() == ErrorKind::NotFound && is_final => {
                return done(false, 0, vec![Problem::new(&object.path, "the file is missing")]);
            }
            bytes => bytes?,
        };
        let problems = object.damage(&bytes).await;
        let copied_bytes = bytes.len() as u64;
        let put = self.store.put(&path, bytes.into()).await;
        put.map_err(|e| Error::from(e).context(format!("cannot write the copy of {path}")))?;
        done(true, copied_bytes, problems)
    }

    /// Whether a backup that was cut off has left the whole object.
    async fn was_left(&self, object: &Object, path: &Path) -> Result<bool> {
        let comparable = !matches!(object.content, ObjectKind::Segment(None));
        if !comparable || self.present.get(&object.path) != Some(&object.bytes) {
            return Ok(false);
        }
        Ok(object.damage(&read(&self.store, path).await?).await.is_empty())
    }

    /// Notes which copies are not to be relied on, before they count.
    async fn remember_damage(&self) -> Result<()> {
        let Some(Marker { format, of, damaged: before }) = &self.marker else { return Ok(()) };
        let mut damaged: Vec<String> = {
            let done = self.done.lock();
            done.iter().filter(|(_, done)| !done.problems.is_empty()).map(|(path, _)| path.clone()).collect()
        };
        damaged.sort();
        if damaged == *before {
            return Ok(());
        }
        put_marker(&self.store, &Marker { format: *format, of: of.clone(), damaged }).await
    }

    /// Makes segments of the batches, and puts the one checkpoint that says all.
    async fn publish(&self, source: &BackupSource) -> Result<Arc<CatalogSnapshot>> {
        let mut add = Vec::new();
        for batches in in_segments(&source.batches) {
            let id = SegmentId::new(self.clock.now_ns());
            add.push(store_segment(&self.store, id, batches, &source.index).await?);
        }
        let (wal, deliveries) = (Some(source.wal), source.deliveries.clone());
        let state = BackupState {
            snapshot: Arc::clone(&source.catalog),
            keys: source.keys.clone(),
            change: Change { add, deliveries, wal, ..Change::default() },
            at_ns: self.clock.now_ns(),
        };
        state.publish(&self.store, self.version.max(source.catalog.version) + 1).await
    }

    /// Removes what the target's catalog does not name; returns how many objects.
    async fn remove_others(&self, published: &CatalogSnapshot) -> Result<u64> {
        forget_before(&self.store, published.version).await?;
        let named: HashSet<String> = objects(published).map(|(path, _)| path).collect();
        let mut removed = 0;
        for folder in ["segments", "runs"] {
            let listed: Vec<ObjectMeta> = self.store.list(Some(&Path::from(folder))).try_collect().await?;
            for object in listed.iter().filter(|object| !named.contains(object.location.as_ref())) {
                self.store.delete(&object.location).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn report(&self, published: &CatalogSnapshot, source: &BackupSource, removed: u64) -> BackupReport {
        let done = self.done.lock();
        let count = |copied: bool| {
            let these = done.values().filter(|done| done.copied == copied && done.bytes > 0);
            these.fold((0, 0), |(objects, bytes), done| (objects + 1, bytes + done.bytes))
        };
        let ((copied, copied_bytes), (kept, kept_bytes)) = (count(true), count(false));
        // Those of objects that were replaced meanwhile are of no interest.
        let named: HashSet<String> = objects(published).map(|(path, _)| path).collect();
        let of_named = done.iter().filter(|(path, _)| named.contains(*path));
        let mut problems: Vec<_> = of_named.flat_map(|(_, done)| done.problems.clone()).collect();
        problems.sort_by(|a, b| a.path.cmp(&b.path));
        BackupReport {
            version: published.version,
            events: published.rows(),
            log_events: source.batches.iter().map(|batch| batch.rows() as u64).sum(),
            segments: published.segments.len() as u64,
            copied,
            copied_bytes,
            kept,
            kept_bytes,
            removed,
            problems,
        }
    }
}

async fn put_marker(store: &Arc<dyn ObjectStore>, marker: &Marker) -> Result<()> {
    let json = serde_json::to_vec(marker).map_err(|e| Error::internal("marker as JSON").with_source(e))?;
    store.put(&Path::from(MARKER), json.into()).await?;
    Ok(())
}

/// Makes sure that the target holds a backup of `of`, or nothing.
async fn claim(store: &Arc<dyn ObjectStore>, present: &HashMap<String, u64>, of: &str) -> Result<Marker> {
    let path = Path::from(MARKER);
    if present.is_empty() {
        let marker = Marker { format: MARKER_FORMAT, of: of.to_owned(), damaged: Vec::new() };
        put_marker(store, &marker).await?;
        return Ok(marker);
    }
    let json = match read(store, &path).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::invalid("it holds other files, and no backup: choose an empty directory"));
        }
        json => json?,
    };
    let marker: Marker =
        serde_json::from_slice(&json).map_err(|e| Error::corrupt(format!("{MARKER}: {e}")).with_source(e))?;
    if marker.format != MARKER_FORMAT {
        let message = format!(
            "{MARKER} has format {}, this program reads {MARKER_FORMAT}: use the Broadloom that wrote it",
            marker.format
        );
        return Err(Error::invalid(message));
    }
    if marker.of != of {
        let message = format!("it holds a backup of {}, not of {of}: choose another directory", marker.of);
        return Err(Error::invalid(message));
    }
    let written = |path: &&String| path.starts_with("catalog/log/") || path.starts_with("wal/");
    if let Some(path) = present.keys().find(written) {
        let message = format!(
            "it has been written to since it was a backup, as {path} shows: choose another directory"
        );
        return Err(Error::invalid(message));
    }
    Ok(marker)
}

/// Paths and sizes of all that a catalog names.
fn objects(catalog: &CatalogSnapshot) -> impl Iterator<Item = (String, u64)> {
    let of_segment = |segment: &Arc<SegmentMeta>| {
        let index = segment.index.map(|bytes| (segment.index_path(), bytes));
        let mask = segment.mask_path().zip(segment.mask.map(|mask| mask.bytes));
        [Some((segment.path(), segment.bytes)), index, mask].into_iter().flatten()
    };
    let runs = catalog.runs.runs().iter().map(|run| (run.path(), run.bytes));
    catalog.segments.iter().flat_map(of_segment).chain(runs)
}

/// Batches that make a segment together.
fn in_segments(batches: &[Arc<EventBatch>]) -> Vec<Vec<Arc<EventBatch>>> {
    let mut segments: Vec<Vec<Arc<EventBatch>>> = Vec::new();
    let mut rows = usize::MAX;
    for batch in batches {
        rows = rows.saturating_add(batch.rows());
        match segments.last_mut() {
            Some(last) if rows <= ROWS_MAX => last.push(Arc::clone(batch)),
            _ => {
                segments.push(vec![Arc::clone(batch)]);
                rows = batch.rows();
            }
        }
    }
    segments
}

async fn read(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Bytes> {
    let object = store.get(path).await.map_err(|e| Error::from(e).context(path))?;
    object.bytes().await.map_err(|e| Error::from(e).context(path))
}

impl Object {
    /// What is wrong with these bytes of it.
    async fn damage(&self, bytes: &Bytes) -> Vec<Problem> {
        if bytes.len() as u64 != self.bytes {
            return vec![Problem::differs(&self.path, "its size in bytes", self.bytes, bytes.len())];
        }
        let unreadable = |error: &Error| Problem::unreadable(&self.path, error);
        match &self.content {
            ObjectKind::Segment(None) => Vec::new(),
            ObjectKind::Segment(Some(checksums)) => {
                let of_block =
                    |range: &std::ops::Range<u64>| &bytes[range.start as usize..range.end as usize];
                let damaged = checksums.blocks().filter_map(|block| block.compare(of_block(&block.bytes)));
                let problem = |d: crate::index::checksums::Damaged| {
                    let what = format!("checksum of bytes {} to {}", d.bytes.start, d.bytes.end);
                    Problem::differs(
                        &self.path,
                        what,
                        format!("{:08x}", d.expected),
                        format!("{:08x}", d.found),
                    )
                };
                damaged.map(problem).collect()
            }
            ObjectKind::Index => match self.sidecar(bytes).await {
                Ok(sidecar) => sidecar.verify().await.iter().map(unreadable).collect(),
                Err(error) => vec![unreadable(&error)],
            },
            ObjectKind::Mask => mask::parse(bytes).err().iter().map(unreadable).collect(),
        }
    }

    async fn sidecar(&self, bytes: &Bytes) -> Result<Sidecar> {
        let memory = InMemory::new();
        memory.put(&Path::from(self.path.as_str()), bytes.clone().into()).await?;
        Sidecar::open(Arc::new(memory), &self.path, self.bytes).await
    }
}
