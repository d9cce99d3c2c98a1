//! Which operations of a file system does durability depend on?
//!
//! The log and the object store write with the few operations of [`Disk`], so that tests can replace the
//! machine's disk with a simulated one that loses data that was not fsynced, tears writes, and fails at random.
//! [`SystemDisk`] is the real disk.
//!
//! Callers may rely on no more than these rules, which the simulated disk follows:
//!
//! - Bytes of a file are durable after [`DiskFile::sync`]. Before, any part of them may be lost in a crash.
//! - A name (created, linked, renamed or removed) is durable after [`Disk::sync_directory`] of its directory.
//!   Before, a crash may undo it; a rename happens as a whole or not at all.
//! - After a failed sync the contents of the disk are unknown, and a later successful sync does not prove that
//!   the bytes of the failed one were written.
//! - A failed write may have written some of its bytes.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[cfg(test)]
pub(crate) mod chaos;
#[cfg(test)]
pub(crate) mod simulated;

/// A file or directory in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Path, including that of the directory.
    pub path: PathBuf,
    /// True if it is a directory itself.
    pub is_directory: bool,
}

/// A file system. Calls block.
pub trait Disk: Debug + Send + Sync {
    /// Creates an empty file; fails with [`io::ErrorKind::AlreadyExists`] if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Reads all bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Lists the entries of a directory, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;

    /// True if there is a directory at `path`.
    fn is_directory(&self, path: &Path) -> bool;

    /// Creates a directory in an existing one.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Gives a file a second name; fails with [`io::ErrorKind::AlreadyExists`] if that is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames a file; replaces a file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name of a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`. After a failure, some of them may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Truncates the file, or extends it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// Disk of the machine, through the file system.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let entries = std::fs::read_dir(directory)?.map(|entry| {
            let entry = entry?;
            Ok(Entry { path: entry.path(), is_directory: entry.file_type()?.is_dir() })
        });
        entries.collect()
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
