//! How much work has maintenance done?

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts work since the database was opened.
#[derive(Debug, Default)]
pub struct MaintenanceStats {
    compactions: AtomicU64,
    compacted_rows: AtomicU64,
    compacted_bytes: AtomicU64,
    removed_objects: AtomicU64,
    expired_rows: AtomicU64,
}

/// Counts of maintenance work at one moment, since the database was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaintenanceCounts {
    /// Number of merges of segments.
    pub compactions: u64,
    /// Events that these merges rewrote.
    pub compacted_rows: u64,
    /// Size of the segments that they wrote, indexes included, in bytes.
    pub compacted_bytes: u64,
    /// Unneeded objects deleted.
    pub removed_objects: u64,
    /// Events that retention has hidden or removed.
    pub expired_rows: u64,
}

impl MaintenanceStats {
    /// Counts a merge.
    pub(super) fn compacted(&self, rows: u64, bytes: u64) {
        self.compactions.fetch_add(1, Ordering::Relaxed);
        self.compacted_rows.fetch_add(rows, Ordering::Relaxed);
        self.compacted_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts objects that were deleted.
    pub(super) fn removed(&self, objects: usize) {
        self.removed_objects.fetch_add(objects as u64, Ordering::Relaxed);
    }

    /// Counts events that have expired.
    pub(super) fn expired(&self, rows: u64) {
        self.expired_rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Returns the counts.
    pub fn counts(&self) -> MaintenanceCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MaintenanceCounts {
            compactions: load(&self.compactions),
            compacted_rows: load(&self.compacted_rows),
            compacted_bytes: load(&self.compacted_bytes),
            removed_objects: load(&self.removed_objects),
            expired_rows: load(&self.expired_rows),
        }
    }
}
