//! Which attributes are there, and which values do they have? `attributes`, `attribute_values` and `keys_of` in SQL.
//!
//! - [`facts`] says which keys there are and how often, from the key dictionary, the catalog and the buffer, without
//!   reading an event. [`table`] shows that as a table, on which the view `attributes` stands. Only for the columns
//!   that need values it asks a sample of events.
//! - [`summary`] is an aggregate that looks at all attributes of events: their keys, types and values. [`tally`] holds
//!   what it keeps of one key.
//!
//! `attribute_values` is plain SQL: indexes answer it where the column has few values.

mod tally;
mod summary;
mod facts;
mod table;

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;

use super::functions::collected::aggregate;

pub(super) use table::{ATTRIBUTE_FACTS, Ask, AttributeFacts, columns};

/// The aggregate functions.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    vec![aggregate(summary::SummarizeKeys)]
}
