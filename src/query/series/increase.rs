//! How much did a series count in each step?
//!
//! | point of a series | counts, in the step of the point |
//! |---|---|
//! | delta | its value |
//! | cumulative | its value less that of the point before |
//! | cumulative, after a reset | its value: all of it was counted since the reset |
//! | the first, of a series that began in the same step | its value |
//! | the first otherwise | unknown: some of it was counted before |
//!
//! A reset is a value that is smaller than the one before, or a `start_timestamp` at or after the point before. A
//! start at the very time of the point says that the true start is unknown. Pure.

use crate::query::bytes::{Reader, write};

/// Times of a point, in nanoseconds since 1970.
#[expect(clippy::struct_field_names, reason = "units are in names")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// The point's own.
    pub(super) at_ns: i64,
    /// Time from which it counts; `None` if unknown.
    pub(super) start_ns: Option<i64>,
    /// Begin of the step that it belongs to.
    pub(super) step_ns: i64,
}

impl Times {
    /// Appends the times as bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // Starts are times of this century, so the smallest number is free.
        for number in [self.at_ns, self.start_ns.unwrap_or(i64::MIN), self.step_ns] {
            write::number(out, number as u64);
        }
    }

    /// Reads what [`write`](Self::write) wrote; `None` if the bytes end.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (at_ns, start_ns) = (reader.number()? as i64, reader.number()? as i64);
        let start_ns = Some(start_ns).filter(|start_ns| *start_ns != i64::MIN);
        Some(Self { at_ns, start_ns, step_ns: reader.number()? as i64 })
    }
}

/// A point of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Its times.
    pub(super) times: Times,
    /// Its number; finite.
    pub(super) value: f64,
}

/// Question about a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// By how much did a counter increase?
    Increase,
    /// By how much does a number differ from the one before?
    Difference,
}

/// Amount that was counted in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counted {
    /// Begin of the step, in nanoseconds since 1970.
    pub(super) step_ns: i64,
    /// The amount; `None` if no point of the step has a point before it.
    pub(super) amount: Option<f64>,
    /// Number of resets.
    pub(super) resets: i64,
}

/// Relation of a cumulative point to what a series counted before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// It goes on from the point before.
    Before,
    /// It counts from zero: the series was reset.
    Reset,
    /// It counts from zero: the series began in the step.
    Begin,
    /// Unknown: some of it was counted before, or before the first point.
    Unknown,
}

/// Relates a cumulative point to the one before it. `is_less` says that a count went down.
pub(super) fn since(point: &Times, before: Option<&Times>, is_less: bool) -> Since {
    let starts_at_point = point.start_ns == Some(point.at_ns);
    let Some(before) = before else {
        let began = point.start_ns.is_some_and(|start_ns| start_ns >= point.step_ns);
        return if began && !starts_at_point { Since::Begin } else { Since::Unknown };
    };
    let restarted = point.start_ns.is_some_and(|start_ns| {
        start_ns >= before.at_ns && before.start_ns.is_some_and(|earlier| start_ns > earlier)
    });
    match (is_less || restarted, starts_at_point) {
        (false, _) => Since::Before,
        (true, false) => Since::Reset,
        (true, true) => Since::Unknown,
    }
}

/// The steps of a series that have a point, in order.
pub(super) fn steps(points: &[Point], is_delta: bool, reading: Reading) -> Vec<Counted> {
    let mut points = points.to_vec();
    let time = |point: &Point| (point.times.at_ns, point.times.start_ns);
    points.sort_by(|a, b| time(a).cmp(&time(b)).then(a.value.total_cmp(&b.value)));
    let mut steps: Vec<Counted> = Vec::new();
    let mut before: Option<Point> = None;
    for point in points {
        let (amount, is_reset) =
            if is_delta { (Some(point.value), false) } else { amount(&point, before.as_ref(), reading) };
        before = Some(point);
        let step_ns = point.times.step_ns;
        match steps.last_mut().filter(|step| step.step_ns == step_ns) {
            Some(step) => {
                step.amount = step.amount.map_or(amount, |sum| Some(sum + amount.unwrap_or(0.0)));
                step.resets += i64::from(is_reset);
            }
            None => steps.push(Counted { step_ns, amount, resets: i64::from(is_reset) }),
        }
    }
    steps
}

/// Amount that a cumulative point adds, and whether it is the first after a reset.
fn amount(point: &Point, before: Option<&Point>, reading: Reading) -> (Option<f64>, bool) {
    let less = before.is_some_and(|before| point.value < before.value);
    match (since(&point.times, before.map(|before| &before.times), less), before, reading) {
        (_, Some(before), Reading::Difference) | (Since::Before, Some(before), Reading::Increase) => {
            (Some(point.value - before.value), false)
        }
        (Since::Reset, ..) => (Some(point.value), true),
        (Since::Begin, ..) => (Some(point.value), false),
        (Since::Unknown, Some(_), _) => (None, true),
        (Since::Unknown | Since::Before, ..) => (None, false),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(at_ns: i64, start_ns: i64, value: f64) -> Point {
        let start_ns = (start_ns >= 0).then_some(start_ns);
        Point { times: Times { at_ns, start_ns, step_ns: (at_ns - 1).div_euclid(10) * 10 }, value }
    }

    fn amounts(points: &[Point], is_delta: bool, reading: Reading) -> Vec<(i64, Option<f64>, i64)> {
        steps(points, is_delta, reading).iter().map(|step| (step.step_ns, step.amount, step.resets)).collect()
    }

    #[test]
    fn a_cumulative_counter_counts_what_it_grew_by() {
        let points = [point(10, -1, 100.0), point(20, -1, 130.0), point(15, -1, 110.0), point(40, -1, 131.0)];
        let found = amounts(&points, false, Reading::Increase);
        assert_eq!(found, [(0, None, 0), (10, Some(30.0), 0), (30, Some(1.0), 0)]);
    }

    #[test]
    fn after_a_reset_all_of_the_value_is_new() {
        let points = [point(10, -1, 100.0), point(20, -1, 5.0), point(30, -1, 6.0)];
        let found = amounts(&points, false, Reading::Increase);
        assert_eq!(found, [(0, None, 0), (10, Some(5.0), 1), (20, Some(1.0), 0)]);
        // The counter has passed its old value already: only the start tells.
        let points = [point(10, 1, 100.0), point(20, 12, 150.0)];
        assert_eq!(amounts(&points, false, Reading::Increase)[1], (10, Some(150.0), 1));
        // A start that moves back and forth over the same counting is none.
        let points = [point(10, 1, 100.0), point(20, 2, 150.0)];
        assert_eq!(amounts(&points, false, Reading::Increase)[1], (10, Some(50.0), 0));
    }

    #[test]
    fn the_first_point_counts_only_if_the_series_began_in_its_step() {
        assert_eq!(amounts(&[point(18, 12, 7.0)], false, Reading::Increase), [(10, Some(7.0), 0)]);
        assert_eq!(amounts(&[point(18, 9, 7.0)], false, Reading::Increase), [(10, None, 0)]);
        assert_eq!(amounts(&[point(18, 18, 7.0)], false, Reading::Increase), [(10, None, 0)]);
    }

    #[test]
    fn deltas_add_up_and_differences_may_be_negative() {
        let points = [point(18, 12, 7.0), point(19, 18, 2.0), point(21, 19, 1.0)];
        assert_eq!(amounts(&points, true, Reading::Increase), [(10, Some(9.0), 0), (20, Some(1.0), 0)]);
        let points = [point(10, -1, 5.0), point(20, -1, 2.0)];
        assert_eq!(amounts(&points, false, Reading::Difference), [(0, None, 0), (10, Some(-3.0), 0)]);
    }

    proptest! {
        /// Whatever the steps and the order of arrival, a counter without resets counts its last less its first value.
        #[test]
        fn steps_of_a_counter_add_up(
            grown in prop::collection::vec((1_i64..40, 0_u32..100), 1..30), swap in any::<prop::sample::Index>(),
        ) {
            let (mut at_ns, mut value) = (0, 0.0);
            let mut points = vec![point(0, -1, 0.0)];
            for (later, more) in grown {
                at_ns += later;
                value += f64::from(more);
                points.push(point(at_ns, -1, value));
            }
            let other = swap.index(points.len());
            points.swap(0, other);
            let sum: f64 = steps(&points, false, Reading::Increase).iter().filter_map(|step| step.amount).sum();
            prop_assert!((sum - value).abs() < 1e-9);
        }
    }
}
