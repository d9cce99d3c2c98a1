//! What would an aggregate be without sampling, and how sure is that?
//!
//! A sampled event stands for `sample_weight` events like it. Sums of weights estimate counts, weighted sums estimate
//! sums: Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe", JASA 1952.
//! Traces are kept or dropped as a whole, so a trace is the unit of sampling, and an event without one is a unit by
//! itself. Each unit is taken to have been chosen independently of the others.
//!
//! - [`interval`]: `estimate(count(*))` and others, with bounds
//! - [`clusters`]: the variance of an estimate, without keeping every trace
//! - [`distinct`]: number of different values
//!
//! The resolver writes the calls (`resolve/weigh`); people write `estimate(…)`, or `SET weighted = on`.

mod clusters;
mod distinct;
mod interval;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast_with_options;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::exec_err;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::error::Result;
use datafusion::logical_expr::AggregateUDF;

use super::functions::SAFE;
use super::functions::collected::aggregate;

pub(crate) use distinct::ESTIMATED_DISTINCT;
pub(crate) use interval::Estimated;

/// Makes the same hashes in every process, so that an answer does not change when it is asked for again.
const SEED: QualityRandomState = QualityRandomState::with_seed(0x5eed);

/// The aggregate functions.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut all: Vec<_> = Estimated::ALL.map(aggregate).into();
    all.push(aggregate(distinct::EstimatedDistinct));
    all
}

/// Units of sampling of the rows of a batch, and their weights.
struct Units {
    /// Hashes of the trace ids; `None` if all are null.
    hashes: Option<Vec<u64>>,
    traces: ArrayRef,
    weights: Float64Array,
}

impl Units {
    /// Takes the last two arguments: trace id and weight.
    fn new(columns: &[ArrayRef]) -> Result<Self> {
        let [.., traces, weights] = columns else {
            return exec_err!("an estimate needs a trace id and a weight");
        };
        // An array of NULL alone does not count its nulls.
        let is_known = *traces.data_type() != DataType::Null && traces.null_count() < traces.len();
        let hashes = if is_known { Some(hashes(traces)?) } else { None };
        Ok(Self { hashes, traces: Arc::clone(traces), weights: doubles(weights)? })
    }

    /// Hash of the trace of a row; `None` if it is of none.
    fn trace(&self, row: usize) -> Option<u64> {
        let hashes = self.hashes.as_ref()?;
        self.traces.is_valid(row).then(|| hashes.get(row).copied())?
    }

    /// Weight of a row; `None` if it does not count.
    fn weight(&self, row: usize) -> Option<f64> {
        let weight = self.weights.is_valid(row).then(|| self.weights.value(row))?;
        (weight > 0.0 && weight.is_finite()).then_some(weight)
    }
}

/// A hash of each value.
fn hashes(column: &ArrayRef) -> Result<Vec<u64>> {
    let mut hashes = vec![0; column.len()];
    create_hashes([column], &SEED, &mut hashes)?;
    Ok(hashes)
}

/// Numbers as doubles; what is no number is null.
fn doubles(column: &ArrayRef) -> Result<Float64Array> {
    Ok(cast_with_options(column, &DataType::Float64, &SAFE)?.as_primitive::<Float64Type>().clone())
}
