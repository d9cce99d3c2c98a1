//! How does a SQL statement become rows?
//!
//! 1. `resolver` parses the text, gives every name its meaning and leaves a statement in which each
//!    occurrence of the table carries the attributes that it needs: `events["http.route"]`.
//! 2. [`engine`] plans it in a session of its own, bound to one [`ReadSnapshot`], and rewrites comparisons
//!    of ids with hex text and of text with numbers.
//! 3. [`table`] decodes the occurrence's name into a narrow table; [`prune`] leaves out the segments that
//!    cannot matter; [`scan`] reads the rest and the buffer, through [`adapter`], which knows per file where
//!    an attribute is.
//! 4. DataFusion does what remains; [`output`] turns the stream of batches into bytes.
//!
//! A query sees one snapshot, whatever is written meanwhile. Nothing here writes.

pub mod resolver;
pub mod views;

pub mod snapshot;

pub use snapshot::ReadSnapshot;
mod adapter;
mod compare;
mod functions;
mod hex;
mod rewrite;
