//! Which objects are not needed any more?
//!
//! | objects | deleted |
//! |---|---|
//! | of a segment or mask that a commit removed | after a grace period, when no query of this process may read them |
//! | orphans: in no commit, as their process died before it | soon after the next start, and every hour |
//! | of a run that is not in the catalog | the same |
//! | staged files, spill files | at the next start |
//!
//! A query of this process holds the [`SegmentMeta`] of every segment that it reads, and [`Live`] knows which ones
//! are held. Queries of other processes rely on the grace period.

use std::collections::HashSet;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parking_lot::Mutex;

use super::Ground;
use crate::error::{Error, Result};
use crate::segment::SegmentMeta;

/// Time for which the objects of removed segments are kept for queries of other processes that began earlier.
pub const GRACE: Duration = Duration::from_mins(10);

/// Failed deletes after which a pass ends: more mean that the store is out of order, and each may take minutes.
const FAILURES_MAX: usize = 8;

/// Deletes unneeded objects. Only the directory's owner may use it.
#[derive(Debug)]
pub struct Sweeper {
    ground: Ground,
    /// Objects of removed segments that are gone already.
    swept: Mutex<HashSet<String>>,
    /// Objects that the store has refused to delete: they are tried last.
    refused: Mutex<HashSet<Path>>,
}

impl Sweeper {
    /// Creates a sweeper of the store of `ground`.
    pub fn new(ground: Ground) -> Self {
        Self { ground, swept: Mutex::default(), refused: Mutex::default() }
    }

    /// Deletes the objects of segments that were removed at least `grace` ago and that no query of this process can
    /// be reading. Returns the number of these segments.
    ///
    /// An object that cannot be deleted does not stop the others; the first error is returned after them, or after
    /// [`FAILURES_MAX`] failures.
    pub async fn remove_retired(&self, grace: Duration) -> Result<usize> {
        let now_ns = self.ground.clock.now_ns();
        let mut due = self.removed(|at_ns| age(at_ns, now_ns) >= grace);
        if due.is_empty() {
            return Ok(0);
        }
        let held = self.ground.live.held();
        due.retain(|path| !held.contains(name(path)));
        due.sort_by_key(|path| self.refused.lock().contains(&Path::from(path.as_str())));
        let mut failures = Failures::default();
        for path in &due {
            let mut is_gone = true;
            for object in [path.clone(), format!("{}.index", stem(path))] {
                is_gone &= self.delete(&Path::from(object), &mut failures).await?;
            }
            if is_gone {
                self.swept.lock().insert(path.clone());
            }
        }
        failures.first.map_or(Ok(due.len()), Err)
    }

    /// Time until objects of a removed segment are due for deletion; zero where only a query still holds them.
    pub fn due_in(&self, grace: Duration) -> Option<Duration> {
        let now_ns = self.ground.clock.now_ns();
        let swept = self.swept.lock();
        let catalog = self.ground.catalog.snapshot();
        let left = catalog.removed.iter().filter(|removed| !swept.contains(&removed.path));
        left.map(|removed| grace.saturating_sub(age(removed.at_ns, now_ns))).min()
    }

    /// Paths of removed segments whose objects may still exist and for whose time of removal `is_due` is true.
    fn removed(&self, is_due: impl Fn(i64) -> bool) -> Vec<String> {
        let catalog = self.ground.catalog.snapshot();
        let removed: HashSet<&str> = catalog.removed.iter().map(|removed| removed.path.as_str()).collect();
        let mut swept = self.swept.lock();
        swept.retain(|path| removed.contains(path.as_str()));
        let due = catalog.removed.iter().filter(|removed| is_due(removed.at_ns));
        due.map(|removed| removed.path.clone()).filter(|path| !swept.contains(path)).collect()
    }

    /// Deletes one object; returns true if it is gone. Fails when too many deletes have failed.
    async fn delete(&self, path: &Path, failures: &mut Failures) -> Result<bool> {
        match self.ground.store.delete(path).await {
            Ok(()) => self.ground.stats.removed(1),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                self.refused.lock().insert(path.clone());
                return failures.add(Error::from(error)).map(|()| false);
            }
        }
        self.refused.lock().remove(path);
        Ok(true)
    }

    /// Deletes [`orphans`](Self::orphans); returns their number.
    pub async fn remove_orphans(&self, grace: Duration) -> Result<usize> {
        let orphans = self.orphans(grace).await?;
        self.remove(&orphans).await?;
        Ok(orphans.len())
    }

    /// Lists the objects below `segments/` and `runs/` that are in no commit and not being made, and those of segments
    /// that were removed at least `grace` ago. No later commit can name them.
    pub async fn orphans(&self, grace: Duration) -> Result<Vec<Path>> {
        let segments = self.list("segments").await?;
        let runs = self.list("runs").await?;
        // In this order: see `births`.
        let births = self.ground.live.births();
        let is_made = |path: &Path| !births.contains(name(path.as_ref()));
        let candidates: Vec<_> = segments.into_iter().chain(runs).filter(is_made).collect();
        // After the list: if another process has taken over and stored any of these, this fails.
        self.ground.catalog.confirm_owner().await?;
        let catalog = self.ground.catalog.snapshot();
        let now_ns = self.ground.clock.now_ns();
        let mut known = self.ground.live.held();
        known.extend(catalog.segments.iter().flat_map(|segment| names(segment)));
        known.extend(catalog.runs.runs().iter().map(|run| run.id.to_string()));
        let lately = catalog.removed.iter().filter(|removed| age(removed.at_ns, now_ns) < grace);
        known.extend(lately.map(|removed| name(&removed.path).to_owned()));
        Ok(candidates.into_iter().filter(|path| !known.contains(name(path.as_ref()))).collect())
    }

    /// Deletes orphans that were found while this process owned the database. A failed delete does not stop the
    /// others, as in [`remove_retired`](Self::remove_retired).
    pub async fn remove(&self, orphans: &[Path]) -> Result<()> {
        let mut failures = Failures::default();
        let mut orphans: Vec<&Path> = orphans.iter().collect();
        orphans.sort_by_key(|orphan| self.refused.lock().contains(orphan));
        for orphan in orphans {
            tracing::info!(object = %orphan, "removing an object that no query can need");
            self.delete(orphan, &mut failures).await?;
        }
        failures.first.map_or(Ok(()), Err)
    }

    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) when there are segments but no commit: the catalog is lost,
    /// and nothing may be committed or deleted.
    pub async fn refuse_lost_catalog(&self) -> Result<()> {
        if self.ground.catalog.snapshot().version > 0 {
            return Ok(());
        }
        match self.list("segments").await?.len() {
            0 => Ok(()),
            segments => Err(Error::corrupt(format!(
                "there are {segments} segments and no catalog/log: restore the catalog; nothing was changed"
            ))),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<Path>> {
        let objects = self.ground.store.list(Some(&Path::from(folder)));
        Ok(objects.map_ok(|object| object.location).try_collect().await?)
    }
}

/// Failed deletes of one pass.
#[derive(Debug, Default)]
struct Failures {
    first: Option<Error>,
    count: usize,
}

impl Failures {
    /// Adds an error; fails with the first one when there are too many.
    fn add(&mut self, error: Error) -> Result<()> {
        self.count += 1;
        let first = self.first.take().unwrap_or(error);
        if self.count >= FAILURES_MAX {
            return Err(first);
        }
        self.first = Some(first);
        Ok(())
    }
}

/// Names of the objects of a segment, without folder and extension.
pub(super) fn names(segment: &SegmentMeta) -> impl Iterator<Item = String> {
    [Some(segment.id.to_string()), segment.mask.map(|mask| mask.id.to_string())].into_iter().flatten()
}

/// Path without its extension, which the objects of one segment share.
fn stem(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(stem, _)| stem)
}

/// Id in the name of an object: the part before the first dot, or before the last one of a mask.
fn name(path: &str) -> &str {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    match file.split('.').collect::<Vec<_>>().as_slice() {
        [_, mask, "mask"] => mask,
        [name, ..] => name,
        [] => file,
    }
}

/// Time since `at_ns`; zero when the clock was set back.
fn age(at_ns: i64, now_ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(now_ns.saturating_sub(at_ns)).unwrap_or(0))
}
