//! How is a database copied while it is written to, and how does one come back?
//!
//! Either way it is the same copy ([`maintenance::backup`](crate::maintenance::backup)) of what a query would see:
//! all that was acknowledged before, each event once. A backup goes beside the one before; a restored database
//! goes where nothing is. Both go to a directory or to an object store, whichever the other one is in.

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

/// How often a copy goes on with a newer snapshot because the database has deleted something meanwhile. Each
/// time it gets further, as what it has copied stays.
const ATTEMPTS_MAX: usize = 1000;

/// Directories that a file system makes by itself.
const OF_FILE_SYSTEMS: [&str; 1] = ["lost+found"];

impl Database {
    /// Copies the database to `target`, of which nobody else makes use meanwhile: all that was appended before,
    /// and as of one moment. Appends and queries go on. What the last backup there has copied is not copied again.
    /// A database that is open for reading has what was appended before its last [`refresh`](Self::refresh).
    ///
    /// The copy is a data directory: it can be opened. It counts when this returns, and is what it was before
    /// when this fails or is dropped. `name` tells databases apart. Files of the database that are damaged are
    /// copied as they are, and are in the report.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] when `target` holds something else than a backup of `name`, or a
    /// backup that was opened and written to; with [`ErrorKind::Conflict`] when events may be in a log that this
    /// process does not read, unless the settings say that they are given up.
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
                // The checkpoint that has its columns was replaced.
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

/// All that queries see, with where it is from.
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

/// Fails with [`ErrorKind::Conflict`] while events may be in a log that is not read: queries do without them, and say
/// what there is at this moment; a backup would do so for good.
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

/// A place for a copy.
struct Place {
    store: Arc<dyn ObjectStore>,
    at: Location,
}

/// The right to write to a place. That of a store is to be released.
enum PlaceLock {
    Directory { _lock: DirectoryLock },
    Store(StoreLease),
}

impl Place {
    /// A directory is created where it is not there. Nothing of what a store has is kept in a cache: objects may be
    /// put again under their names.
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

    /// Fails with [`ErrorKind::Conflict`], naming the owner, while somebody else writes there.
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

    /// Looks whether there is what `purpose` allows, and marks it.
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
        // Before the lock leaves an object there; and again when nobody else is there.
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

/// [`Database::backup`] to `target`: a directory, which is created where it is not there, or a store.
///
/// Fails as that does, and with [`ErrorKind::Conflict`] while another process writes there.
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

/// Makes a database of what `source` holds, a backup or not, in `data`: a directory, which is created where it is
/// not there, or a store. Checksums are compared: what is damaged is in the report, and is restored as it is.
///
/// Fails with [`ErrorKind::InvalidInput`] when `data` is not empty. When it fails half-way, what is there is no
/// database, and is to be removed.
pub async fn restore_to(
    source: &Database,
    data: impl Into<Location>,
    progress: impl FnMut(BackupProgress),
) -> Result<BackupReport> {
    let place = Place::open(outside(&source.settings().data, data.into())?)?;
    // Files that are no objects count too.
    if let Some(directory) = place.at.directory()
        && !is_empty(directory)?
    {
        let message = format!("{} is not empty: restore to an empty place", place.at);
        return Err(Error::invalid(message));
    }
    let copied = place.receive(source, Purpose::Restore, progress).await;
    copied.map_err(|error| error.context(format!("cannot restore to {}", place.at)))
}

/// `target`, unless it is within `data`: what is there belongs to the database, which would copy itself.
fn outside(data: &Location, target: Location) -> Result<Location> {
    let (Some(from), Some(to)) = (data.directory(), target.directory()) else { return Ok(target) };
    // It need not be there yet.
    let there = std::path::absolute(to)?;
    let there = there.ancestors().find_map(|ancestor| ancestor.canonicalize().ok());
    if there.is_some_and(|there| from.canonicalize().is_ok_and(|from| there.starts_with(from))) {
        return Err(Error::invalid(format!("{target} is inside {data}: choose a place outside it")));
    }
    Ok(target)
}

/// What a database is called in its backups: where it is.
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
