//! What does one log file contain?
//!
//! For people who examine a file. Unlike [`replay`](super::replay), it continues behind a payload that cannot be
//! decompressed, and accepts a file of any name, such as one set aside as damaged.

use std::path::Path;

use serde::Serialize;

use super::SequenceNumber;
use super::delivery;
use super::record::{self, RECORD_HEADER_BYTES};
use crate::error::{Error, Result};
use crate::event::EventBatch;

/// Contents of a log file.
#[derive(Debug, Clone, Serialize)]
pub struct LogContent {
    /// Number of the first record: from the file's name, or else from its header.
    pub first: u64,
    /// Bytes of the header and all valid records.
    pub sound_bytes: u64,
    /// Events in all records that can be decoded.
    pub rows: u64,
    /// Valid records, in order of offset.
    pub records: Vec<RecordRow>,
}

/// A record with its batch or fence.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RecordRow {
    /// Sequence number.
    pub seq: u64,
    /// Offset of the record in the file, in bytes.
    pub offset: u64,
    /// Size in the file, with the record header.
    pub bytes: u64,
    /// Size of the batch before compression.
    pub plain_bytes: u64,
    /// Number of events; `None` for a fence and for a batch that cannot be decoded.
    pub rows: Option<u64>,
    /// Number of distinct pairs of attribute and type.
    pub attributes: Option<usize>,
    /// Timestamp of the oldest event, in nanoseconds since the Unix epoch.
    pub from_ns: Option<i64>,
    /// Timestamp of the newest event, in nanoseconds since the Unix epoch.
    pub to_ns: Option<i64>,
    /// Id of the message that the batch came in, if the log has one.
    pub delivery: Option<String>,
    /// For a fence: the writer that took over the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<String>,
}

impl RecordRow {
    /// Fills in the fields that come from `frame`, the compressed payload.
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

/// Reads the log file `file`, named `path`, and adds its damage to `damage`. At the end of the newest file of a
/// log, damage is a torn tail.
///
/// Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) if a newer program wrote the file.
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
        Error::corrupt(format!("{bytes} damaged bytes at offset {offset}: {}", bad.why))
    }));
    let rows = records.iter().filter_map(|record| record.rows).sum();
    Ok(LogContent { first: first.0, sound_bytes: (file.len() - damaged) as u64, rows, records })
}
