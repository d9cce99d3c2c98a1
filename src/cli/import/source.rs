//! How does a file become chunks of whole records, in order?
//!
//! ```text
//! file ─▶ count ─▶ decompress (by magic number) ─▶ UTF-8 ─▶ sample ─▶ layout ─▶ chunks of whole records
//!                                                                     └─ tables: batches of rows
//! ```
//! Records before a damaged place are not lost: the damage is reported after them.

use std::fs::File;
use std::io::{Cursor, ErrorKind as IoErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use parking_lot::Mutex;

use super::decode::Options;
use super::inputs::Input;
use super::{encoding, tables, unpack};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::framing::{self, Framing, RECORD_BYTES_MAX};
use crate::ingest::otlp::RequestKind;
use crate::ingest::sniff::{self, Layout, SAMPLE_BYTES};

/// Bytes of a chunk. Large enough that the cost per chunk (a batch, its keys) is negligible, small enough that the
/// chunks in flight take far less memory than a segment.
const CHUNK_BYTES: usize = 4 << 20;

/// Layout of one file, and what follows from it.
#[derive(Debug)]
pub(super) struct Plan {
    /// Index of the input.
    pub(super) index: usize,
    /// Format and framing of the records.
    pub(super) layout: Layout,
    /// Signal that the file's name contains.
    pub(super) name_kind: Option<RequestKind>,
}

impl Plan {
    /// Unit of record positions: byte, row or line.
    pub(super) fn unit(&self) -> &'static str {
        match self.layout {
            Layout::Otlp { .. } => "byte",
            Layout::Parquet | Layout::ArrowFile | Layout::ArrowStream => "row",
            _ => "line",
        }
    }
}

/// Whole records of one file.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) plan: Arc<Plan>,
    pub(super) payload: Payload,
    /// Position before the chunk, in units of [`Plan::unit`].
    pub(super) before: u64,
    /// Position behind the chunk, in the same units.
    pub(super) behind: u64,
}

#[derive(Debug)]
pub(super) enum Payload {
    Bytes(Vec<u8>),
    Rows(RecordBatch),
}

/// Reason why a file was not read, or not to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// A file found in a directory is not telemetry.
    Skipped(String),
    /// Reading failed; records before the failure are imported.
    Failed(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads one input and passes its chunks to `take`, until that returns false.
///
/// Adds the bytes read from the file, before decompression, to `read`.
pub(super) fn read(
    input: &Input,
    index: usize,
    options: &Options,
    read: &Arc<AtomicU64>,
    take: impl FnMut(Chunk) -> bool,
) -> Result<(), Failure> {
    read_from(open(input, read)?, input, index, options, take)
}

/// Reads `raw`, the bytes of `input`.
pub(super) fn read_from(
    raw: Box<dyn Read + Send>,
    input: &Input,
    index: usize,
    options: &Options,
    mut take: impl FnMut(Chunk) -> bool,
) -> Result<(), Failure> {
    let damage = Damage::default();
    let reader = unpack::unpacked(raw).and_then(encoding::utf8).map_err(Error::from)?;
    let mut reader = Until { inner: reader, damage: damage.clone() };
    let mut sample = Vec::new();
    reader.by_ref().take(SAMPLE_BYTES as u64).read_to_end(&mut sample).map_err(Error::from)?;
    if sample.is_empty() {
        return damage.result().map_err(Failure::from);
    }
    let complete = sample.len() < SAMPLE_BYTES && !damage.cuts();
    let layout = match options.format {
        Some(format) => sniff::layout_of(format, &sample, complete),
        None => sniff::sniff(&sample, complete),
    };
    // A file found in a directory may be anything.
    let may_be_skipped = matches!(input, Input::Found(_)) && options.format.is_none();
    let layout = layout.map_err(|e| {
        // If the file is damaged, report that instead.
        let e = damage.result().err().unwrap_or(e);
        if may_be_skipped { Failure::Skipped(e.message().to_owned()) } else { Failure::Failed(e) }
    })?;
    // Such a file must have a time: directories contain manifests and lists, too.
    if may_be_skipped && !sniff::says_when(&layout, &sample, &options.map) {
        return Err(Failure::Skipped(format!("{} without a time", layout.name())));
    }
    let path = input.path();
    let name_kind = path.and_then(Path::file_name).and_then(|n| sniff::kind_of_name(&n.to_string_lossy()));
    let plan = Arc::new(Plan { index, layout, name_kind });
    let reader = Cursor::new(sample).chain(reader);
    let position = match plan.layout.framing() {
        Some(framing) => framed(reader, framing, &damage, &plan, &mut take)?,
        None => {
            tables::rows(reader, path, &plan, &mut take).map_err(|e| damage.result().err().unwrap_or(e))?
        }
    };
    Ok(damage.result().map_err(|e| at(&plan, position, e))?)
}

/// Error that ended the reading of a file early, if there was one.
#[derive(Debug, Clone, Default)]
struct Damage(Arc<Mutex<Option<std::io::Error>>>);

impl Damage {
    /// True if the text is cut off before its end.
    fn cuts(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|e| !unpack::is_behind_the_end(e))
    }

    /// The damage as an error.
    fn result(&self) -> Result<()> {
        match &*self.0.lock() {
            Some(e) => Err(Error::from(std::io::Error::new(e.kind(), e.to_string()))),
            None => Ok(()),
        }
    }
}

/// Reader that ends at the first error and records it in `damage`.
struct Until {
    inner: Box<dyn Read + Send>,
    damage: Damage,
}

impl Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut damage = self.damage.0.lock();
        if damage.is_some() {
            return Ok(0);
        }
        match self.inner.read(buffer) {
            Err(e) if e.kind() != IoErrorKind::Interrupted => {
                *damage = Some(e);
                Ok(0)
            }
            read => read,
        }
    }
}

/// Opens the input; the bytes read from it are added to `read`.
fn open(input: &Input, read: &Arc<AtomicU64>) -> Result<Box<dyn Read + Send>> {
    let count = Arc::clone(read);
    Ok(match input.path() {
        None => Box::new(Counted { inner: std::io::stdin(), count }),
        Some(path) => Box::new(Counted { inner: File::open(path)?, count }),
    })
}

/// Reader that adds the bytes read to `count`.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Splits a stream into chunks of whole records; returns the position behind the last.
fn framed(
    mut reader: impl Read,
    framing: Framing,
    damage: &Damage,
    plan: &Arc<Plan>,
    take: &mut impl FnMut(Chunk) -> bool,
) -> Result<u64> {
    let header = if let Layout::Csv(layout) = &plan.layout { layout.header_bytes } else { 0 };
    let mut buffer = vec![0; header];
    reader.read_exact(&mut buffer)?;
    let counts_lines = plan.unit() == "line";
    let size = |bytes: &[u8]| if counts_lines { lines(bytes) } else { bytes.len() as u64 };
    let mut before = size(&buffer);
    buffer.clear();
    let mut wanted = CHUNK_BYTES;
    loop {
        let missing = wanted.saturating_sub(buffer.len()) as u64;
        reader.by_ref().take(missing).read_to_end(&mut buffer).map_err(|e| at(plan, before, e.into()))?;
        let ended = buffer.len() < wanted;
        if buffer.is_empty() {
            return Ok(before);
        }
        let end = framing::whole(framing, &buffer).map_err(|e| at(plan, before, e))?;
        // The rest before the damage may be half a record that looks like a whole one.
        if end == 0 && ended && damage.cuts() {
            return Ok(before);
        }
        // The rest at the end of the file is a record without a line end, or a broken one.
        let end = if end == 0 && ended { buffer.len() } else { end };
        if end == 0 && buffer.len() > RECORD_BYTES_MAX {
            let message = format!("a record is larger than the limit of {RECORD_BYTES_MAX} bytes");
            return Err(at(plan, before, Error::new(ErrorKind::InvalidInput, message)));
        }
        if end == 0 {
            wanted *= 2;
            continue;
        }
        wanted = CHUNK_BYTES;
        let rest = buffer.split_off(end);
        let bytes = std::mem::replace(&mut buffer, rest);
        let behind = before + size(&bytes);
        if !take(Chunk { plan: Arc::clone(plan), payload: Payload::Bytes(bytes), before, behind }) {
            return Ok(behind);
        }
        before = behind;
    }
}

/// Adds to `error` how far the file was read.
pub(super) fn at(plan: &Plan, position: u64, error: Error) -> Error {
    error.context(format_args!("after {} {position}, the rest was not read", plan.unit()))
}

fn lines(bytes: &[u8]) -> u64 {
    // Compilers vectorize a sum of at most 255 flags, which fits into a byte.
    bytes.chunks(255).map(|part| u64::from(part.iter().map(|b| u8::from(*b == b'\n')).sum::<u8>())).sum()
}
