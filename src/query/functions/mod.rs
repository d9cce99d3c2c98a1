//! Functions for telemetry that SQL lacks, and functions by which scans read attributes.
//!
//! - for users: [`search`], [`log_pattern`], `p50` … `p999` and `quantile(x, q)` ([`quantile`]), [`exemplar`], ranges of a logarithmic scale
//!   ([`bucket`]), `trace_id_from_hex` and `span_id_from_hex` ([`hex_id`]), and a [`sum`] that does not wrap around; functions of JSON text, from
//!   `datafusion-functions-json` ([`json`])
//! - for aggregates elsewhere: [`collected`], which keeps something of every row of a group
//! - for the resolver and the planner: values at a path in JSON text ([`json_at`]), JSON text as lists and maps
//!   ([`json_list`]), a key that is an attribute or in a map ([`first_text`]); instead of operators, [`checked`]
//!   arithmetic and [`unary_minus`]
//! - for the scan, per file: `first_of`, `overflow_get`, `display_text`, `plain_json`, `attributes_map`,
//!   `typed_attributes`. SQL cannot name these, nor those for text that holds [`number`]s ([`mixed`],
//!   [`mixed_choice`], [`extreme`]), nor the [`codes`] of texts

mod attributes;
mod bucket;
mod checked;
pub(crate) mod codes;
pub(crate) mod collected;
mod exemplar;
mod extreme;
mod first_of;
mod first_text;
mod hex_id;
mod json;
mod json_at;
mod json_extreme;
mod json_list;
mod mixed;
mod mixed_choice;
pub(crate) mod number;
mod overflow;
pub(crate) mod quantile;
mod search;
mod log_pattern;
pub(crate) mod sketch;
mod sum;
mod text;
mod unary_minus;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub(crate) use attributes::{AllAttributes, AttributeArgument, Form, map_type};
pub(crate) use checked::{Checked, Operation, does_not_fit};
pub(crate) use extreme::Extreme;
pub(crate) use first_of::FirstOf;
pub(crate) use first_text::FIRST_TEXT;
pub(crate) use hex_id::IdFromHex;
pub(crate) use json::{AS_TEXT as JSON_AS_TEXT, operator as json_operator};
pub(crate) use json_at::{JSON_AT, JsonAt, is_text};
pub(crate) use json_extreme::ListExtreme;
pub(crate) use json_list::{JsonList, JsonReading};
pub(crate) use mixed::{Mixed, Reading, is_marked, mark};
pub(crate) use mixed_choice::{Choice, MixedChoice};
pub(crate) use overflow::{OverflowGet, display as display_json};
pub(crate) use search::{SEARCH, words_of};
pub(crate) use sum::SUM_STATE;
pub(crate) use text::{DisplayText, PlainJson, SAFE};
pub(crate) use unary_minus::{UNARY_MINUS, UnaryMinus};

/// The scalar functions that SQL can call.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let ids = [hex_id::IdFromHex::trace_id(), hex_id::IdFromHex::span_id()].map(|id| Arc::new(id.into()));
    let lists = JsonReading::ALL.map(|reading| Arc::new(JsonList::new(reading).into()));
    let extremes = ListExtreme::ALL.map(|extreme| Arc::new(json_extreme::JsonExtreme::new(extreme).into()));
    let places = [Arc::new(JsonAt::new().into()), Arc::new(first_text::FirstText::new().into())];
    let others =
        [UnaryMinus::new().into(), search::Search::new().into(), log_pattern::LogPattern::new().into()];
    let others = others.map(Arc::new);
    let buckets =
        [bucket::LogBucket::start(), bucket::LogBucket::end()].map(|bucket| Arc::new(bucket.into()));
    let ids = ids.into_iter().chain(buckets);
    ids.chain(lists).chain(extremes).chain(places).chain(others).chain(json::functions()).collect()
}

/// The aggregate functions that SQL can call.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut all = quantile::all();
    all.push(Arc::new(sum()));
    all.push(Arc::new(exemplar::Exemplar::new().into()));
    all
}

/// `sum`, which does not wrap around.
pub(crate) fn sum() -> AggregateUDF {
    sum::Sum::new().into()
}
