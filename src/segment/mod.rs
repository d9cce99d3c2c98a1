//! What is a segment, and how is one made?
//!
//! A segment is one immutable Parquet object with up to 2^20 events, newest first. Any Parquet reader can
//! read it: columns have the [physical names](crate::event::key) of core fields and attributes.
//!
//! ```text
//! segments/2026/11/21/0193…c4.parquet
//!
//!   row group 0 (the only one)
//!     timestamp   │ page 8192 rows │ page │ …        DELTA_BINARY_PACKED, ZSTD(1)
//!     signal      │ dictionary │ page │ …
//!     http.route  │ …
//!     overflow    │ …                                typed JSON of attribute values without a column
//!   column index, offset index, footer (broadloom.format, broadloom.segment)
//! ```
//!
//! # Invariants
//!
//! - An object is never changed and never written twice: its name is a new UUID.
//! - Rows are in descending order of `timestamp`; equal timestamps keep the order of arrival.
//! - The footer alone is enough to rebuild the [`NewSegment`].
//!
//! This module does not know which segments exist: the catalog does. [`writer`] turns events into an object,
//! [`encoding`] chooses the encoding of each column, and an [`observer`] receives the columns as they are written.
//! [`meta`] is the catalog's entry for a segment, [`columns`] its column statistics. [`mask`] lists deleted rows.
//! [`merge`] rewrites segments without their deleted rows; `reader` reads its inputs one column at a time, after
//! [`footer`] has checked the offsets in the Parquet footer. [`check`] verifies a segment, [`inspect`] describes it.

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
