//! What does a trace look like as a tree? `trace_rows`, `critical_path`, `trace_diff`, `find_traces` and
//! `service_graph` in SQL, and the waterfall.
//!
//! 1. [`spans`] keeps the spans of a trace, whichever order they come in.
//! 2. [`tree`] puts them in order and finds the critical path; whatever producers send, each span stands once. Pure.
//!    [`measures`] says how long a span itself took, and which errors it has below it.
//! 3. [`functions`] are aggregates: one row in SQL is one trace. [`diff`] lays two trees over each other, [`edges`]
//!    says which service calls which, and [`spanset`] finds spans by their relations, which [`shape`] parses and
//!    evaluates.
//!
//! So a question about many traces is one grouping by `trace_id`, never a join of spans with themselves. The largest
//! trace is in memory as a whole, with at most [`SPANS_MAX`] spans.

pub(crate) mod tree;
pub(crate) mod spans;
mod measures;
mod diff;
mod edges;
mod shape;
mod spanset;
mod functions;

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;

use super::functions::collected::aggregate;

pub(crate) use spans::SPANS_MAX;

/// The aggregate functions.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let of_spans = [functions::ROWS, functions::CRITICAL_PATH, functions::DIFFERENCE, functions::EDGES];
    of_spans.into_iter().map(aggregate).chain([aggregate(spanset::Spanset)]).collect()
}
