//! Which segments exist?
//!
//! An append-only log of JSON commits in the object store. A commit is created under the next version
//! number with `PutMode::Create`, which every object store offers: who comes second is told so, reads the
//! other's commit, and tries the version after it. Nothing is ever overwritten.
//!
//! ```text
//! catalog/log/{version:020}.json            one commit, versions 1, 2, 3, … without gaps
//! catalog/checkpoint/{version:020}.json.zst everything up to that version, so that opening is quick
//!
//! commit     = {"format":1, "id":uuid, "at_ns":n,
//!               "add":[segment…], "remove":[segment id…],
//!               "keys":[[physical name, types]…],          keys and types that were not known before
//!               "wal":{"from":n,"through":n}}              absent when the events did not come by the log
//! checkpoint = {"format":1, "version":n, "wal":n, "segments":[segment…], "keys":[[physical name, types]…]}
//! types      = sum of 1 << AttributeType code
//! ```
//!
//! `segment` is [`SegmentMeta`](crate::segment::SegmentMeta) as JSON. Fields that are empty are left out.
//!
//! # Invariants
//!
//! - `wal.through` of a commit is the *watermark*: every batch up to it is in a segment, none above it is.
//!   A commit that moves the watermark says from where; if that is not where it is, the commit is refused
//!   ([`Conflict`](crate::ErrorKind::Conflict)) and the flush starts again. So a batch enters the segments
//!   exactly once, whatever fails in between.
//! - Version 1 is the creation of the database. Segments without any commit mean a lost catalog, and never
//!   an empty one.
//!
//! Only `maintenance` commits. [`commit`] is the format, [`log`] the protocol.

pub mod commit;
pub mod log;

use std::sync::Arc;

use crate::segment::SegmentMeta;
use crate::wal::SequenceNumber;

pub use commit::{Change, Keys, WalRange};
pub use log::Catalog;

/// The segments at one version; never changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CatalogSnapshot {
    /// Number of the last commit.
    pub version: u64,
    /// The segments, newest first by the end of their time range.
    pub segments: Vec<Arc<SegmentMeta>>,
    /// The batches up to here are in segments.
    pub wal_watermark: SequenceNumber,
}

impl CatalogSnapshot {
    /// Events in all segments.
    pub fn rows(&self) -> u64 {
        self.segments.iter().map(|s| s.rows).sum()
    }

    /// Size of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }
}

#[cfg(test)]
mod tests;
