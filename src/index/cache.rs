//! Which indexes are open?
//!
//! Opening an index takes one read and keeps a few kilobytes; the cache keeps the most recently used up to
//! a limit of bytes. It is also the place where an index that cannot be read becomes an index that is not
//! there.

use std::sync::Arc;

use object_store::ObjectStore;

use super::byte_cache::ByteCache;
use super::run::{Run, RunId, RunMeta};
use super::segment_index::SegmentIndex;
use crate::error::{Error, ErrorKind};
use crate::segment::{SegmentId, SegmentMeta};

/// Open indexes, those that are rarely used closed first.
#[derive(Debug)]
pub struct IndexCache {
    open: ByteCache<Key, Index>,
    bytes_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Segment(SegmentId),
    Run(RunId),
}

/// What is open; none where it is known that it cannot be read.
#[derive(Debug, Clone)]
enum Index {
    Segment(Option<Arc<SegmentIndex>>),
    Run(Option<Arc<Run>>),
}

impl IndexCache {
    /// Keeps indexes up to `bytes_max` bytes in memory.
    pub fn new(bytes_max: usize) -> Self {
        Self { open: ByteCache::new(bytes_max), bytes_max }
    }

    /// The limit.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The index of a segment; none when it has none, or when it cannot be read, which is logged.
    pub async fn segment(
        &self,
        store: &Arc<dyn ObjectStore>,
        segment: &SegmentMeta,
    ) -> Option<Arc<SegmentIndex>> {
        segment.index?;
        let key = Key::Segment(segment.id);
        if let Some(Index::Segment(index)) = self.open.get(&key) {
            return index;
        }
        let index = match SegmentIndex::open(store, segment).await {
            Ok(index) => index,
            Err(error) if is_lost(&error, &segment.path()) => None,
            Err(_) => return None,
        };
        let bytes = index.as_ref().map_or(0, |index| index.memory_bytes());
        self.open.put(key, Index::Segment(index.clone()), bytes);
        index
    }

    /// A run; none when it cannot be read, which is logged.
    pub async fn run(&self, store: &Arc<dyn ObjectStore>, run: &Arc<RunMeta>) -> Option<Arc<Run>> {
        let key = Key::Run(run.id);
        if let Some(Index::Run(run)) = self.open.get(&key) {
            return run;
        }
        let opened = match Run::open(store, run).await {
            Ok(run) => Some(Arc::new(run)),
            Err(error) if is_lost(&error, &run.path()) => None,
            Err(_) => return None,
        };
        let bytes = opened.as_ref().map_or(0, |run| run.memory_bytes());
        self.open.put(key, Index::Run(opened.clone()), bytes);
        opened
    }

    /// Memory of the open indexes.
    pub fn memory_bytes(&self) -> usize {
        self.open.memory_bytes()
    }
}

/// Logs that an index cannot be opened. Returns whether that will stay so.
fn is_lost(error: &Error, path: &str) -> bool {
    if error.kind() == ErrorKind::NotFound {
        // A merge may have replaced it meanwhile.
        tracing::warn!(%error, path, "an index is gone; what it is about is scanned instead");
    } else {
        tracing::error!(%error, path, "an index cannot be opened; what it is about is scanned instead");
    }
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::InvalidInput)
}
