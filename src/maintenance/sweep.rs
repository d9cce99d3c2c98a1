//! Which objects does nobody need any more?
//!
//! | objects | deleted |
//! |---|---|
//! | of a segment or mask that a commit removed | after a grace period, when no query of this process may read them |
//! | that no commit knows: whoever stored them died before | soon after the next start, and once in a while |
//! | of a run that is not in the catalog | the same |
//! | staged files, spilled queries | at the next start |
//!
//! A query of this process holds the [`SegmentMeta`] of whatever it reads, and
//! [`Live`] knows which ones are held. Queries of other processes have the grace period.

use std::collections::HashSet;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parking_lot::Mutex;

use super::Ground;
use crate::error::{Error, Result};
use crate::segment::SegmentMeta;

/// How long the objects of removed segments are kept, so that queries which began before in another process
/// find what they read.
pub const GRACE: Duration = Duration::from_mins(10);

/// Deletes that may fail in one pass: more mean that the store is out of order, and each may take minutes.
const FAILURES_MAX: usize = 8;

/// Deletes what nobody needs. Only the owner of the directory may.
#[derive(Debug)]
pub struct Sweeper {
    ground: Ground,
    /// Objects of removed segments that are gone already.
    swept: Mutex<HashSet<String>>,
    /// Objects that the store has refused to delete: others come first.
    refused: Mutex<HashSet<Path>>,
}

impl Sweeper {
    /// Sweeps the store of `ground`.
    pub fn new(ground: Ground) -> Self {
        Self { ground, swept: Mutex::default(), refused: Mutex::default() }
    }

    /// Deletes the objects of segments that were removed at least `grace` ago and that no query of this
    /// process can be reading. Returns of how many segments.
    ///
    /// An object that cannot be deleted does not keep the others; the first error is returned after them, or
    /// after [`FAILURES_MAX`].
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

    /// Time until objects of a removed segment are to be deleted; zero where only a query keeps them.
    pub fn due_in(&self, grace: Duration) -> Option<Duration> {
        let now_ns = self.ground.clock.now_ns();
        let swept = self.swept.lock();
        let catalog = self.ground.catalog.snapshot();
        let left = catalog.removed.iter().filter(|removed| !swept.contains(&removed.path));
        left.map(|removed| grace.saturating_sub(age(removed.at_ns, now_ns))).min()
    }

    /// Paths of removed segments whose objects are not known to be gone, of those for which `is_due` is true of the
    /// time of their removal.
    fn removed(&self, is_due: impl Fn(i64) -> bool) -> Vec<String> {
        let catalog = self.ground.catalog.snapshot();
        let removed: HashSet<&str> = catalog.removed.iter().map(|removed| removed.path.as_str()).collect();
        let mut swept = self.swept.lock();
        swept.retain(|path| removed.contains(path.as_str()));
        let due = catalog.removed.iter().filter(|removed| is_due(removed.at_ns));
        due.map(|removed| removed.path.clone()).filter(|path| !swept.contains(path)).collect()
    }

    /// Deletes one object; returns whether it is gone. Fails when too many have failed.
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

    /// Deletes [`orphans`](Self::orphans); returns how many.
    pub async fn remove_orphans(&self, grace: Duration) -> Result<usize> {
        let orphans = self.orphans(grace).await?;
        self.remove(&orphans).await?;
        Ok(orphans.len())
    }

    /// The objects below `segments/` and `runs/` that no commit knows and nobody is making, and those of
    /// segments that were removed at least `grace` ago. No commit will ever know them.
    pub async fn orphans(&self, grace: Duration) -> Result<Vec<Path>> {
        let segments = self.list("segments").await?;
        let runs = self.list("runs").await?;
        // In this order: see `births`.
        let births = self.ground.live.births();
        let is_made = |path: &Path| !births.contains(name(path.as_ref()));
        let candidates: Vec<_> = segments.into_iter().chain(runs).filter(is_made).collect();
        // After the list: had another process taken over before it stored any of these, we know by now.
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

    /// Deletes orphans that were found while this process had the database. One that cannot be deleted does not
    /// keep the others, as in [`remove_retired`](Self::remove_retired).
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

    /// A catalog without a single commit beside existing segments means that the catalog is lost: that is
    /// [`Corrupt`](crate::ErrorKind::Corrupt), and nobody may commit to it or delete anything.
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

/// Deletes that the store has refused.
#[derive(Debug, Default)]
struct Failures {
    first: Option<Error>,
    count: usize,
}

impl Failures {
    /// Adds one; fails with the first when there are too many.
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

/// The names of the objects of a segment.
pub(super) fn names(segment: &SegmentMeta) -> impl Iterator<Item = String> {
    [Some(segment.id.to_string()), segment.mask.map(|mask| mask.id.to_string())].into_iter().flatten()
}

/// What the objects of one segment have in common: the path without its extension.
fn stem(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(stem, _)| stem)
}

/// The id in the name of an object: what is before the first dot, or the last one of a mask.
fn name(path: &str) -> &str {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    match file.split('.').collect::<Vec<_>>().as_slice() {
        [_, mask, "mask"] => mask,
        [name, ..] => name,
        [] => file,
    }
}

/// How long ago `at_ns` was; nothing when the clock was set back.
fn age(at_ns: i64, now_ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(now_ns.saturating_sub(at_ns)).unwrap_or(0))
}
