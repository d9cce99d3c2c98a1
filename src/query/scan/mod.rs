//! How are the events read that a statement needs?
//!
//! ```text
//! events["http.route"] ─▶ table ─▶ prune ─▶ plan ─┬─▶ segments: adapter, metadata, masks
//!                                                 └─▶ buffer: the same adapter
//! ```
//!
//! [`table`] is one occurrence of the table of events, with the attributes that it shows; [`prune`] leaves
//! out the segments that cannot matter; [`plan`] makes one leaf of what remains. Segments are read through
//! [`adapter`], which knows per file where an attribute is, with [`metadata`] of only the columns that
//! matter and without the rows that [`masks`] hide; [`buffer`] reads what is in no segment yet.
//!
//! The faster ways to read a segment are in [`indexed`](super::indexed).

pub(crate) mod table;
pub(crate) mod occurrence;
mod prune;
pub(crate) mod plan;
pub(crate) mod events_exec;
mod statistics;
mod buffer;
pub(crate) mod adapter;
pub(crate) mod metadata;
pub(crate) mod masks;
