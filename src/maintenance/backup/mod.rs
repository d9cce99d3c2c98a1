//! How does a database get into another place, as a whole and as of one moment?
//!
//! ```text
//! snapshot ─▶ copy objects that are not there ─▶ make segments of the log ─▶ checkpoint ─▶ remove what is not named
//!    ▲             │ one has gone meanwhile            (in the target)        (counts from here on)
//!    └─────────────┘
//! ```
//!
//! The target has no log and no commits: one checkpoint says all, and putting it there is the one step by which
//! a backup begins to count. A backup that is cut off before leaves what was there: the one before, or none.
//! Objects are never changed under their name, so the next backup copies those that are new.
//!
//! What a database replaces while it is copied stays for the grace period; when that is over before it was
//! copied, whoever calls comes again with a newer snapshot, and only what is missing is copied then. An object is
//! *lost*, and not replaced, when a snapshot names it that was taken after it was found missing.
//!
//! `target` is the copy itself, `object` what is copied and whether it is sound, `marker` what keeps a backup
//! from going where something else is.

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

/// What is copied.
#[derive(Debug)]
pub struct BackupSource {
    /// The segments.
    pub catalog: Arc<CatalogSnapshot>,
    /// The batches that are in none yet.
    pub batches: Arc<[Arc<EventBatch>]>,
    /// What these are in the log.
    pub wal: WalRange,
    /// The messages that they came in.
    pub deliveries: Vec<DeliveryId>,
    /// The attribute keys of all events.
    pub keys: Keys,
    /// Where the objects are.
    pub store: Arc<dyn ObjectStore>,
    /// Of what the new segments get indexes.
    pub index: IndexSettings,
}

/// What a copy is for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A backup of the database of this name, besides which nothing may be in the target.
    BackupOf(&'a str),
    /// A database to go on with, in a target that is empty.
    Restore,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy)]
pub struct BackupProgress {
    /// Events of the segments that are in the target.
    pub rows_done: u64,
    /// Events of all segments.
    pub rows: u64,
}

/// What a copy did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BackupReport {
    /// Version of the catalog in the target.
    pub version: u64,
    /// Events in it.
    pub events: u64,
    /// Of these, events that were in the log.
    pub log_events: u64,
    /// Segments in it.
    pub segments: u64,
    /// Objects that were copied.
    pub copied: u64,
    /// Size of these.
    pub copied_bytes: u64,
    /// Objects that were there.
    pub kept: u64,
    /// Size of these.
    pub kept_bytes: u64,
    /// Objects that were removed, as the database has them no more.
    pub removed: u64,
    /// What is damaged or missing in the source. It is copied as it is.
    pub problems: Vec<Problem>,
}
