//! Which segments should be merged next, while more arrive all the time?
//!
//! A pure function, like the [policy of a single compaction](super::compaction_policy). Both call full segments that
//! do not overlap *settled*. Merging every small segment at once would rewrite a full segment for every flush. So a
//! segment waits until there are [`FAN_IN`] of its size, like the tiers of an LSM tree:
//!
//! ```text
//!            region 0       region 1            region 2, open towards the future
//! settled  ▇▇▇▇▇▇▇▇▇▇▇│   ▇▇▇▇▇▇▇▇▇▇▇│
//! loose               │              │ ▅▅▅▅▅▅▅▅▅▅▅▅▅ ▅▅▅▅▅▅▅▅▅ ▃▃▃▃ ▃▃▃ ▁ ▁ ▁    tiers 3, 2, 1
//!              ▁▁     │  ▁▁▁▁▁▁▁▁▁▁▁▁│▁▁▁▁▁▁▁                                     late, and late in part
//!                     └──────────────┴─── cuts: a merge ends its outputs here
//! ```
//!
//! - A *region* ends with a settled segment; a loose segment belongs to the region of its newest event.
//! - *Tiers* of a region: sizes that differ by a factor of [`FAN_IN`]. When one has [`FAN_IN`] segments, in a
//!   closed region [`CLOSED_FAN_IN`], it is merged with all smaller ones; so is a row of tiers that together
//!   make full segments of at least twice as many.
//! - Late segments that reach over more than [`REGIONS_MAX`] regions are in none. Where [`FAN_IN`] of them overlap at
//!   one instant they are merged, which cuts them into segments that do not overlap and reach less far.
//! - *Late events*: those in the time of settled segments. When they are estimated at a tenth of the settled events
//!   that they overlap, both are merged. Before that they are kept apart: outputs are cut where regions end, so the
//!   first merge separates new events from late ones, and late ones reach their region.
//!
//! # Bounds
//!
//! With `T` = [`TIERS`] sizes below a full one and `F` = [`FAN_IN`]:
//!
//! - *Write amplification.* An event climbs a tier whenever it is written again, except in the lowest one
//!   (less than a thousandth of a full segment), where it costs next to nothing: at most `T + 1` times on its
//!   way to a full segment. An event that is overlapped by late ones is written again when they have grown to
//!   a tenth of it: ten times per late event.
//! - *Read fan-out.* At one instant there are a settled segment, in an open region at most `T (F - 1)` loose
//!   ones and in a closed one `T`, as many of each of the [`REGIONS_MAX`] next ones, and `F - 1` that reach
//!   farther: 28 where new events come, 32 at worst elsewhere, and hardly ever more than 10.
//! - *Space.* Besides the segments there are the objects that were replaced within the grace period, and the
//!   outputs of the one running merge.
//!
//! A test of this module simulates months of flushes and checks these bounds.

use std::collections::BTreeMap;
use std::ops::Range;

use super::compaction_policy::{Extent, REWRITTEN_PER_ROW_MAX, limited, overlap, partition_settled};
use crate::event::TimeRange;

/// Segments of one tier that are merged in the open region, where new events arrive.
pub const FAN_IN: u64 = 8;
/// Segments of one tier that are merged in closed regions: late events there are few, and may stay for years.
pub const CLOSED_FAN_IN: u64 = 2;
/// Most regions of a loose segment. Late segments that reach over more belong to none, and wait to be cut.
const REGIONS_MAX: usize = 4;
/// Number of tiers of segments that are not full.
pub const TIERS: u32 = 4;

/// Segments to merge with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Segments by their index in the argument of [`steps`]; at least two.
    pub members: Vec<usize>,
    /// Times at which outputs end; see [`Merge::cut_at`](crate::segment::Merge::cut_at).
    pub cuts: Vec<i64>,
}

/// Returns the merges that are due, newest first and independent of each other. Empty when none is. O(n log n).
pub fn steps(segments: &[Extent], size_max: u64) -> Vec<Step> {
    let (settled, loose) = partition_settled(segments, size_max);
    let plan = Planner::new(segments, size_max, settled);
    let mut regions: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut far = Vec::new();
    for i in loose {
        let region = plan.region(segments[i]);
        if region < plan.settled.len() && plan.over(segments[i]).len() > REGIONS_MAX {
            far.push(i);
        } else {
            regions.entry(region).or_default().push(i);
        }
    }
    let mut taken = vec![false; plan.settled.len()];
    let mut steps = Vec::new();
    for (region, loose) in regions.into_iter().rev() {
        let step = if region < plan.settled.len() {
            plan.with_settled(&loose, &mut taken).or_else(|| plan.tiers(loose, CLOSED_FAN_IN))
        } else {
            // Late events here are not cut off yet.
            plan.tiers(loose, FAN_IN)
        };
        steps.extend(step.map(|members| plan.step(members)));
    }
    steps.extend(plan.deepest(far).map(|members| plan.step(members)));
    // A step that is too large is split; a part of a single segment is dropped.
    let parts = steps.into_iter().flat_map(|Step { members, cuts }| {
        let parts = limited(segments, members).into_iter().filter(|part| part.len() > 1);
        parts.map(move |members| Step { members, cuts: cuts.clone() })
    });
    parts.collect()
}

struct Planner<'a> {
    segments: &'a [Extent],
    size_max: u64,
    /// Settled segments, oldest first.
    settled: Vec<usize>,
    /// Prefix sums over the settled segments: their sizes, and the time that they cover.
    before: Vec<(u64, u64)>,
}

impl<'a> Planner<'a> {
    fn new(segments: &'a [Extent], size_max: u64, settled: Vec<usize>) -> Self {
        let mut before = vec![(0, 0)];
        for i in &settled {
            let (size, covered) = before[before.len() - 1];
            before.push((size + segments[*i].size, covered + length(segments[*i])));
        }
        Self { segments, size_max, settled, before }
    }

    /// Returns the region of a segment's newest event.
    fn region(&self, segment: Extent) -> usize {
        self.settled.partition_point(|i| self.segments[*i].time.max_ns < segment.time.max_ns)
    }

    /// Returns the settled segments that a segment overlaps.
    fn over(&self, segment: Extent) -> Range<usize> {
        let from = self.settled.partition_point(|i| self.segments[*i].time.max_ns <= segment.time.min_ns);
        let to = self.settled.partition_point(|i| self.segments[*i].time.min_ns < segment.time.max_ns);
        from..to.max(from)
    }

    fn step(&self, members: Vec<usize>) -> Step {
        let time = members.iter().map(|i| self.segments[*i].time).reduce(TimeRange::union);
        let within = |cut: &i64| time.is_some_and(|time| time.min_ns < *cut && *cut <= time.max_ns);
        let others = self.settled.iter().filter(|i| !members.contains(i));
        let ends = others.map(|i| self.segments[*i].time.max_ns.saturating_add(1));
        let cuts = ends.filter(within).collect();
        Step { members, cuts }
    }

    /// Returns the loose segments of a closed region and the settled ones that they overlap, if merging them is worth
    /// it; leaves out loose segments that reach far back, if it is worth it without them.
    fn with_settled(&self, loose: &[usize], taken: &mut [bool]) -> Option<Vec<usize>> {
        let near: Vec<usize> =
            loose.iter().copied().filter(|i| self.over(self.segments[*i]).len() <= 1).collect();
        [loose, &near].into_iter().find_map(|loose| {
            let overs = loose.iter().map(|i| self.over(self.segments[*i])).filter(|over| !over.is_empty());
            let over = overs.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))?;
            let size = self.before[over.end].0 - self.before[over.start].0;
            let late: u64 = loose.iter().map(|i| self.late(self.segments[*i])).sum();
            let free = !taken[over.clone()].contains(&true);
            if !free || late.saturating_mul(REWRITTEN_PER_ROW_MAX) < size {
                return None;
            }
            taken[over.clone()].fill(true);
            Some(loose.iter().chain(&self.settled[over]).copied().collect())
        })
    }

    /// Estimates the events of a loose segment in the time of settled ones, as if they were spread evenly.
    fn late(&self, segment: Extent) -> u64 {
        let over = self.over(segment);
        if over.is_empty() {
            return 0;
        }
        let first = self.segments[self.settled[over.start]].time;
        let last = self.segments[self.settled[over.end - 1]].time;
        let outside = |a: i64, b: i64| b.max(a).abs_diff(a);
        let covered = (self.before[over.end].1 - self.before[over.start].1)
            .saturating_sub(outside(first.min_ns, segment.time.min_ns))
            .saturating_sub(outside(segment.time.max_ns, last.max_ns));
        (u128::from(segment.size) * u128::from(covered) / u128::from(length(segment).max(1))) as u64
    }

    /// Returns the segments of a region up to the largest tier at which a merge is due; none when none is.
    fn tiers(&self, mut loose: Vec<usize>, fan_in: u64) -> Option<Vec<usize>> {
        loose.sort_by_key(|i| self.segments[*i].size);
        let first_full = loose.partition_point(|i| tier(self.segments[*i].size, self.size_max) < TIERS);
        // Merging separates full segments that overlap each other; other full ones stay.
        let full = overlapping(self.segments, loose.split_off(first_full));
        let mut due = 0;
        let (mut size, mut in_tier) = (0, 0);
        for (at, i) in loose.iter().enumerate() {
            let same = |j: &usize| self.tier(*j) == self.tier(*i);
            in_tier = if at > 0 && same(&loose[at - 1]) { in_tier + 1 } else { 1 };
            size += self.segments[*i].size;
            let is_last = loose.get(at + 1).is_none_or(|next| !same(next));
            let fills = size >= self.size_max && at as u64 + 1 >= 2 * size.div_ceil(self.size_max);
            if is_last && (in_tier >= fan_in || fills) {
                due = at + 1;
            }
        }
        loose.truncate(due);
        loose.extend(full);
        (loose.len() > 1).then_some(loose)
    }

    /// Finds [`FAN_IN`] or more segments that all share an instant.
    fn deepest(&self, mut far: Vec<usize>) -> Option<Vec<usize>> {
        far.sort_by_key(|i| self.segments[*i].time.min_ns);
        let (mut at_once, mut deepest): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        for i in far {
            at_once.retain(|other| self.segments[*other].time.max_ns > self.segments[i].time.min_ns);
            at_once.push(i);
            if at_once.len() > deepest.len() {
                deepest.clone_from(&at_once);
            }
        }
        (deepest.len() as u64 >= FAN_IN).then_some(deepest)
    }

    fn tier(&self, i: usize) -> u32 {
        tier(self.segments[i].size, self.size_max)
    }
}

/// Tier of a segment: 0 for the smallest, [`TIERS`] for full ones.
fn tier(size: u64, size_max: u64) -> u32 {
    let full = size_max.div_ceil(2);
    (0..TIERS).find(|t| size < full / FAN_IN.pow(TIERS - 1 - t)).unwrap_or(TIERS)
}

/// Returns the segments in `full` that overlap another one in it.
fn overlapping(segments: &[Extent], mut full: Vec<usize>) -> Vec<usize> {
    full.sort_by_key(|i| segments[*i].time.min_ns);
    let mut overlapping = Vec::new();
    // Of the earlier segments, the one that ends last; true if it is among the overlapping ones.
    let mut last: Option<(usize, bool)> = None;
    for i in full {
        let overlaps = last.is_some_and(|(last, _)| overlap(segments[last].time, segments[i].time));
        if let Some((last, false)) = last.filter(|_| overlaps) {
            overlapping.push(last);
        }
        overlapping.extend(overlaps.then_some(i));
        last = match last {
            Some((last, was)) if segments[last].time.max_ns > segments[i].time.max_ns => {
                Some((last, was || overlaps))
            }
            _ => Some((i, overlaps)),
        };
    }
    overlapping
}

fn length(segment: Extent) -> u64 {
    segment.time.max_ns.abs_diff(segment.time.min_ns)
}

#[cfg(test)]
#[path = "tiers_tests.rs"]
mod tests;
