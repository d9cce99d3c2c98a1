//! Which runs should there be?
//!
//! A pure function from segments and runs to the next step. A lookup reads every run, and every segment that is in no
//! run, so there should be few of both. Runs are merged when there are many of similar size, like the levels of an LSM
//! tree: each entry is written once per level.

use std::collections::HashSet;
use std::sync::Arc;

use crate::index::run::RUN_SEGMENTS_MAX;
use crate::index::{RunId, RunMeta, RunSet};
use crate::segment::{SegmentId, SegmentMeta};

/// Most segments that may be in no run: a lookup in one takes a read or two.
const UNCOVERED_MAX: usize = 8;
/// Most segments that go into a new run.
const BUILD_SEGMENTS_MAX: usize = 64;
/// Number of runs of one size that are merged into one.
const MERGE_RUNS: usize = 8;
/// Upper bound of the smallest size class, in bytes; each further class is [`MERGE_RUNS`] times larger.
const SMALL_RUN_BYTES: u64 = 256 << 10;
/// Largest run, in bytes: it is in memory while it is made.
pub(super) const RUN_BYTES_MAX: u64 = 64 << 20;

/// One change to the runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RunStep {
    /// Drops runs whose segments are all gone.
    Drop(Vec<RunId>),
    /// Builds a run of these segments, or of the first few of them.
    Build(Vec<Arc<SegmentMeta>>),
    /// Merges these runs into one, with the segments that still exist.
    Merge(Vec<(Arc<RunMeta>, Vec<SegmentId>)>),
}

/// Returns the next step; none when nothing is due. O(segments).
pub(super) fn next_step(segments: &[Arc<SegmentMeta>], runs: &RunSet) -> Option<RunStep> {
    let live: HashSet<SegmentId> = segments.iter().map(|segment| segment.id).collect();
    let alive = |run: &RunMeta| -> Vec<SegmentId> {
        run.segments.iter().copied().filter(|id| live.contains(id)).collect()
    };
    let runs_alive: Vec<_> = runs.runs().iter().map(|run| (Arc::clone(run), alive(run))).collect();

    let dead: Vec<RunId> =
        runs_alive.iter().filter(|(_, alive)| alive.is_empty()).map(|(run, _)| run.id).collect();
    if !dead.is_empty() {
        return Some(RunStep::Drop(dead));
    }
    let mut uncovered: Vec<&Arc<SegmentMeta>> =
        segments.iter().filter(|segment| segment.index.is_some() && !runs.contains(segment.id)).collect();
    if uncovered.len() > UNCOVERED_MAX {
        uncovered.sort_by_key(|segment| segment.id);
        return Some(RunStep::Build(uncovered.into_iter().take(BUILD_SEGMENTS_MAX).cloned().collect()));
    }
    if let Some(wasteful) = runs_alive.iter().find(|(run, alive)| alive.len() * 2 < run.segments.len()) {
        return Some(RunStep::Merge(vec![wasteful.clone()]));
    }
    similar(runs_alive).map(RunStep::Merge)
}

/// Chooses runs of one size class, the smallest first, that together are at most [`RUN_BYTES_MAX`].
fn similar(mut runs: Vec<(Arc<RunMeta>, Vec<SegmentId>)>) -> Option<Vec<(Arc<RunMeta>, Vec<SegmentId>)>> {
    runs.sort_by_key(|(run, _)| (run.bytes, run.id));
    let of_a_size = runs.chunk_by(|(a, _), (b, _)| size_class(a.bytes) == size_class(b.bytes));
    let fits = |runs: &&[(Arc<RunMeta>, Vec<SegmentId>)]| {
        runs.iter().map(|(run, _)| run.bytes).sum::<u64>() <= RUN_BYTES_MAX
            && runs.iter().map(|(_, alive)| alive.len()).sum::<usize>() <= RUN_SEGMENTS_MAX
    };
    of_a_size.filter_map(|runs| runs.get(..MERGE_RUNS)).find(fits).map(<[_]>::to_vec)
}

/// Size class: 0 for small runs, one more for each factor of [`MERGE_RUNS`].
fn size_class(bytes: u64) -> u32 {
    (bytes / SMALL_RUN_BYTES).checked_ilog(MERGE_RUNS as u64).map_or(0, |class| class + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TimeRange;

    fn segment(indexed: bool) -> Arc<SegmentMeta> {
        let (id, time) = (SegmentId::new(1), TimeRange { min_ns: 0, max_ns: 1 });
        Arc::new(SegmentMeta {
            id,
            bytes: 1,
            column_bytes: 0,
            index: indexed.then_some(1),
            rows: 1,
            time,
            mask: None,
        })
    }

    fn segments(count: usize) -> Vec<Arc<SegmentMeta>> {
        (0..count).map(|_| segment(true)).collect()
    }

    fn run(segments: &[Arc<SegmentMeta>], bytes: u64) -> Arc<RunMeta> {
        let segments = segments.iter().map(|segment| segment.id).collect();
        Arc::new(RunMeta { id: RunId::new(1), bytes, entries: 1, segments })
    }

    #[test]
    fn a_few_segments_need_no_run_and_many_get_one_the_oldest_first() {
        assert_eq!(next_step(&segments(8), &RunSet::default()), None);
        let all = segments(100);
        let Some(RunStep::Build(built)) = next_step(&all, &RunSet::default()) else { panic!("a run is due") };
        assert_eq!(built.len(), BUILD_SEGMENTS_MAX);
        assert!(built.is_sorted_by_key(|segment| segment.id));
        let rest: Vec<_> = all.iter().filter(|s| !built.iter().any(|b| b.id == s.id)).cloned().collect();
        assert!(rest.iter().all(|segment| segment.id > built[63].id));
        let runs = RunSet::new(vec![run(&built, 9)]);
        assert!(matches!(next_step(&all, &runs), Some(RunStep::Build(b)) if b.len() == 36));
    }

    #[test]
    fn segments_without_an_index_never_make_a_run_due() {
        let without: Vec<_> = (0..100).map(|_| segment(false)).collect();
        assert_eq!(next_step(&without, &RunSet::default()), None);
    }

    #[test]
    fn runs_of_gone_segments_are_dropped_and_wasteful_ones_rewritten() {
        let all = segments(10);
        let (dead, mostly) = (run(&segments(3), 9), run(&[segments(6), all[..5].to_vec()].concat(), 9));
        let runs = RunSet::new(vec![dead.clone(), mostly.clone(), run(&all[5..], 9)]);
        assert_eq!(next_step(&all, &runs), Some(RunStep::Drop(vec![dead.id])));
        let runs = RunSet::new(vec![mostly.clone(), run(&all[5..], 9)]);
        let alive = all[..5].iter().map(|segment| segment.id).collect();
        assert_eq!(next_step(&all, &runs), Some(RunStep::Merge(vec![(mostly, alive)])));
    }

    #[test]
    fn eight_runs_of_one_size_are_merged_and_large_ones_left() {
        let all = segments(80);
        let of = |bytes: &[u64]| {
            let runs = all.chunks(10).zip(bytes).map(|(segments, bytes)| run(segments, *bytes));
            let all = &all[..bytes.len() * 10];
            next_step(all, &RunSet::new(runs.collect()))
        };
        let merges = |bytes: &[u64]| matches!(of(bytes), Some(RunStep::Merge(runs)) if runs.len() == 8);
        assert!(merges(&[1 << 10; 8]));
        assert!(!merges(&[1 << 10; 7]));
        assert!(!merges(&[1 << 10, 1 << 10, 1 << 10, 1 << 10, 1 << 20, 1 << 20, 1 << 20, 1 << 20]));
        assert!(merges(&[5 << 20; 8]));
        assert!(!merges(&[9 << 20; 8]), "together they would be too large");
    }
}
