//! Which objects does nobody need any more?

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::catalog::CatalogSnapshot;
use crate::error::{Error, Result};

/// How long the objects of removed segments are kept, so that queries which began before, in this process
/// or another, find what they read.
pub const GRACE: Duration = Duration::from_mins(10);

/// Deletes the objects below `segments/` that no commit knows: a flush, import or compaction stored them
/// and never got to its commit, or a commit removed them longer than [`GRACE`] ago. Returns how many.
///
/// Only the owner of the directory may call it, before anything is written. A catalog without a single
/// commit beside existing segments means that the catalog is lost: that is
/// [`Corrupt`](crate::ErrorKind::Corrupt), and nothing is deleted.
pub async fn remove_orphans(
    store: &Arc<dyn ObjectStore>,
    catalog: &CatalogSnapshot,
    now_ns: i64,
) -> Result<usize> {
    let live = catalog.segments.iter().map(|segment| segment.path());
    let lately = catalog.removed.iter().filter(|removed| age(removed.at_ns, now_ns) < GRACE);
    let known = live.chain(lately.map(|removed| removed.path.clone()));
    let known: HashSet<String> = known.map(|path| stem(&path).to_owned()).collect();
    let folder = Path::from("segments");
    let objects: Vec<_> = store.list(Some(&folder)).map_ok(|object| object.location).try_collect().await?;
    if catalog.version == 0 && !objects.is_empty() {
        return Err(Error::corrupt(format!(
            "there are {} segments and no catalog/log: restore the catalog; nothing was changed",
            objects.len()
        )));
    }
    let orphans: Vec<_> = objects.into_iter().filter(|path| !known.contains(stem(path.as_ref()))).collect();
    for orphan in &orphans {
        tracing::info!(object = %orphan, "removing an object that no query can need");
        store.delete(orphan).await?;
    }
    Ok(orphans.len())
}

/// Deletes the objects of segments that were removed after `from_ns`, up to `until_ns`, if they are there
/// still. Unlike [`remove_orphans`] it may run while segments are being written.
pub(super) async fn remove_retired(
    store: &Arc<dyn ObjectStore>,
    catalog: &CatalogSnapshot,
    from_ns: i64,
    until_ns: i64,
) -> Result<()> {
    let retired =
        catalog.removed.iter().filter(|removed| from_ns < removed.at_ns && removed.at_ns <= until_ns);
    for removed in retired {
        for path in [removed.path.clone(), format!("{}.index", stem(&removed.path))] {
            match store.delete(&Path::from(path)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// What the objects of one segment have in common: the path without its extension.
fn stem(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(stem, _)| stem)
}

/// How long ago `at_ns` was; nothing when the clock was set back.
fn age(at_ns: i64, now_ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(now_ns.saturating_sub(at_ns)).unwrap_or(0))
}
