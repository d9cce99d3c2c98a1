//! Does this place hold a backup of that database, and nothing else?
//!
//! The marker `backup.json` is put before anything else: `{"format":1, "of":text, "damaged":[path…]}`.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::object::read;
use crate::error::{Error, ErrorKind, Result};

const MARKER: &str = "backup.json";
const FORMAT: u32 = 1;

/// Marks the objects of a target as a backup, so that no other data is taken for one and overwritten.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Marker {
    format: u32,
    /// Name of the database that was backed up.
    of: String,
    /// Paths of objects that were damaged when they were copied. The next backup may find them sound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) damaged: Vec<String>,
}

impl Marker {
    /// Checks that `store`, with the objects `present`, holds a backup of `of`, or nothing: an empty store is marked.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] when it holds anything else.
    pub(super) async fn claim(
        store: &Arc<dyn ObjectStore>,
        present: &HashMap<String, u64>,
        of: &str,
    ) -> Result<Self> {
        if present.is_empty() {
            let marker = Self { format: FORMAT, of: of.to_owned(), damaged: Vec::new() };
            marker.put(store).await?;
            return Ok(marker);
        }
        let json = match read(store, &Path::from(MARKER)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::invalid("it holds other files but no backup: choose an empty place"));
            }
            json => json?,
        };
        let marker: Self = serde_json::from_slice(&json)
            .map_err(|e| Error::corrupt(format!("{MARKER}: {e}")).with_source(e))?;
        if marker.format != FORMAT {
            let message = format!(
                "{MARKER} has format {}, this program reads {FORMAT}: use the Broadloom that wrote it",
                marker.format
            );
            return Err(Error::invalid(message));
        }
        if marker.of != of {
            let message = format!("it holds a backup of {}, not of {of}: choose another place", marker.of);
            return Err(Error::invalid(message));
        }
        let written = |path: &&String| path.starts_with("catalog/log/") || path.starts_with("wal/");
        if let Some(path) = present.keys().find(written) {
            let message = format!("it was written to after the backup ({path} exists): choose another place");
            return Err(Error::invalid(message));
        }
        Ok(marker)
    }

    /// Copies the marker with other `damaged` objects.
    pub(super) fn with(&self, damaged: Vec<String>) -> Self {
        Self { format: self.format, of: self.of.clone(), damaged }
    }

    pub(super) async fn put(&self, store: &Arc<dyn ObjectStore>) -> Result<()> {
        let json = serde_json::to_vec(self).map_err(|e| Error::internal("marker as JSON").with_source(e))?;
        store.put(&Path::from(MARKER), json.into()).await?;
        Ok(())
    }
}
