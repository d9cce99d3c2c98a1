//! How does a SQL statement become rows?
//!
//! 1. A [`question`] is a text or a tree, with the values of its [`parameter`]s and its limits. Text becomes
//!    a tree in [`language`]; from there on there is one way.
//! 2. [`resolver`] gives every name its meaning and leaves a statement in which each
//!    occurrence of the table carries the attributes that it needs: `events["http.route"]`. [`views`] are
//!    queries that it puts in place of their names.
//! 3. [`engine`] plans it in a session of its own, bound to one [`ReadSnapshot`], and rewrites comparisons
//!    of ids with [`hex`] text and of text with numbers ([`compare`]), [`arithmetic`] of integers, and what looks
//!    into JSON text ([`nested`]); it refuses [`zones`] of time that nobody knows, and notes [`casts`] for the
//!    errors that they may cause. Attributes whose values have several types are [`mixed`]: text that has
//!    [`number`]s in it, which can be [calculated](calculate) with.
//! 4. [`table`] decodes the occurrence's name into a narrow table; [`prune`] leaves out the segments that
//!    cannot matter; [`scan`] reads the rest and the buffer ([`buffer_scan`]), through [`adapter`], which
//!    knows per file where an attribute is, and with [`metadata`] of only the columns that matter
//!    and without the rows that [`masks`] hide.
//!    Where text in memory is grouped by, [`group_by_codes`] makes numbers of it.
//! 5. DataFusion does what remains, with our [`functions`]. The [`answer`] is a stream of batches, which
//!    [`output`] turns into bytes.
//!
//! A query sees one snapshot, whatever is written meanwhile. Nothing here writes.

pub mod question;
pub mod parameter;
pub mod answer;
pub mod language;
pub mod resolver;
pub mod views;
pub mod engine;
mod rewrite;
mod hex;
mod compare;
mod calculate;
mod mixed;
mod number;
mod arithmetic;
mod zones;
mod casts;
mod nested;
mod group_by_codes;
mod codes;
pub mod snapshot;
mod table;
mod prune;
mod scan;
mod buffer_scan;
mod adapter;
mod metadata;
mod indexed;
mod masks;
pub(crate) mod matching;
mod functions;
pub mod output;
mod error;

pub use answer::QueryResult;
pub use engine::Engine;
pub use error::query_error;
pub use parameter::Parameter;
pub use question::{Ask, Question};
pub use snapshot::ReadSnapshot;

#[cfg(test)]
mod tests;
