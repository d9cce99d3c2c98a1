//! Which indexes stay open?
//!
//! Opening an index takes one read and a few kilobytes of memory. The cache keeps the most used ones up to a
//! limit of bytes. To callers, an index that cannot be read is the same as a missing one.

use std::sync::Arc;

use object_store::ObjectStore;

use super::byte_cache::ByteCache;
use super::run::{Run, RunId, RunMeta};
use super::segment_index::SegmentIndex;
use crate::error::{Error, ErrorKind};
use crate::segment::{SegmentId, SegmentMeta};

/// Cache of open indexes; rarely used ones are closed first.
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

/// An open index; `None` if it is known to be unreadable.
#[derive(Debug, Clone)]
enum Index {
    Segment(Option<Arc<SegmentIndex>>),
    Run(Option<Arc<Run>>),
}

impl IndexCache {
    /// Keeps open indexes up to `bytes_max` bytes of memory.
    pub fn new(bytes_max: usize) -> Self {
        Self { open: ByteCache::new(bytes_max), bytes_max }
    }

    /// Limit of memory in bytes.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Returns the index of a segment; `None` if it has none, or if it cannot be read, which is logged.
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

    /// Opens a run; `None` if it cannot be read, which is logged.
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

    /// Memory of the open indexes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.open.memory_bytes()
    }
}

/// Logs that an index cannot be opened. Returns true if retrying is pointless.
fn is_lost(error: &Error, path: &str) -> bool {
    if error.kind() == ErrorKind::NotFound {
        // A merge may have replaced it meanwhile.
        tracing::warn!(%error, path, "an index is gone; its segments are searched without it");
    } else {
        tracing::error!(%error, path, "an index cannot be opened; its segments are searched without it");
    }
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::InvalidInput)
}
