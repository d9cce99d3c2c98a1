//! What is different about these events? `explain_diff(source, selection)` in SQL.
//!
//! 1. [`call`] checks the arguments and chooses the keys; it writes the statement, which the resolver puts in place of
//!    the call. That calls the aggregate function [`aggregate`] once over all rows, with one argument per key.
//! 2. [`counts`] has a [`column`] per key, and, across traces, per service: a [`tally`] per value, for both sides at
//!    once. All rows are read once; memory is bounded by limits of values per key. A [`sample`] of rows is kept whole.
//! 3. [`found`] chooses the entries of each key that differ most, [`statistics`] says whether that may be chance, and
//!    [`ranking`] orders the keys and puts those that go [`together`] into one.
//! 4. [`output`] has the columns of the result.
//!
//! As an aggregate function it runs in DataFusion's plan: it is parallel, ends with the statement, and accounts for
//! its memory.

mod statistics;
mod number;
mod tally;
mod column;
mod sample;
mod counts;
mod found;
mod together;
mod ranking;
mod output;
pub(crate) mod settings;
pub(crate) mod aggregate;
pub(crate) mod call;

pub(crate) use output::columns;
