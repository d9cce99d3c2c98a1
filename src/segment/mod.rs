//! What is a segment, and how is one made?
//!
//! A segment is one immutable Parquet object with up to a million events, newest first. Any engine can
//! read it without us: columns have the [physical names](crate::event::key) of core fields and attributes.
//!
//! ```text
//! segments/2026/11/21/0193…c4.parquet
//!
//!   row group 0 (the only one)
//!     timestamp   │ page 8192 rows │ page │ …        DELTA_BINARY_PACKED, ZSTD(1)
//!     signal      │ dictionary │ page │ …
//!     http.route  │ …
//!     overflow    │ …                                typed JSON of what earned no column
//!   column index, offset index, footer (broadloom.format, broadloom.segment)
//! ```
//!
//! # Invariants
//!
//! - An object is never changed, and never written twice: its name is a fresh UUID.
//! - Rows are in descending order of `timestamp`; equal timestamps keep the order of arrival.
//! - The footer alone is enough to make the [`NewSegment`] again.
//!
//! It does not know which segments exist: that is the catalog. [`writer`] turns events into an object, [`encoding`] picks how a column is stored, an
//! [`observer`] sees the columns pass by, [`meta`] is what we remember of it, [`columns`] of its columns.
//! [`mask`] lists rows that are deleted. [`merge`] makes segments of segments without them, which `reader` reads a column at a time, when what the [`footer`] says of places can be true; [`check`] looks whether a segment is what was written, [`inspect`] shows what it says of itself.

pub mod mask;
pub mod meta;
pub mod columns;
pub mod overflow;
pub mod encoding;
pub mod observer;
pub mod writer;
pub mod footer;
mod reader;
pub mod merge;
pub mod check;
pub mod inspect;

pub use columns::{Bound, ColumnMeta, SegmentColumns};
pub use mask::Mask;
pub use merge::{Merge, PIECES_MAX};
pub use meta::{NewSegment, SegmentId, SegmentMeta};
pub use observer::{ColumnObserver, Unobserved};
pub use overflow::OverflowFilter;
pub use writer::{Built, ROWS_MAX, build};
#[doc(hidden)]
pub use {encoding::Tuning, writer::build_tuned};

#[cfg(test)]
mod tests;
