//! How is a whole database copied to another place, as of one moment?
//!
//! ```text
//! snapshot ─▶ copy objects that are not there ─▶ make segments of the log ─▶ checkpoint ─▶ remove what is not named
//!    ▲             │ one has gone meanwhile            (in the target)        (counts from here on)
//!    └─────────────┘
//! ```
//!
//! The target has no log and no commits: one checkpoint holds the whole catalog, and putting it is the single step
//! that makes a backup valid. A backup that is cut off earlier leaves the previous backup, or none. Objects never
//! change under their name, so the next backup copies only new ones.
//!
//! Objects that the database replaces during a copy stay for the grace period. If one is deleted before it was
//! copied, the caller retries with a newer snapshot, and only the missing objects are copied. An object is *lost*,
//! not replaced, when it was found missing and a later snapshot still names it.
//!
//! `target` makes the copy, `object` reads and verifies objects, `marker` keeps a backup from overwriting other data.

mod target;
mod object;
mod marker;

use std::sync::Arc;

use object_store::ObjectStore;
use serde::Serialize;

use crate::catalog::{CatalogSnapshot, Keys, WalRange};
use crate::config::IndexSettings;
use crate::error::Problem;
use crate::event::EventBatch;
use crate::wal::DeliveryId;

pub use target::BackupTarget;

/// Source of a copy: a snapshot of a database.
#[derive(Debug)]
pub struct BackupSource {
    /// Catalog, which names the segments.
    pub catalog: Arc<CatalogSnapshot>,
    /// Batches that are not in a segment yet.
    pub batches: Arc<[Arc<EventBatch>]>,
    /// Range of these batches in the log.
    pub wal: WalRange,
    /// Messages that brought these batches.
    pub deliveries: Vec<DeliveryId>,
    /// Attribute keys of all events.
    pub keys: Keys,
    /// Store of the objects.
    pub store: Arc<dyn ObjectStore>,
    /// Index settings of the segments that are made from the batches.
    pub index: IndexSettings,
}

/// Purpose of a copy.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// Backup of the database of this name. The target may hold nothing but its previous backups.
    BackupOf(&'a str),
    /// Database to continue with, in an empty target.
    Restore,
}

/// Progress of a copy.
#[derive(Debug, Clone, Copy)]
pub struct BackupProgress {
    /// Events of the segments copied so far, or found in the target.
    pub rows_done: u64,
    /// Events of all segments.
    pub rows: u64,
}

/// Result of a copy.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BackupReport {
    /// Version of the catalog in the target.
    pub version: u64,
    /// Events in the target.
    pub events: u64,
    /// Events of these that came from the log.
    pub log_events: u64,
    /// Segments in the target.
    pub segments: u64,
    /// Objects that were copied.
    pub copied: u64,
    /// Size of the copied objects, in bytes.
    pub copied_bytes: u64,
    /// Objects that were in the target already.
    pub kept: u64,
    /// Size of these objects, in bytes.
    pub kept_bytes: u64,
    /// Objects removed from the target, as the database no longer has them.
    pub removed: u64,
    /// Damaged or missing objects of the source. Damaged ones are copied as they are.
    pub problems: Vec<Problem>,
}
