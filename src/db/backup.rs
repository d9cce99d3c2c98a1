//! How is a database backed up while it is written to, and how is it restored?
//!
//! Both make the same copy ([`maintenance::backup`](crate::maintenance::backup)) of the events that a query would
//! see: everything acknowledged before, each event once. A backup adds to the previous backup in its target; a
//! restore needs an empty target. Source and target may each be a directory or an object store.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;

use super::lease::StoreLease;
use super::lock::{self, DirectoryLock};
use super::storage::LogStorage;
use super::{Database, Inner};
use crate::catalog::{CatalogSnapshot, Keys};
use crate::config::{Clock, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::maintenance::{BackupProgress, BackupReport, BackupSource, BackupTarget, Purpose};
use crate::store::{DurableFileSystem, RemoteStore};
use crate::wal;

/// Most snapshots that one copy uses. It takes a newer one when the database has deleted an object that was still
/// to be copied. Copied objects stay, so each attempt gets further.
const ATTEMPTS_MAX: usize = 1000;

/// Directories that file systems create themselves, which may be in an empty target.
const OF_FILE_SYSTEMS: [&str; 1] = ["lost+found"];

impl Database {
    /// Copies everything that was appended before, as of one moment, to `target`, which nobody else may use
    /// meanwhile. Appends and queries go on. Objects that the last backup there has copied are not copied again.
    /// A database open for reading copies what was appended before its last [`refresh`](Self::refresh).
    ///
    /// The copy is a data directory and can be opened. It is complete when this returns; when this fails or is
    /// dropped, the target still holds the previous backup. `name` tells databases apart. Damaged files are copied as
    /// they are, and reported.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] when `target` holds anything but a backup of `name`, or a backup that
    /// was opened and written to; with [`ErrorKind::Conflict`] when events may be in a log that this process does not
    /// read, unless the settings abandon that log.
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
        for _ in 0..ATTEMPTS_MAX {
            let source = source(&self.inner)?;
            match target.copy(&source, &mut progress).await {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => self.refresh().await?,
                // The checkpoint with the snapshot's columns was replaced.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.refresh().await?;
                    if self.snapshot().catalog.version == source.catalog.version {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let message = format!("the database changed {ATTEMPTS_MAX} times during the copy: try again");
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}

/// Returns everything that queries see, and the store and log positions that it comes from.
fn source(inner: &Inner) -> Result<BackupSource> {
    let (catalog, batches, wal) = inner.live.view_of_log();
    reads_all(inner, &catalog)?;
    Ok(BackupSource {
        deliveries: inner.live.deliveries().within(wal),
        keys: Keys::of_dictionary(inner.live.keys()),
        catalog,
        batches,
        wal,
        store: Arc::clone(&inner.storage.store),
        index: inner.settings.index.clone(),
    })
}

/// Fails with [`ErrorKind::Conflict`] while events may be in a log that this process does not read. Queries may miss
/// them for the moment; a backup would miss them for good.
fn reads_all(inner: &Inner, catalog: &CatalogSnapshot) -> Result<()> {
    if !inner.read_only || catalog.claim.is_none() || inner.settings.remote.abandon_log {
        return Ok(());
    }
    let log = match &inner.storage.log {
        LogStorage::Files { directory, options } => wal::known_identity(options.disk.as_ref(), directory)?,
        LogStorage::Objects { .. } => None,
    };
    catalog.is_all_with(log.as_deref())
}

/// The target of a copy.
struct Place {
    store: Arc<dyn ObjectStore>,
    at: Location,
}

/// The right to write to a place. A store's lease must be released; a directory's lock ends when dropped.
enum PlaceLock {
    Directory { _lock: DirectoryLock },
    Store(StoreLease),
}

impl Place {
    /// Opens the target; creates a missing directory. A store is opened without a cache, as objects may be put again
    /// under the same names.
    fn open(at: Location) -> Result<Self> {
        let store: Arc<dyn ObjectStore> = match &at {
            Location::Directory(directory) => {
                let store = DurableFileSystem::create(directory);
                let cannot = |e| Error::from(e).context(format!("cannot use {}", directory.display()));
                Arc::new(store.map_err(cannot)?)
            }
            Location::Store(url) => Arc::new(RemoteStore::open(url, None)?),
            Location::Unusable { why, .. } => return Err(Error::invalid(why)),
        };
        Ok(Self { store, at })
    }

    /// Locks the place; fails with [`ErrorKind::Conflict`], naming the owner, while another process writes there.
    async fn lock(&self, now_ns: i64) -> Result<PlaceLock> {
        Ok(match &self.at {
            Location::Directory(directory) => {
                PlaceLock::Directory { _lock: DirectoryLock::acquire(directory, now_ns)? }
            }
            Location::Unusable { why, .. } => return Err(Error::invalid(why)),
            Location::Store(_) => {
                let (store, owner) = (Arc::clone(&self.store), lock::owner(now_ns));
                PlaceLock::Store(StoreLease::acquire(store, owner, &self.at, now_ns).await?)
            }
        })
    }

    /// Checks that the place's content is allowed for `purpose`, and marks it.
    async fn look(&self, clock: &Arc<dyn Clock>, purpose: Purpose<'_>) -> Result<BackupTarget> {
        BackupTarget::open(Arc::clone(&self.store), Arc::clone(clock), purpose).await
    }

    /// Copies `database` here.
    async fn receive(
        &self,
        database: &Database,
        purpose: Purpose<'_>,
        progress: impl FnMut(BackupProgress),
    ) -> Result<BackupReport> {
        let clock = &database.settings().clock;
        // Checked twice: before locking, which puts an object there, and again when nobody else can write.
        self.look(clock, purpose).await?;
        let lock = self.lock(clock.now_ns()).await?;
        let copied = match self.look(clock, purpose).await {
            Ok(target) => database.copy_to(&target, progress).await,
            Err(error) => Err(error),
        };
        if let PlaceLock::Store(lease) = lock {
            lease.release().await;
        }
        copied
    }
}

/// Makes a [`Database::backup`] in `target`: a store, or a directory, which is created if it is missing.
///
/// Fails as `backup` does, and with [`ErrorKind::Conflict`] while another process writes there.
pub async fn backup_to(
    database: &Database,
    target: impl Into<Location>,
    progress: impl FnMut(BackupProgress),
) -> Result<BackupReport> {
    let place = Place::open(outside(&database.settings().data, target.into())?)?;
    let name = name_of(&database.settings().data);
    let copied = place.receive(database, Purpose::BackupOf(&name), progress).await;
    copied.map_err(|error| error.context(format!("cannot make a backup in {}", place.at)))
}

/// Copies `source`, a backup or any other database, to `data`: a store, or a directory, which is created if it is
/// missing. Checksums are compared: damaged objects are reported, and restored as they are.
///
/// Fails with [`ErrorKind::InvalidInput`] when `data` is not empty. When it fails half-way, `data` holds an
/// incomplete copy: remove it.
pub async fn restore_to(
    source: &Database,
    data: impl Into<Location>,
    progress: impl FnMut(BackupProgress),
) -> Result<BackupReport> {
    let place = Place::open(outside(&source.settings().data, data.into())?)?;
    // Files that are not objects count too.
    if let Some(directory) = place.at.directory()
        && !is_empty(directory)?
    {
        let message = format!("{} is not empty: restore to an empty place", place.at);
        return Err(Error::invalid(message));
    }
    let copied = place.receive(source, Purpose::Restore, progress).await;
    copied.map_err(|error| error.context(format!("cannot restore to {}", place.at)))
}

/// Returns `target`; fails when it is inside `data`, as the database would copy itself.
fn outside(data: &Location, target: Location) -> Result<Location> {
    let (Some(from), Some(to)) = (data.directory(), target.directory()) else { return Ok(target) };
    // The target need not exist yet.
    let there = std::path::absolute(to)?;
    let there = there.ancestors().find_map(|ancestor| ancestor.canonicalize().ok());
    if there.is_some_and(|there| from.canonicalize().is_ok_and(|from| there.starts_with(from))) {
        return Err(Error::invalid(format!("{target} is inside {data}: choose a place outside it")));
    }
    Ok(target)
}

/// Name of a database in its backups: its canonical location.
fn name_of(data: &Location) -> String {
    let canonical = data.directory().and_then(|directory| directory.canonicalize().ok());
    let name = canonical.map_or_else(|| data.to_string(), |directory| directory.display().to_string());
    name.trim_end_matches('/').to_owned()
}

fn is_empty(directory: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        if !OF_FILE_SYSTEMS.iter().any(|of_file_system| name == *of_file_system) {
            return Ok(false);
        }
    }
    Ok(true)
}
