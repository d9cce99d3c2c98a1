//! How does a SQL statement become rows?
//!
//! 1. A [`question`] is a text or a tree, with the values of its [`parameter`]s and its limits. Text becomes
//!    a tree in [`language`]; from there on there is one way.
//! 2. [`resolve`] gives every name its meaning and leaves a statement in which each occurrence of the table
//!    carries the attributes that it needs: `events["http.route"]`. [`views`] are queries that it puts in
//!    place of their names.
//! 3. [`engine`] plans it in a session of its own, bound to one [`ReadSnapshot`], and rewrites the [`plan`]
//!    where types decide what is meant.
//! 4. [`scan`] makes narrow tables of the occurrences, leaves out the segments that cannot matter and reads the
//!    rest and the buffer; [`indexed`] are the faster ways to read a segment.
//! 5. DataFusion does what remains, with our [`functions`]. The [`answer`] is a stream of batches, which
//!    [`output`] turns into bytes.
//!
//! [`row_matcher`] finds the rows of a segment that a condition is about, for those who delete.
//!
//! A query sees one snapshot, whatever is written meanwhile. Nothing here writes.

pub mod question;
pub mod parameter;
pub mod answer;
pub mod language;
pub mod resolve;
pub mod views;
pub mod engine;
mod plan;
pub mod snapshot;
mod scan;
mod indexed;
mod functions;
pub(crate) mod row_matcher;
pub mod output;
mod error;

pub use answer::QueryResult;
pub use engine::Engine;
pub(crate) use engine::timed_out;
pub use error::query_error;
pub use language::{Ask, Tree};
pub use parameter::Parameter;
pub use question::Question;
pub use snapshot::ReadSnapshot;

#[cfg(test)]
mod tests;
