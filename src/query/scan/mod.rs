//! How are the events of a statement read?
//!
//! ```text
//! events["http.route"] ─▶ table ─▶ prune ─▶ plan ─┬─▶ segments: adapter, metadata, masks
//!                                                 └─▶ buffer: the same adapter
//! ```
//!
//! [`table`] is one occurrence of the table of events, with the attributes that it shows; [`prune`] drops the
//! segments that cannot match; [`plan`] plans a scan of the others. Segments are read through [`adapter`], which
//! finds each attribute's columns per file, with [`metadata`] of only the needed columns, and without the rows that
//! [`masks`] hide. [`buffer`] reads events that are not in a segment yet.
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
