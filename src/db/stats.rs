//! What does a database count?

use super::Inner;
use crate::maintenance::MaintenanceCounts;

/// Counts of one database. Counts of work start at zero when it is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatabaseStats {
    /// Events in segments and buffer.
    pub events: u64,
    /// Number of segments.
    pub segments: u64,
    /// Size of the segments' objects, in bytes.
    pub segment_bytes: u64,
    /// Version of the catalog.
    pub catalog_version: u64,
    /// Events in the buffer.
    pub buffer_events: u64,
    /// Memory of the buffer, in bytes.
    pub buffer_bytes: u64,
    /// Distinct attribute keys.
    pub attribute_keys: u64,
    /// Memory of open indexes and bitmaps, in bytes.
    pub index_bytes: u64,
    /// Batches made durable in the log.
    pub wal_batches: u64,
    /// Bytes written to the log.
    pub wal_bytes: u64,
    /// Log files present.
    pub wal_files: u64,
    /// Segments made of the buffer.
    pub flushes: u64,
    /// Calls of fsync, by the log and the object store.
    pub fsyncs: u64,
    /// Blocks of objects that queries found in the cache.
    pub cache_hits: u64,
    /// Blocks of objects that queries fetched from a store.
    pub cache_misses: u64,
    /// Deleted or expired events that are still in objects.
    pub masked_events: u64,
    /// Work of maintenance.
    pub maintenance: MaintenanceCounts,
}

pub(super) fn collect(inner: &Inner) -> DatabaseStats {
    let (catalog, _) = inner.live.view();
    let level = inner.live.level();
    let writer = inner.writer.read().clone();
    let wal = writer.as_ref().map(|w| w.wal_stats()).unwrap_or_default();
    let (cache_hits, cache_misses) = inner.storage.cache.as_ref().map_or((0, 0), |cache| cache.counts());
    DatabaseStats {
        cache_hits,
        cache_misses,
        events: catalog.rows() + level.rows as u64,
        segments: catalog.segments.len() as u64,
        segment_bytes: catalog.bytes(),
        catalog_version: catalog.version,
        buffer_events: level.rows as u64,
        buffer_bytes: level.bytes as u64,
        attribute_keys: inner.live.keys().len() as u64,
        index_bytes: inner.engine.index_memory_bytes() as u64,
        wal_batches: wal.records,
        wal_bytes: wal.bytes,
        wal_files: wal.files,
        flushes: writer.as_ref().map_or(0, |w| w.maintenance().flusher().flushes()),
        fsyncs: wal.fsyncs + inner.storage.fsyncs(),
        masked_events: catalog.segments.iter().map(|segment| segment.rows - segment.live_rows()).sum(),
        maintenance: writer.map(|w| w.ground().stats.counts()).unwrap_or_default(),
    }
}
