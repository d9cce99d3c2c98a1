//! `counter_steps('increase', name, metric.type, metric.monotonic, metric.temporality, timestamp, start_timestamp,
//! step, value)`: the amounts that one series counted, a struct for each step that has a point.
//!
//! `sql/rate.sql`, `sql/increase.sql` and `sql/delta.sql` call it; it is not meant for people. `step` is the begin of
//! the step that the point belongs to.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringViewArray, StructArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, TimestampNanosecondType};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;

use super::increase::{Point, Reading, Times, steps};
use crate::event::schema::timestamp_type;
use crate::query::bytes::{Reader, write};
use crate::query::functions::collected::{Collected, Collecting, exactly};

/// The function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct CounterSteps;

/// Points of one series.
#[derive(Debug, Default)]
pub(super) struct Series {
    points: Vec<Point>,
    is_delta: bool,
}

/// Arguments for a batch of points.
pub(super) struct Batch {
    reading: Reading,
    names: StringViewArray,
    types: StringViewArray,
    monotonic: BooleanArray,
    temporalities: StringViewArray,
    times: TimestampNanosecondArray,
    starts: TimestampNanosecondArray,
    steps: TimestampNanosecondArray,
    values: Float64Array,
}

/// Type of a metric that does not count.
const GAUGE: &str = "gauge";

/// Temporality of points that count from the point before.
pub(super) const DELTA: &str = "delta";

/// Reads a text of `array`, which may be null.
fn text(array: &StringViewArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}

fn reading(mode: &str) -> Option<Reading> {
    match mode {
        "increase" => Some(Reading::Increase),
        "delta" => Some(Reading::Difference),
        _ => None,
    }
}

impl Batch {
    /// Refuses a counter's question about a number that may decrease.
    fn check(&self, row: usize) -> Result<()> {
        if self.reading == Reading::Difference {
            return Ok(());
        }
        let name = text(&self.names, row).unwrap_or("");
        let is_gauge = text(&self.types, row) == Some(GAUGE);
        if is_gauge || self.monotonic.is_valid(row) && !self.monotonic.value(row) {
            let what = if is_gauge { "a gauge" } else { "a sum that may decrease" };
            return exec_err!(
                "rate(…) and increase(…) are about counters, and \"{name}\" is {what}: use delta(…), or leave \
                 it out with WHERE"
            );
        }
        Ok(())
    }
}

impl Collected for Series {
    type Batch = Batch;

    fn batch(columns: &[ArrayRef]) -> Result<Batch> {
        let [modes, names, types, monotonic, temporalities, times, starts, steps, values] = columns else {
            return exec_err!("counter_steps has too few arguments");
        };
        let modes = modes.as_string_view();
        let mode = if modes.is_empty() { None } else { text(modes, 0) };
        Ok(Batch {
            reading: mode.and_then(reading).unwrap_or(Reading::Increase),
            names: names.as_string_view().clone(),
            types: types.as_string_view().clone(),
            monotonic: monotonic.as_boolean().clone(),
            temporalities: temporalities.as_string_view().clone(),
            times: times.as_primitive::<TimestampNanosecondType>().clone(),
            starts: starts.as_primitive::<TimestampNanosecondType>().clone(),
            steps: steps.as_primitive::<TimestampNanosecondType>().clone(),
            values: values.as_primitive::<Float64Type>().clone(),
        })
    }

    fn add(&mut self, batch: &Batch, row: usize) -> Result<()> {
        batch.check(row)?;
        let known = batch.times.is_valid(row) && batch.steps.is_valid(row) && batch.values.is_valid(row);
        if !known || !batch.values.value(row).is_finite() {
            return Ok(());
        }
        self.is_delta = text(&batch.temporalities, row) == Some(DELTA);
        // A gauge was not zero at its start.
        let counts_from_start = text(&batch.types, row) != Some(GAUGE);
        let times = Times {
            at_ns: batch.times.value(row),
            start_ns: (counts_from_start && batch.starts.is_valid(row)).then(|| batch.starts.value(row)),
            step_ns: batch.steps.value(row),
        };
        self.points.push(Point { times, value: batch.values.value(row) });
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        write::number(out, u64::from(self.is_delta));
        write::number(out, self.points.len() as u64);
        for point in &self.points {
            point.times.write(out);
            write::number(out, point.value.to_bits());
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let mut reader = Reader::new(bytes);
        self.is_delta |= reader.number()? == 1;
        for _ in 0..reader.number()? {
            let times = Times::read(&mut reader)?;
            self.points.push(Point { times, value: f64::from_bits(reader.number()?) });
        }
        Some(())
    }

    fn heap_bytes(&self) -> usize {
        self.points.capacity() * size_of::<Point>()
    }
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("time", timestamp_type(), true),
        Field::new("amount", DataType::Float64, true),
        Field::new("resets", DataType::Int64, true),
    ])
}

impl Collecting for CounterSteps {
    type Rows = Series;
    type Settings = Reading;

    fn name(&self) -> &'static str {
        "counter_steps"
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType::{Boolean, Float64, Utf8View};
        let time = timestamp_type();
        let wanted =
            [Utf8View, Utf8View, Utf8View, Boolean, Utf8View, time.clone(), time.clone(), time, Float64];
        exactly(self.name(), "rate", &wanted, types)
    }

    fn result(&self) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields()), true)))
    }

    fn settings(&self, constants: &[Option<ScalarValue>]) -> Result<Reading> {
        let mode = constants.first().and_then(Option::as_ref).and_then(|mode| mode.try_as_str().flatten());
        let Some(reading) = mode.and_then(reading) else {
            return plan_err!("counter_steps is called by rate(…): write that");
        };
        Ok(reading)
    }

    fn finish(&self, reading: &Reading, series: &Series) -> Result<ArrayRef> {
        let steps = steps(&series.points, series.is_delta, *reading);
        let times: TimestampNanosecondArray = steps.iter().map(|step| Some(step.step_ns)).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(times.with_timezone("UTC")),
            Arc::new(steps.iter().map(|step| step.amount).collect::<Float64Array>()),
            Arc::new(steps.iter().map(|step| Some(step.resets)).collect::<Int64Array>()),
        ];
        Ok(Arc::new(StructArray::try_new(fields(), columns, None)?))
    }
}
