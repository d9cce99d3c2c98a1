//! How does an object get its name, durably?
//!
//! ```text
//! staged file ─▶ fsync ─▶ link (create) or rename (overwrite) ─▶ fsync of the directory ─▶ done
//! ```
//!
//! So a name never refers to missing bytes, and after a crash at any point an object exists whole or not at all.
//! Two cases are less obvious:
//!
//! - An existing directory's own name may not be durable: another thread, or a killed process, may have just
//!   created it. So each process fsyncs each directory's parent once.
//! - If the fsync of a directory fails, its names are visible but may not be on disk. The object's name is
//!   removed, so that no process relies on it, and no more objects are accepted.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::{Error, PutMode, PutPayload, Result};
use parking_lot::Mutex;

use crate::disk::Disk;

/// Folders that contain objects.
const FOLDERS: [&str; 4] = ["segments", "catalog", "runs", "wal"];

/// Writes objects to a directory.
#[derive(Debug)]
pub(crate) struct Placement {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    fsyncs: AtomicU64,
    /// Directories whose names are known to be durable.
    directories: Mutex<HashSet<PathBuf>>,
    /// Failure after which no more objects are accepted.
    poison: Mutex<Option<String>>,
}

/// Wraps an I/O error as other stores do.
pub(super) fn generic(source: io::Error) -> Error {
    Error::Generic { store: "DurableFileSystem", source: Box::new(source) }
}

/// True if the name is that of a staged file, which was never finished.
fn is_staged(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let suffix = name.and_then(|name| name.rsplit_once('#')).map(|(_, suffix)| suffix);
    suffix.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

impl Placement {
    /// Writes objects below the existing directory `root` of `disk`.
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        let directories = Mutex::new(HashSet::from([root.clone()]));
        Self { disk, root, fsyncs: AtomicU64::new(0), directories, poison: Mutex::default() }
    }

    /// Number of fsync calls so far.
    pub(crate) fn fsyncs(&self) -> u64 {
        self.fsyncs.load(Ordering::Relaxed)
    }

    /// Reason why no more objects are accepted until a restart.
    pub(crate) fn poison(&self) -> Option<String> {
        self.poison.lock().clone()
    }

    /// Recovers from a killed process: removes its staged files, and fsyncs names that it may not have fsynced.
    /// Blocks. Only the owner of the directory may call it.
    pub(crate) fn settle(&self) -> io::Result<()> {
        FOLDERS.iter().try_for_each(|folder| self.settle_directory(&self.root.join(folder)))
    }

    fn settle_directory(&self, directory: &Path) -> io::Result<()> {
        if !self.disk.is_directory(directory) {
            return Ok(());
        }
        for entry in self.disk.list(directory)? {
            if entry.is_directory {
                self.settle_directory(&entry.path)?;
            } else if is_staged(&entry.path) {
                self.disk.remove(&entry.path)?;
            }
        }
        self.sync_directory(directory)
    }

    /// Writes an object, and returns once it is durable under the name `path`.
    ///
    /// Blocks. After [`Error::Generic`] the object is not visible, but may appear after a crash.
    pub(crate) fn place(&self, path: &Path, payload: &PutPayload, mode: &PutMode) -> Result<()> {
        if let Some(why) = self.poison.lock().clone() {
            return Err(generic(io::Error::other(why)));
        }
        let directory = path.parent().unwrap_or(&self.root);
        self.create_directory(directory).map_err(generic)?;
        let staged = PathBuf::from(format!("{}#{}", path.display(), rand::random::<u64>()));
        let named = self.stage(&staged, payload).map_err(generic).and_then(|()| match mode {
            PutMode::Create => self.link(&staged, path),
            _ => self.disk.rename(&staged, path).map_err(generic),
        });
        if named.is_err() || matches!(mode, PutMode::Create) {
            let _ = self.disk.remove(&staged);
        }
        named?;
        self.sync_directory(directory).map_err(|error| {
            let _ = self.disk.remove(path);
            generic(error)
        })
    }

    fn stage(&self, staged: &Path, payload: &PutPayload) -> io::Result<()> {
        let file = self.disk.create(staged)?;
        let mut offset = 0;
        for part in payload {
            file.write_all_at(part, offset)?;
            offset += part.len() as u64;
        }
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        file.sync()
    }

    fn link(&self, staged: &Path, path: &Path) -> Result<()> {
        self.disk.link(staged, path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::AlreadyExists { path: path.display().to_string(), source: source.into() }
            }
            _ => generic(source),
        })
    }

    /// Creates `directory` and its parents if needed, and makes their names durable, outermost first.
    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        if self.directories.lock().contains(directory) {
            return Ok(());
        }
        if let Some(parent) = directory.parent() {
            self.create_directory(parent)?;
            match self.disk.create_directory(directory) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => self.sync_directory(parent)?,
            }
        }
        self.directories.lock().insert(directory.to_owned());
        Ok(())
    }

    /// Makes the names in `directory` durable. A failure poisons the placement: a later fsync may succeed without
    /// having written these names.
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.disk.sync_directory(directory).map_err(|error| {
            tracing::error!(directory = %directory.display(), %error, "fsync failed; no more objects are stored until a restart");
            let why = format!("fsync of {} failed: {error}; restart the process", directory.display());
            *self.poison.lock() = Some(why.clone());
            io::Error::other(why)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::chaos::Chaos;
    use crate::disk::simulated::SimulatedDisk;

    fn placement(disk: &SimulatedDisk) -> Placement {
        Placement::new(Arc::new(disk.clone()), "/data".into())
    }

    fn put(placement: &Placement, name: &str) -> Result<()> {
        placement.place(&Path::new("/data").join(name), &"content".into(), &PutMode::Create)
    }

    fn has(disk: &SimulatedDisk, name: &str) -> bool {
        disk.read(&Path::new("/data").join(name)).is_ok_and(|content| content == b"content")
    }

    #[test]
    fn a_crash_at_any_operation_leaves_a_whole_object_or_none() {
        let mut there = 0;
        for seed in 0..400 {
            let disk = SimulatedDisk::new(Path::new("/data"), Chaos::new(seed));
            put(&placement(&disk), "segments/a").unwrap();
            disk.stop_after(seed % 10);
            let stored = put(&placement(&disk), "segments/2026/b").is_ok();
            let left = disk.power_loss();
            assert!(has(&left, "segments/a"), "seed {seed}");
            let found = left.read(Path::new("/data/segments/2026/b"));
            assert!(
                found.as_ref().map_or(!stored, |content| content == b"content"),
                "seed {seed}: {found:?}"
            );
            there += u32::from(found.is_ok() && !stored);
        }
        assert!(there > 0, "an object may be stored without an answer");
    }

    /// Otherwise a readable commit would count as stored, and the log would be deleted; after a crash the commit
    /// would be gone too.
    #[test]
    fn an_object_whose_directory_could_not_be_fsynced_is_not_there_and_no_other_is_accepted() {
        let chaos = Chaos::new(1);
        let disk = SimulatedDisk::new(Path::new("/data"), chaos.clone());
        let placement = placement(&disk);
        put(&placement, "catalog/1").unwrap();
        chaos.set("directory fsync fails", 1);
        let error = put(&placement, "catalog/2").unwrap_err();
        assert!(error.to_string().contains("restart"), "{error}");
        assert!(!has(&disk, "catalog/2"));
        chaos.activate(false);
        put(&placement, "catalog/2").unwrap_err();
        put(&placement, "segments/3").unwrap_err();
        assert!(has(&disk, "catalog/1"));
    }

    /// The killed process had created the directory but not yet fsynced its name.
    #[test]
    fn a_directory_that_exists_is_not_taken_for_durable() {
        for seed in 0..50 {
            let disk = SimulatedDisk::new(Path::new("/data"), Chaos::new(seed));
            disk.create_directory(Path::new("/data/segments")).unwrap();
            let disk = disk.kill();
            put(&placement(&disk), "segments/a").unwrap();
            assert!(has(&disk.power_loss(), "segments/a"), "seed {seed}");
        }
    }

    /// Later steps rely on a readable commit: they delete objects that it no longer needs.
    #[test]
    fn what_a_killed_process_left_is_durable_before_anybody_builds_on_it() {
        for seed in 0..50 {
            let chaos = Chaos::new(seed);
            let disk = SimulatedDisk::new(Path::new("/data"), chaos.clone());
            put(&placement(&disk), "catalog/1").unwrap();
            // Operations on the parents come first; then create, write, sync, link and remove, but no directory fsync.
            disk.stop_after(8);
            put(&placement(&disk), "catalog/2").unwrap_err();
            let disk = disk.kill();
            placement(&disk).settle().unwrap();
            let before = has(&disk, "catalog/2");
            assert!(before, "the test stops at the right operation");
            assert_eq!(has(&disk.power_loss(), "catalog/2"), before, "seed {seed}");
        }
    }
}
