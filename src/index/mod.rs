//! What finds rows in segments, without reading them?
//!
//! ```text
//! runs/{id}.run                       hash of a value ──▶ which of many segments have it
//! segments/…/{id}.index               hash of a value ──▶ which pages of this segment have it
//! segments/…/{id}.parquet             the rows
//! ```
//!
//! A *lookup key* is a column whose values each stand in few rows: `trace_id` always, the keys that the
//! settings pin, and text columns that turn out to be of that kind. For each there are [`postings`]: sorted
//! 48-bit [`hash`]es of values, with the pages that hold them. A *run* merges the postings of many segments
//! into postings of segments, so that a lookup reads a few kilobytes however many segments there are.
//!
//! # Invariants
//!
//! - An index only ever says too much: equal hashes of different values, segments that are gone. Rows are
//!   always checked against the filter itself.
//! - An index is a hint. When it is missing, damaged or of another version, the segment is scanned: slower,
//!   never wrong.
//! - A lookup section of a column knows *every* value that the attribute has in the segment, wherever it is
//!   stored there; otherwise the section is not written.
//! - Bytes from the store are not trusted: whatever they are, reading them ends in an answer or in
//!   [`Corrupt`](crate::ErrorKind::Corrupt), and takes no more memory than they have bytes.
//!
//! [`sidecar`] is the container of all index objects, [`blocks`] keeps many small things in one,
//! [`postings`] the format inside, [`builder`] makes the side-car of a segment while it is written,
//! [`segment_index`] reads it, [`run`] and [`run_set`] are about many segments, and [`cache`] bounds the
//! memory of it all. [`checksums`] are those of the segment itself, and [`check`] looks whether all of it is true; [`inspect`] shows what is in one object. [`bitmap`] is another kind: the rows of each value of a column, made in memory when
//! queries ask.

pub mod bitmap;
mod cursor;
pub mod hash;
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
