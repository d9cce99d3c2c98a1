//! Which segments should become one?
//!
//! A pure function from sizes and time ranges to sets of segments, for a single compaction that does everything worth
//! doing; [`tiers`](super::tiers) is for compactions that go on for years. Two things slow queries down: many small
//! segments, and segments that overlap in time. Merging makes segments of about the same size that do not overlap.
//!
//! ```text
//! time ──▶                                      old → new
//! ▇▇▇▇▇▇▇ ▇▇▇▇▇▇▇▇ ▇▇▇▇▇▇▇                      settled: full, and disjoint from each other
//!                     ▃▃▃▃ ▃▃ ▃▃▃▃▃             loose, small and next to each other: merged
//!           ▃▃▃▃▃▃                              loose, over settled ones: merged with them once it is a
//!                                               tenth of what has to be rewritten
//! ```
//!
//! - *Full* segments have at least half of `size_max`. As many of them as do not overlap are *settled*; all
//!   others are *loose*.
//! - Loose segments that overlap each other are a group. It is merged with the settled segments that it
//!   overlaps when those have at most [`REWRITTEN_PER_ROW_MAX`] times its size; so an event is rewritten a
//!   bounded number of times, however long the tail of late events. Otherwise the group is merged alone.
//! - After that, small neighbours are merged with each other.
//!
//! Each merge leaves fewer segments, or fewer overlaps. When [`plan`] has nothing more to do, no two small segments are
//! neighbours, and loose segments overlap only settled ones with at least ten times their events.

use std::cmp::Reverse;
use std::ops::Range;

use crate::event::TimeRange;

/// Most settled rows that are rewritten for one loose row.
pub(super) const REWRITTEN_PER_ROW_MAX: u64 = 10;
/// Most inputs of one merge: their footers are in memory.
const FAN_IN_MAX: usize = 256;
/// Most events of one merge: they bound the work lost in a crash, and the temporary disk space.
const SIZE_AT_ONCE_MAX: u64 = 32 << 20;

/// Size and time range of a segment, all that the policy uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Size in events: the number of its events, or more where they are so large that bytes fill a segment first.
    pub size: u64,
    /// Range of the events' timestamps.
    pub time: TimeRange,
}

/// Segments to merge with each other, by their index in the argument of [`plan`].
pub type Group = Vec<usize>;

/// Plans merges after which segments have about the size `size_max`: disjoint groups of at least two segments,
/// newest first. O(n log n).
///
/// After the merges, planning again may find more, as the results of two groups may be neighbours.
pub fn plan(segments: &[Extent], size_max: u64) -> Vec<Group> {
    let (settled, loose) = partition_settled(segments, size_max);
    let mut units = merge_loose(segments, &settled, loose);
    units.sort_by_key(|unit| Reverse(unit.extent.time.max_ns));
    let groups = join_small(units, size_max).into_iter().filter(|unit| unit.members.len() > 1);
    groups.flat_map(|unit| limited(segments, unit.members)).filter(|group| group.len() > 1).collect()
}

/// Returns the settled segments, oldest first, and the loose ones.
pub(super) fn partition_settled(segments: &[Extent], size_max: u64) -> (Vec<usize>, Vec<usize>) {
    let is_full = |i: &usize| segments[*i].size.saturating_mul(2) >= size_max;
    let (full, mut loose): (Vec<usize>, Vec<usize>) = (0..segments.len()).partition(is_full);
    let settled = settled(segments, full, &mut loose);
    (settled, loose)
}

/// True if two ranges share more than one instant; a shared end is not an overlap.
pub(super) fn overlap(a: TimeRange, b: TimeRange) -> bool {
    a.min_ns < b.max_ns && b.min_ns < a.max_ns
}

/// Chooses as many full segments as possible that do not overlap, oldest first; the others become loose.
fn settled(segments: &[Extent], mut full: Vec<usize>, loose: &mut Vec<usize>) -> Vec<usize> {
    // Choosing the segment that begins last each time leaves room for the most.
    full.sort_by_key(|i| Reverse((segments[*i].time.min_ns, segments[*i].time.max_ns)));
    let mut settled: Vec<usize> = Vec::with_capacity(full.len());
    for i in full {
        if settled.last().is_some_and(|last| overlap(segments[*last].time, segments[i].time)) {
            loose.push(i);
        } else {
            settled.push(i);
        }
    }
    settled.reverse();
    settled
}

/// Segments to merge, or a single one that stays, with their joint extent.
#[derive(Debug)]
struct Unit {
    members: Vec<usize>,
    extent: Extent,
}

impl Unit {
    fn one(segments: &[Extent], i: usize) -> Self {
        Self { members: vec![i], extent: segments[i] }
    }

    fn absorb(&mut self, other: Self) {
        self.members.extend(other.members);
        self.extent.size += other.extent.size;
        self.extent.time = self.extent.time.union(other.extent.time);
    }
}

/// Groups the loose segments, with settled ones where that is worth it; the other settled ones stay alone.
fn merge_loose(segments: &[Extent], settled: &[usize], mut loose: Vec<usize>) -> Vec<Unit> {
    loose.sort_by_key(|i| segments[*i].time.min_ns);
    let mut groups: Vec<Unit> = Vec::new();
    for i in loose {
        match groups.last_mut() {
            Some(group) if overlap(group.extent.time, segments[i].time) => {
                group.absorb(Unit::one(segments, i));
            }
            _ => groups.push(Unit::one(segments, i)),
        }
    }
    let mut units: Vec<Unit> = Vec::new();
    // Groups that are worth rewriting settled segments, with the range of those that they overlap.
    let mut worth: Vec<(Unit, Range<usize>)> = Vec::new();
    for group in groups {
        let time = group.extent.time;
        let from = settled.partition_point(|i| segments[*i].time.max_ns <= time.min_ns);
        let to = settled.partition_point(|i| segments[*i].time.min_ns < time.max_ns).max(from);
        let size: u64 = settled[from..to].iter().map(|i| segments[*i].size).sum();
        match worth.last_mut() {
            _ if size > group.extent.size.saturating_mul(REWRITTEN_PER_ROW_MAX) => units.push(group),
            Some((last, taken)) if from < taken.end => {
                last.absorb(group);
                taken.end = taken.end.max(to);
            }
            _ => worth.push((group, from..to)),
        }
    }
    let alone = |range: Range<usize>| settled[range].iter().map(|i| Unit::one(segments, *i));
    let mut next = 0;
    for (mut group, taken) in worth {
        units.extend(alone(next..taken.start));
        alone(taken.clone()).for_each(|unit| group.absorb(unit));
        units.push(group);
        next = taken.end;
    }
    units.extend(alone(next..settled.len()));
    units
}

/// Joins small neighbours.
fn join_small(units: Vec<Unit>, size_max: u64) -> Vec<Unit> {
    let is_small = |unit: &Unit| unit.extent.size.saturating_mul(2) < size_max;
    let mut joined: Vec<Unit> = Vec::new();
    let mut last_was_small = false;
    for unit in units {
        let small = is_small(&unit);
        match joined.last_mut() {
            Some(last) if small && last_was_small => last.absorb(unit),
            _ => joined.push(unit),
        }
        last_was_small = small;
    }
    joined
}

/// Splits a group into parts within the limits of one merge, newest first.
pub(super) fn limited(segments: &[Extent], mut group: Group) -> Vec<Group> {
    group.sort_by_key(|i| Reverse(segments[*i].time.max_ns));
    let mut parts: Vec<Group> = vec![Vec::new()];
    let mut size = 0;
    for i in group {
        let full = |part: &Group| part.len() >= FAN_IN_MAX || size + segments[i].size > SIZE_AT_ONCE_MAX;
        if parts.last().is_none_or(|part| !part.is_empty() && full(part)) {
            parts.push(Vec::new());
            size = 0;
        }
        size += segments[i].size;
        if let Some(part) = parts.last_mut() {
            part.push(i);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: u64 = 1000;

    fn extent(min_ns: i64, max_ns: i64, rows: u64) -> Extent {
        Extent { size: rows, time: TimeRange { min_ns, max_ns } }
    }

    fn planned(segments: &[(i64, i64, u64)]) -> Vec<Group> {
        let segments: Vec<_> = segments.iter().map(|(min, max, rows)| extent(*min, *max, *rows)).collect();
        let mut groups = plan(&segments, MAX);
        for group in &mut groups {
            group.sort_unstable();
        }
        groups
    }

    #[test]
    fn segments_that_are_large_and_apart_stay() {
        assert!(planned(&[]).is_empty());
        assert!(planned(&[(0, 9, 1)]).is_empty());
        assert!(planned(&[(0, 9, 1000), (9, 19, 500), (20, 29, 800)]).is_empty(), "an end may be shared");
        assert!(planned(&[(0, 9, 900), (10, 19, 10), (20, 29, 900)]).is_empty(), "one small one is no harm");
    }

    #[test]
    fn small_neighbours_are_merged() {
        assert_eq!(planned(&[(0, 9, 100), (10, 19, 100), (30, 39, 100)]), [[0, 1, 2]]);
        assert_eq!(
            planned(&[(0, 9, 10), (10, 19, 10), (20, 29, 900), (30, 39, 10), (40, 49, 10)]),
            [[3, 4], [0, 1]],
            "newest first, and not across a full one"
        );
    }

    #[test]
    fn segments_that_overlap_are_merged_whatever_their_size() {
        assert_eq!(planned(&[(0, 10, 1000), (5, 15, 1000)]), [[0, 1]]);
        assert_eq!(planned(&[(0, 10, 1000), (9, 20, 1000), (19, 30, 1000), (40, 50, 1000)]), [[0, 1, 2]]);
        assert_eq!(
            planned(&[(0, 99, 1000), (0, 9, 900), (10, 20, 900), (30, 60, 900), (70, 99, 900)]),
            [[0, 1, 2, 3, 4]]
        );
    }

    #[test]
    fn little_that_reaches_over_much_waits_until_it_is_worth_it() {
        let settled: Vec<_> = (0..20).map(|i| (i * 10, i * 10 + 9, 1000)).collect();
        let with = |more: &[(i64, i64, u64)]| [&settled[..], more].concat();
        assert!(planned(&with(&[(5, 195, 400)])).is_empty());
        assert_eq!(
            planned(&with(&[(5, 195, 400), (190, 205, 50)])),
            [[20, 21]],
            "the two overlap each other"
        );
        assert!(planned(&with(&[(5, 185, 400), (196, 205, 50)])).is_empty(), "a full one ends between them");
        assert_eq!(planned(&with(&[(185, 205, 300)])), [[18, 19, 20]], "two for one");
        assert_eq!(planned(&with(&[(5, 195, 2000)]))[0].len(), 21, "a tenth of all");
    }

    #[test]
    fn a_group_is_limited() {
        let tiny: Vec<_> = (0..1000).map(|i| (i * 10, i * 10 + 9, 1)).collect();
        assert_eq!(planned(&tiny).iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 256, 232]);
        let all_over: Vec<_> = (0..100).map(|i| extent(i, 1000 + i, 1 << 20)).collect();
        assert_eq!(plan(&all_over, 1 << 20).iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 32, 4]);
    }

    /// Result of a merge if events are spread evenly.
    fn merged(group: &[Extent], size_max: u64) -> Vec<Extent> {
        let rows: u64 = group.iter().map(|s| s.size).sum();
        let Some(time) = group.iter().map(|s| s.time).reduce(TimeRange::union) else { return Vec::new() };
        let count = rows.div_ceil(size_max) as i64;
        let width = time.max_ns - time.min_ns + 1;
        let at = |i: i64| time.min_ns + width * i / count;
        (0..count).map(|i| extent(at(i), (at(i + 1) - 1).max(at(i)), rows / count as u64)).collect()
    }

    proptest! {
        #[test]
        fn planning_ends_and_leaves_few_segments(
            ranges in proptest::collection::vec((0_i64..100_000, 0_i64..5_000, 1_u64..1_000), 0..120),
        ) {
            let mut segments: Vec<_> = ranges.iter().map(|(at, len, n)| extent(*at, at + len, *n)).collect();
            let rows: u64 = segments.iter().map(|s| s.size).sum();
            let mut rounds = 0;
            loop {
                let groups = plan(&segments, MAX);
                let mut used: Vec<_> = groups.iter().flatten().copied().collect();
                used.sort_unstable();
                let distinct = used.len();
                used.dedup();
                prop_assert_eq!(distinct, used.len(), "groups are disjoint");
                prop_assert!(groups.iter().all(|group| group.len() > 1));
                if groups.is_empty() {
                    break;
                }
                rounds += 1;
                prop_assert!(rounds < 10, "it does not end: {segments:?}");
                let mut after: Vec<_> = (0..segments.len()).filter(|i| used.binary_search(i).is_err()).map(|i| segments[i]).collect();
                for group in &groups {
                    let group: Vec<_> = group.iter().map(|i| segments[*i]).collect();
                    after.extend(merged(&group, MAX));
                }
                segments = after;
            }
            let few = (rows.div_ceil(MAX) as usize) * 4 + 2;
            prop_assert!(segments.len() <= few, "{} segments are left of {rows} rows", segments.len());
        }
    }
}
