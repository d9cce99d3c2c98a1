//! What has become of a deletion?
//!
//! The catalog remembers which objects may have held the deleted events at that time. Objects are never
//! changed: once none of these is there any more, and no file of the log that is as old, no object holds the
//! events. That is looked up in the store itself.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Serialize;

use super::Inner;
use crate::catalog::Deletion;
use crate::error::{Error, ErrorKind, Result};

/// A deletion, and where its events still are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeletionReceipt {
    /// What was asked for, and what was found.
    #[serde(flatten)]
    pub deletion: Deletion,
    /// Objects and log files that may still hold the events, below the data directory. No query sees them.
    pub pending: Vec<String>,
}

impl DeletionReceipt {
    /// Whether no object holds the events any more.
    pub fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }
}

/// The receipt of the deletion `id` at this moment.
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
