//! What is in one file of the log?
//!
//! For people who look into a file: unlike [`replay`](super::replay) it goes on where a record's payload cannot
//! be unpacked, and takes a file of any name, such as one that was set aside as damaged.

use std::path::Path;

use serde::Serialize;

use super::SequenceNumber;
use super::delivery;
use super::record::{self, RECORD_HEADER_BYTES};
use crate::error::{Error, Result};
use crate::event::EventBatch;

/// A file of the log.
#[derive(Debug, Clone, Serialize)]
pub struct LogContent {
    /// Number of its first record, by its name, or else by its header.
    pub first: u64,
    /// Bytes that its header and its records have together.
    pub sound_bytes: u64,
    /// Events in all of them.
    pub rows: u64,
    /// The records.
    pub records: Vec<RecordRow>,
}

/// A record, which holds a batch.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RecordRow {
    /// Its number.
    pub seq: u64,
    /// Where it begins.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
    /// Size of the batch, unpacked.
    pub plain_bytes: u64,
    /// Its events; none when it cannot be decoded, or is a fence.
    pub rows: Option<u64>,
    /// Pairs of attribute and type in it.
    pub attributes: Option<usize>,
    /// Its oldest event.
    pub from_ns: Option<i64>,
    /// Its newest event.
    pub to_ns: Option<i64>,
    /// The message that it came in, when it came in one.
    pub delivery: Option<String>,
    /// Of a fence: the writer that has taken the log over with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<String>,
}

impl RecordRow {
    /// Notes what is in the payload, packed.
    fn read(&mut self, frame: &[u8]) -> Result<()> {
        let payload = record::decompress(frame)?;
        if let Some(writer) = record::fence_writer(&payload) {
            self.fence = Some(writer.to_owned());
            return Ok(());
        }
        let (message, bytes) = delivery::split(&payload);
        self.delivery = message.map(|id| id.to_string());
        let batch = EventBatch::decode(bytes)?;
        let time = batch.time_range();
        self.plain_bytes = bytes.len() as u64;
        self.rows = Some(batch.rows() as u64);
        self.attributes = Some(batch.attributes().len());
        self.from_ns = time.map(|time| time.min_ns);
        self.to_ns = time.map(|time| time.max_ns);
        Ok(())
    }
}

/// Reads the file `file`, whose name is that of `path`; what is damaged goes to `damage`. At the end of the newest
/// file of a log that is what a crash has left.
///
/// Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) when a newer program wrote it.
pub fn inspect(path: &Path, file: &[u8], damage: &mut Vec<Error>) -> Result<LogContent> {
    let first = record::first_of_path(path).or_else(|| record::first_of_path(&path.with_extension("")));
    let first = first.or_else(|| record::first_of_header(file)).unwrap_or(SequenceNumber::ZERO);
    let scan = record::scan(file, first)?;
    let mut records = Vec::with_capacity(scan.records.len());
    for found in scan.records {
        let offset = found.payload.start - RECORD_HEADER_BYTES;
        let bytes = (found.payload.end - offset) as u64;
        let mut row = RecordRow { seq: found.seq.0, offset: offset as u64, bytes, ..RecordRow::default() };
        let read = row.read(&file[found.payload]);
        damage.extend(read.err().map(|error| error.context(format_args!("batch {}", found.seq))));
        records.push(row);
    }
    let damaged: usize = scan.bad.iter().map(|bad| bad.bytes.len()).sum();
    damage.extend(scan.bad.iter().map(|bad| {
        let (bytes, offset) = (bad.bytes.len(), bad.bytes.start);
        Error::corrupt(format!("{bytes} bytes from offset {offset}: {}", bad.why))
    }));
    let rows = records.iter().filter_map(|record| record.rows).sum();
    Ok(LogContent { first: first.0, sound_bytes: (file.len() - damaged) as u64, rows, records })
}
