//! Which segments exist?
//!
//! An append-only log of JSON commits in the object store. A commit is created under the next version
//! number with `PutMode::Create`, which every object store offers: who comes second is told so, reads the
//! other's commit, and tries the version after it. Nothing is ever overwritten; commits that checkpoints have
//! summed up long ago are deleted.
//!
//! ```text
//! catalog/log/{version:020}.json               one commit, versions 1, 2, 3, … without gaps
//! catalog/checkpoint/{version:020}.checkpoint  everything up to that version, so that opening is quick
//!
//! commit     = {"format":1, "id":uuid, "at_ns":n,
//!               "add":[segment…], "remove":[segment id…],
//!               "add_runs":[run…], "remove_runs":[run id…],
//!               "masks":[[segment id, mask]…],           deleted rows of segments that stay; then format 2
//!               "deletion":deletion,
//!               "deliveries":[id…],                      messages whose events are added
//!               "keys":[[physical name, types]…],          keys and types that were not known before
//!               "wal":{"from":n,"through":n},              absent when the events did not come by the log
//!               "writer":uuid, "claim":claim, "release":true,  in a store, see `claim`; then format 3
//!               "crc":n}                                   CRC-32C of all before `,"crc"`; not in old ones
//! types      = sum of 1 << AttributeType code
//! ```
//!
//! `segment` is a [`NewSegment`](crate::segment::NewSegment), `run` a [`RunMeta`](crate::index::RunMeta), as
//! JSON. Fields that are empty are left out.
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
//! Only `maintenance` commits. [`commit`] is what a commit says, [`log`] the protocol, [`claim`] who may, [`columns`]
//! what queries prune by, [`check`] looks whether all of it is there and true, [`inspect`] shows what is in one object,
//! and `checkpoint` how all of it is summed up.

pub mod commit;
pub mod columns;
mod section;
mod checkpoint;
pub mod log;
pub mod claim;
pub mod check;
pub mod inspect;

use std::cmp::Reverse;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::index::RunSet;
use crate::segment::{NewSegment, SegmentMeta};
use crate::wal::{DeliveryId, SequenceNumber};

pub use claim::Claim;
use columns::ColumnSource;
pub use columns::{ColumnFact, ColumnsOf, Fact, LoadedColumns};
pub use commit::{Change, Keys, WalRange};
pub use log::Catalog;

/// The segments at one version; never changes.
#[derive(Debug, Clone, Default)]
pub struct CatalogSnapshot {
    /// Number of the last commit.
    pub version: u64,
    /// The segments, newest first by the end of their time range.
    pub segments: Vec<Arc<SegmentMeta>>,
    /// The batches up to here are in segments.
    pub wal_watermark: SequenceNumber,
    /// Segments that were removed lately, oldest first. Their objects may be there still: queries that began
    /// before the removal read them.
    pub removed: Arc<Vec<Removed>>,
    /// What finds values in many segments at once.
    pub runs: Arc<RunSet>,
    /// Messages that came by the log lately, oldest first.
    pub deliveries: Arc<Vec<Delivered>>,
    /// Deletions that were asked for, oldest first.
    pub deletions: Arc<Vec<Deletion>>,
    /// Who may commit, in a store.
    pub claim: Option<Arc<Claim>>,
    /// The version that a backup was given, when this is one or came from one: there are no commits up to it.
    pub begins: u64,
    columns: ColumnSource,
}

/// What is known of the columns is not compared: it follows from the segments.
impl PartialEq for CatalogSnapshot {
    fn eq(&self, other: &Self) -> bool {
        (self.version, &self.segments, self.wal_watermark)
            == (other.version, &other.segments, other.wal_watermark)
            && self.removed == other.removed
            && self.runs.runs() == other.runs.runs()
            && self.deletions == other.deletions
            && self.deliveries == other.deliveries
            && self.claim == other.claim
            && self.begins == other.begins
    }
}

/// Messages of producers that one commit put into segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i64, Vec<DeliveryId>)", into = "(i64, Vec<DeliveryId>)")]
pub struct Delivered {
    /// When the commit was made.
    pub at_ns: i64,
    /// The messages.
    pub ids: Arc<[DeliveryId]>,
}

impl From<(i64, Vec<DeliveryId>)> for Delivered {
    fn from((at_ns, ids): (i64, Vec<DeliveryId>)) -> Self {
        Self { at_ns, ids: ids.into() }
    }
}

impl From<Delivered> for (i64, Vec<DeliveryId>) {
    fn from(Delivered { at_ns, ids }: Delivered) -> Self {
        (at_ns, ids.to_vec())
    }
}

/// Events that were deleted because somebody asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Its id.
    pub id: String,
    /// When it was.
    pub at_ns: i64,
    /// The SQL condition.
    pub condition: String,
    /// Only events at or after this time were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ns: Option<i64>,
    /// Only events before this time were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ns: Option<i64>,
    /// Events that were deleted.
    pub rows: u64,
    /// Segments that they were in.
    pub segments: u64,
    /// Paths of the objects that may have held them at that time.
    pub objects: Vec<String>,
    /// The log up to here may have held them.
    pub wal: SequenceNumber,
}

/// An object that is no longer in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, i64)", into = "(String, i64)")]
pub struct Removed {
    /// Path of its object.
    pub path: String,
    /// When the commit was made that removed it.
    pub at_ns: i64,
}

impl From<(String, i64)> for Removed {
    fn from((path, at_ns): (String, i64)) -> Self {
        Self { path, at_ns }
    }
}

impl From<Removed> for (String, i64) {
    fn from(Removed { path, at_ns }: Removed) -> Self {
        (path, at_ns)
    }
}

impl CatalogSnapshot {
    /// One with these segments, at version 0.
    pub fn of(segments: &[NewSegment]) -> Self {
        let mut snapshot = Self::default();
        for segment in segments {
            snapshot.insert(&segment.meta);
        }
        snapshot.columns.change(segments, &[]);
        snapshot
    }

    /// Puts a segment where it belongs.
    fn insert(&mut self, segment: &SegmentMeta) {
        let place = |segment: &SegmentMeta| Reverse((segment.time.max_ns, segment.id));
        let at = self.segments.partition_point(|other| place(other) < place(segment));
        self.segments.insert(at, Arc::new(segment.clone()));
    }

    /// Whether `segment` is there, exactly so.
    fn has(&self, segment: &SegmentMeta) -> bool {
        self.segments.iter().any(|other| other.as_ref() == segment)
    }

    /// The one `segment` alone, with all events that are in its object.
    #[must_use]
    pub fn only_unmasked(&self, segment: &SegmentMeta) -> Self {
        let segment = SegmentMeta { mask: None, ..segment.clone() };
        Self { segments: vec![Arc::new(segment)], columns: self.columns.clone(), ..Self::default() }
    }

    /// Events in all segments that are not deleted.
    pub fn rows(&self) -> u64 {
        self.segments.iter().map(|s| s.live_rows()).sum()
    }

    /// Events in all segments, deleted ones too.
    pub fn rows_stored(&self) -> u64 {
        self.segments.iter().map(|s| s.rows).sum()
    }

    /// Size of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }
}

#[cfg(test)]
mod conflict_tests;
#[cfg(test)]
mod tests;
