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
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

use super::{Live, MaintenanceStats};
use crate::catalog::Catalog;
use crate::config::Clock;
use crate::error::{Error, Result};
use crate::segment::SegmentMeta;

/// How long the objects of removed segments are kept, so that queries which began before in another process
/// find what they read.
pub const GRACE: Duration = Duration::from_mins(10);

/// Deletes what nobody needs. Only the owner of the directory may.
#[derive(Debug)]
pub struct Sweeper {
    live: Arc<Live>,
    catalog: Arc<Catalog>,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    stats: Arc<MaintenanceStats>,
    /// Objects of removed segments that are gone already.
    swept: Mutex<HashSet<String>>,
}

impl Sweeper {
    /// Sweeps `store`, in which `catalog` is, and counts in `stats`.
    pub fn new(
        live: Arc<Live>,
        catalog: Arc<Catalog>,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        stats: Arc<MaintenanceStats>,
    ) -> Self {
        Self { live, catalog, store, clock, stats, swept: Mutex::default() }
    }

    /// Where deleted objects are counted.
    pub fn stats(&self) -> &Arc<MaintenanceStats> {
        &self.stats
    }

    /// Deletes the objects of segments that were removed at least `grace` ago and that no query of this
    /// process can be reading. Returns of how many segments.
    pub async fn remove_retired(&self, grace: Duration) -> Result<usize> {
        let now_ns = self.clock.now_ns();
        let catalog = self.catalog.snapshot();
        let removed: HashSet<&str> = catalog.removed.iter().map(|removed| removed.path.as_str()).collect();
        let mut due: Vec<String> = {
            let mut swept = self.swept.lock();
            swept.retain(|path| removed.contains(path.as_str()));
            let is_old = |at_ns| age(at_ns, now_ns) >= grace;
            let old = catalog.removed.iter().filter(|removed| is_old(removed.at_ns));
            old.map(|removed| removed.path.clone()).filter(|path| !swept.contains(path)).collect()
        };
        if due.is_empty() {
            return Ok(0);
        }
        let held = self.live.held();
        due.retain(|path| !held.contains(name(path)));
        for path in &due {
            for object in [path.clone(), format!("{}.index", stem(path))] {
                match self.store.delete(&Path::from(object)).await {
                    Ok(()) => self.stats.removed(1),
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.swept.lock().insert(path.clone());
        }
        Ok(due.len())
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
        let births = self.live.births();
        let is_made = |path: &Path| !births.contains(name(path.as_ref()));
        let candidates: Vec<_> = segments.into_iter().chain(runs).filter(is_made).collect();
        // After the list: had another process taken over before it stored any of these, we know by now.
        self.catalog.confirm_owner().await?;
        let catalog = self.catalog.snapshot();
        let now_ns = self.clock.now_ns();
        let mut known = self.live.held();
        known.extend(catalog.segments.iter().flat_map(|segment| names(segment)));
        known.extend(catalog.runs.runs().iter().map(|run| run.id.to_string()));
        let lately = catalog.removed.iter().filter(|removed| age(removed.at_ns, now_ns) < grace);
        known.extend(lately.map(|removed| name(&removed.path).to_owned()));
        Ok(candidates.into_iter().filter(|path| !known.contains(name(path.as_ref()))).collect())
    }

    /// Deletes orphans that were found while this process had the database.
    pub async fn remove(&self, orphans: &[Path]) -> Result<()> {
        for orphan in orphans {
            tracing::info!(object = %orphan, "removing an object that no query can need");
            match self.store.delete(orphan).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.stats.removed(orphans.len());
        Ok(())
    }

    /// A catalog without a single commit beside existing segments means that the catalog is lost: that is
    /// [`Corrupt`](crate::ErrorKind::Corrupt), and nobody may commit to it or delete anything.
    pub async fn refuse_lost_catalog(&self) -> Result<()> {
        if self.catalog.snapshot().version > 0 {
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
        let objects = self.store.list(Some(&Path::from(folder)));
        Ok(objects.map_ok(|object| object.location).try_collect().await?)
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
