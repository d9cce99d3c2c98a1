//! What is in one file of the log?
//!
//! For people who look into a file: unlike [`replay`](super::replay) it goes on where a record's payload cannot
//! be unpacked, and takes a file of any name, such as one that was set aside as damaged.

use std::path::Path;

use super::SequenceNumber;
use super::delivery::{self, DeliveryId};
use super::record::{self, RECORD_HEADER_BYTES};
use crate::error::Result;

/// One file of the log.
#[derive(Debug, Clone)]
pub struct LogFile {
    /// Number of its first record, by its name, or else by its header.
    pub first: SequenceNumber,
    /// Number of bytes that its records and its header have together.
    pub sound_bytes: u64,
    /// What does not check, in order of offset. At the end of the newest file of a log it is what a crash left.
    pub damage: Vec<DamagedBytes>,
}

/// A part of a file that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedBytes {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What was expected, and what was found.
    pub why: String,
}

/// A record that checks.
#[derive(Debug)]
pub struct LogRecord<'a> {
    /// Its number.
    pub seq: SequenceNumber,
    /// Where it begins.
    pub offset: u64,
    /// Its size in the file.
    pub bytes: u64,
    /// The message that it came in, if that is known.
    pub message: Option<DeliveryId>,
    /// The encoded batch, unpacked.
    pub batch: Result<&'a [u8]>,
}

/// Reads the file `file`, whose name is that of `path`, and calls `each` with its records, in order.
///
/// Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) when a newer program wrote it.
pub fn inspect(path: &Path, file: &[u8], mut each: impl FnMut(LogRecord<'_>)) -> Result<LogFile> {
    let first = record::first_of_path(path).or_else(|| record::first_of_path(&path.with_extension("")));
    let first = first.or_else(|| record::first_of_header(file)).unwrap_or(SequenceNumber::ZERO);
    let scan = record::scan(file, first)?;
    for found in &scan.records {
        let offset = found.payload.start - RECORD_HEADER_BYTES;
        let payload = record::decompress(&file[found.payload.clone()]);
        let (message, batch) = match &payload {
            Ok(payload) => {
                let (message, batch) = delivery::split(payload);
                (message, Ok(batch))
            }
            Err(error) => (None, Err(crate::Error::corrupt(error.chain()))),
        };
        let bytes = (found.payload.end - offset) as u64;
        each(LogRecord { seq: found.seq, offset: offset as u64, bytes, message, batch });
    }
    let damaged: usize = scan.bad.iter().map(|bad| bad.bytes.len()).sum();
    let damage = scan.bad.into_iter().map(|bad| DamagedBytes {
        offset: bad.bytes.start as u64,
        bytes: bad.bytes.len() as u64,
        why: bad.why,
    });
    Ok(LogFile { first, sound_bytes: (file.len() - damaged) as u64, damage: damage.collect() })
}
