//! Which objects are being made?
//!
//! Between storing an object and its commit, only its maker knows that it is needed. The sweeper runs beside flushes
//! and imports, and recognises such objects by this list, not by their age: a machine that slept for a night would
//! otherwise lose the objects that it was about to commit.
//!
//! A failed commit may have reached the catalog all the same, or may reach it later, with no bound in time. So its
//! objects are not orphans as long as this process lives: [`decide`].
//!
//! A search for orphans lists the objects first, then checks [`Births::contains`], then reads the catalog. A listed
//! object that is in neither has no maker and no commit any more.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{ErrorKind, Result};
use crate::index::RunId;
use crate::segment::SegmentId;
use crate::segment::mask::MaskId;

/// Objects that this process is making, by the id in their names.
#[derive(Debug, Default)]
pub struct Births(Mutex<HashSet<String>>);

/// Mark of an object that is being made. Dropped after its commit, or when there will be none.
#[derive(Debug)]
pub struct Birth {
    name: String,
    births: Arc<Births>,
    /// True if its commit may have succeeded, or may still succeed, although it failed for us.
    in_doubt: bool,
}

/// Runs the commit of the objects in `made`. If it is cut off, or fails with an unknown outcome, the objects are kept
/// until the process ends.
pub async fn decide<T>(mut made: Vec<Birth>, commit: impl Future<Output = Result<T>>) -> Result<T> {
    for birth in &mut made {
        birth.in_doubt = true;
    }
    let committed = commit.await;
    // A conflict is detected before anything is stored.
    let in_doubt = committed.as_ref().is_err_and(|error| error.kind() != ErrorKind::Conflict);
    for birth in &mut made {
        birth.in_doubt = in_doubt;
    }
    committed
}

impl Births {
    /// Begins a new segment.
    pub fn segment(self: &Arc<Self>, now_ns: i64) -> (SegmentId, Birth) {
        let id = SegmentId::new(now_ns);
        (id, self.begin(id.to_string()))
    }

    /// Begins a new run.
    pub fn run(self: &Arc<Self>, now_ns: i64) -> (RunId, Birth) {
        let id = RunId::new(now_ns);
        (id, self.begin(id.to_string()))
    }

    /// Begins a new mask of a segment.
    pub fn mask(self: &Arc<Self>, id: MaskId) -> Birth {
        self.begin(id.to_string())
    }

    /// True if the object of this name, without folder and extension, is being made.
    pub fn contains(&self, name: &str) -> bool {
        self.0.lock().contains(name)
    }

    fn begin(self: &Arc<Self>, name: String) -> Birth {
        self.0.lock().insert(name.clone());
        Birth { name, births: Arc::clone(self), in_doubt: false }
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        if !self.in_doubt {
            self.births.0.lock().remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::error::Error;

    /// Otherwise the sweeper could delete objects of a commit that succeeds later.
    #[test]
    fn objects_are_kept_while_their_commit_may_have_got_through() {
        let births = Arc::<Births>::default();
        let after = |outcome: Option<Result<()>>| {
            let (id, birth) = births.segment(1);
            let commit = async {
                match outcome {
                    Some(outcome) => outcome,
                    None => std::future::pending().await,
                }
            };
            let _decided = decide(vec![birth], commit).now_or_never();
            births.contains(&id.to_string())
        };
        let failed = |kind| Some(Err(Error::new(kind, "it failed")));
        assert!(!after(Some(Ok(()))));
        assert!(!after(failed(ErrorKind::Conflict)));
        assert!(after(failed(ErrorKind::Unavailable)));
        assert!(after(None), "its caller went away");
        let (id, birth) = births.segment(1);
        drop(birth);
        assert!(!births.contains(&id.to_string()), "never committed");
    }
}
