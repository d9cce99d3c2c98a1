//! How is a database copied while it is written to, and how does one come back?
//!
//! Either way it is the same copy ([`maintenance::backup`](crate::maintenance::backup)) of what a query would see:
//! all that was acknowledged before, each event once. A backup goes beside the one before; a restored database
//! goes where nothing is.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;

use super::lock::DirectoryLock;
use super::{Database, Inner};
use crate::catalog::Keys;
use crate::error::{Error, ErrorKind, Result};
use crate::maintenance::{BackupProgress, BackupReport, BackupSource, BackupTarget, Purpose};
use crate::store::DurableFileSystem;

/// How often a copy goes on with a newer snapshot because the database has deleted something meanwhile. Each
/// time it gets further, as what it has copied stays.
const ATTEMPTS_MAX: usize = 1000;

/// Directories that a file system makes by itself.
const OF_FILE_SYSTEMS: [&str; 1] = ["lost+found"];

impl Database {
    /// Copies the database to `target`, of which nobody else makes use meanwhile: all that was appended before,
    /// and as of one moment. Appends and queries go on. What the last backup there has copied is not copied again.
    ///
    /// The copy is a data directory: it can be opened. It counts when this returns, and is what it was before
    /// when this fails or is dropped. `name` tells databases apart. Files of the database that are damaged are
    /// copied as they are, and are in the report.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] when `target` holds something else than a backup of `name`, or a
    /// backup that was opened and written to.
    pub async fn backup(
        &self,
        target: Arc<dyn ObjectStore>,
        name: &str,
        progress: impl FnMut(BackupProgress),
    ) -> Result<BackupReport> {
        let clock = Arc::clone(&self.settings().clock);
        let target = BackupTarget::open(target, clock, Purpose::BackupOf(name)).await?;
        self.copy_to(&target, progress).await
    }

    async fn copy_to(
        &self,
        target: &BackupTarget,
        mut progress: impl FnMut(BackupProgress),
    ) -> Result<BackupReport> {
        let mut is_final = false;
        for _ in 0..ATTEMPTS_MAX {
            let source = source(&self.inner);
            match target.copy(&source, is_final, &mut progress).await {
                Err(error) if error.kind() == ErrorKind::NotFound && !is_final => {
                    self.refresh().await?;
                    // When nothing has happened, it is lost and not replaced.
                    is_final = self.snapshot().catalog.version == source.catalog.version;
                }
                copied => return copied,
            }
        }
        let message = format!("the database has changed {ATTEMPTS_MAX} times while it was copied: try again");
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}

/// All that queries see, with where it is from.
fn source(inner: &Inner) -> BackupSource {
    let (catalog, batches, wal) = inner.live.view_of_log();
    BackupSource {
        deliveries: inner.live.deliveries().within(wal),
        keys: Keys::of_dictionary(inner.live.keys()),
        catalog,
        batches,
        wal,
        store: Arc::clone(&inner.storage.store),
        index: inner.settings.index.clone(),
    }
}

/// [`Database::backup`] into the directory `target`, which is created where it is not there.
pub async fn backup_to_directory(
    database: &Database,
    target: &Path,
    progress: impl FnMut(BackupProgress),
) -> Result<BackupReport> {
    let of = &database.settings().data;
    let canonical = of.directory().and_then(|directory| directory.canonicalize().ok());
    let name = canonical.map_or_else(|| of.to_string(), |directory| directory.display().to_string());
    let store = create(target)?;
    let into = |error: Error| error.context(format!("cannot make a backup in {}", target.display()));
    let clock = Arc::clone(&database.settings().clock);
    // Looks, and marks the directory, before the lock leaves a file there; again when nobody else is there.
    BackupTarget::open(Arc::clone(&store), clock, Purpose::BackupOf(&name)).await.map_err(into)?;
    let _lock = DirectoryLock::acquire(target, database.settings().clock.now_ns())?;
    database.backup(store, &name, progress).await.map_err(into)
}

/// Makes a database of what `source` holds, a backup or not, in the directory `data`, which is created where it is
/// not there. Checksums are compared: what is damaged is in the report, and is restored as it is.
///
/// Fails with [`ErrorKind::InvalidInput`] when `data` is not empty. When it fails half-way, what is there is no
/// database.
pub async fn restore_to_directory(
    source: &Database,
    data: &Path,
    progress: impl FnMut(BackupProgress),
) -> Result<BackupReport> {
    let store = create(data)?;
    if !is_empty(data)? {
        let message =
            format!("{} is not empty: a database is restored to an empty directory", data.display());
        return Err(Error::invalid(message));
    }
    let clock = Arc::clone(&source.settings().clock);
    let _lock = DirectoryLock::acquire(data, clock.now_ns())?;
    let target = BackupTarget::open(store, clock, Purpose::Restore).await?;
    source.copy_to(&target, progress).await
}

fn create(directory: &Path) -> Result<Arc<dyn ObjectStore>> {
    let store = DurableFileSystem::create(directory);
    let store = store.map_err(|e| Error::from(e).context(format!("cannot use {}", directory.display())))?;
    Ok(Arc::new(store))
}

fn is_empty(directory: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        if !OF_FILE_SYSTEMS.iter().any(|name| entry.as_ref().is_ok_and(|entry| entry.file_name() == *name)) {
            return Ok(false);
        }
    }
    Ok(true)
}
