//! Functions that SQL lacks for telemetry, and those with which scans read attributes.
//!
//! - for everybody: `p50` … `p999` and `quantile(x, q)` ([`quantile`]), `trace_id_from_hex` and
//!   `span_id_from_hex` ([`hex_id`]), and a [`sum`] that does not wrap around
//! - for the planner, in the place of operators: [`checked`] arithmetic
//! - for the scan, per file: `first_of`, `overflow_get`, `display_text`, `json_value`, `attributes_map`,
//!   `typed_attributes`; SQL cannot name them, nor those of text that holds numbers ([`mixed`], [`extreme`])

mod attributes;
mod checked;
mod extreme;
mod first_of;
mod hex_id;
mod json_null;
mod mixed;
mod overflow;
mod quantile;
mod sketch;
mod sum;
mod text;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub(crate) use attributes::{AllAttributes, AttributeArgument, Form, map_type};
pub(crate) use checked::{Checked, Operation, does_not_fit};
pub(crate) use extreme::Extreme;
pub(crate) use first_of::FirstOf;
pub(crate) use hex_id::IdFromHex;
pub(crate) use json_null::JsonValue;
pub(crate) use mixed::{Mixed, Reading};
pub(crate) use overflow::OverflowGet;
pub(crate) use sum::SUM_STATE;
pub(crate) use text::{DisplayText, SAFE};

/// The scalar functions that SQL can call.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(hex_id::IdFromHex::trace_id().into()), Arc::new(hex_id::IdFromHex::span_id().into())]
}

/// The aggregate functions that SQL can call.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut all = quantile::all();
    all.push(Arc::new(sum()));
    all
}

/// `sum`, which does not wrap around.
pub(crate) fn sum() -> AggregateUDF {
    sum::Sum::new().into()
}
