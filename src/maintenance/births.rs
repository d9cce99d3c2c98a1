//! Which objects are being made?
//!
//! Between storing an object and the commit that makes it count, nobody but its maker knows that it is
//! wanted. What deletes orphans beside flushes and imports asks here, and not the age of the object: a
//! machine that was asleep for a night would otherwise lose what it was about to commit.
//!
//! A commit that failed may have reached the catalog all the same, or may reach it later, and nobody can say
//! when it no longer can. So what such a commit is about is not an orphan as long as this process lives:
//! [`decide`].
//!
//! Whoever looks for orphans lists the objects first, then asks [`Births::contains`], then reads the
//! catalog. An object of the list that is in neither has no maker any more and no commit.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{ErrorKind, Result};
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
    /// Whether it may be committed without our knowing.
    in_doubt: bool,
}

/// Waits for the commit of what is being made. When it is cut off, or fails so that it may have got through,
/// its objects are kept until the process ends.
pub async fn decide<T>(mut made: Vec<Birth>, commit: impl Future<Output = Result<T>>) -> Result<T> {
    for birth in &mut made {
        birth.in_doubt = true;
    }
    let committed = commit.await;
    // A conflict is found out before anything is stored.
    let in_doubt = committed.as_ref().is_err_and(|error| error.kind() != ErrorKind::Conflict);
    for birth in &mut made {
        birth.in_doubt = in_doubt;
    }
    committed
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

    /// The sweeper would delete them, and then the commit would come to light.
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
