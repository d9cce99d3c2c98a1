//! `filled_steps(time, previous, next, first, last, step, fill)`: the steps that the row of a step stands for.
//!
//! With `fill` these are its own step, and those after it that have no row: up to `next`, the step of the group's next
//! row, or without one up to `last`, the last of all groups. The first row of a group, without `previous`, also stands
//! for the steps from `first` on. So, if unfolded, every group has a row for every step. Without `fill` it is its own
//! step alone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, TimestampNanosecondArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Field, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimestampNanosecondType,
};
use chrono::{DateTime, Months};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::event::schema::timestamp_type;

/// Most steps of a group.
const STEPS_MAX: usize = 100_000;

const DAY_NS: i64 = 86_400_000_000_000;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FilledSteps {
    signature: Signature,
}

impl FilledSteps {
    /// Creates the function.
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn result() -> DataType {
        DataType::List(Arc::new(Field::new_list_field(timestamp_type(), true)))
    }
}

/// The time one step after `ns`; `None` if there is none, or it is not later.
fn after(ns: i64, step: IntervalMonthDayNano) -> Option<i64> {
    let months = u32::try_from(step.months).ok()?;
    let moved = match months {
        0 => ns,
        months => DateTime::from_timestamp_nanos(ns)
            .checked_add_months(Months::new(months))?
            .timestamp_nanos_opt()?,
    };
    let later = i64::from(step.days).checked_mul(DAY_NS)?.checked_add(step.nanoseconds)?;
    moved.checked_add(later).filter(|next_ns| *next_ns > ns)
}

/// The steps from `from_ns` on, before `end_ns` if that is given, else up to `last_ns`.
fn between(from_ns: i64, end_ns: Option<i64>, last_ns: i64, step: IntervalMonthDayNano) -> Result<Vec<i64>> {
    let is_within = |ns: &i64| end_ns.map_or(*ns <= last_ns, |end_ns| *ns < end_ns);
    let all = std::iter::successors(Some(from_ns), |ns| after(*ns, step)).take_while(is_within);
    let steps: Vec<i64> = all.take(STEPS_MAX + 1).collect();
    if steps.len() > STEPS_MAX {
        return exec_err!(
            "fill => true would add more than {STEPS_MAX} steps: choose a longer step, or a shorter time"
        );
    }
    Ok(steps)
}

impl ScalarUDFImpl for FilledSteps {
    fn name(&self) -> &'static str {
        "filled_steps"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [.., fill] = types else { return plan_err!("filled_steps takes 7 arguments, not 0") };
        if !matches!(fill, DataType::Boolean | DataType::Null) {
            return plan_err!("a function over time takes true or false as fill, not a value of type {fill}");
        }
        let mut wanted = vec![timestamp_type(); 5];
        wanted.extend([DataType::Interval(IntervalUnit::MonthDayNano), DataType::Boolean]);
        if types.len() != wanted.len() {
            return plan_err!("filled_steps takes {} arguments, not {}", wanted.len(), types.len());
        }
        Ok(wanted)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(Self::result())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays: Vec<ArrayRef> =
            args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<_>>()?;
        let [times, previous, next, first, last, steps, fills] = arrays.as_slice() else {
            return exec_err!("filled_steps takes 7 arguments");
        };
        let [times, previous, next, first, last] =
            [times, previous, next, first, last].map(AsArray::as_primitive::<TimestampNanosecondType>);
        let (steps, fills) = (steps.as_primitive::<IntervalMonthDayNanoType>(), fills.as_boolean());
        let (mut all, mut lengths) =
            (Vec::with_capacity(args.number_rows), Vec::with_capacity(args.number_rows));
        for row in 0..args.number_rows {
            let before = all.len();
            if times.is_valid(row) {
                let time = times.value(row);
                if fills.is_valid(row) && fills.value(row) && steps.is_valid(row) {
                    let from = if previous.is_null(row) { first.value(row) } else { time };
                    let end = next.is_valid(row).then(|| next.value(row));
                    all.extend(between(from, end, last.value(row), steps.value(row))?);
                } else {
                    all.push(time);
                }
            }
            lengths.push(all.len() - before);
        }
        let times = TimestampNanosecondArray::from(all).with_timezone("UTC");
        let item = Arc::new(Field::new_list_field(timestamp_type(), true));
        let lists = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(times), None)?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: IntervalMonthDayNano = IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 60 };
    const MONTH: IntervalMonthDayNano = IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 };

    #[test]
    fn steps_end_before_the_next_row_or_with_the_last() {
        assert_eq!(between(0, Some(180), 600, MINUTE).unwrap(), [0, 60, 120]);
        assert_eq!(between(120, None, 240, MINUTE).unwrap(), [120, 180, 240]);
        let february = 31 * DAY_NS;
        assert_eq!(between(0, None, february, MONTH).unwrap(), [0, february]);
    }

    #[test]
    fn a_step_that_leads_nowhere_and_too_many_steps_end() {
        let nothing = IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 0 };
        assert_eq!(between(7, None, 100, nothing).unwrap(), [7]);
        assert!(between(0, None, i64::MAX, MINUTE).unwrap_err().to_string().contains("longer step"));
    }
}
