//! `histogram_quantile(histogram, q)`: the quantile of the sum of histograms, null if there is none.
//!
//! `histogram` is the field of that name of what [`histogram_steps`](super::histogram_steps) yields;
//! `sql/histogram_quantile.sql` calls it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, LargeBinaryArray};
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;

use super::histogram::{Histogram, decode, encode};
use super::histogram_steps::both_kinds;
use crate::query::bytes::Reader;
use crate::query::functions::collected::{Collected, Collecting, exactly};
use crate::query::functions::quantile::constant;

/// The function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HistogramQuantile;

/// Sum of histograms.
#[derive(Debug, Default)]
pub(super) struct Sum {
    histogram: Option<Histogram>,
    /// True if there were both kinds; then there is no sum.
    is_of_both_kinds: bool,
}

impl Sum {
    fn take(&mut self, bytes: &[u8]) -> Option<()> {
        let histogram = decode(&mut Reader::new(bytes))?;
        match &mut self.histogram {
            Some(sum) => self.is_of_both_kinds |= sum.add(&histogram).is_err(),
            None => self.histogram = Some(histogram),
        }
        Some(())
    }
}

impl Collected for Sum {
    type Batch = LargeBinaryArray;

    fn batch(columns: &[ArrayRef]) -> Result<LargeBinaryArray> {
        let Some(histograms) = columns.first() else {
            return exec_err!("histogram_quantile has no argument");
        };
        Ok(histograms.as_binary::<i64>().clone())
    }

    fn add(&mut self, batch: &LargeBinaryArray, row: usize) -> Result<()> {
        if batch.is_valid(row) && self.take(batch.value(row)).is_none() {
            return exec_err!("histogram_quantile takes a histogram of histogram_steps, not other bytes");
        }
        if self.is_of_both_kinds {
            return Err(both_kinds(super::histogram::BothKinds));
        }
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        if let Some(histogram) = &self.histogram {
            encode(histogram, out);
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() { Some(()) } else { self.take(bytes) }
    }

    fn heap_bytes(&self) -> usize {
        self.histogram.as_ref().map_or(0, Histogram::heap_bytes)
    }
}

impl Collecting for HistogramQuantile {
    type Rows = Sum;
    type Settings = f64;

    fn name(&self) -> &'static str {
        "histogram_quantile"
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        exactly(self.name(), self.name(), &[DataType::LargeBinary, DataType::Float64], types)
    }

    fn result(&self) -> DataType {
        DataType::Float64
    }

    fn settings(&self, constants: &[Option<ScalarValue>]) -> Result<f64> {
        let Some(q) = constant(constants.get(1).and_then(Option::as_ref)) else {
            return plan_err!("histogram_quantile takes a constant between 0 and 1 as q, such as 0.99");
        };
        Ok(q)
    }

    fn finish(&self, q: &f64, sum: &Sum) -> Result<ArrayRef> {
        if sum.is_of_both_kinds {
            return Err(both_kinds(super::histogram::BothKinds));
        }
        let quantile = sum.histogram.as_ref().and_then(|histogram| histogram.quantile(*q));
        Ok(Arc::new(Float64Array::from(vec![quantile])))
    }
}
