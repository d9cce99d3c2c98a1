//! What did a crash leave behind?

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::catalog::CatalogSnapshot;
use crate::error::{Error, Result};

/// Deletes the segment objects that no commit knows: a flush or import stored them and never got to its
/// commit. Their events are in the log or were never reported as done. Returns how many.
///
/// Only the owner of the directory may call it, before anything is written. A catalog without a single
/// commit beside existing segments means that the catalog is lost: that is
/// [`Corrupt`](crate::ErrorKind::Corrupt), and nothing is deleted.
pub async fn remove_orphans(store: &Arc<dyn ObjectStore>, catalog: &CatalogSnapshot) -> Result<usize> {
    let known: HashSet<String> = catalog.segments.iter().map(|segment| segment.path()).collect();
    let folder = Path::from("segments");
    let objects: Vec<_> = store.list(Some(&folder)).map_ok(|object| object.location).try_collect().await?;
    if catalog.version == 0 && !objects.is_empty() {
        return Err(Error::corrupt(format!(
            "there are {} segments and no catalog/log: restore the catalog; nothing was changed",
            objects.len()
        )));
    }
    let orphans: Vec<_> = objects.into_iter().filter(|path| !known.contains(path.as_ref())).collect();
    for orphan in &orphans {
        tracing::info!(segment = %orphan, "removing a segment that was never committed");
        store.delete(orphan).await?;
    }
    Ok(orphans.len())
}
