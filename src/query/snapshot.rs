//! Which data does one query see?

use std::sync::Arc;

use object_store::ObjectStore;

use crate::catalog::CatalogSnapshot;
use crate::event::{EventBatch, KeyDictionary};

/// The database at one moment: every event that was acknowledged by then, each once.
///
/// Segments and buffer are taken together, so that an event that moves from the buffer to a segment is neither
/// missing nor seen twice. Cheap to clone. Immutable, except that `keys` may grow.
#[derive(Debug, Clone)]
pub struct ReadSnapshot {
    /// The segments.
    pub catalog: Arc<CatalogSnapshot>,
    /// Batches that are not in a segment yet, in order of arrival.
    pub buffer: Arc<[Arc<EventBatch>]>,
    /// Attribute keys that exist.
    pub keys: Arc<KeyDictionary>,
    /// Store of the segments' objects.
    pub store: Arc<dyn ObjectStore>,
}

impl ReadSnapshot {
    /// Number of events.
    pub fn rows(&self) -> u64 {
        self.catalog.rows() + self.buffer.iter().map(|batch| batch.rows() as u64).sum::<u64>()
    }
}
