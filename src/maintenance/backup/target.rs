//! How is a copy made?
//!
//! See the [module](super) for the picture. [`BackupTarget`] alone writes to the target; the source is only read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

use super::marker::Marker;
use super::object::{Object, ObjectKind, named, read};
use super::{BackupProgress, BackupReport, BackupSource, Purpose};
use crate::catalog::log::{BackupState, keep_only};
use crate::catalog::{Catalog, CatalogSnapshot, Change};
use crate::config::Clock;
use crate::error::{Error, ErrorKind, Problem, Result};
use crate::event::EventBatch;
use crate::index::checksums::Checksums;
use crate::index::sidecar::Sidecar;
use crate::maintenance::flush::store_segment;
use crate::segment::{ROWS_MAX, SegmentId, SegmentMeta};

/// Segments copied at one time; each is in memory as a whole.
const COPIES: usize = 3;
/// Folders whose objects the catalog names.
const FOLDERS: [&str; 2] = ["segments", "runs"];

/// Outcome for an object.
#[derive(Debug)]
struct Done {
    bytes: u64,
    copied: bool,
    problems: Vec<Problem>,
}

/// Target of a copy.
#[derive(Debug)]
pub struct BackupTarget {
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    /// Version of the target's catalog.
    version: u64,
    /// Objects present at the start: paths and sizes in bytes.
    present: HashMap<String, u64>,
    /// Present objects that the target's catalog names: they were verified when they were copied.
    compared: HashSet<String>,
    /// Outcomes by path.
    done: Mutex<HashMap<String, Done>>,
    /// Paths of objects missing in the source. The next snapshot shows whether they were replaced or lost.
    missing: Mutex<HashSet<String>>,
    /// Marker of a backup; none for a restore.
    marker: Option<Marker>,
}

impl BackupTarget {
    /// Lists the objects in `store`, and reads its catalog and marker.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] when it holds anything that `purpose` does not allow. The caller keeps
    /// other processes from writing there.
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
            Purpose::BackupOf(of) => Some(Marker::claim(&store, &present, of).await?),
            Purpose::Restore if present.is_empty() => None,
            Purpose::Restore => {
                return Err(Error::invalid("it is not empty: restore to an empty place"));
            }
        };
        let catalog = Catalog::load(Arc::clone(&store), Arc::clone(&clock)).await?.snapshot();
        let whole = named(&catalog).filter(|(path, bytes)| present.get(path) == Some(bytes));
        let was_damaged = |path: &String| marker.as_ref().is_some_and(|marker| marker.damaged.contains(path));
        let compared = whole.map(|(path, _)| path).filter(|path| !was_damaged(path)).collect();
        let (version, done, missing) = (catalog.version, Mutex::default(), Mutex::default());
        Ok(Self { store, clock, version, present, compared, done, missing, marker })
    }

    /// Copies the objects of `source` that are not in the target, and publishes them there. Memory is that of three
    /// segments' objects, and of the events in the log.
    ///
    /// Returns none when an object is missing, as is normal when the database has replaced it meanwhile: call again
    /// with a newer snapshot. An object that is missing and still named then is lost: it is reported, and the rest is
    /// copied. Fails with [`ErrorKind::NotFound`] when the checkpoint of `source` was deleted, with
    /// [`ErrorKind::Conflict`] when another process has made a backup there meanwhile.
    pub async fn copy(
        &self,
        source: &BackupSource,
        progress: impl FnMut(BackupProgress),
    ) -> Result<Option<BackupReport>> {
        match self.objects(source, progress).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.look_for_missing(source).await?;
                return Ok(None);
            }
            copied => copied?,
        }
        self.remember_damage().await?;
        let published = self.publish(source).await?;
        let removed = self.remove_others(&published).await?;
        Ok(Some(self.report(&published, source, removed)))
    }

    /// Copies all objects. Fails with [`ErrorKind::NotFound`] when one is missing in the source.
    async fn objects(&self, source: &BackupSource, mut progress: impl FnMut(BackupProgress)) -> Result<()> {
        let catalog = &source.catalog;
        let mut step = BackupProgress { rows_done: 0, rows: catalog.rows_stored() };
        // Boxed, as otherwise the compiler cannot prove that a backup is `Send`.
        let copies = catalog.segments.iter().map(|segment| self.segment_rows(source, segment).boxed());
        let mut copies = stream::iter(copies.collect::<Vec<_>>()).buffer_unordered(COPIES);
        progress(step);
        while let Some(rows) = copies.try_next().await? {
            step.rows_done += rows;
            progress(step);
        }
        for run in catalog.runs.runs() {
            let object = Object { path: run.path(), bytes: run.bytes, kind: ObjectKind::Index };
            self.object(source, &object).await?;
        }
        Ok(())
    }

    /// Copies all objects of a segment, and returns its number of rows.
    async fn segment_rows(&self, source: &BackupSource, segment: &SegmentMeta) -> Result<u64> {
        self.segment(source, segment).await.map(|()| segment.rows)
    }

    /// Copies all objects of a segment.
    async fn segment(&self, source: &BackupSource, segment: &SegmentMeta) -> Result<()> {
        let path = segment.path();
        let mut checksums = None;
        if let Some(bytes) = segment.index {
            let object = Object { path: segment.index_path(), bytes, kind: ObjectKind::Index };
            self.object(source, &object).await?;
            // Settled objects need no checksums, and reading those takes requests to a store.
            if !self.is_settled(&path) {
                checksums = self.checksums(&object, segment.bytes).await;
            }
        }
        if let Some((mask, path)) = segment.mask.zip(segment.mask_path()) {
            let object = Object { path, bytes: mask.bytes, kind: ObjectKind::Mask };
            self.object(source, &object).await?;
        }
        let kind = ObjectKind::Segment(checksums);
        self.object(source, &Object { path, bytes: segment.bytes, kind }).await
    }

    /// Reads the checksums of a segment's object of `bytes` bytes from the copy of its side-car. An unreadable side-car
    /// was reported already.
    async fn checksums(&self, index: &Object, bytes: u64) -> Option<Checksums> {
        let sidecar = Sidecar::open(Arc::clone(&self.store), &index.path, index.bytes).await.ok()?;
        Checksums::read(&sidecar, bytes).await.ok().flatten()
    }

    /// True if the object's outcome is known.
    fn is_settled(&self, path: &str) -> bool {
        self.compared.contains(path) || self.done.lock().contains_key(path)
    }

    /// Copies an object, unless a sound copy is in the target.
    async fn object(&self, source: &BackupSource, object: &Object) -> Result<()> {
        if self.done.lock().contains_key(&object.path) {
            return Ok(());
        }
        let path = Path::from(object.path.as_str());
        let done = |copied, bytes, problems| {
            self.done.lock().insert(object.path.clone(), Done { bytes, copied, problems });
            Ok(())
        };
        if self.compared.contains(&object.path) || self.was_left(object, &path).await? {
            return done(false, object.bytes, Vec::new());
        }
        let bytes = match read(&source.store, &path).await {
            // It is lost: it was missing before this snapshot was taken, which still names it.
            Err(error) if is_gone(&error) && !self.missing.lock().insert(object.path.clone()) => {
                return done(false, 0, vec![Problem::new(&object.path, "the file is missing")]);
            }
            bytes => bytes?,
        };
        let problems = object.damage(&bytes).await;
        let copied_bytes = bytes.len() as u64;
        let put = self.store.put(&path, bytes.into()).await;
        put.map_err(|e| {
            let error = Error::from(e).context(format!("cannot write the copy of {path}"));
            // Not `NotFound`, which would mean that an object of the source is missing.
            if is_gone(&error) { Error::new(ErrorKind::Unavailable, error.chain()) } else { error }
        })?;
        done(true, copied_bytes, problems)
    }

    /// True if a backup that was cut off has copied the whole object.
    async fn was_left(&self, object: &Object, path: &Path) -> Result<bool> {
        if !object.is_comparable() || self.present.get(&object.path) != Some(&object.bytes) {
            return Ok(false);
        }
        match read(&self.store, path).await {
            Err(error) if is_gone(&error) => Ok(false),
            bytes => Ok(object.damage(&bytes?).await.is_empty()),
        }
    }

    /// Records all missing objects of `source`, so that one newer snapshot is enough for all of them.
    async fn look_for_missing(&self, source: &BackupSource) -> Result<()> {
        let mut there = HashSet::new();
        for folder in FOLDERS {
            let listed = source.store.list(Some(&Path::from(folder)));
            let paths: Vec<_> = listed.map_ok(|object| object.location.to_string()).try_collect().await?;
            there.extend(paths);
        }
        let gone = named(&source.catalog).map(|(path, _)| path).filter(|path| !there.contains(path));
        self.missing.lock().extend(gone);
        Ok(())
    }

    /// Puts the paths of damaged copies into the marker, before the checkpoint that names them.
    async fn remember_damage(&self) -> Result<()> {
        let Some(marker) = &self.marker else { return Ok(()) };
        let mut damaged: Vec<String> = {
            let done = self.done.lock();
            done.iter().filter(|(_, done)| !done.problems.is_empty()).map(|(path, _)| path.clone()).collect()
        };
        damaged.sort();
        if damaged == marker.damaged { Ok(()) } else { marker.with(damaged).put(&self.store).await }
    }

    /// Makes segments of the batches, and puts the checkpoint with the whole catalog.
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

    /// Removes objects that the target's catalog does not name; returns their number. Objects that cannot be removed
    /// stay for the next backup: this one is complete, and some stores forbid deletes.
    async fn remove_others(&self, published: &CatalogSnapshot) -> Result<u64> {
        let mut removed = 0;
        match self.try_to_remove_others(published, &mut removed).await {
            Err(error) if error.kind() == ErrorKind::Conflict => return Err(error),
            Err(error) => tracing::warn!(%error, "could not remove objects that the database no longer has"),
            Ok(()) => {}
        }
        Ok(removed)
    }

    async fn try_to_remove_others(&self, published: &CatalogSnapshot, removed: &mut u64) -> Result<()> {
        let named: HashSet<String> = named(published).map(|(path, _)| path).collect();
        keep_only(&self.store, published.version).await?;
        for folder in FOLDERS {
            let listed: Vec<ObjectMeta> = self.store.list(Some(&Path::from(folder))).try_collect().await?;
            for object in listed.iter().filter(|object| !named.contains(object.location.as_ref())) {
                self.store.delete(&object.location).await?;
                *removed += 1;
            }
        }
        Ok(())
    }

    fn report(&self, published: &CatalogSnapshot, source: &BackupSource, removed: u64) -> BackupReport {
        let done = self.done.lock();
        let count = |copied: bool| {
            let these = done.values().filter(|done| done.copied == copied && done.bytes > 0);
            these.fold((0, 0), |(objects, bytes), done| (objects + 1, bytes + done.bytes))
        };
        let ((copied, copied_bytes), (kept, kept_bytes)) = (count(true), count(false));
        // Problems with objects that were replaced meanwhile do not matter.
        let named: HashSet<String> = named(published).map(|(path, _)| path).collect();
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

/// True if an error means that an object is missing.
fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// Groups batches into segments.
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
