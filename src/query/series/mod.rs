//! How do points of metrics become rates and quantiles over time? `rate`, `increase`, `delta` and `histogram_quantile`
//! in SQL.
//!
//! A *series* is all points of one metric with the same attributes at all levels. A counter is only comparable with
//! itself, so each series is looked at alone, in the order of time:
//!
//! 1. `sql/rate.sql` and its like group points by series. [`counter`] and [`histogram_steps`] keep those of a series,
//!    whichever order they come in.
//! 2. [`increase`] says how much was counted in each step of time: pure. [`histogram`] does the same for each bucket,
//!    and knows how histograms are added and where a quantile of one lies: pure too.
//! 3. The statement adds the series of a group up. [`quantile`] is the aggregate that adds histograms.
//! 4. [`fill`] adds the steps in which nothing was measured.
//!
//! A point tells of the time before it: one at 10:01:00 belongs to the step that ends then. So steps are half-open on
//! the left, `time < timestamp <= time + step`, unlike those of spans and logs, which are when they began.

mod increase;
mod counter;
mod histogram;
mod histogram_steps;
mod quantile;
mod fill;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use super::functions::collected::aggregate;

/// The aggregate functions.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    vec![
        aggregate(counter::CounterSteps),
        aggregate(histogram_steps::HistogramSteps),
        aggregate(quantile::HistogramQuantile),
    ]
}

/// The scalar functions.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(fill::FilledSteps::new().into())]
}
