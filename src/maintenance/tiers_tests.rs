//! How often is an event written, and how many segments does a query read, in simulated months of flushes?

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::segment::{PIECES_MAX, ROWS_MAX};

const MAX: u64 = ROWS_MAX as u64;
const MINUTE_NS: i64 = 60_000_000_000;

/// A segment, as its number of events in each minute.
type Minutes = BTreeMap<i64, u64>;

/// State of all events so far.
#[derive(Default)]
struct Life {
    segments: Vec<(Extent, Minutes)>,
    flushed_rows: u64,
    rewritten_rows: u64,
    rows_at_once_max: u64,
}

fn rows(minutes: &Minutes) -> u64 {
    minutes.values().sum()
}

fn extent(minutes: &Minutes) -> Extent {
    let at = |minute: Option<(&i64, &u64)>| minute.map_or(0, |(minute, _)| *minute * MINUTE_NS);
    let (first, last) = (at(minutes.first_key_value()), at(minutes.last_key_value()));
    // Events are spread over their minutes.
    Extent { size: rows(minutes), time: TimeRange { min_ns: first, max_ns: last + MINUTE_NS - 1 } }
}

/// Result of a merge: outputs of about equal size that end at cuts.
fn merge(inputs: Vec<Minutes>, cuts: &[i64], size_max: u64) -> Vec<Minutes> {
    let mut all = Minutes::new();
    for (minute, rows) in inputs.into_iter().flatten() {
        *all.entry(minute).or_default() += rows;
    }
    let mut left = rows(&all);
    let mut outputs = vec![Minutes::new()];
    let mut filled = 0;
    let mut target = left.div_ceil(left.div_ceil(size_max));
    let mut last = i64::MAX;
    for (minute, rows) in all.into_iter().rev() {
        let cut = cuts.iter().any(|cut| minute * MINUTE_NS < *cut && *cut <= last);
        let ends = filled + rows > target || cut && filled >= size_max / PIECES_MAX as u64;
        if ends && filled > 0 {
            left -= filled;
            (filled, target) = (0, left.div_ceil(left.div_ceil(size_max)));
            outputs.push(Minutes::new());
        }
        filled += rows;
        last = minute * MINUTE_NS;
        if let Some(output) = outputs.last_mut() {
            output.insert(minute, rows);
        }
    }
    outputs
}

impl Life {
    fn flush(&mut self, minutes: Minutes) {
        self.flushed_rows += rows(&minutes);
        self.segments.push((extent(&minutes), minutes));
    }

    /// Carries out due merges like the background task: one step, then a new plan.
    fn settle(&mut self, size_max: u64) {
        for round in 0.. {
            assert!(round < 2000, "it does not end");
            let extents: Vec<Extent> = self.segments.iter().map(|(extent, _)| *extent).collect();
            let steps = steps(&extents, size_max);
            let Some(Step { mut members, cuts }) = steps.into_iter().next() else { return };
            assert!(members.len() > 1);
            members.sort_unstable();
            members.dedup();
            let mut inputs = Vec::new();
            for i in members.into_iter().rev() {
                inputs.push(self.segments.swap_remove(i).1);
            }
            let merged: u64 = inputs.iter().map(rows).sum();
            self.rewritten_rows += merged;
            self.rows_at_once_max = self.rows_at_once_max.max(merged);
            let outputs = merge(inputs, &cuts, size_max);
            self.segments.extend(outputs.into_iter().map(|output| (extent(&output), output)));
        }
    }

    /// Number of segments that a query of one minute reads.
    fn fan_out(&self, minute: i64) -> usize {
        let at = minute * MINUTE_NS + MINUTE_NS / 2;
        let times = self.segments.iter().map(|(extent, _)| extent.time);
        times.filter(|time| time.min_ns <= at && at <= time.max_ns).count()
    }

    fn write_amplification(&self) -> f64 {
        (self.flushed_rows + self.rewritten_rows) as f64 / self.flushed_rows as f64
    }
}

/// Pseudo-random numbers, the same in every run.
fn dice(seed: i64) -> i64 {
    (seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33).abs()
}

/// Simulates a server: a flush every `every` minutes with a few late events each, very late ones now and then, and
/// one backfill of old data.
fn months(days: i64, every: i64, rows_each: u64) -> Life {
    let mut life = Life::default();
    let (mut fan_out_max, mut segments_max) = (0, 0);
    for flush in 0..days * 1440 / every {
        let now = flush * every;
        let mut minutes: Minutes =
            (now - every..now).map(|minute| (minute, rows_each / every as u64)).collect();
        *minutes.entry(now - every - 1).or_default() += rows_each / 50;
        *minutes.entry(now - 5 - dice(flush) % 30).or_default() += rows_each / 200;
        if flush % 20 == 7 {
            minutes.insert((now - dice(flush) % (3 * 1440)).max(0), 1 + rows_each / 1000);
        }
        life.flush(minutes);
        // A backfill of five hours of half the density, long ago.
        if flush == days * 1440 / every * 2 / 3 {
            for hour in 0..5 {
                let from = now / 2 + hour * 60;
                let backfill = (from..from + 60).map(|minute| (minute, rows_each / every as u64 / 2));
                life.flush(backfill.collect());
            }
        }
        life.settle(MAX);
        if flush % 97 == 0 {
            segments_max = segments_max.max(life.segments.len());
            for look in 0..8 {
                fan_out_max = fan_out_max.max(life.fan_out(now - dice(look) % (now + 1)));
            }
            fan_out_max = fan_out_max.max(life.fan_out(now - 3));
        }
    }
    let full = life.flushed_rows.div_ceil(MAX / 2) as usize;
    println!(
        "{} flushes of {rows_each}: {} segments (at most {segments_max}, {full} would be half full), read \
         fan-out {fan_out_max}, write amplification {:.2}, at most {} rows at once",
        days * 1440 / every,
        life.segments.len(),
        life.write_amplification(),
        life.rows_at_once_max,
    );
    let open_max = (TIERS as usize) * (FAN_IN as usize - 1);
    assert!(fan_out_max <= 1 + open_max, "a query of one minute reads {fan_out_max} segments");
    assert!(segments_max <= 2 * full + open_max, "{segments_max} segments, {full} are half full");
    life
}

#[test]
fn months_of_flushes_stay_few_segments_and_are_written_a_few_times() {
    let full = months(2, 1, 250_000);
    assert!(full.write_amplification() <= f64::from(TIERS) + 2.0, "{}", full.write_amplification());
    let busy = months(14, 5, 20_000);
    assert!(busy.write_amplification() <= f64::from(TIERS) + 2.0, "{}", busy.write_amplification());
    assert!(busy.rows_at_once_max <= 8 * MAX, "{}", busy.rows_at_once_max);
    let quiet = months(60, 30, 300);
    assert!(quiet.write_amplification() <= f64::from(TIERS) + 6.0, "{}", quiet.write_amplification());
}

#[test]
fn late_events_leave_the_new_ones_at_their_first_merge() {
    let settled = Extent { size: MAX, time: TimeRange { min_ns: 0, max_ns: 999 } };
    let flush = |i: i64| Extent { size: 9_000, time: TimeRange { min_ns: 500, max_ns: 2000 + i } };
    let mut segments = vec![settled];
    segments.extend((0..8).map(flush));
    let [Step { members, cuts }] = steps(&segments, MAX).try_into().unwrap();
    assert_eq!((members.len(), cuts), (8, vec![1000]));
    segments.pop();
    assert!(steps(&segments, MAX).is_empty(), "seven wait for the eighth");
}

#[test]
fn late_events_are_merged_with_what_they_overlap_when_they_are_a_tenth() {
    let settled = |i: i64| Extent { size: MAX, time: TimeRange { min_ns: i * 1000, max_ns: i * 1000 + 999 } };
    let late = |rows| Extent { size: rows, time: TimeRange { min_ns: 1100, max_ns: 1200 } };
    let mut segments: Vec<Extent> = (0..3).map(settled).collect();
    segments.push(late(MAX / 20));
    assert!(steps(&segments, MAX).is_empty());
    segments.push(late(MAX / 19));
    let [Step { members, cuts }] = steps(&segments, MAX).try_into().unwrap();
    assert_eq!((members, cuts), (vec![1, 3, 4], vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_arrives_steps_are_disjoint_and_come_to_an_end(
        flushes in prop::collection::vec(prop::collection::btree_map(0_i64..400, 1_u64..400, 1..6), 1..80),
    ) {
        let size_max = 1000;
        let mut life = Life::default();
        for minutes in flushes {
            life.flush(minutes);
            let extents: Vec<Extent> = life.segments.iter().map(|(extent, _)| *extent).collect();
            let mut used: Vec<usize> =
                steps(&extents, size_max).into_iter().flat_map(|step| step.members).collect();
            let all = used.len();
            used.sort_unstable();
            used.dedup();
            prop_assert_eq!(all, used.len(), "steps are disjoint");
            life.settle(size_max);
        }
        let left: u64 = life.segments.iter().map(|(_, minutes)| rows(minutes)).sum();
        prop_assert_eq!(left, life.flushed_rows);
    }
}
