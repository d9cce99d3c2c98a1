//! From a file to chunks of whole records, in order.
//!
//! ```text
//! file ─▶ count ─▶ decompress (by magic number) ─▶ sample ─▶ layout ─▶ chunks of whole records
//!                                                            └─ tables: batches of rows
//! ```

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::decode::Options;
use super::inputs::Input;
use crate::error::{Error, ErrorKind, Result, contained};
use crate::event::ipc::BatchReader;
use crate::ingest::framing::{self, Framing, RECORD_BYTES_MAX};
use crate::ingest::otlp::RequestKind;
use crate::ingest::sniff::{self, Layout, SAMPLE_BYTES};

/// Bytes that are decoded at once. Large enough that the cost per chunk (a batch, its keys) does not
/// count, small enough that the chunks in flight stay far below the memory of a segment.
const CHUNK_BYTES: usize = 4 << 20;

/// Before the messages of an Arrow IPC file: `ARROW1` and two bytes that fill up.
const ARROW_MAGIC_BYTES: usize = 8;

/// What the compressed buffers of a batch in an Arrow IPC file may become.
const ARROW_PLAIN_BYTES_MAX: u64 = 1 << 30;

/// Rows of a table that are decoded at once.
const TABLE_ROWS: usize = 8192;

/// A file whose layout is known.
#[derive(Debug)]
pub(super) struct Plan {
    /// Position among the inputs.
    pub(super) index: usize,
    /// What its records look like.
    pub(super) layout: Layout,
    /// The signal that its name says.
    pub(super) name_kind: Option<RequestKind>,
}

impl Plan {
    /// What positions of its records count.
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
    /// Lines, rows or bytes of the file before it, as [`Plan::unit`] counts.
    pub(super) before: u64,
    /// The same, behind it.
    pub(super) behind: u64,
}

#[derive(Debug)]
pub(super) enum Payload {
    Bytes(Vec<u8>),
    Rows(RecordBatch),
}

/// Why a file was not read.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is nothing that is known, and nobody named it.
    Skipped(String),
    /// It broke; what came before went in.
    Failed(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads one input and gives its chunks to `take`, which says whether to go on.
///
/// Bytes read from the file itself are counted in `read`.
pub(super) fn read(
    input: &Input,
    index: usize,
    options: &Options,
    read: &Arc<AtomicU64>,
    take: impl FnMut(Chunk) -> bool,
) -> Result<(), Failure> {
    let (raw, path) = open(input, read)?;
    let found = matches!(input, Input::Found(_));
    read_from(raw, path, found, index, options, take)
}

/// Reads `raw`, the bytes of the file at `path`, if they are one's; `found` says that nobody named it.
pub(super) fn read_from(
    raw: Box<dyn Read + Send>,
    path: Option<&Path>,
    found: bool,
    index: usize,
    options: &Options,
    mut take: impl FnMut(Chunk) -> bool,
) -> Result<(), Failure> {
    let mut reader = decompressed(raw).map_err(Error::from)?;
    let mut sample = Vec::new();
    reader.by_ref().take(SAMPLE_BYTES as u64).read_to_end(&mut sample).map_err(Error::from)?;
    if sample.is_empty() {
        return Ok(());
    }
    let complete = sample.len() < SAMPLE_BYTES;
    let layout = match options.format {
        Some(format) => sniff::layout_of(format, &sample, complete)?,
        None => sniff::sniff(&sample, complete)
            .map_err(|e| if found { Failure::Skipped(e.message().to_owned()) } else { Failure::Failed(e) })?,
    };
    // What was only found has to look like telemetry: directories hold manifests and lists, too.
    if found && options.format.is_none() && !sniff::says_when(&layout, &sample, &options.map) {
        return Err(Failure::Skipped(format!("{} without a time", layout.name())));
    }
    let name_kind = path.and_then(Path::file_name).and_then(|n| sniff::kind_of_name(&n.to_string_lossy()));
    let plan = Arc::new(Plan { index, layout, name_kind });
    let reader = Cursor::new(sample).chain(reader);
    match plan.layout.framing() {
        Some(framing) => framed(reader, framing, &plan, &mut take)?,
        None => rows(reader, path, &plan, &mut take)?,
    }
    Ok(())
}

/// Opens the input; its path, if it has one.
fn open<'a>(input: &'a Input, read: &Arc<AtomicU64>) -> Result<(Box<dyn Read + Send>, Option<&'a Path>)> {
    let count = Arc::clone(read);
    match input {
        Input::Stdin => Ok((Box::new(Counted { inner: std::io::stdin(), count }), None)),
        Input::Named(path) | Input::Found(path) => {
            let file = File::open(path)?;
            Ok((Box::new(Counted { inner: file, count }), Some(path)))
        }
    }
}

/// Counts what is read through it.
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

/// Undoes gzip and Zstandard, several members or frames included.
fn decompressed(mut raw: Box<dyn Read + Send>) -> std::io::Result<Box<dyn Read + Send>> {
    let mut magic = Vec::new();
    raw.by_ref().take(4).read_to_end(&mut magic)?;
    let zstd = magic == [0x28, 0xb5, 0x2f, 0xfd];
    let gzip = magic.starts_with(&[0x1f, 0x8b]);
    let whole = Cursor::new(magic).chain(raw);
    Ok(if zstd {
        Box::new(zstd::stream::read::Decoder::new(whole)?)
    } else if gzip {
        Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(128 << 10, whole)))
    } else {
        Box::new(whole)
    })
}

/// Cuts a stream into chunks of whole records.
fn framed(
    mut reader: impl Read,
    framing: Framing,
    plan: &Arc<Plan>,
    take: &mut impl FnMut(Chunk) -> bool,
) -> Result<()> {
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
            return Ok(());
        }
        let end = framing::whole(framing, &buffer).map_err(|e| at(plan, before, e))?;
        // What is left at the end of the file is a record without a line end, or a broken one.
        let end = if end == 0 && ended { buffer.len() } else { end };
        if end == 0 && buffer.len() > RECORD_BYTES_MAX {
            let message = format!("a record is larger than {RECORD_BYTES_MAX} bytes, which is the most");
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
            return Ok(());
        }
        before = behind;
    }
}

fn at(plan: &Plan, position: u64, error: Error) -> Error {
    error.context(format_args!("after {} {position}, the rest was not read", plan.unit()))
}

fn lines(bytes: &[u8]) -> u64 {
    // The sum of a byte's worth of flags at a time is what compilers make vectors of.
    bytes.chunks(255).map(|part| u64::from(part.iter().map(|b| u8::from(*b == b'\n')).sum::<u8>())).sum()
}

/// Reads a table batch by batch.
fn rows(
    reader: impl Read,
    path: Option<&Path>,
    plan: &Arc<Plan>,
    take: &mut impl FnMut(Chunk) -> bool,
) -> Result<()> {
    let invalid = |e: &dyn std::fmt::Display| Error::invalid(format!("{}: {e}", plan.layout.name()));
    match plan.layout {
        Layout::Parquet => {
            let file = seekable(reader, path)?;
            let batches = contained(|| {
                let table = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| invalid(&e))?;
                table.with_batch_size(TABLE_ROWS).build().map_err(|e| invalid(&e))
            })?;
            give_rows(batches, plan, take)
        }
        Layout::ArrowFile => {
            let mut file = BufReader::new(reader);
            file.read_exact(&mut [0; ARROW_MAGIC_BYTES])?;
            give_rows(BatchReader::new(file, ARROW_PLAIN_BYTES_MAX), plan, take)
        }
        _ => give_rows(BatchReader::new(BufReader::new(reader), ARROW_PLAIN_BYTES_MAX), plan, take),
    }
}

/// A file with the bytes of `reader`: the one they come from, or a temporary copy when that is compressed
/// or a pipe.
fn seekable(mut reader: impl Read, path: Option<&Path>) -> Result<File> {
    if let Some(path) = path {
        let mut file = File::open(path)?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic)?;
        if &magic == b"PAR1" {
            file.seek(SeekFrom::Start(0))?;
            return Ok(file);
        }
    }
    let mut copy = tempfile::tempfile()?;
    std::io::copy(&mut reader, &mut copy)?;
    copy.seek(SeekFrom::Start(0))?;
    Ok(copy)
}

fn give_rows<E: std::fmt::Display>(
    mut batches: impl Iterator<Item = Result<RecordBatch, E>>,
    plan: &Arc<Plan>,
    take: &mut impl FnMut(Chunk) -> bool,
) -> Result<()> {
    let mut before = 0;
    while let Some(batch) = contained(|| Ok(batches.next())).map_err(|e| at(plan, before, e))? {
        let batch = batch.map_err(|e| at(plan, before, Error::invalid(e.to_string())))?;
        for start in (0..batch.num_rows()).step_by(TABLE_ROWS) {
            let part = batch.slice(start, TABLE_ROWS.min(batch.num_rows() - start));
            let behind = before + part.num_rows() as u64;
            if !take(Chunk { plan: Arc::clone(plan), payload: Payload::Rows(part), before, behind }) {
                return Ok(());
            }
            before = behind;
        }
    }
    Ok(())
}
