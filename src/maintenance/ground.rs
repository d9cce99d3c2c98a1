//! What does every part of maintenance stand on?
//!
//! The state of one database and its store, and the [`Capacity`] that all databases of a process share. Cheap to
//! clone; whatever commits, commits through [`Ground::commit`], so that queries learn of it.

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

/// The state of one database, and what it is kept in.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Segments and buffer, as queries see them.
    pub live: Arc<Live>,
    /// The catalog that is changed.
    pub catalog: Arc<Catalog>,
    /// Objects of segments, runs and masks.
    pub store: Arc<dyn ObjectStore>,
    /// Source of "now".
    pub clock: Arc<dyn Clock>,
    /// Counts of the work done.
    pub stats: Arc<MaintenanceStats>,
    /// Limits of the work at one time, shared by all databases of the process.
    pub capacity: Arc<Capacity>,
}

impl Ground {
    /// The ground of one database, which has done no work yet.
    pub fn new(
        live: Arc<Live>,
        catalog: Arc<Catalog>,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        capacity: Arc<Capacity>,
    ) -> Self {
        Self { live, catalog, store, clock, stats: Arc::default(), capacity }
    }

    /// Commits `change`, in which the objects of `births` begin to count, and tells queries.
    ///
    /// Fails as [`Catalog::commit`] does. After a [`Conflict`](crate::ErrorKind::Conflict) the objects will never
    /// count; after any other failure they may.
    pub(super) async fn commit(&self, births: Vec<Birth>, change: Change) -> Result<()> {
        let through = change.wal.map(|range| range.through);
        let committed = decide(births, self.catalog.commit(change)).await;
        // After a failure too: the commit may have got through, and another's is known after a conflict.
        self.live.committed(&self.catalog.snapshot());
        let watermark = committed?.wal_watermark;
        assert!(
            through.is_none_or(|through| through <= watermark),
            "what was committed is behind the watermark"
        );
        Ok(())
    }

    /// Deletes objects that will never be committed, until the store refuses: the rest are orphans, which are
    /// deleted with the others.
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

/// Limits of the work that all databases of a process do at one time.
#[derive(Debug)]
pub struct Capacity {
    flushes: Semaphore,
    merges: Semaphore,
    wakeups: AtomicU64,
}

impl Capacity {
    /// At most `flushes_max` flushes at one time, and `merges_max` merges in the background; at least one of each.
    pub fn new(flushes_max: usize, merges_max: usize) -> Self {
        let permits = |most: usize| Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS));
        Self { flushes: permits(flushes_max), merges: permits(merges_max), wakeups: AtomicU64::new(0) }
    }

    /// Waits until one more buffer may be encoded.
    pub(super) async fn flush(&self) -> Result<SemaphorePermit<'_>> {
        permit(&self.flushes).await
    }

    /// Waits until one more merge may run in the background.
    pub(super) async fn merge(&self) -> Result<SemaphorePermit<'_>> {
        permit(&self.merges).await
    }

    /// Number of times that a background task began to run since the process started.
    pub fn wakeups(&self) -> u64 {
        self.wakeups.load(Ordering::Relaxed)
    }

    pub(super) fn count_wakeup(&self) {
        self.wakeups.fetch_add(1, Ordering::Relaxed);
    }
}

impl Default for Capacity {
    /// A flush per processor, since encoding is all computation; half as many merges, which take longer and more
    /// memory.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self::new(processors, processors.div_ceil(2))
    }
}

async fn permit(semaphore: &Semaphore) -> Result<SemaphorePermit<'_>> {
    semaphore.acquire().await.map_err(|e| Error::internal("a limit of work was closed").with_source(e))
}
