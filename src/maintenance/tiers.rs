//! Which segments should become one next, while more arrive all the time?
//!
//! Pure, like the [policy of a single compaction](super::compaction_policy), which shares what is *settled*:
//! full segments that do not overlap. Merging at once whatever is small would write a full segment again for
//! every flush. So a segment waits until there are [`FAN_IN`] of its size, like the tiers of an LSM tree:
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
//! - Late segments that reach over more than [`REGIONS_MAX`] regions are in none. Where [`FAN_IN`] of them lie
//!   over each other they are merged, which cuts them into ones that do not, and reach less far.
//! - *Late events*: those that lie in the time of settled segments. When they are estimated at a tenth of what
//!   they overlap, both are merged. Before that they are kept apart: outputs are cut where regions end, so
//!   that new events and late ones part ways at the first merge, and late ones come to where they belong.
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
//!   outputs of the one merge that is under way.
//!
//! A test of this module lives through months of flushes and holds the policy to these.

use std::collections::BTreeMap;
use std::ops::Range;

use super::compaction_policy::{Extent, REWRITTEN_PER_ROW_MAX, limited, overlap, partition_settled};
use crate::event::TimeRange;

/// Segments of one size that are merged where new events come.
pub const FAN_IN: u64 = 8;
/// The same in regions that are closed: what is late there is little, and may stay for years.
pub const CLOSED_FAN_IN: u64 = 2;
/// Late segments that reach over more regions belong to none: they wait to be cut.
const REGIONS_MAX: usize = 4;
/// Sizes of segments that are not full.
pub const TIERS: u32 = 4;

/// Segments to merge with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// By their index in what was given to [`steps`]; at least two.
    pub members: Vec<usize>,
    /// Times at which outputs end; see [`Merge::cut_at`](crate::segment::Merge::cut_at).
    pub cuts: Vec<i64>,
}

/// What is due, newest first; each is independent of the others. Empty when all is well. O(n log n).
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
            // What is late here is yet to be cut off.
            plan.tiers(loose, FAN_IN)
        };
        steps.extend(step.map(|members| plan.step(members)));
    }
    steps.extend(plan.deepest(far).map(|members| plan.step(members)));
    // A step that is too large is done in parts; a part of one segment is none.
    let parts = steps.into_iter().flat_map(|Step { members, cuts }| {
        let parts = limited(segments, members).into_iter().filter(|part| part.len() > 1);
        parts.map(move |members| Step { members, cuts: cuts.clone() })
    });
    parts.collect()
}

struct Planner<'a> {
    segments: &'a [Extent],
    size_max: u64,
    /// Oldest first.
    settled: Vec<usize>,
    /// Size of the first so many settled segments, and the time that they cover.
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

    /// The region in which the newest event of a segment is.
    fn region(&self, segment: Extent) -> usize {
        self.settled.partition_point(|i| self.segments[*i].time.max_ns < segment.time.max_ns)
    }

    /// The settled segments that a range of time overlaps.
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

    /// The loose segments of a closed region with the settled ones that they overlap, when that is worth it; without
    /// those that reach far back, when it is worth it without them.
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

    /// How many events of a loose segment lie in the time of settled ones, if they are spread evenly.
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

    /// The smaller tiers of a region up to the largest at which a merge is due.
    fn tiers(&self, mut loose: Vec<usize>, fan_in: u64) -> Option<Vec<usize>> {
        loose.sort_by_key(|i| self.segments[*i].size);
        let first_full = loose.partition_point(|i| tier(self.segments[*i].size, self.size_max) < TIERS);
        // Full ones that overlap each other come apart when they are merged; others stay.
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

    /// [`FAN_IN`] or more segments that all have an instant in common.
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

/// The size of a segment: 0 for the smallest, [`TIERS`] for full ones.
fn tier(size: u64, size_max: u64) -> u32 {
    let full = size_max.div_ceil(2);
    (0..TIERS).find(|t| size < full / FAN_IN.pow(TIERS - 1 - t)).unwrap_or(TIERS)
}

/// Those of `full` that overlap another of them.
fn overlapping(segments: &[Extent], mut full: Vec<usize>) -> Vec<usize> {
    full.sort_by_key(|i| segments[*i].time.min_ns);
    let mut overlapping = Vec::new();
    // Of the segments before, the one that ends last, and whether it is among the overlapping.
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
