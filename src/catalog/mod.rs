//! Which segments exist?
//!
//! An append-only log of JSON commits in the object store says so. A commit is created under the next version
//! number with `PutMode::Create`, which every object store offers. If another process was faster, the put fails;
//! the loser reads the other's commit and tries the next version. Nothing is ever overwritten. Old commits are
//! deleted once checkpoints include them.
//!
//! ```text
//! catalog/log/{version:020}.json               one commit, versions 1, 2, 3, … without gaps
//! catalog/checkpoint/{version:020}.checkpoint  the state at that version, so that opening is quick
//!
//! commit     = {"format":1, "id":uuid, "at_ns":n,
//!               "add":[segment…], "remove":[segment id…],
//!               "add_runs":[run…], "remove_runs":[run id…],
//!               "masks":[[segment id, mask]…],           deleted rows of segments that stay; then format 2
//!               "deletion":deletion,
//!               "deliveries":[id…],                      messages whose events are added
//!               "keys":[[physical name, types]…],          new keys, and new types of known keys
//!               "wal":{"from":n,"through":n},              absent if the events did not come through the log
//!               "writer":uuid, "claim":claim, "release":true,  in a store, see `claim`; then format 3
//!               "crc":n}                                   CRC-32C of the bytes before `,"crc"`; not in old commits
//! types      = sum of 1 << AttributeType code
//! ```
//!
//! `segment` is a [`NewSegment`](crate::segment::NewSegment), `run` a [`RunMeta`](crate::index::RunMeta), as
//! JSON. Empty fields are left out.
//!
//! # Invariants
//!
//! - `wal.through` of the last commit that has it is the *watermark*: every batch up to it is in a segment, none
//!   above it is. A commit that moves the watermark names the old one in `wal.from`. If that is not the current
//!   watermark, the commit is refused ([`Conflict`](crate::ErrorKind::Conflict)) and the flush starts again. So a
//!   batch enters the segments exactly once, whatever fails in between.
//! - Version 1 is the creation of the database. Segments without any commit mean a lost catalog, never an empty
//!   one.
//!
//! Only `maintenance` commits. [`commit`] is the contents of a commit, [`log`] the protocol, and [`claim`] the right
//! to commit. [`columns`] are the statistics by which queries prune; `checkpoint` stores the whole state in one
//! object. [`check`] verifies the catalog, and [`inspect`] shows the contents of one object.

pub mod commit;
pub mod columns;
pub mod usage;
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
pub use usage::{Usage, Usages};

/// State of the catalog at one version; never changes.
#[derive(Debug, Clone, Default)]
pub struct CatalogSnapshot {
    /// Number of the last commit.
    pub version: u64,
    /// Segments, newest first by the end of their time range.
    pub segments: Vec<Arc<SegmentMeta>>,
    /// Last batch of the log that is in a segment.
    pub wal_watermark: SequenceNumber,
    /// Objects removed within a day of the last removal, oldest first. They may still exist: queries that began
    /// before the removal read them.
    pub removed: Arc<Vec<Removed>>,
    /// Runs, the indexes of many segments.
    pub runs: Arc<RunSet>,
    /// Messages remembered for deduplication (one hour, at most 200,000), oldest first.
    pub deliveries: Arc<Vec<Delivered>>,
    /// Deletions on request, oldest first; at most the last 10,000.
    pub deletions: Arc<Vec<Deletion>>,
    /// Claim of the writer that may commit, in a store.
    pub claim: Option<Arc<Claim>>,
    /// Version of the backup that this catalog is or came from; else 0. There are no commits up to it.
    pub begins: u64,
    columns: ColumnSource,
}

/// Compares everything but the column statistics, which follow from the segments.
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

/// Messages whose events one commit put into segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i64, Vec<DeliveryId>)", into = "(i64, Vec<DeliveryId>)")]
pub struct Delivered {
    /// Time of the commit.
    pub at_ns: i64,
    /// Ids of the messages.
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

/// A deletion of events on request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// Id of the deletion.
    pub id: String,
    /// Time of the deletion, in nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// SQL condition of the deleted events.
    pub condition: String,
    /// Only events at or after this time were deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ns: Option<i64>,
    /// Only events before this time were deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ns: Option<i64>,
    /// Number of deleted events.
    pub rows: u64,
    /// Number of segments that had them.
    pub segments: u64,
    /// Paths of the objects that may have held the events then.
    pub objects: Vec<String>,
    /// Last batch of the log that may have held the events.
    pub wal: SequenceNumber,
}

/// An object that the catalog no longer contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, i64)", into = "(String, i64)")]
pub struct Removed {
    /// Path of the object.
    pub path: String,
    /// Time of the commit that removed it.
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
    /// Makes a snapshot of these segments, at version 0.
    pub fn of(segments: &[NewSegment]) -> Self {
        let mut snapshot = Self::default();
        for segment in segments {
            snapshot.insert(&segment.meta);
        }
        snapshot.columns.change(segments, &[]);
        snapshot
    }

    /// Inserts a segment in order.
    fn insert(&mut self, segment: &SegmentMeta) {
        let place = |segment: &SegmentMeta| Reverse((segment.time.max_ns, segment.id));
        let at = self.segments.partition_point(|other| place(other) < place(segment));
        self.segments.insert(at, Arc::new(segment.clone()));
    }

    /// True if the snapshot has `segment`, with the same mask and all other fields.
    fn has(&self, segment: &SegmentMeta) -> bool {
        self.segments.iter().any(|other| other.as_ref() == segment)
    }

    /// Returns a snapshot of `segment` alone, without its mask: with all events of its object.
    #[must_use]
    pub fn only_unmasked(&self, segment: &SegmentMeta) -> Self {
        let segment = SegmentMeta { mask: None, ..segment.clone() };
        Self { segments: vec![Arc::new(segment)], columns: self.columns.clone(), ..Self::default() }
    }

    /// Number of events in all segments, without deleted ones.
    pub fn rows(&self) -> u64 {
        self.segments.iter().map(|s| s.live_rows()).sum()
    }

    /// Number of events in all segments, deleted ones included.
    pub fn rows_stored(&self) -> u64 {
        self.segments.iter().map(|s| s.rows).sum()
    }

    /// Total size of the segments' objects, in bytes.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }
}

#[cfg(test)]
mod conflict_tests;
#[cfg(test)]
mod tests;
