//! Which objects are being made?
//!
//! Between storing an object and the commit that makes it count, nobody but its maker knows that it is
//! wanted. What deletes orphans beside flushes and imports asks here, and not the age of the object: a
//! machine that was asleep for a night would otherwise lose what it was about to commit.
//!
//! Whoever looks for orphans lists the objects first, then asks [`Births::contains`], then reads the
//! catalog. An object of the list that is in neither has no maker any more and no commit.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::index::RunId;
use crate::segment::SegmentId;
use crate::segment::mask::MaskId;

/// The objects that this process is making, by the id in their names.
#[derive(Debug, Default)]
pub struct Births(Mutex<HashSet<String>>);

/// An object is being made, until this is dropped: after its commit, or when there will be none.
#[derive(Debug)]
pub struct Birth {
    name: String,
    births: Arc<Births>,
}

impl Births {
    /// A new segment.
    pub fn segment(self: &Arc<Self>, now_ns: i64) -> (SegmentId, Birth) {
        let id = SegmentId::new(now_ns);
        (id, self.begin(id.to_string()))
    }

    /// A new run.
    pub fn run(self: &Arc<Self>, now_ns: i64) -> (RunId, Birth) {
        let id = RunId::new(now_ns);
        (id, self.begin(id.to_string()))
    }

    /// A new mask of a segment.
    pub fn mask(self: &Arc<Self>, id: MaskId) -> Birth {
        self.begin(id.to_string())
    }

    /// Whether the object of this name, without folder and extension, is being made.
    pub fn contains(&self, name: &str) -> bool {
        self.0.lock().contains(name)
    }

    fn begin(self: &Arc<Self>, name: String) -> Birth {
        self.0.lock().insert(name.clone());
        Birth { name, births: Arc::clone(self) }
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.births.0.lock().remove(&self.name);
    }
}
