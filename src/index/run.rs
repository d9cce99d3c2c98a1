//! Which of many segments have a value?
//!
//! A run merges the postings of many segments: it maps the hash of a value to the segments that have it. Runs
//! are merged in turn, like the levels of an LSM tree, so a few of them cover all segments.
//!
//! ```text
//! runs/{id}.run = side-car with these sections
//!   run             resident   id of each segment: 16 bytes; its position here is its number
//!   covers:{column} resident   numbers of the segments whose values of the column are all in the postings:
//!                              (number - previous number - 1):varint*; -1 is before the first
//!   head:{column}   resident   postings of segment numbers: head
//!   lookup:{column}            postings of segment numbers: body
//! ```
//!
//! A run never becomes wrong: queries ignore segments that no longer exist, and look into the indexes of
//! segments that a run does not cover.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cursor::{Cursor, put_varint};
use super::hash::ValueHash;
use super::postings::{PostingsReader, PostingsWriter};
use super::segment_index::{self, BuiltIndex, SegmentIndex, put_lookup};
use super::sidecar::{Sidecar, SidecarWriter};
use crate::error::{Error, Result};
use crate::segment::SegmentId;

const RUN: &str = "run";
const COVERS: &str = "covers:";
/// Most segments of a run: a segment's number has 16 bits.
pub const RUN_SEGMENTS_MAX: usize = 1 << 16;
/// Most columns of a run: those that cover the most segments. For others, queries look into each segment's index.
const COLUMNS_MAX: usize = 64;
/// Bytes of a column's postings that a merge reads at once.
pub(super) const SLICE_BYTES: u64 = 4 << 20;

/// Identifies a run; ids sort by time of creation (UUIDv7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId(Uuid);

impl RunId {
    /// Makes a new id with the time `now_ns`.
    pub fn new(now_ns: i64) -> Self {
        let ms = u64::try_from(now_ns / 1_000_000).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(ms, &rand::random()).into_uuid())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for RunId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        s.parse()
            .map(Self)
            .map_err(|e| Error::invalid(format!("'{s}' is not a run id (a UUID)")).with_source(e))
    }
}

/// The catalog's entry for a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunMeta {
    /// Id of the run.
    pub id: RunId,
    /// Size of the object in bytes.
    pub bytes: u64,
    /// Number of hashes, of all columns.
    pub entries: u64,
    /// Its segments; a segment's position is its number in the run.
    pub segments: Vec<SegmentId>,
}

impl RunMeta {
    /// Path of the object.
    pub fn path(&self) -> String {
        format!("runs/{}.run", self.id)
    }
}

/// An open run.
#[derive(Debug)]
pub struct Run {
    meta: Arc<RunMeta>,
    sidecar: Sidecar,
    lookups: BTreeMap<Box<str>, PostingsReader>,
    /// Per column, by segment number: true if all values of the segment are in the postings.
    covers: BTreeMap<Box<str>, Vec<bool>>,
    reported: AtomicBool,
}

impl Run {
    /// Opens a run with one read.
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if the object is damaged or covers other segments, and
    /// with [`NotFound`](crate::ErrorKind::NotFound) if it is gone. Queries open runs through
    /// [`IndexCache`](super::IndexCache), which continues without the run in these cases.
    pub async fn open(store: &Arc<dyn ObjectStore>, meta: &Arc<RunMeta>) -> Result<Self> {
        let sidecar = Sidecar::open(Arc::clone(store), &meta.path(), meta.bytes).await?;
        if segments(&sidecar)?.as_ref() != Some(&meta.segments) {
            return Err(sidecar.corrupt(RUN, "it covers other segments than its entry in the catalog"));
        }
        let lookups = segment_index::lookups(&sidecar)?;
        let mut covers = BTreeMap::new();
        for (column, reader) in &lookups {
            covers.insert(column.clone(), covered(&sidecar, column, reader, meta.segments.len())?);
        }
        Ok(Self { meta: Arc::clone(meta), sidecar, lookups, covers, reported: AtomicBool::new(false) })
    }

    /// Container with all sections.
    pub fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }

    /// Heads of the postings, by column.
    pub(super) fn lookups(&self) -> &BTreeMap<Box<str>, PostingsReader> {
        &self.lookups
    }

    /// The catalog's entry for it.
    pub fn meta(&self) -> &Arc<RunMeta> {
        &self.meta
    }

    /// True if the postings of `column` have every value that it has in the segment with this number.
    pub fn covers(&self, column: &str, segment: u32) -> bool {
        self.covers.get(column).is_some_and(|covers| covers.get(segment as usize) == Some(&true))
    }

    /// Returns the numbers, ascending, of the segments in which `column` has a value with this hash; `None` if
    /// the run lacks the column. One read of 2 kB.
    pub async fn lookup(&self, column: &str, hash: ValueHash) -> Result<Option<Vec<u32>>> {
        let Some(reader) = self.lookups.get(column) else { return Ok(None) };
        segment_index::lookup(&self.sidecar, column, reader, hash).await.map(Some)
    }

    /// Like [`lookup`](Self::lookup), for queries: if the run cannot be read, logs that once and returns `None`.
    pub(super) async fn numbers(&self, column: &str, hash: ValueHash) -> Option<Vec<u32>> {
        match self.lookup(column, hash).await {
            Ok(numbers) => numbers,
            Err(error) => {
                if !self.reported.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "an index of many segments cannot be read; the index of each segment is read instead");
                }
                None
            }
        }
    }

    /// Memory use in bytes.
    pub fn memory_bytes(&self) -> usize {
        let covers: usize = self.covers.values().map(Vec::len).sum();
        self.sidecar.memory_bytes() + segment_index::memory_bytes(&self.lookups) + covers
    }
}

/// Reads the segments of a run, in order of their numbers; `None` if the object is not a run.
pub(super) fn segments(sidecar: &Sidecar) -> Result<Option<Vec<SegmentId>>> {
    let Some(bytes) = sidecar.resident(RUN)? else { return Ok(None) };
    let (ids, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(sidecar.corrupt(RUN, "it ends in the middle of a segment id"));
    }
    Ok(Some(ids.iter().copied().map(SegmentId::from_bytes).collect()))
}

/// Reads which of the `segments` segments the postings of `column` cover.
pub(super) fn covered(
    sidecar: &Sidecar,
    column: &str,
    reader: &PostingsReader,
    segments: usize,
) -> Result<Vec<bool>> {
    let section = format!("{COVERS}{column}");
    let bytes = sidecar.resident(&section)?.unwrap_or_default();
    let covered = read_covers(&bytes, segments).filter(|_| reader.bound() as usize <= segments);
    covered.ok_or_else(|| sidecar.corrupt(&section, "it has numbers beyond the run's segments"))
}

fn read_covers(bytes: &[u8], segments: usize) -> Option<Vec<bool>> {
    let mut covers = vec![false; segments];
    let mut cursor = Cursor::new(bytes);
    let mut next = 0_usize;
    while !cursor.is_empty() {
        let number = next.checked_add(usize::try_from(cursor.varint()?).ok()?)?;
        *covers.get_mut(number)? = true;
        next = number + 1;
    }
    Some(covers)
}

fn write_covers(numbers: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = 0;
    for number in numbers {
        put_varint(&mut bytes, u64::from(number - next));
        next = number + 1;
    }
    bytes
}

/// Input of a merge into a run.
#[derive(Debug, Clone)]
pub enum RunInput {
    /// A segment with its index. A segment with an unreadable index is listed in the run without being covered,
    /// so that merging it is not retried forever.
    Segment(SegmentId, Option<Arc<SegmentIndex>>),
    /// A run, of which only these segments are used.
    Run(Arc<Run>, Vec<SegmentId>),
}

/// A run that is not stored yet.
#[derive(Debug)]
pub struct BuiltRun {
    /// The catalog's entry for it.
    pub meta: RunMeta,
    /// Bytes to store.
    pub object: BuiltIndex,
}

/// Merges `inputs` into one run. Needs memory for the result and a few megabytes of the inputs.
///
/// Fails with [`TooLarge`](crate::ErrorKind::TooLarge) beyond [`RUN_SEGMENTS_MAX`] segments, and with
/// the errors of reading the inputs.
pub async fn merge(id: RunId, inputs: &[RunInput]) -> Result<BuiltRun> {
    let mut segments = Vec::new();
    let sources: Vec<Source<'_>> = inputs.iter().map(|input| Source::new(input, &mut segments)).collect();
    if segments.len() > RUN_SEGMENTS_MAX {
        let message =
            format!("cannot merge {} segments into one run: at most {RUN_SEGMENTS_MAX} fit", segments.len());
        return Err(Error::new(crate::ErrorKind::TooLarge, message));
    }
    let mut writer = SidecarWriter::new();
    let mut entries = 0;
    for (column, covered) in columns(&sources) {
        let postings = merge_column(&column, &sources, segments.len() as u32).await?;
        entries += postings.entries();
        writer.resident(format!("{COVERS}{column}"), write_covers(&covered));
        put_lookup(&mut writer, &column, postings.finish());
    }
    writer.resident(RUN, segments.iter().flat_map(|id| *id.as_bytes()).collect::<Vec<u8>>());
    let object = BuiltIndex { object: writer.finish() };
    Ok(BuiltRun { meta: RunMeta { id, bytes: object.bytes(), entries, segments }, object })
}

/// Columns of the result, with the segments that it covers for each: the columns that cover the most segments.
fn columns(sources: &[Source<'_>]) -> Vec<(Box<str>, Vec<u32>)> {
    let mut covered: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for source in sources {
        for column in source.lookups.into_iter().flat_map(|lookups| lookups.keys()) {
            covered.entry(column).or_default().extend(source.covered(column));
        }
    }
    let mut columns: Vec<_> = covered.into_iter().map(|(column, covered)| (column.into(), covered)).collect();
    // A stable sort: ties stay in order of name.
    columns.sort_by_key(|(_, covered): &(Box<str>, Vec<u32>)| std::cmp::Reverse(covered.len()));
    columns.truncate(COLUMNS_MAX);
    columns
}

/// An input, and the new numbers for its postings.
struct Source<'a> {
    sidecar: Option<&'a Sidecar>,
    lookups: Option<&'a BTreeMap<Box<str>, PostingsReader>>,
    numbers: Numbers<'a>,
}

enum Numbers<'a> {
    /// Postings are pages of a segment; all become this number.
    One(u32),
    /// Postings are numbers in an old run; per old number, the new one.
    Old(&'a Run, Vec<Option<u32>>),
}

impl<'a> Source<'a> {
    /// Opens an input, and appends its segments to those of the result.
    fn new(input: &'a RunInput, segments: &mut Vec<SegmentId>) -> Self {
        match input {
            RunInput::Segment(id, index) => {
                segments.push(*id);
                let numbers = Numbers::One(segments.len() as u32 - 1);
                let index = index.as_deref();
                Self {
                    sidecar: index.map(SegmentIndex::sidecar),
                    lookups: index.map(SegmentIndex::lookups),
                    numbers,
                }
            }
            RunInput::Run(run, taken) => {
                let first = segments.len() as u32;
                let new: HashMap<&SegmentId, u32> = taken.iter().zip(first..).collect();
                let numbers = run.meta.segments.iter().map(|id| new.get(id).copied()).collect();
                segments.extend(taken);
                let numbers = Numbers::Old(run, numbers);
                Self { sidecar: Some(&run.sidecar), lookups: Some(&run.lookups), numbers }
            }
        }
    }

    /// New numbers of the segments that the input covers, ascending.
    fn covered(&self, column: &str) -> Vec<u32> {
        match &self.numbers {
            Numbers::One(number) => vec![*number],
            Numbers::Old(run, numbers) => {
                let old = numbers.iter().zip(0..).filter(|(_, old)| run.covers(column, *old));
                let mut new: Vec<u32> = old.filter_map(|(new, _)| *new).collect();
                new.sort_unstable();
                new
            }
        }
    }

    /// Appends the entries of a slice to `places`: hash and new number, as one number that sorts by hash first.
    async fn read_slice(
        &self,
        column: &str,
        slice: usize,
        slice_bits: u32,
        places: &mut Vec<u64>,
    ) -> Result<()> {
        let (Some(sidecar), Some(reader)) = (self.sidecar, self.lookups.and_then(|l| l.get(column))) else {
            return Ok(());
        };
        let section = segment_index::lookup_section(column);
        let damaged = || sidecar.corrupt(&section, "its postings are damaged");
        let range = reader.slice_range(slice, slice_bits).ok_or_else(damaged)?;
        let bytes = sidecar.read_range(&section, range).await?;
        let mut put = |hash: ValueHash, number: u32| places.push(hash.get() << 16 | u64::from(number));
        let visited = reader.visit_slice(slice, slice_bits, &bytes, |hash, postings| match &self.numbers {
            Numbers::One(number) => put(hash, *number),
            Numbers::Old(_, numbers) => {
                let new = postings.iter().filter_map(|old| *numbers.get(*old as usize)?);
                new.for_each(|number| put(hash, number));
            }
        });
        visited.ok_or_else(damaged)
    }
}

async fn merge_column(column: &str, sources: &[Source<'_>], segments: u32) -> Result<PostingsWriter> {
    let readers = sources.iter().filter_map(|source| source.lookups?.get(column));
    let entries: u64 = readers.map(PostingsReader::entries).sum();
    let lengths = sources.iter().filter_map(|s| s.sidecar?.length(&segment_index::lookup_section(column)));
    let slices = lengths.sum::<u64>().div_ceil(SLICE_BYTES).next_power_of_two();
    let slice_bits = slices.ilog2();
    let mut writer = PostingsWriter::new(usize::try_from(entries).unwrap_or(usize::MAX), segments);
    let mut places: Vec<u64> = Vec::new();
    let mut numbers: Vec<u32> = Vec::new();
    for slice in 0..1_usize << slice_bits {
        places.clear();
        for source in sources {
            source.read_slice(column, slice, slice_bits, &mut places).await?;
        }
        places.sort_unstable();
        places.dedup();
        for of_hash in places.chunk_by(|a, b| a >> 16 == b >> 16) {
            numbers.clear();
            numbers.extend(of_hash.iter().map(|place| (place & 0xFFFF) as u32));
            writer.push(ValueHash::from_bits(of_hash[0] >> 16), &numbers);
        }
        // A slice is tens of milliseconds of work.
        tokio::task::yield_now().await;
    }
    Ok(writer)
}
