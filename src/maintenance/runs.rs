//! How do runs come and go?
//!
//! In the background, beside flushes and imports and never in their way: a segment that no run is about yet
//! is found all the same, by asking it. A run that was replaced is deleted after a while; a query that still
//! wants it then asks the segments.

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

use super::Live;
use super::flush::store_object;
use super::run_policy::{RUN_BYTES_MAX, RunStep, next_step};
use crate::catalog::{Catalog, CatalogSnapshot, Change};
use crate::config::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::index::run::{BuiltRun, Run, RunInput, merge};
use crate::index::{RunId, RunMeta, SegmentIndex};
use crate::segment::{SegmentId, SegmentMeta};

/// How long a run that was replaced can still be read.
const GRACE_NS: i64 = 60_000_000_000;

/// Makes, merges and drops runs.
#[derive(Debug)]
pub struct RunKeeper {
    live: Arc<Live>,
    catalog: Arc<Catalog>,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    one_at_a_time: tokio::sync::Mutex<()>,
    /// Paths of runs that were replaced, and when.
    retired: Mutex<Vec<(i64, String)>>,
}

impl RunKeeper {
    /// Keeps the runs of `catalog` in `store`.
    pub fn new(
        live: Arc<Live>,
        catalog: Arc<Catalog>,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (one_at_a_time, retired) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { live, catalog, store, clock, one_at_a_time, retired }
    }

    /// Does what is due next, and returns whether anything was.
    ///
    /// Takes seconds at most, mostly of one core. When it fails, nothing has changed.
    pub async fn step(&self) -> Result<bool> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        self.delete_retired().await;
        let snapshot = self.catalog.snapshot();
        let Some(step) = next_step(&snapshot.segments, &snapshot.runs) else { return Ok(false) };
        let replaced: Vec<RunId> = match &step {
            RunStep::Drop(runs) => runs.clone(),
            RunStep::Build(_) => Vec::new(),
            RunStep::Merge(runs) => runs.iter().map(|(run, _)| run.id).collect(),
        };
        let built = match step {
            RunStep::Drop(_) => None,
            RunStep::Build(segments) => Some(self.inputs_of_segments(&segments).await?),
            RunStep::Merge(runs) => Some(self.inputs_of_runs(runs).await),
        };
        let mut change = Change { remove_runs: replaced, ..Change::default() };
        if let Some(inputs) = built.filter(|inputs| !inputs.is_empty()) {
            change.add_runs.push(self.store_run(inputs).await?);
        }
        let retired = change.remove_runs.clone();
        let committed = self.catalog.commit(change).await;
        self.live.committed(&self.catalog.snapshot());
        committed?;
        self.retire(&snapshot, &retired);
        Ok(true)
    }

    /// Does all that is due. A failure is logged: runs only save time.
    pub async fn settle(&self) {
        loop {
            match self.step().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "could not merge indexes; lookups ask more objects until it works");
                    return;
                }
            }
        }
    }

    /// As many of the segments as make a run that is not too large; the first in any case.
    async fn inputs_of_segments(&self, segments: &[Arc<SegmentMeta>]) -> Result<Vec<RunInput>> {
        let mut inputs = Vec::new();
        let mut bytes = 0;
        for segment in segments {
            let index = readable(SegmentIndex::open(&self.store, segment).await)?.flatten();
            bytes += index.as_ref().map_or(0, |index| index.lookup_bytes());
            if bytes > RUN_BYTES_MAX && !inputs.is_empty() {
                break;
            }
            inputs.push(RunInput::Segment(segment.id, index));
        }
        Ok(inputs)
    }

    /// Runs that cannot be read are left out: their segments are then in no run, and get a new one.
    async fn inputs_of_runs(&self, runs: Vec<(Arc<RunMeta>, Vec<SegmentId>)>) -> Vec<RunInput> {
        let mut inputs = Vec::new();
        for (meta, alive) in runs {
            match Run::open(&self.store, &meta).await {
                Ok(run) => inputs.push(RunInput::Run(Arc::new(run), alive)),
                Err(error) => tracing::error!(%error, "a run cannot be read; it is made again"),
            }
        }
        inputs
    }

    async fn store_run(&self, inputs: Vec<RunInput>) -> Result<Arc<RunMeta>> {
        let id = RunId::new(self.clock.now_ns());
        let runtime = tokio::runtime::Handle::current();
        // Reading is a small part of it.
        let merged = tokio::task::spawn_blocking(move || runtime.block_on(merge(id, &inputs)));
        let BuiltRun { meta, object } =
            merged.await.map_err(|e| Error::internal("merging indexes failed").with_source(e))??;
        store_object(&self.store, &meta.path(), object.object).await?;
        tracing::debug!(
            segments = meta.segments.len(),
            entries = meta.entries,
            bytes = meta.bytes,
            "made a run"
        );
        Ok(Arc::new(meta))
    }

    fn retire(&self, before: &CatalogSnapshot, runs: &[RunId]) {
        let now_ns = self.clock.now_ns();
        let runs = before.runs.runs().iter().filter(|run| runs.contains(&run.id));
        self.retired.lock().extend(runs.map(|run| (now_ns, run.path())));
    }

    async fn delete_retired(&self) {
        let now_ns = self.clock.now_ns();
        let due: Vec<_> = {
            let mut retired = self.retired.lock();
            retired.extract_if(.., |(at_ns, _)| now_ns.saturating_sub(*at_ns) >= GRACE_NS).collect()
        };
        for (_, path) in due {
            // What is left is deleted at the next start.
            if let Err(error) = self.store.delete(&Path::from(path)).await {
                tracing::warn!(%error, "could not delete a run that was replaced");
            }
        }
    }
}

/// None for an index that will never be readable; an error when it may be later.
fn readable<T>(opened: Result<T>) -> Result<Option<T>> {
    match opened {
        Ok(index) => Ok(Some(index)),
        Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
        Err(error) => {
            tracing::error!(%error, "an index cannot be read; its segment is scanned instead");
            Ok(None)
        }
    }
}

/// Deletes the runs that no commit knows. Returns how many. Only the owner of the directory may call it,
/// before anything is written.
pub async fn remove_orphan_runs(store: &Arc<dyn ObjectStore>, catalog: &CatalogSnapshot) -> Result<usize> {
    let known: HashSet<String> = catalog.runs.runs().iter().map(|run| run.path()).collect();
    let folder = Path::from("runs");
    let objects: Vec<_> = store.list(Some(&folder)).map_ok(|object| object.location).try_collect().await?;
    let orphans: Vec<_> = objects.into_iter().filter(|path| !known.contains(path.as_ref())).collect();
    for orphan in &orphans {
        tracing::info!(object = %orphan, "removing a run that is not in the catalog");
        store.delete(orphan).await?;
    }
    Ok(orphans.len())
}
