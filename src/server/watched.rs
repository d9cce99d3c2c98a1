//! What is in the files of the configuration now? Keys and certificates change while the server runs.
//!
//! Files are looked at when their content is needed and a second has passed since the last time, so that a change counts
//! soon, and nobody waits for a disk long. While they cannot be read, the content of the last time counts.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::error::Result;

/// Time for which files are not looked at again.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Content of some files, read again when one of them changes.
#[derive(Debug)]
pub(in crate::server) struct Watched<T> {
    /// Content of the files in words, for the log.
    what: &'static str,
    files: Vec<PathBuf>,
    seen: Mutex<Seen<T>>,
}

#[derive(Debug)]
struct Seen<T> {
    at: Instant,
    stamps: Vec<Option<Stamp>>,
    content: T,
}

/// Properties that change with the content of a file.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl<T: Clone> Watched<T> {
    /// Reads the content of `files`. Fails as `read` does.
    pub(in crate::server) fn read(
        what: &'static str,
        files: Vec<PathBuf>,
        read: impl FnOnce() -> Result<T>,
    ) -> Result<Self> {
        // Before reading: a change meanwhile is seen the next time.
        let stamps = files.iter().map(stamp).collect();
        let seen = Seen { at: Instant::now(), stamps, content: read()? };
        Ok(Self { what, files, seen: Mutex::new(seen) })
    }

    /// The content, read again by `read` if a file has changed.
    pub(in crate::server) fn get(&self, read: impl FnOnce() -> Result<T>) -> T {
        let mut seen = self.seen.lock();
        if seen.at.elapsed() >= FRESH_FOR {
            self.look(&mut seen, read);
        }
        seen.content.clone()
    }

    fn look(&self, seen: &mut Seen<T>, read: impl FnOnce() -> Result<T>) {
        seen.at = Instant::now();
        let stamps: Vec<_> = self.files.iter().map(stamp).collect();
        if stamps == seen.stamps {
            return;
        }
        match read() {
            Ok(content) => {
                tracing::info!("read the {}", self.what);
                seen.content = content;
            }
            Err(error) => {
                let error = error.chain();
                tracing::error!(error, "the {} cannot be read; what was read before stays in use", self.what);
            }
        }
        seen.stamps = stamps;
    }

    /// Looks at the files now.
    #[cfg(test)]
    pub(in crate::server) fn look_now(&self, read: impl FnOnce() -> Result<T>) {
        self.look(&mut self.seen.lock(), read);
    }
}

fn stamp(file: &PathBuf) -> Option<Stamp> {
    let metadata = file.metadata().ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some(Stamp { modified: metadata.modified().ok(), bytes: metadata.len(), inode })
}
