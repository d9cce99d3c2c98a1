//! Where do queries spill data that does not fit into memory?
//!
//! The writer of a data directory spills into `spill/` there and empties it when it opens the database. All other
//! processes use a private directory with a random name that only their user can read. It is removed with its
//! last user.
//!
//! ```text
//! {temporary files}/broadloom-spill-{random}/LOCK     mode 0700; locked (`flock`) as long as the process lives
//! ```
//!
//! The next process of the same user removes the directories of killed processes: the system has released their
//! locks. The lock file is locked before it is renamed to `LOCK`. A directory without `LOCK` is still being made and
//! is left alone.

use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Error, Result};

/// Prefix of the names of private directories.
const PREFIX: &str = "broadloom-spill-";
const LOCK: &str = "LOCK";
/// Name of the lock file until it is locked.
const LOCK_IN_THE_MAKING: &str = "LOCK.new";

/// A directory for spill files of queries.
#[derive(Debug)]
pub(super) enum SpillDirectory {
    /// In a data directory; not removed when dropped.
    OfData(PathBuf),
    /// Removed when dropped.
    Private { directory: TempDir, _lock: File },
}

impl SpillDirectory {
    /// Empties and returns `spill/` in the data directory `data`. Only for the process that holds the directory's lock.
    pub(super) fn of_data(data: &Path) -> Self {
        let spill = data.join("spill");
        match fs::remove_dir_all(&spill) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, directory = %spill.display(), "could not remove old spill files");
            }
            _ => {}
        }
        Self::OfData(spill)
    }

    /// Creates a private directory in `parent`, and removes the directories of dead processes there.
    pub(super) fn private(parent: &Path) -> Result<Self> {
        let made = make(parent).map_err(|e| {
            let message = format!("cannot create a spill directory in {}", parent.display());
            Error::from(e).context(message)
        })?;
        remove_leftovers(parent, &made);
        let (directory, lock) = made;
        Ok(Self::Private { directory, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::OfData(path) => path,
            Self::Private { directory, .. } => directory.path(),
        }
    }
}

fn make(parent: &Path) -> std::io::Result<(TempDir, File)> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    let directory = builder.tempdir_in(parent)?;
    let making = directory.path().join(LOCK_IN_THE_MAKING);
    let lock = File::create_new(&making)?;
    lock.lock()?;
    fs::rename(making, directory.path().join(LOCK))?;
    Ok((directory, lock))
}

/// Removes the directories of processes of this user that have died.
fn remove_leftovers(parent: &Path, (own, _): &(TempDir, File)) {
    let Ok(own_metadata) = fs::metadata(own.path()) else { return };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_named_so = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // `metadata` of an entry does not follow links.
        let is_ours =
            entry.metadata().is_ok_and(|found| found.is_dir() && is_of_same_user(&found, &own_metadata));
        if !is_named_so || !is_ours || path == own.path() {
            continue;
        }
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            let removed = fs::remove_dir_all(&path);
            let directory = path.display();
            match removed {
                Ok(()) => tracing::info!(%directory, "removed the spill directory of a dead process"),
                Err(error) => {
                    tracing::warn!(%error, %directory, "could not remove the spill directory of a dead process");
                }
            }
        }
    }
}

#[cfg(unix)]
fn is_of_same_user(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.uid() == other.uid()
}

#[cfg(not(unix))]
fn is_of_same_user(_: &Metadata, _: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parent: &Path) -> Vec<String> {
        let names =
            fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_private_directory_is_removed_with_its_user_and_leftovers_with_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let alive = SpillDirectory::private(parent.path()).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(alive.path()).unwrap().permissions().mode() & 0o777, 0o700);
        }
        // Directory of a killed process: its lock is free.
        let dead = parent.path().join("broadloom-spill-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("spilled"), "rows").unwrap();
        // Directories of a process that is still making its own, and of another program.
        fs::create_dir(parent.path().join("broadloom-spill-young")).unwrap();
        fs::create_dir(parent.path().join("other")).unwrap();
        let next = SpillDirectory::private(parent.path()).unwrap();
        assert!(!dead.exists() && alive.path().join(LOCK).exists());
        assert_ne!(next.path(), alive.path());
        fs::write(alive.path().join("spilled"), "rows").unwrap();
        drop((alive, next));
        assert_eq!(names(parent.path()), ["broadloom-spill-young", "other"]);
    }

    #[test]
    fn the_one_of_a_data_directory_is_emptied_and_stays() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("spill")).unwrap();
        fs::write(data.path().join("spill/old"), "rows").unwrap();
        let spill = SpillDirectory::of_data(data.path());
        assert!(!spill.path().join("old").exists());
        fs::create_dir(spill.path()).unwrap();
        let path = spill.path().to_owned();
        drop(spill);
        assert!(path.exists());
    }
}
