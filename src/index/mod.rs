//! How does a query find rows without reading the segments?
//!
//! ```text
//! runs/{id}.run                       hash of a value ──▶ which of many segments have it
//! segments/…/{id}.index               hash of a value ──▶ which pages of this segment have it
//! segments/…/{id}.parquet             the rows
//! ```
//!
//! A *lookup key* is a column in which each value occurs in few rows: `trace_id` always, the keys pinned in the
//! settings, and text columns of that shape. Each has [`postings`]: sorted 48-bit [`hash`]es of values, with the
//! pages that hold them. A *run* merges the postings of many segments into postings of segments, so a lookup
//! reads a few kilobytes however many segments there are.
//!
//! # Invariants
//!
//! - An index may have false positives, never false negatives. It may name rows with another value of the same
//!   hash, or segments that are gone; so the query always applies its filter to the rows.
//! - An index is a hint. If it is missing, damaged or of another version, the query scans the segment: slower,
//!   never wrong.
//! - A lookup section covers *every* value that the attribute has in the segment, in a column or in the
//!   overflow; otherwise the section is not written.
//! - Bytes from the store are not trusted: whatever they are, reading them returns a result or
//!   [`Corrupt`](crate::ErrorKind::Corrupt), and takes no more memory than they have bytes.
//!
//! [`sidecar`] is the container of all index objects, [`blocks`] stores many small blocks in one section, and
//! [`postings`] is the format of lookups. [`builder`] makes the side-car of a segment while the segment is
//! written, with the [`words`] of log records, [`segment_index`] reads it, [`run`] and [`run_set`] index many segments, and [`cache`] bounds the
//! memory of open indexes. [`checksums`] protect the segment itself. [`check`] verifies indexes, [`inspect`] shows
//! the contents of one. [`bitmap`] is another kind of index: the rows of each value of a column, made in memory
//! for queries.

pub mod bitmap;
mod cursor;
pub mod hash;
mod place;
pub mod words;
pub mod sidecar;
pub mod blocks;
pub mod checksums;
pub mod byte_cache;
pub mod footers;
pub mod postings;
pub mod builder;
pub mod segment_index;
pub mod run;
pub mod run_set;
pub mod cache;
pub mod check;
pub mod inspect;

pub use builder::IndexBuilder;
pub use cache::IndexCache;
pub use hash::ValueHash;
pub use run::{RunId, RunMeta};
pub use run_set::{RunAnswer, RunSet};
pub use segment_index::SegmentIndex;

#[cfg(test)]
mod tests;
