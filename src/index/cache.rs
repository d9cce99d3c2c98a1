//! Which indexes are open?
//!
//! Opening an index takes one read and keeps a few kilobytes; the cache keeps the most recently used up to
//! a limit of bytes. It is also the place where an index that cannot be read becomes an index that is not
//! there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use object_store::ObjectStore;
use parking_lot::Mutex;

use super::run::{Run, RunId, RunMeta};
use super::segment_index::SegmentIndex;
use crate::error::{Error, ErrorKind};
use crate::segment::{SegmentId, SegmentMeta};

/// Open indexes, the least recently used closed first.
#[derive(Debug)]
pub struct IndexCache {
    bytes_max: usize,
    open: Mutex<Open>,
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

#[derive(Debug, Default)]
struct Open {
    entries: HashMap<Key, Entry>,
    /// By when they were last used.
    order: BTreeMap<u64, Key>,
    bytes: usize,
    tick: u64,
}

#[derive(Debug)]
struct Entry {
    index: Index,
    bytes: usize,
    used: u64,
}

impl IndexCache {
    /// Keeps indexes up to `bytes_max` bytes in memory; one is always kept.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, open: Mutex::default() }
    }

    /// The index of a segment; none when it has none, or when it cannot be read, which is logged.
    pub async fn segment(
        &self,
        store: &Arc<dyn ObjectStore>,
        segment: &SegmentMeta,
    ) -> Option<Arc<SegmentIndex>> {
        segment.index?;
        let key = Key::Segment(segment.id);
        if let Some(Index::Segment(index)) = self.open.lock().get(key) {
            return index;
        }
        let index = match SegmentIndex::open(store, segment).await {
            Ok(index) => index,
            Err(error) if is_lost(&error, &segment.path()) => None,
            Err(_) => return None,
        };
        let bytes = index.as_ref().map_or(0, |index| index.memory_bytes());
        self.open.lock().put(key, Index::Segment(index.clone()), bytes, self.bytes_max);
        index
    }

    /// A run; none when it cannot be read, which is logged.
    pub async fn run(&self, store: &Arc<dyn ObjectStore>, run: &Arc<RunMeta>) -> Option<Arc<Run>> {
        let key = Key::Run(run.id);
        if let Some(Index::Run(run)) = self.open.lock().get(key) {
            return run;
        }
        let opened = match Run::open(store, run).await {
            Ok(run) => Some(Arc::new(run)),
            Err(error) if is_lost(&error, &run.path()) => None,
            Err(_) => return None,
        };
        let bytes = opened.as_ref().map_or(0, |run| run.memory_bytes());
        self.open.lock().put(key, Index::Run(opened.clone()), bytes, self.bytes_max);
        opened
    }

    /// Memory of the open indexes.
    pub fn memory_bytes(&self) -> usize {
        self.open.lock().bytes
    }

    /// Number of open indexes.
    pub fn len(&self) -> usize {
        self.open.lock().entries.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Logs that an index cannot be opened. Returns whether that will stay so.
fn is_lost(error: &Error, path: &str) -> bool {
    tracing::error!(%error, path, "an index cannot be opened; what it is about is scanned instead");
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::InvalidInput)
}

impl Open {
    fn get(&mut self, key: Key) -> Option<Index> {
        self.tick += 1;
        let entry = self.entries.get_mut(&key)?;
        self.order.remove(&entry.used);
        entry.used = self.tick;
        self.order.insert(self.tick, key);
        Some(entry.index.clone())
    }

    fn put(&mut self, key: Key, index: Index, bytes: usize, bytes_max: usize) {
        // What the maps themselves take, about.
        let bytes = bytes + 4 * size_of::<Entry>();
        self.tick += 1;
        self.bytes += bytes;
        self.order.insert(self.tick, key);
        let replaced = self.entries.insert(key, Entry { index, bytes, used: self.tick });
        self.forget(replaced);
        while self.bytes > bytes_max && self.entries.len() > 1 {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            let removed = self.entries.remove(&oldest);
            self.forget(removed);
        }
    }

    fn forget(&mut self, entry: Option<Entry>) {
        if let Some(entry) = entry {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}
