//! How does a SQL statement become rows?
//!
//! 1. [`resolver`] parses the text, gives every name its meaning and leaves a statement in which each
//!    occurrence of the table carries the attributes that it needs: `events["http.route"]`. [`views`] are
//!    SQL texts that it puts in place of their names.
//! 2. [`engine`] plans it in a session of its own, bound to one [`ReadSnapshot`], and rewrites comparisons
//!    of ids with [`hex`] text and of text with numbers ([`compare`]), [`arithmetic`] of integers, and what looks
//!    into JSON text ([`nested`]); it refuses [`zones`] of time that nobody knows, and notes [`casts`] for the
//!    errors that they may cause. Attributes whose values have several types are [`mixed`]: text that has
//!    [`number`]s in it, which can be [calculated](calculate) with.
//! 3. [`table`] decodes the occurrence's name into a narrow table; [`prune`] leaves out the segments that
//!    cannot matter; [`scan`] reads the rest and the buffer ([`buffer_scan`]), through [`adapter`], which
//!    knows per file where an attribute is, and with [`metadata`] of only the columns that matter
//!    and without the rows that [`masks`] hide.
//!    Where text in memory is grouped by, [`group_by_codes`] makes numbers of it.
//! 4. DataFusion does what remains, with our [`functions`]; [`output`] turns the stream of batches into
//!    bytes.
//!
//! A query sees one snapshot, whatever is written meanwhile. Nothing here writes.

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
mod progress;
mod trace;

pub(crate) use engine::timed_out;
pub use engine::{Checked, Engine, QueryRequest, QueryResult};
pub use error::query_error;
pub use progress::{Progress, ReadCounts};
pub use snapshot::ReadSnapshot;

#[cfg(test)]
mod tests;
