//! Which batches does a log directory still hold?
//!
//! [`replay`] reads every file, oldest first. It changes nothing, so that a reader beside a live writer may
//! use it; [`Replay::repair`] is what a writer does before it appends: it cuts off the torn tail, so that no
//! later file makes it look like damage.

use std::fmt;
use std::path::{Path, PathBuf};

use super::SequenceNumber;
use super::record::{self, Bad};
use crate::disk::Disk;
use crate::error::{Error, Result};

/// Bytes of a log file that are not what was written.
#[derive(Debug, Clone)]
pub struct Damage {
    /// The damaged file.
    pub file: PathBuf,
    /// Where it starts.
    pub offset: usize,
    /// How far it goes.
    pub bytes: usize,
    /// What was expected and what was found.
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

/// The end of the last file, which a crash left incomplete.
#[derive(Debug, Clone)]
struct TornTail {
    file: PathBuf,
    /// Bytes of the file that are good.
    keep: usize,
    dropped: usize,
}

/// What a log directory holds.
#[derive(Debug, Default)]
pub struct Replay {
    /// Number of the last record that checks, or zero.
    pub last: SequenceNumber,
    /// Everything that does not check, torn tail excepted.
    pub damage: Vec<Damage>,
    torn: Option<TornTail>,
    /// Files without a single good record: nothing to keep.
    empty: Vec<PathBuf>,
    first: Option<SequenceNumber>,
    newest: Option<PathBuf>,
}

/// Calls `each` with every batch numbered above `after`, in order, as it was before compression.
///
/// Damaged records are collected and skipped. A file that disappears between being listed and being read
/// held only committed batches; who reads beside a live writer must look at the catalog again afterwards.
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
            // A file can repeat numbers only when somebody copied files about: the first one counts.
            if found.seq <= replay.last {
                continue;
            }
            let expected = replay.last.max(after).next();
            if replay.last > SequenceNumber::ZERO && found.seq > expected {
                let why = format!("expected record {expected}, found {}: those between are lost", found.seq);
                replay.damage.push(Damage { file: path.clone(), offset: found.payload.start, bytes: 0, why });
            }
            replay.last = found.seq;
            if found.seq > after {
                let at = found.payload.start;
                let payload = record::decompress(&bytes[found.payload])
                    .map_err(|e| e.context(format!("{} at offset {at}", path.display())))?;
                // In a copy of a store.
                if !record::is_fence(&payload) {
                    each(found.seq, payload)?;
                }
            }
        }
    }
    Ok(replay)
}

impl Replay {
    /// Whether records directly behind `after` are missing although later ones exist.
    pub fn has_gap_after(&self, after: SequenceNumber) -> bool {
        self.first.is_some_and(|first| first > after.next())
    }

    /// Bytes at the end that a crash left incomplete.
    pub fn torn_bytes(&self) -> usize {
        self.torn.as_ref().map_or(0, |torn| torn.dropped)
    }

    /// The file whose end a crash left incomplete, and what of it is good, in bytes.
    pub fn torn_file(&self) -> Option<(&Path, usize)> {
        self.torn.as_ref().map(|torn| (torn.file.as_path(), torn.keep))
    }

    /// Makes the directory ready for a writer: cuts off the torn tail, removes files without records, and
    /// makes durable what a killed process had no time to fsync, so that no later crash can take a record
    /// away from before others.
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

    /// Whether the log file `path` holds damage, and so must be set aside rather than deleted.
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
