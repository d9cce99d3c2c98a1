//! Decoders of stored data: log, segments, masks, indexes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::runtime::Runtime;

use super::ingest::stored_is_the_same;
use super::parts::parts;
use crate::config::SegmentLimits;
use crate::disk::{Disk, DiskFile, Entry};
use crate::event::{EventBatch, TimeRange};
use crate::index::blocks::BlocksWriter;
use crate::index::postings::PostingsReader;
use crate::index::run::{Run, RunInput, merge};
use crate::index::sidecar::{Sidecar, SidecarWriter};
use crate::index::{RunId, RunMeta, SegmentIndex, ValueHash, check, checksums, footers};
use crate::segment::mask::{self, NewMask};
use crate::segment::{self, Merge, NewSegment, SegmentId, SegmentMeta, Unobserved};
use crate::wal::{self, SequenceNumber, delivery, record};

/// Rows of the segment that the indexes belong to, and of its pages.
pub(super) const ROWS: u64 = 2_000;
const PAGE_ROWS: u32 = 100;

/// Makes a runtime for asynchronous calls; none of them waits.
pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime without threads can be made")
}

/// Makes a store with one object.
pub(super) async fn store_of(path: &str, object: impl Into<PutPayload>) -> Arc<dyn ObjectStore> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    store.put(&Path::from(path), object.into()).await.expect("memory takes everything");
    store
}

/// Id of a segment of the indexes and runs.
pub(super) fn segment_id(number: u8) -> SegmentId {
    format!("018bcfe5-6800-7000-8000-0000000000{number:02x}").parse().expect("it is a UUID")
}

pub(super) fn batch(bytes: &[u8]) {
    if let Ok(batch) = EventBatch::decode(bytes) {
        stored_is_the_same(&batch);
    }
}

/// Reads a log file: the bytes themselves if the first one is zero, otherwise a file of records with correct
/// checksums. Then each part is a record: increase of the sequence number, zero if not to be compressed, payload.
pub(super) fn log_file(bytes: &[u8]) {
    let file = match bytes.split_first() {
        Some((0, file)) => file.to_vec(),
        Some((_, records)) => log_of(records),
        None => return,
    };
    let disk = OneFile(file);
    let take = |_, payload: Vec<u8>| {
        let (_, encoded) = delivery::split(&payload);
        EventBatch::decode(encoded).map(|batch| stored_is_the_same(&batch))
    };
    if let Ok(replay) = wal::replay(&disk, FilePath::new(""), SequenceNumber::ZERO, take) {
        let _ = (replay.has_gap_after(SequenceNumber::ZERO), replay.torn_file(), replay.last.next());
    }
}

fn log_of(bytes: &[u8]) -> Vec<u8> {
    let mut seq = SequenceNumber::ZERO;
    let mut file = record::encode_header(seq.next()).to_vec();
    for part in parts(bytes) {
        let [more, compressed, payload @ ..] = part else { continue };
        seq =
            SequenceNumber(if *more == u8::MAX { u64::MAX } else { seq.0.saturating_add(u64::from(*more)) });
        let payload = if *compressed == 0 {
            payload.to_vec()
        } else {
            zstd::bulk::compress(payload, 1).expect("anything can be compressed")
        };
        record::encode_record(&mut file, seq, &payload);
    }
    file
}

/// A read-only disk with one log file.
#[derive(Debug)]
struct OneFile(Vec<u8>);

impl Disk for OneFile {
    fn read(&self, _: &FilePath) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }

    fn list(&self, _: &FilePath) -> io::Result<Vec<Entry>> {
        Ok(vec![Entry { path: PathBuf::from("00000000000000000001.wal"), is_directory: false }])
    }

    fn is_directory(&self, _: &FilePath) -> bool {
        true
    }

    fn create(&self, _: &FilePath) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, _: &FilePath) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn create_directory(&self, _: &FilePath) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn link(&self, _: &FilePath, _: &FilePath) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &FilePath, _: &FilePath) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _: &FilePath) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_directory(&self, _: &FilePath) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Reads a Parquet file as a segment: decodes every column, and merges it if its footer is that of a segment.
pub(super) fn segment(bytes: &[u8]) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let object = Bytes::copy_from_slice(bytes);
    let time = TimeRange { min_ns: 0, max_ns: 0 };
    let unknown = SegmentMeta {
        id: segment_id(0),
        bytes: bytes.len() as u64,
        column_bytes: 0,
        index: None,
        rows: 0,
        time,
        mask: None,
    };
    let store = runtime.block_on(store_of(&unknown.path(), object.clone()));
    let mut problems = Vec::new();
    let found = segment::check::check(&store, &unknown, &[], &mut problems, |_, _| {});
    let Some(NewSegment { meta, .. }) = found else { return };
    let store = runtime.block_on(store_of(&meta.path(), object));
    let mut merge = Merge::new(store, vec![Arc::new(meta)], SegmentLimits::default()).on_one_thread();
    let merged = merge.next(segment_id(1), &Unobserved);
    assert!(merged.is_ok() || !problems.is_empty(), "a segment without problems can be merged: {merged:?}");
}

/// Reads the bitmap of a mask.
pub(super) fn mask(bytes: &[u8]) {
    let Ok(rows) = mask::parse(&mask::seal(bytes)) else { return };
    let again = NewMask::new(&rows, 0).expect("memory can be written to");
    assert!(mask::parse(&again.object).is_ok_and(|other| other == rows), "a mask changed on the way");
}

/// Reads the side-car of a segment: the bytes with the correct checksum of the directory if the first byte is
/// zero, otherwise an object of the parts as [`sections`].
pub(super) fn index(bytes: &[u8]) {
    let object = match bytes.split_first() {
        Some((0, object)) => directory_sealed(object),
        Some((_, parts)) => {
            let mut about = segment_id(0).as_bytes().to_vec();
            about.extend_from_slice(&ROWS.to_le_bytes());
            about.extend_from_slice(&PAGE_ROWS.to_le_bytes());
            sections(parts, ("segment", about))
        }
        None => return,
    };
    let time = TimeRange { min_ns: 0, max_ns: 0 };
    let bytes = object.len() as u64;
    let meta = SegmentMeta {
        id: segment_id(0),
        bytes: 1 << 20,
        column_bytes: 0,
        index: Some(bytes),
        rows: ROWS,
        time,
        mask: None,
    };
    runtime().block_on(async {
        let store = store_of(&meta.index_path(), object).await;
        if let Ok(sidecar) = Sidecar::open(Arc::clone(&store), &meta.index_path(), bytes).await {
            sidecar.verify().await;
        }
        let Ok(Some(index)) = SegmentIndex::open(&store, &meta).await else { return };
        for column in index.lookup_columns() {
            for hash in hashes() {
                if let Ok(Some(pages)) = index.lookup(column, hash).await {
                    assert!(pages.iter().all(|page| u64::from(*page) * u64::from(PAGE_ROWS) < ROWS));
                }
            }
        }
        check::damage(&index, ROWS).await;
        let sidecar = index.sidecar();
        let _ = checksums::verify(&store, sidecar, &meta.index_path(), meta.bytes).await;
        let _ = footers::overflow(sidecar).await.map(|filter| filter.map(|filter| filter.may_have("a")));
        let Ok(Some(names)) = footers::names(sidecar).await else { return };
        if let Ok(columns) = footers::read(sidecar, &names, ROWS, names.iter()).await {
            let _ = footers::join(ROWS, columns.iter().map(|(_, column)| column));
        }
    });
}

/// Reads postings: the first part is the head, the rest is the body, whose checksums are corrected.
pub(super) fn postings(bytes: &[u8]) {
    let Some(head) = parts(bytes).first().copied() else { return };
    let mut body = bytes[2 + head.len()..].to_vec();
    let head = Bytes::copy_from_slice(head);
    seal_buckets(&head, &mut body);
    let Some(reader) = PostingsReader::open(&head) else { return };
    for hash in hashes() {
        let Some(range) = reader.range(hash) else { continue };
        let Some(bucket) = body.get(range.start as usize..range.end as usize) else { continue };
        if let Some(found) = reader.find(hash, bucket) {
            assert!(
                found.is_sorted_by(|a, b| a < b) && found.iter().all(|posting| *posting < reader.bound())
            );
        }
    }
    for bits in 0..3 {
        let mut last = None;
        for slice in 0..1 << bits {
            let Some(range) = reader.slice_range(slice, bits) else { continue };
            let Some(bytes) = body.get(range.start as usize..range.end as usize) else { continue };
            reader.visit_slice(slice, bits, bytes, |hash, postings| {
                assert!(last < Some(hash.get()), "hashes ascend");
                assert!(!postings.is_empty() && postings.is_sorted_by(|a, b| a < b));
                last = Some(hash.get());
            });
        }
    }
}

/// Reads a run of four segments, of the parts as [`sections`]. A readable run must be mergeable, and give the same
/// answers afterwards.
pub(super) fn run(bytes: &[u8]) {
    let segments: Vec<SegmentId> = (0..4).map(segment_id).collect();
    let about = segments.iter().flat_map(|id| *id.as_bytes()).collect();
    let object = sections(bytes, ("run", about));
    let id = RunId::new(0);
    let meta = Arc::new(RunMeta { id, bytes: object.len() as u64, entries: 0, segments: segments.clone() });
    runtime().block_on(async {
        let store = store_of(&meta.path(), object).await;
        let Ok(run) = Run::open(&store, &meta).await else { return };
        let run = Arc::new(run);
        let Ok(merged) = merge(RunId::new(1), &[RunInput::Run(Arc::clone(&run), segments)]).await else {
            return;
        };
        let store = store_of(&merged.meta.path(), merged.object.object).await;
        let merged = Run::open(&store, &Arc::new(merged.meta)).await.expect("what we write can be read");
        for column in run.sidecar().names().filter_map(|name| name.strip_prefix("covers:")) {
            for hash in hashes() {
                let (Ok(before), Ok(after)) =
                    (run.lookup(column, hash).await, merged.lookup(column, hash).await)
                else {
                    continue;
                };
                assert!(after.is_none() || before == after, "{column}: {before:?} became {after:?}");
            }
        }
    });
}

/// A few hashes of values that a fuzzer may find.
fn hashes() -> impl Iterator<Item = ValueHash> {
    (0..3).map(ValueHash::of_int).chain([b"" as &[u8], &[0; 16]].map(ValueHash::of_bytes))
}

/// Makes an index object of the parts of `bytes`:
///
/// ```text
/// part = 0:u8 name-length:u8 name content      a section
///      | 1:u8 name-length:u8 name content      a resident section
///      | 2:u8 name-length:u8 name content      a block of the section `columns`
/// ```
///
/// Adds the section `default` unless a part has its name. Corrects the checksums of postings.
pub(super) fn sections(bytes: &[u8], default: (&str, Vec<u8>)) -> Vec<u8> {
    let mut sections = BTreeMap::from([(default.0.to_owned(), (true, default.1))]);
    let mut blocks = BTreeMap::new();
    for part in parts(bytes) {
        let [kind, length, rest @ ..] = part else { continue };
        let (name, content) = rest.split_at(usize::from(*length).min(rest.len()));
        let name = String::from_utf8_lossy(name).into_owned();
        match kind {
            2 => drop(blocks.insert(name, content)),
            kind => drop(sections.insert(name, (*kind == 1, content.to_vec()))),
        }
    }
    let lookup = |(name, (_, head)): (&String, &(bool, Vec<u8>))| {
        Some((format!("lookup:{}", name.strip_prefix("head:")?), Bytes::copy_from_slice(head)))
    };
    let heads: Vec<_> = sections.iter().filter_map(lookup).collect();
    for (lookup, head) in heads {
        if let Some((_, body)) = sections.get_mut(&lookup) {
            seal_buckets(&head, body);
        }
    }
    let mut writer = SidecarWriter::new();
    if !blocks.is_empty() {
        sections.retain(|name, _| name != "columns" && name != "columns.names");
        let mut columns = BlocksWriter::new();
        for (name, plain) in blocks {
            columns.add(&name, plain).expect("anything can be compressed");
        }
        columns.finish("columns", &mut writer);
    }
    for (name, (resident, content)) in sections {
        if resident { writer.resident(name, content) } else { writer.section(name, content) }
    }
    Bytes::from(writer.finish()).into()
}

/// Corrects the checksum of every bucket of postings.
fn seal_buckets(head: &Bytes, body: &mut [u8]) {
    let Some(reader) = PostingsReader::open(head) else { return };
    for bucket in 0..1 << reader.bits() {
        let range = reader.slice_range(bucket, reader.bits());
        let bytes = range.and_then(|range| body.get_mut(range.start as usize..range.end as usize));
        if let Some((entries, crc)) = bytes.and_then(|bytes| bytes.split_last_chunk_mut()) {
            *crc = crc32c::crc32c(entries).to_le_bytes();
        }
    }
}

/// Corrects the checksum of the directory of an index object, if the object is long enough to have one.
fn directory_sealed(object: &[u8]) -> Vec<u8> {
    let mut object = object.to_vec();
    let Some(trailer) = object.len().checked_sub(20) else { return object };
    let length = object[trailer + 4..][..4].try_into().map_or(0, u32::from_le_bytes) as usize;
    if let Some(start) = trailer.checked_sub(length) {
        let crc = crc32c::crc32c(&object[start..trailer + 8]);
        object[trailer + 8..][..4].copy_from_slice(&crc.to_le_bytes());
    }
    object
}
