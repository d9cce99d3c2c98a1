//! How does a SQL statement become rows?
//!
//! 1. A [`question`] is SQL text or a syntax tree, with [`parameter`] values and limits. [`language`] parses
//!    text to a tree; the later steps are the same for both.
//! 2. [`resolve`] resolves every name. In the resulting statement each occurrence of the table carries the
//!    attributes that it needs: `events["http.route"]`. The names of [`views`] are replaced by their queries.
//! 3. [`engine`] plans the statement in its own session, bound to one [`ReadSnapshot`], and rewrites the
//!    [`plan`] where the meaning depends on types.
//! 4. [`scan`] makes a narrow table of each occurrence, skips the segments that cannot match, and reads the
//!    other segments and the buffer; [`indexed`] has the faster ways to read a segment.
//! 5. DataFusion does the rest, with our [`functions`]. The [`answer`] is a stream of batches, which
//!    [`output`] turns into bytes.
//!
//! [`diff`] compares the attributes of two sets of events (`explain_diff`), [`series`] makes rates of the points of
//! metrics, [`trees`] puts the spans of traces in order, and [`discovery`] says which attributes there are.
//! [`row_matcher`] finds the rows of a segment that match a condition, for deletion and retention.
//!
//! A query sees one snapshot, whatever is written meanwhile. Nothing here writes.

pub mod question;
pub mod parameter;
pub mod answer;
mod progress;
pub mod language;
pub mod resolve;
pub mod views;
pub mod engine;
mod prepare;
mod plan;
pub mod snapshot;
mod scan;
mod indexed;
mod functions;
mod bytes;
mod diff;
mod discovery;
mod series;
mod estimate;
pub(crate) mod trees;
pub(crate) mod row_matcher;
pub(crate) mod complete;
pub mod output;
mod error;

pub use answer::QueryResult;
pub(crate) use engine::timed_out;
pub use engine::{Checked, Engine};
pub use error::query_error;
pub use language::{Ask, Tree};
pub use parameter::Parameter;
pub use prepare::Prepared;
#[cfg(feature = "postgres")]
pub(crate) use prepare::prepared;
pub use progress::{Progress, ReadCounts};
pub use question::Question;
pub use snapshot::ReadSnapshot;
#[cfg(feature = "postgres")]
pub(crate) use views::view_names;

#[cfg(test)]
mod tests;
