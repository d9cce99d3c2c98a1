//! `histogram_steps(metric.temporality, timestamp, start_timestamp, step, histogram.count, …)`: the histograms of one
//! series that were counted in each step, a struct for each step that has a point.
//!
//! `sql/histogram_quantile.sql` calls it; it is not meant for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, LargeBinaryArray, ListArray,
    StringViewArray, StructArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{
    DataType, Field, Fields, Float64Type, Int32Type, TimestampNanosecondType, UInt64Type,
};
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err};
use datafusion::error::Result;

use super::counter::DELTA;
use super::histogram::{BothKinds, Buckets, Exponential, Histogram, decode, encode};
use super::increase::{Since, Times, since};
use crate::event::schema::timestamp_type;
use crate::query::bytes::{Reader, write};
use crate::query::functions::collected::{Collected, Collecting, exactly};

/// The function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HistogramSteps;

/// Points of one series.
#[derive(Debug, Default)]
pub(super) struct Series {
    points: Vec<(Times, Histogram)>,
    is_delta: bool,
    /// Memory of the histograms.
    bytes: usize,
}

/// Arguments for a batch of points.
pub(super) struct Batch {
    temporalities: StringViewArray,
    /// Times, starts, steps.
    times: [TimestampNanosecondArray; 3],
    counts: UInt64Array,
    /// Sum, minimum, maximum.
    numbers: [Float64Array; 3],
    bounds: ListArray,
    bucket_counts: ListArray,
    exponential: ExponentialBatch,
}

struct ExponentialBatch {
    scales: Int32Array,
    zero_counts: UInt64Array,
    zero_thresholds: Float64Array,
    /// Offsets and counts of positive values, then of negative ones.
    sides: [(Int32Array, ListArray); 2],
}

fn known<T: arrow::datatypes::ArrowPrimitiveType>(
    array: &arrow::array::PrimitiveArray<T>,
    row: usize,
) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

fn items<T: arrow::datatypes::ArrowPrimitiveType>(lists: &ListArray, row: usize) -> Vec<T::Native> {
    if lists.is_null(row) {
        return Vec::new();
    }
    lists.value(row).as_primitive::<T>().values().to_vec()
}

impl ExponentialBatch {
    fn get(&self, row: usize) -> Option<Exponential> {
        let side = |(offsets, counts): &(Int32Array, ListArray)| {
            let offset = known(offsets, row).unwrap_or(0);
            let buckets = items::<UInt64Type>(counts, row).into_iter().enumerate();
            let placed = buckets
                .filter(|(_, count)| *count > 0)
                .filter_map(|(place, count)| Some((offset.checked_add(i32::try_from(place).ok()?)?, count)));
            placed.collect::<BTreeMap<i32, u64>>()
        };
        Some(Exponential {
            scale: known(&self.scales, row)?,
            zero_count: known(&self.zero_counts, row).unwrap_or(0),
            zero_threshold: known(&self.zero_thresholds, row).unwrap_or(0.0),
            positive: side(&self.sides[0]),
            negative: side(&self.sides[1]),
        })
    }
}

impl Batch {
    fn get(&self, row: usize) -> Option<(Times, Histogram)> {
        let count = known(&self.counts, row)?;
        let [times, starts, steps] = &self.times;
        let times =
            Times { at_ns: known(times, row)?, start_ns: known(starts, row), step_ns: known(steps, row)? };
        let buckets = match self.exponential.get(row) {
            Some(exponential) => Buckets::Exponential(exponential),
            None => Buckets::explicit(
                items::<Float64Type>(&self.bounds, row),
                items::<UInt64Type>(&self.bucket_counts, row),
                count,
            ),
        };
        let [sum, min, max] =
            [0, 1, 2].map(|i| known(&self.numbers[i], row).filter(|number| number.is_finite()));
        Some((times, Histogram { count, sum, min, max, buckets }))
    }
}

impl Series {
    fn push(&mut self, times: Times, histogram: Histogram) {
        self.bytes += histogram.heap_bytes();
        self.points.push((times, histogram));
    }

    /// The steps that have a point, in order, with what was counted in them.
    fn steps(&self) -> Result<Vec<(i64, Option<Histogram>)>, BothKinds> {
        let mut order: Vec<usize> = (0..self.points.len()).collect();
        order.sort_by_key(|i| {
            let (times, histogram) = &self.points[*i];
            (times.at_ns, times.start_ns, histogram.count)
        });
        let mut steps: Vec<(i64, Option<Histogram>)> = Vec::new();
        let mut before: Option<&(Times, Histogram)> = None;
        for i in order {
            let point = &self.points[i];
            let counted = if self.is_delta { Some(point.1.clone()) } else { counted(point, before) };
            before = Some(point);
            match steps.last_mut().filter(|step| step.0 == point.0.step_ns) {
                Some((_, sum)) => match (sum.as_mut(), counted) {
                    (Some(sum), Some(counted)) => sum.add(&counted)?,
                    (None, counted) => *sum = counted,
                    (Some(_), None) => {}
                },
                None => steps.push((point.0.step_ns, counted)),
            }
        }
        Ok(steps)
    }
}

/// The part of a cumulative point that was counted since the one before it, if that is known.
fn counted(point: &(Times, Histogram), before: Option<&(Times, Histogram)>) -> Option<Histogram> {
    let difference = before.and_then(|before| point.1.since(&before.1));
    let is_less = before.is_some() && difference.is_none();
    match since(&point.0, before.map(|before| &before.0), is_less) {
        Since::Before => difference,
        Since::Reset | Since::Begin => Some(point.1.clone()),
        Since::Unknown => None,
    }
}

impl Collected for Series {
    type Batch = Batch;

    fn batch(columns: &[ArrayRef]) -> Result<Batch> {
        let [
            temporalities,
            times,
            starts,
            steps,
            counts,
            sums,
            minima,
            maxima,
            bounds,
            bucket_counts,
            scales,
            zero_counts,
            zero_thresholds,
            positive_offsets,
            positive,
            negative_offsets,
            negative,
        ] = columns
        else {
            return exec_err!("histogram_steps has too few arguments");
        };
        let time = |array: &ArrayRef| array.as_primitive::<TimestampNanosecondType>().clone();
        let number = |array: &ArrayRef| array.as_primitive::<Float64Type>().clone();
        let integer = |array: &ArrayRef| array.as_primitive::<Int32Type>().clone();
        let count = |array: &ArrayRef| array.as_primitive::<UInt64Type>().clone();
        let list = |array: &ArrayRef| array.as_list::<i32>().clone();
        Ok(Batch {
            temporalities: temporalities.as_string_view().clone(),
            times: [time(times), time(starts), time(steps)],
            counts: count(counts),
            numbers: [number(sums), number(minima), number(maxima)],
            bounds: list(bounds),
            bucket_counts: list(bucket_counts),
            exponential: ExponentialBatch {
                scales: integer(scales),
                zero_counts: count(zero_counts),
                zero_thresholds: number(zero_thresholds),
                sides: [
                    (integer(positive_offsets), list(positive)),
                    (integer(negative_offsets), list(negative)),
                ],
            },
        })
    }

    fn add(&mut self, batch: &Batch, row: usize) -> Result<()> {
        if let Some((times, histogram)) = batch.get(row) {
            self.is_delta = batch.temporalities.is_valid(row) && batch.temporalities.value(row) == DELTA;
            self.push(times, histogram);
        }
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        write::number(out, u64::from(self.is_delta));
        write::number(out, self.points.len() as u64);
        for (times, histogram) in &self.points {
            times.write(out);
            encode(histogram, out);
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let mut reader = Reader::new(bytes);
        self.is_delta |= reader.number()? == 1;
        for _ in 0..reader.number()? {
            let times = Times::read(&mut reader)?;
            self.push(times, decode(&mut reader)?);
        }
        Some(())
    }

    fn heap_bytes(&self) -> usize {
        self.points.capacity() * size_of::<(Times, Histogram)>() + self.bytes
    }
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("time", timestamp_type(), true),
        Field::new("count", DataType::Int64, true),
        Field::new("sum", DataType::Float64, true),
        Field::new("histogram", DataType::LargeBinary, true),
    ])
}

/// Error of a group of both kinds of histograms.
pub(super) fn both_kinds(_: BothKinds) -> datafusion::error::DataFusionError {
    exec_datafusion_err!(
        "explicit and exponential histograms cannot be added: choose one kind by WHERE metric.type = 'histogram', or \
         group by metric.type"
    )
}

impl Collecting for HistogramSteps {
    type Rows = Series;
    type Settings = ();

    fn name(&self) -> &'static str {
        "histogram_steps"
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType::{Float64, Int32, UInt64, Utf8View};
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        let time = timestamp_type;
        let wanted = [
            Utf8View,
            time(),
            time(),
            time(),
            UInt64,
            Float64,
            Float64,
            Float64,
            list(Float64),
            list(UInt64),
            Int32,
            UInt64,
            Float64,
            Int32,
            list(UInt64),
            Int32,
            list(UInt64),
        ];
        exactly(self.name(), "histogram_quantile", &wanted, types)
    }

    fn result(&self) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields()), true)))
    }

    fn settings(&self, _: &[Option<ScalarValue>]) -> Result<()> {
        Ok(())
    }

    fn finish(&self, (): &(), series: &Series) -> Result<ArrayRef> {
        let steps = series.steps().map_err(both_kinds)?;
        let times: TimestampNanosecondArray = steps.iter().map(|(step_ns, _)| Some(*step_ns)).collect();
        let counts = steps.iter().map(|(_, counted)| i64::try_from(counted.as_ref()?.count).ok());
        let sums = steps.iter().map(|(_, counted)| counted.as_ref()?.sum);
        let encoded: Vec<Option<Vec<u8>>> = steps
            .iter()
            .map(|(_, counted)| {
                let mut bytes = Vec::new();
                encode(counted.as_ref()?, &mut bytes);
                Some(bytes)
            })
            .collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(times.with_timezone("UTC")),
            Arc::new(counts.collect::<Int64Array>()),
            Arc::new(sums.collect::<Float64Array>()),
            Arc::new(encoded.iter().map(Option::as_deref).collect::<LargeBinaryArray>()),
        ];
        Ok(Arc::new(StructArray::try_new(fields(), columns, None)?))
    }
}
