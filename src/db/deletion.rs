//! Are deleted events gone from the storage too?
//!
//! The catalog records the objects that may have held the events when they were deleted. Objects never change, so
//! the events are gone once all of these are, and every log file that is as old. [`receipt`] checks the store
//! itself for them.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Serialize;

use super::Inner;
use crate::catalog::Deletion;
use crate::error::{Error, ErrorKind, Result};

/// A deletion, and the objects that may still hold its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeletionReceipt {
    /// The request and its result.
    #[serde(flatten)]
    pub deletion: Deletion,
    /// Objects and log files that may still hold the events, below the data directory. No query sees them.
    pub pending: Vec<String>,
}

impl DeletionReceipt {
    /// True if no object holds the events any more.
    pub fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }
}

/// Returns the current receipt of the deletion `id`; fails with [`ErrorKind::NotFound`] when the id is unknown.
pub(super) async fn receipt(inner: &Inner, id: &str) -> Result<DeletionReceipt> {
    let (catalog, _) = inner.live.view();
    let deletion = catalog.deletions.iter().find(|deletion| deletion.id == id).cloned();
    let deletion = deletion
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no deletion with the id {id}")))?;
    let mut pending = Vec::new();
    for object in &deletion.objects {
        let index = format!("{}.index", object.trim_end_matches(".parquet"));
        for path in [object.clone(), index] {
            match inner.storage.store.head(&Path::from(path.as_str())).await {
                Ok(_) => pending.push(path),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let log = inner.storage.log.files().await?.into_iter();
    let old = log.filter(|file| file.first.is_some_and(|first| first <= deletion.wal));
    pending.extend(old.map(|file| format!("wal/{}", file.name)));
    Ok(DeletionReceipt { deletion, pending })
}
