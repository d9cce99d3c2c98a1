//! Who may write to a data directory?
//!
//! One process at a time: it holds an exclusive lock (`flock`) on the file `LOCK`, which the system gives
//! back when the process ends, however it ends. The file's text only tells people who the owner is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// The right to write to one data directory, until dropped.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock; fails with [`ErrorKind::Conflict`], naming directory and owner, while another process holds it.
    pub(super) fn acquire(data: &Path, now_ns: i64) -> Result<Self> {
        let path = data.join("LOCK");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = file.read_to_string(&mut owner);
                let owner = if owner.is_empty() { "another process" } else { owner.trim_end() };
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "{} is being written by {owner}: stop it, or open the directory read-only",
                        data.display()
                    ),
                ));
            }
            Err(TryLockError::Error(e)) => {
                return Err(Error::from(e).context(format!("cannot lock {}", path.display())));
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", owner(now_ns))?;
        Ok(Self { _file: file })
    }
}

/// Describes this process for people: `process 7 on loom-1 since 2026-11-21T08:00:00Z`.
pub(super) fn owner(now_ns: i64) -> String {
    let since =
        chrono::DateTime::from_timestamp_nanos(now_ns).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.as_deref().map_or("an unknown machine", str::trim_end);
    format!("process {} on {host} since {since}", std::process::id())
}
