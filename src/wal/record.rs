//! How is one batch laid out in a log file?
//!
//! See the [module](super) for the format. Encoding and decoding are pure: bytes in, bytes out.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::SequenceNumber;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};

/// First bytes of every log file.
pub const MAGIC: [u8; 8] = *b"BROADWAL";
/// Format version of header and records.
pub(super) const VERSION: u32 = 1;
/// Size of a file header in bytes.
pub(super) const HEADER_BYTES: usize = 24;
/// Size of a record header in bytes.
pub(super) const RECORD_HEADER_BYTES: usize = 20;
/// First bytes of every record, so that a reader finds the next record behind damage.
pub(super) const MARKER: u32 = 0x57A1_C0DE;
/// Largest payload before compression, in bytes.
pub const ENCODED_BYTES_MAX: usize = 2 << 30;
/// Largest compressed payload in bytes: far above the largest request that the server accepts (64 MiB).
pub const PAYLOAD_BYTES_MAX: usize = 512 << 20;

/// A compressed batch, ready to be logged.
#[derive(Debug, Clone)]
pub struct Payload(Bytes);

impl Payload {
    /// Compresses an encoded batch: ZSTD level 1 (about 400 MB/s a core). Fails with
    /// [`ErrorKind::TooLarge`] above [`ENCODED_BYTES_MAX`], and above [`PAYLOAD_BYTES_MAX`] compressed.
    pub fn compress(encoded: &[u8]) -> Result<Self> {
        if encoded.len() > ENCODED_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "batch of {} bytes exceeds the log's limit of {ENCODED_BYTES_MAX}: send smaller batches",
                    encoded.len()
                ),
            ));
        }
        let frame = zstd::bulk::compress(encoded, 1)
            .map_err(|e| Error::internal("could not compress a batch for the log").with_source(e))?;
        if frame.len() > PAYLOAD_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "batch of {} compressed bytes exceeds the log's limit of {PAYLOAD_BYTES_MAX}: send smaller batches",
                    frame.len()
                ),
            ));
        }
        Ok(Self(frame.into()))
    }

    /// Compressed bytes as stored, without the record header.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// First bytes of the payload of a fence.
const FENCE: &[u8; 4] = b"EVF1";

/// Payload of a fence: holds no batch, but the name of the writer that took over the log.
pub(super) fn fence(writer: &str) -> Result<Payload> {
    Payload::compress(&[FENCE.as_slice(), writer.as_bytes()].concat())
}

/// True if a decompressed payload is a fence.
pub(super) fn is_fence(payload: &[u8]) -> bool {
    payload.starts_with(FENCE)
}

/// Name of the writer that took over the log, if a decompressed payload is a fence.
pub(super) fn fence_writer(payload: &[u8]) -> Option<&str> {
    std::str::from_utf8(payload.strip_prefix(FENCE)?).ok()
}

/// Reverses [`Payload::compress`]. Fails with [`ErrorKind::Corrupt`] if `frame` is not a zstd frame or too large.
pub(super) fn decompress(frame: &[u8]) -> Result<Vec<u8>> {
    let corrupt = |e| Error::corrupt("log payload is not a zstd frame").with_source(e);
    let mut encoded = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(frame).map_err(corrupt)?;
    decoder.take(ENCODED_BYTES_MAX as u64 + 1).read_to_end(&mut encoded).map_err(corrupt)?;
    if encoded.len() > ENCODED_BYTES_MAX {
        return Err(Error::corrupt(format!(
            "log payload exceeds the limit of {ENCODED_BYTES_MAX} bytes when decompressed"
        )));
    }
    Ok(encoded)
}

/// Name of the file whose first record is `first`.
pub(super) fn file_name(first: SequenceNumber) -> String {
    format!("{:020}.wal", first.0)
}

/// First sequence number of the log file `path`, from its name; `None` if it is not named like a log file.
pub(super) fn first_of_path(path: &Path) -> Option<SequenceNumber> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_suffix(".wal")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(SequenceNumber).filter(|first| *first <= SequenceNumber::MAX)
}

/// First sequence number in the header of a log file, if the file has a header.
pub(super) fn first_of_header(file: &[u8]) -> Option<SequenceNumber> {
    let header = file.get(..HEADER_BYTES).filter(|header| header[..8] == MAGIC)?;
    Some(SequenceNumber(u64_at(header, 12)))
}

/// Lists the log files of `dir`, oldest first. A missing directory has none.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<(SequenceNumber, PathBuf)>> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::from(e).context(format!("cannot list {}", dir.display()))),
    };
    let named = entries.into_iter().filter_map(|entry| Some((first_of_path(&entry.path)?, entry.path)));
    let mut files: Vec<_> = named.collect();
    files.sort_unstable();
    Ok(files)
}

/// Encodes the header of a file that starts with record `first`.
pub(crate) fn encode_header(first: SequenceNumber) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&first.0.to_le_bytes());
    let crc = crc32c::crc32c(&header[..20]);
    header[20..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Appends one record to `out`.
pub(crate) fn encode_record(out: &mut Vec<u8>, seq: SequenceNumber, payload: &[u8]) {
    assert!(payload.len() <= PAYLOAD_BYTES_MAX, "Payload::compress checks the limit");
    let length = (payload.len() as u32).to_le_bytes();
    let seq = seq.0.to_le_bytes();
    out.extend_from_slice(&MARKER.to_le_bytes());
    out.extend_from_slice(&length);
    out.extend_from_slice(&record_crc(&length, &seq, payload).to_le_bytes());
    out.extend_from_slice(&seq);
    out.extend_from_slice(payload);
}

fn record_crc(length: &[u8], seq: &[u8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(length);
    let crc = crc32c::crc32c_append(crc, seq);
    crc32c::crc32c_append(crc, payload)
}

/// A valid record: its number and its payload's range in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) seq: SequenceNumber,
    pub(super) payload: Range<usize>,
}

/// An invalid range of a file, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) bytes: Range<usize>,
    pub(super) why: String,
}

/// Contents of one file, in order of offset.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) records: Vec<Found>,
    pub(super) bad: Vec<Bad>,
}

/// Finds every valid record of a file, whatever state its bytes are in.
///
/// After invalid bytes it looks for the next record at every following [`MARKER`], so a damaged length loses
/// one record and not the rest. An unknown version is an error ([`ErrorKind::InvalidInput`]), not damage.
pub(super) fn scan(file: &[u8], first: SequenceNumber) -> Result<Scan> {
    let mut scan = Scan::default();
    let mut at = match check_header(file, first)? {
        Ok(()) => HEADER_BYTES,
        Err(why) => {
            let end = next_record(file, file.len().min(1), first).unwrap_or(file.len());
            scan.bad.push(Bad { bytes: 0..end, why });
            end
        }
    };
    let mut next = first;
    while at < file.len() {
        match check_record(file, at, next) {
            Ok(found) => {
                at = found.payload.end;
                next = found.seq.next();
                scan.records.push(found);
            }
            Err(why) => {
                let end = next_record(file, at + 1, next).unwrap_or(file.len());
                scan.bad.push(Bad { bytes: at..end, why });
                at = end;
            }
        }
    }
    Ok(scan)
}

/// Checks the file header. The outer error is an unknown version, the inner one is damage.
fn check_header(file: &[u8], first: SequenceNumber) -> Result<Result<(), String>> {
    let Some(header) = file.get(..HEADER_BYTES) else {
        return Ok(Err(format!("expected a header of {HEADER_BYTES} bytes, found {}", file.len())));
    };
    let stored = u32_at(header, 20);
    let computed = crc32c::crc32c(&header[..20]);
    if stored != computed {
        return Ok(Err(format!("expected header crc {stored:08x}, found {computed:08x}")));
    }
    if header[..8] != MAGIC {
        return Ok(Err("expected magic BROADWAL".to_owned()));
    }
    let version = u32_at(header, 8);
    if version != VERSION {
        return Err(Error::invalid(format!(
            "log format version {version}, this program reads version {VERSION}: use the Broadloom that wrote it"
        )));
    }
    let stored = u64_at(header, 12);
    Ok(if stored == first.0 { Ok(()) } else { Err(format!("expected first record {first}, found {stored}")) })
}

/// Checks the record at offset `at`, whose number must be at least `at_least`.
fn check_record(file: &[u8], at: usize, at_least: SequenceNumber) -> Result<Found, String> {
    let rest = &file[at..];
    let Some(header) = rest.get(..RECORD_HEADER_BYTES) else {
        return Err(format!("expected a record header of {RECORD_HEADER_BYTES} bytes, found {}", rest.len()));
    };
    let marker = u32_at(header, 0);
    if marker != MARKER {
        return Err(format!("expected record marker {MARKER:08x}, found {marker:08x}"));
    }
    let length = u32_at(header, 4) as usize;
    let Some(payload) = rest.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length) else {
        let found = rest.len() - RECORD_HEADER_BYTES;
        return Err(format!("expected a payload of {length} bytes, found {found}"));
    };
    let stored = u32_at(header, 8);
    let computed = record_crc(&header[4..8], &header[12..20], payload);
    if stored != computed {
        return Err(format!("expected record crc {stored:08x}, found {computed:08x}"));
    }
    let seq = SequenceNumber(u64_at(header, 12));
    if seq > SequenceNumber::MAX {
        return Err(format!("expected a record up to {}, found {seq}", SequenceNumber::MAX));
    }
    if seq < at_least {
        return Err(format!("expected record {at_least} or later, found {seq}"));
    }
    let start = at + RECORD_HEADER_BYTES;
    Ok(Found { seq, payload: start..start + length })
}

/// Offset of the first valid record at or after `from`.
fn next_record(file: &[u8], from: usize, at_least: SequenceNumber) -> Option<usize> {
    let marker = MARKER.to_le_bytes();
    let mut at = from;
    while at + RECORD_HEADER_BYTES <= file.len() {
        at += file[at..].windows(marker.len()).position(|w| w == marker)?;
        if check_record(file, at, at_least).is_ok() {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were sliced"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were sliced"))
}
