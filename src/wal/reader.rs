//! Which batches does a log directory still hold?
//!
//! [`replay`] reads every file, oldest first. It changes nothing, so it may run beside a live writer. A writer
//! calls [`Replay::repair`] before it appends: it cuts off the torn tail, which would look like damage once a
//! later file exists.

use std::fmt;
use std::path::{Path, PathBuf};

use super::SequenceNumber;
use super::record::{self, Bad};
use crate::disk::Disk;
use crate::error::{Error, Result};

/// A damaged range of bytes in a log file.
#[derive(Debug, Clone)]
pub struct Damage {
    /// The damaged file.
    pub file: PathBuf,
    /// Start of the damage, in bytes from the start of the file.
    pub offset: usize,
    /// Length of the damage.
    pub bytes: usize,
    /// Expected and found value, as text.
    pub why: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, why } = self;
        write!(f, "{} is damaged at offset {offset} ({bytes} bytes): {why}", file.display())
    }
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        Self::corrupt(damage.to_string())
    }
}

/// Incomplete end of the last file, left by a crash.
#[derive(Debug, Clone)]
struct TornTail {
    file: PathBuf,
    /// Length of the valid part of the file, in bytes.
    keep: usize,
    dropped: usize,
}

/// Result of reading a log directory.
#[derive(Debug, Default)]
pub struct Replay {
    /// Number of the last valid record, or zero.
    pub last: SequenceNumber,
    /// All damage except the torn tail.
    pub damage: Vec<Damage>,
    torn: Option<TornTail>,
    /// Files without any valid record; they can be removed.
    empty: Vec<PathBuf>,
    first: Option<SequenceNumber>,
    newest: Option<PathBuf>,
}

/// Calls `each` with every batch numbered above `after`, in order and decompressed.
///
/// Damaged records are collected and skipped. A file that disappears between being listed and being read
/// held only committed batches; a caller that reads beside a live writer must check the catalog again afterwards.
pub fn replay(
    disk: &dyn Disk,
    dir: &Path,
    after: SequenceNumber,
    mut each: impl FnMut(SequenceNumber, Vec<u8>) -> Result<()>,
) -> Result<Replay> {
    let files = record::list(disk, dir)?;
    let newest = files.last().map(|(_, path)| path.clone());
    let first = files.first().map(|(first, _)| *first);
    let mut replay = Replay { first, newest: newest.clone(), ..Replay::default() };
    for (first, path) in files {
        let bytes = match disk.read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::from(e).context(format!("cannot read {}", path.display()))),
        };
        let mut scan = record::scan(&bytes, first).map_err(|e| e.context(path.display()))?;
        if Some(&path) == newest.as_ref() {
            replay.torn = scan.bad.pop_if(|bad| bad.bytes.end == bytes.len()).map(|bad| tail(&path, &bad));
        }
        if scan.records.is_empty() && scan.bad.is_empty() {
            replay.empty.push(path.clone());
        }
        replay.damage.extend(scan.bad.into_iter().map(|bad| damage(&path, bad)));
        for found in scan.records {
            // Numbers repeat only if somebody copied files by hand: the first record counts.
            if found.seq <= replay.last {
                continue;
            }
            let expected = replay.last.max(after).next();
            if replay.last > SequenceNumber::ZERO && found.seq > expected {
                let why =
                    format!("expected record {expected}, found {}: the records between are lost", found.seq);
                replay.damage.push(Damage { file: path.clone(), offset: found.payload.start, bytes: 0, why });
            }
            replay.last = found.seq;
            if found.seq > after {
                let at = found.payload.start;
                let payload = record::decompress(&bytes[found.payload])
                    .map_err(|e| e.context(format!("{} at offset {at}", path.display())))?;
                // A local copy of an object store's log has fences.
                if !record::is_fence(&payload) {
                    each(found.seq, payload)?;
                }
            }
        }
    }
    Ok(replay)
}

impl Replay {
    /// True if the record directly after `after` is missing although later ones exist.
    pub fn has_gap_after(&self, after: SequenceNumber) -> bool {
        self.first.is_some_and(|first| first > after.next())
    }

    /// Length of the torn tail in bytes, or zero.
    pub fn torn_bytes(&self) -> usize {
        self.torn.as_ref().map_or(0, |torn| torn.dropped)
    }

    /// File with the torn tail, and the length of its valid part in bytes.
    pub fn torn_file(&self) -> Option<(&Path, usize)> {
        self.torn.as_ref().map(|torn| (torn.file.as_path(), torn.keep))
    }

    /// Prepares the directory for a writer: cuts off the torn tail, removes files without records, and fsyncs
    /// the newest file. A killed process may not have fsynced it; without that, a later crash could lose a record
    /// from before others.
    ///
    /// Only the owner of the directory may call it.
    pub fn repair(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let Some(newest) = &self.newest else { return Ok(()) };
        if let Some(torn) = &self.torn {
            tracing::warn!(file = %torn.file.display(), offset = torn.keep, bytes = torn.dropped, "dropped the torn tail of the log: it was never acknowledged");
            disk.open(&torn.file)?.set_len(torn.keep as u64)?;
        }
        if !self.empty.contains(newest) {
            disk.open(newest)?.sync()?;
        }
        for path in &self.empty {
            disk.remove(path)?;
        }
        Ok(disk.sync_directory(dir)?)
    }

    /// True if the log file `path` is damaged; then it is set aside instead of deleted.
    pub(super) fn is_damaged(&self, path: &Path) -> bool {
        self.damage.iter().any(|damage| damage.file == path)
    }
}

fn tail(path: &Path, bad: &Bad) -> TornTail {
    TornTail { file: path.to_owned(), keep: bad.bytes.start, dropped: bad.bytes.len() }
}

fn damage(path: &Path, bad: Bad) -> Damage {
    Damage { file: path.to_owned(), offset: bad.bytes.start, bytes: bad.bytes.len(), why: bad.why }
}
