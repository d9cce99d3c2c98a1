//! Which of all segments may have a value?

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use object_store::ObjectStore;

use super::cache::IndexCache;
use super::hash::ValueHash;
use super::run::{Run, RunMeta};
use crate::segment::SegmentId;

/// The runs of one catalog snapshot. Building it takes O(segments), so it is built once per change.
#[derive(Debug, Default)]
pub struct RunSet {
    runs: Vec<Arc<RunMeta>>,
    /// Per segment: the position of its run, and its number in that run.
    places: HashMap<SegmentId, (u32, u32)>,
}

impl RunSet {
    /// Builds the set of `runs`.
    pub fn new(runs: Vec<Arc<RunMeta>>) -> Self {
        let segments: usize = runs.iter().map(|run| run.segments.len()).sum();
        let mut places = HashMap::with_capacity(segments);
        for (run, at) in runs.iter().zip(0..) {
            places.extend(run.segments.iter().zip(0..).map(|(segment, number)| (*segment, (at, number))));
        }
        Self { runs, places }
    }

    /// The runs, in no particular order.
    pub fn runs(&self) -> &[Arc<RunMeta>] {
        &self.runs
    }

    /// Finds the segments that may have `hash` in the attribute or core column with this physical name. One read of
    /// 2 kB per run, all in parallel. Runs that cannot be read are ignored.
    pub async fn segments(
        &self,
        store: &Arc<dyn ObjectStore>,
        cache: &IndexCache,
        column: &str,
        hash: ValueHash,
    ) -> RunAnswer<'_> {
        let ask = |meta| async move {
            let run = cache.run(store, meta).await?;
            let numbers = run.numbers(column, hash).await?;
            Some(OfRun { run, numbers })
        };
        let answers = join_all(self.runs.iter().map(ask)).await;
        RunAnswer { set: self, column: column.to_owned(), answers }
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// True if there are no runs.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// True if the segment is in some run.
    pub fn contains(&self, segment: SegmentId) -> bool {
        self.places.contains_key(&segment)
    }
}

/// Answer of the runs for one value.
#[derive(Debug)]
pub struct RunAnswer<'a> {
    set: &'a RunSet,
    column: String,
    /// One answer per run; `None` if the run cannot be read or lacks the column.
    answers: Vec<Option<OfRun>>,
}

#[derive(Debug)]
struct OfRun {
    run: Arc<Run>,
    /// Numbers of the segments that have the value.
    numbers: Vec<u32>,
}

impl RunAnswer<'_> {
    /// Returns whether the segment has a value with this hash; `None` if no run covers it, so that its own index
    /// must be read.
    pub fn has(&self, segment: SegmentId) -> Option<bool> {
        let (run, number) = self.set.places.get(&segment)?;
        let answer = self.answers.get(*run as usize)?.as_ref()?;
        answer.run.covers(&self.column, *number).then(|| answer.numbers.binary_search(number).is_ok())
    }

    /// True if the segment has the value, or if no run covers it.
    pub fn may_have(&self, segment: SegmentId) -> bool {
        self.has(segment) != Some(false)
    }

    /// Segments that have the value according to the runs, in no particular order; some may be gone.
    pub fn holders(&self) -> impl Iterator<Item = SegmentId> {
        let answers = self.answers.iter().flatten();
        answers
            .flat_map(|of| of.numbers.iter().filter_map(|n| of.run.meta().segments.get(*n as usize).copied()))
    }
}
