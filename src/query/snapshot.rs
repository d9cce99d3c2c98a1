//! What does one query see?

use std::sync::Arc;

use object_store::ObjectStore;

use crate::catalog::CatalogSnapshot;
use crate::event::{EventBatch, KeyDictionary};

/// The database at one moment: every event that was acknowledged by then, each once.
///
/// Segments and buffer were taken together, so that no event is missing or seen twice while it moves from
/// one to the other. Cheap to clone; nothing in it changes, except that `keys` may come to know more.
#[derive(Debug, Clone)]
pub struct ReadSnapshot {
    /// The segments.
    pub catalog: Arc<CatalogSnapshot>,
    /// The batches that are in no segment yet, in order of arrival.
    pub buffer: Arc<[Arc<EventBatch>]>,
    /// Which attributes exist.
    pub keys: Arc<KeyDictionary>,
    /// Where the segments' objects are.
    pub store: Arc<dyn ObjectStore>,
}

impl ReadSnapshot {
    /// Number of events.
    pub fn rows(&self) -> u64 {
        self.catalog.rows() + self.buffer.iter().map(|batch| batch.rows() as u64).sum::<u64>()
    }
}
