//! How are runs made, merged and deleted?
//!
//! In the background, without delaying flushes and imports: lookups read the index of a segment that is in no run yet.
//! A replaced run is deleted after a while; a query that still wants it then reads the segments' indexes.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use parking_lot::Mutex;

use super::Ground;
use super::flush::store_object;
use super::run_policy::{RUN_BYTES_MAX, RunStep, next_step};
use crate::catalog::{CatalogSnapshot, Change};
use crate::error::{Error, ErrorKind, Result};
use crate::index::run::{BuiltRun, Run, RunInput, merge};
use crate::index::{RunId, RunMeta, SegmentIndex};
use crate::segment::{SegmentId, SegmentMeta};

/// Time for which a replaced run can still be read.
const GRACE_NS: i64 = 60_000_000_000;

/// Makes, merges and drops runs.
#[derive(Debug)]
pub struct RunKeeper {
    ground: Ground,
    one_at_a_time: tokio::sync::Mutex<()>,
    /// Replaced runs: time of the replacement, and path.
    retired: Mutex<Vec<(i64, String)>>,
}

impl RunKeeper {
    /// Creates a keeper of the runs of `ground`.
    pub fn new(ground: Ground) -> Self {
        let (one_at_a_time, retired) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { ground, one_at_a_time, retired }
    }

    /// Time until a replaced run is due for deletion.
    pub fn due_in(&self) -> Option<Duration> {
        let oldest_ns = self.retired.lock().iter().map(|(at_ns, _)| *at_ns).min()?;
        let left_ns = oldest_ns.saturating_add(GRACE_NS).saturating_sub(self.ground.clock.now_ns());
        Some(Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0)))
    }

    /// Carries out the next step; returns false when nothing was due.
    ///
    /// Takes seconds at most, mostly on one core. When it fails, nothing has changed.
    pub async fn step(&self) -> Result<bool> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        self.delete_retired().await;
        let snapshot = self.ground.catalog.snapshot();
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
        let mut being_made = Vec::new();
        let mut change = Change { remove_runs: replaced, ..Change::default() };
        if let Some(inputs) = built.filter(|inputs| !inputs.is_empty()) {
            let (id, birth) = self.ground.live.births().run(self.ground.clock.now_ns());
            change.add_runs.push(self.store_run(id, inputs).await?);
            being_made.push(birth);
        }
        let retired = change.remove_runs.clone();
        let made: Vec<String> = change.add_runs.iter().map(|run| run.path()).collect();
        if let Err(error) = self.ground.commit(being_made, change).await {
            if error.kind() == ErrorKind::Conflict {
                self.ground.discard(&made).await;
            }
            return Err(error);
        }
        self.retire(&snapshot, &retired);
        Ok(true)
    }

    /// Carries out all due steps. A failure is only logged, as queries are right without runs.
    pub async fn settle(&self) {
        loop {
            match self.step().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "could not merge indexes; lookups read more objects until a merge succeeds");
                    return;
                }
            }
        }
    }

    /// Opens the indexes of the first segments that make a run of allowed size; the first one in any case.
    async fn inputs_of_segments(&self, segments: &[Arc<SegmentMeta>]) -> Result<Vec<RunInput>> {
        let mut inputs = Vec::new();
        let mut bytes = 0;
        for segment in segments {
            let index = readable(SegmentIndex::open(&self.ground.store, segment).await)?.flatten();
            bytes += index.as_ref().map_or(0, |index| index.lookup_bytes());
            if bytes > RUN_BYTES_MAX && !inputs.is_empty() {
                break;
            }
            inputs.push(RunInput::Segment(segment.id, index));
        }
        Ok(inputs)
    }

    /// Opens runs. Leaves out unreadable ones: their segments are then in no run, and get a new one.
    async fn inputs_of_runs(&self, runs: Vec<(Arc<RunMeta>, Vec<SegmentId>)>) -> Vec<RunInput> {
        let mut inputs = Vec::new();
        for (meta, alive) in runs {
            match Run::open(&self.ground.store, &meta).await {
                Ok(run) => inputs.push(RunInput::Run(Arc::new(run), alive)),
                Err(error) => tracing::error!(%error, "a run cannot be read; it will be rebuilt"),
            }
        }
        inputs
    }

    async fn store_run(&self, id: RunId, inputs: Vec<RunInput>) -> Result<Arc<RunMeta>> {
        let runtime = tokio::runtime::Handle::current();
        // A blocking task, as reading is only a small part of the merge.
        let merged = tokio::task::spawn_blocking(move || runtime.block_on(merge(id, &inputs)));
        let BuiltRun { meta, object } =
            merged.await.map_err(|e| Error::internal("merging indexes failed").with_source(e))??;
        store_object(&self.ground.store, &meta.path(), object.object).await?;
        tracing::debug!(
            segments = meta.segments.len(),
            entries = meta.entries,
            bytes = meta.bytes,
            "made a run"
        );
        Ok(Arc::new(meta))
    }

    fn retire(&self, before: &CatalogSnapshot, runs: &[RunId]) {
        let now_ns = self.ground.clock.now_ns();
        let runs = before.runs.runs().iter().filter(|run| runs.contains(&run.id));
        self.retired.lock().extend(runs.map(|run| (now_ns, run.path())));
    }

    async fn delete_retired(&self) {
        let now_ns = self.ground.clock.now_ns();
        let due: Vec<_> = {
            let mut retired = self.retired.lock();
            retired.extract_if(.., |(at_ns, _)| now_ns.saturating_sub(*at_ns) >= GRACE_NS).collect()
        };
        for (_, path) in due {
            // A run that stays is an orphan, deleted at the next start.
            if let Err(error) = self.ground.store.delete(&Path::from(path)).await {
                tracing::warn!(%error, "could not delete a run that was replaced");
            }
        }
    }
}

/// Returns none for an index that will never be readable; an error when it may be readable later.
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use futures::TryStreamExt;
    use object_store::ObjectStore;
    use object_store::memory::InMemory;

    use super::*;
    use crate::buffer::Buffer;
    use crate::catalog::Catalog;
    use crate::config::{Clock, IndexSettings};
    use crate::event::{CoreEvent, EventBatchBuilder, KeyDictionary, TraceId};
    use crate::index::{IndexCache, ValueHash};
    use crate::maintenance::{Live, store_segment};

    #[derive(Debug, Default)]
    struct SetClock(AtomicI64);

    impl Clock for SetClock {
        fn now_ns(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    struct Bench {
        store: Arc<dyn ObjectStore>,
        clock: Arc<SetClock>,
        catalog: Arc<Catalog>,
        keeper: RunKeeper,
    }

    impl Bench {
        async fn new() -> Self {
            let (store, clock) =
                (Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, Arc::<SetClock>::default());
            let catalog = Arc::new(Catalog::load(Arc::clone(&store), clock.clone()).await.unwrap());
            let keys = Arc::new(KeyDictionary::new());
            let live = Arc::new(Live::new(Arc::default(), Buffer::default(), keys));
            let (known, objects) = (Arc::clone(&catalog), Arc::clone(&store));
            let keeper = RunKeeper::new(Ground::new(live, known, objects, clock.clone(), Arc::default()));
            Self { store, clock, catalog, keeper }
        }

        /// Commits segments with one trace each, with these numbers.
        async fn add(&self, traces: std::ops::Range<u128>) {
            for trace in traces {
                let mut builder = EventBatchBuilder::new();
                let trace_id = TraceId::from_slice(&(trace + 1).to_be_bytes());
                builder.push(&CoreEvent { timestamp_ns: 1, trace_id, ..CoreEvent::default() });
                let batch = Arc::new(builder.finish().unwrap());
                let stored =
                    store_segment(&self.store, SegmentId::new(1), vec![batch], &IndexSettings::default())
                        .await;
                let change = Change { add: vec![stored.unwrap()], ..Change::default() };
                self.catalog.commit(change).await.unwrap();
            }
        }

        /// Number of segments that may have the trace.
        async fn may_have(&self, trace: u128) -> usize {
            let (snapshot, cache) = (self.catalog.snapshot(), IndexCache::new(1 << 20));
            let hash = ValueHash::of_bytes(&(trace + 1).to_be_bytes());
            let answer = snapshot.runs.segments(&self.store, &cache, "trace_id", hash).await;
            snapshot.segments.iter().filter(|segment| answer.may_have(segment.id)).count()
        }

        async fn objects(&self) -> usize {
            self.store.list(Some(&Path::from("runs"))).try_collect::<Vec<_>>().await.unwrap().len()
        }
    }

    #[tokio::test]
    async fn runs_are_made_merged_and_deleted_and_traces_found_all_the_time() {
        let bench = Bench::new().await;
        for round in 0..8 {
            bench.add(round * 10..round * 10 + 10).await;
            let fresh = if round == 7 { 1 } else { round as usize + 1 };
            bench.keeper.settle().await;
            assert_eq!(bench.catalog.snapshot().runs.len(), fresh, "round {round}");
            assert_eq!(bench.may_have(5).await, 1);
        }
        assert_eq!(bench.objects().await, 9, "eight that were merged, and the one made of them");
        bench.clock.0.store(GRACE_NS, Ordering::Relaxed);
        assert!(!bench.keeper.step().await.unwrap());
        assert_eq!((bench.objects().await, bench.may_have(5).await, bench.may_have(79).await), (1, 1, 1));

        let gone = bench.catalog.snapshot().segments.iter().map(|segment| segment.id).collect();
        bench.catalog.commit(Change { remove: gone, ..Change::default() }).await.unwrap();
        bench.keeper.settle().await;
        assert!(bench.catalog.snapshot().runs.is_empty());
    }

    #[tokio::test]
    async fn an_index_that_is_lost_keeps_no_run_from_being_made() {
        let bench = Bench::new().await;
        bench.add(0..9).await;
        let lost = Path::from(bench.catalog.snapshot().segments[3].index_path());
        bench.store.delete(&lost).await.unwrap();
        bench.keeper.settle().await;
        assert_eq!(bench.catalog.snapshot().runs.len(), 1);
        let mut asked = 0;
        for trace in 0..9 {
            asked += bench.may_have(trace).await;
        }
        assert_eq!(asked, 8 * 2 + 1, "the one without is asked itself, for its own trace and for the others");
        assert!(!bench.keeper.step().await.unwrap(), "it is not tried for ever");
    }

    #[tokio::test]
    async fn a_run_that_is_lost_is_made_again_when_it_would_be_merged() {
        let bench = Bench::new().await;
        for round in 0..7 {
            bench.add(round * 10..round * 10 + 10).await;
            bench.keeper.settle().await;
        }
        let lost = bench.catalog.snapshot().runs.runs()[2].path();
        bench.store.delete(&Path::from(lost)).await.unwrap();
        assert_eq!(bench.may_have(0).await, 11, "its ten segments are asked themselves");
        bench.add(70..80).await;
        bench.keeper.settle().await;
        assert_eq!((bench.catalog.snapshot().runs.len(), bench.may_have(0).await), (2, 1));
    }
}
