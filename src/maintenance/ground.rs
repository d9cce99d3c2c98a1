//! What do all parts of maintenance share?
//!
//! The state of one database and its store, and the [`Capacity`] that all databases of a process share. Cheap to
//! clone. All commits go through [`Ground::commit`], so that queries see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::births::{Birth, decide};
use super::{Live, MaintenanceStats};
use crate::catalog::{Catalog, Change};
use crate::config::Clock;
use crate::error::{Error, Result};

/// State and storage of one database.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Segments and buffer, as queries see them.
    pub live: Arc<Live>,
    /// Catalog that commits change.
    pub catalog: Arc<Catalog>,
    /// Objects of segments, runs and masks.
    pub store: Arc<dyn ObjectStore>,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Counts of the work done.
    pub stats: Arc<MaintenanceStats>,
    /// Limits of the work at one time, shared by all databases of the process.
    pub capacity: Arc<Capacity>,
}

impl Ground {
    /// Creates the ground of one database, with all counts at zero.
    pub fn new(
        live: Arc<Live>,
        catalog: Arc<Catalog>,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        capacity: Arc<Capacity>,
    ) -> Self {
        Self { live, catalog, store, clock, stats: Arc::default(), capacity }
    }

    /// Commits `change`, which adds the objects of `births`, and makes it visible to queries.
    ///
    /// Fails as [`Catalog::commit`] does. After a [`Conflict`](crate::ErrorKind::Conflict) the objects will never be
    /// in the catalog; after any other failure they may be.
    pub(super) async fn commit(&self, births: Vec<Birth>, change: Change) -> Result<()> {
        let through = change.wal.map(|range| range.through);
        let committed = decide(births, self.catalog.commit(change)).await;
        // After a failure too: the commit may have got through, or a conflict has loaded another's commit.
        self.live.committed(&self.catalog.snapshot());
        let watermark = committed?.wal_watermark;
        assert!(
            through.is_none_or(|through| through <= watermark),
            "what was committed is behind the watermark"
        );
        Ok(())
    }

    /// Deletes objects that will never be committed. Stops at the first failure: the rest are orphans, which the
    /// sweeper deletes.
    pub(super) async fn discard(&self, paths: &[String]) {
        for path in paths {
            match self.store.delete(&Path::from(path.as_str())).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, path, "could not delete an object that was not needed after all");
                    return;
                }
            }
        }
    }
}

/// Limits of concurrent work, shared by all databases of a process.
#[derive(Debug)]
pub struct Capacity {
    flushes: Semaphore,
    merges: Semaphore,
    wakeups: AtomicU64,
}

impl Capacity {
    /// Allows `flushes_max` flushes and `merges_max` background merges at one time; at least one of each.
    pub fn new(flushes_max: usize, merges_max: usize) -> Self {
        let permits = |most: usize| Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS));
        Self { flushes: permits(flushes_max), merges: permits(merges_max), wakeups: AtomicU64::new(0) }
    }

    /// Waits until one more flush may run.
    pub(super) async fn flush(&self) -> Result<SemaphorePermit<'_>> {
        permit(&self.flushes).await
    }

    /// Waits until one more merge may run in the background.
    pub(super) async fn merge(&self) -> Result<SemaphorePermit<'_>> {
        permit(&self.merges).await
    }

    /// Number of wake-ups of background tasks.
    pub fn wakeups(&self) -> u64 {
        self.wakeups.load(Ordering::Relaxed)
    }

    pub(super) fn count_wakeup(&self) {
        self.wakeups.fetch_add(1, Ordering::Relaxed);
    }
}

impl Default for Capacity {
    /// One flush per processor, since encoding only computes; half as many merges, which take longer and more memory.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self::new(processors, processors.div_ceil(2))
    }
}

async fn permit(semaphore: &Semaphore) -> Result<SemaphorePermit<'_>> {
    semaphore.acquire().await.map_err(|e| Error::internal("a limit of work was closed").with_source(e))
}
