//! What is in this file, or in this data directory?
//!
//! For people, and for programs that show it to people. The formats are read by `inspect.rs` of `wal`, `segment`,
//! `index` and `catalog`; here is which of them it is, by the first bytes and the name. What is damaged is a
//! [`Problem`] beside whatever else can be read.

use std::path::Path;
use std::sync::Arc;

use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::Serialize;

use super::storage::{LogStorage, Storage};
use crate::catalog::inspect::{CheckpointObject, CommitObject, MaskRow, RunRow, SegmentRow};
use crate::catalog::{Catalog, Deletion};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Problem, Result};
use crate::event::EventBatch;
use crate::index::inspect::IndexObject;
use crate::index::sidecar::{self, Sidecar};
use crate::index::{checksums, inspect as index_inspect};
use crate::segment::inspect::{self as segment_inspect, SegmentFile};
use crate::segment::mask;
use crate::store::DurableFileSystem;
use crate::wal::{self, inspect as wal_inspect};

/// How a zstd frame begins: a checkpoint of the first format is one.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];
/// How a Parquet file begins.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Of the log.
    Log,
    /// Events.
    Segment,
    /// Side-car of a segment.
    Index,
    /// Index of many segments.
    Run,
    /// Deleted rows of a segment.
    Mask,
    /// One change of the catalog.
    Commit,
    /// The catalog summed up.
    Checkpoint,
}

/// What is in a file.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Its path, as it was asked for.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Its size.
    pub bytes: u64,
    /// What is in it; none when nothing can be read.
    #[serde(flatten)]
    pub content: Option<Content>,
    /// What is damaged.
    pub problems: Vec<Problem>,
}

/// What is in a file, by its kind.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// See [`Kind::Log`].
    Log(LogContent),
    /// See [`Kind::Segment`].
    Segment(SegmentFile),
    /// See [`Kind::Index`] and [`Kind::Run`].
    Index(IndexObject),
    /// See [`Kind::Mask`].
    Mask(MaskContent),
    /// See [`Kind::Commit`].
    Commit(CommitObject),
    /// See [`Kind::Checkpoint`].
    Checkpoint(CheckpointObject),
}

/// A file of the log.
#[derive(Debug, Clone, Serialize)]
pub struct LogContent {
    /// Number of its first record.
    pub first: u64,
    /// Bytes that check.
    pub sound_bytes: u64,
    /// Events in all of them.
    pub rows: u64,
    /// The batches.
    pub records: Vec<RecordRow>,
}

/// A batch in the log.
#[derive(Debug, Clone, Serialize)]
pub struct RecordRow {
    /// Its number.
    pub seq: u64,
    /// Where its record begins.
    pub offset: u64,
    /// Size of its record.
    pub bytes: u64,
    /// Size of the batch, unpacked.
    pub plain_bytes: u64,
    /// Its events.
    pub rows: Option<u64>,
    /// Pairs of attribute and type in it.
    pub attributes: Option<usize>,
    /// Its oldest event.
    pub from_ns: Option<i64>,
    /// Its newest event.
    pub to_ns: Option<i64>,
    /// The message that it came in, when it came in one.
    pub delivery: Option<String>,
}

/// Deleted rows.
#[derive(Debug, Clone, Serialize)]
pub struct MaskContent {
    /// Whose they are, by the name of the file.
    pub segment: Option<String>,
    /// How many.
    pub rows: u64,
    /// The rows, where they follow each other.
    pub ranges: Vec<RowRange>,
}

/// Rows that follow each other.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RowRange {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

/// What is in the file at `path`, which need not be in a data directory.
///
/// Fails with [`ErrorKind::InvalidInput`] when it is no file of ours, or one of a newer program, with
/// [`ErrorKind::NotFound`] when it is not there.
pub async fn inspect_file(path: &Path) -> Result<Inspection> {
    let whole = path.canonicalize().map_err(|e| Error::from(e).context(path.display()))?;
    let parent = whole.parent().unwrap_or(Path::new("/"));
    let name = whole.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let store: Arc<dyn ObjectStore> = Arc::new(DurableFileSystem::new(parent)?);
    let inspection = inspect_object(&store, name).await?;
    Ok(Inspection { path: path.display().to_string(), ..inspection })
}

/// What is in the object at `path` of `store`; fails as [`inspect_file`] does.
pub async fn inspect_object(store: &Arc<dyn ObjectStore>, path: &str) -> Result<Inspection> {
    let location = ObjectPath::parse(path)
        .map_err(|e| Error::invalid(format!("{path:?} is no name of a file of ours")).with_source(e))?;
    let object = store.head(&location).await.map_err(|e| Error::from(e).context(path))?;
    let begin = store.get_range(&location, 0..object.size.min(8)).await?;
    let unknown =
        || Error::invalid(format!("{path} is no file of a data directory, by its name or its first bytes"));
    let (named, found) = (kind_of_name(path), kind_of_bytes(&begin));
    let mut inspector = Inspector { store, object, begin, problems: Vec::new() };
    let kind = match (found, named) {
        (Found::Kind(kind), named) => {
            if named.is_some_and(|named| named != kind) {
                inspector.problem("it is named like something else");
            }
            kind
        }
        (Found::IndexObject | Found::Unknown, Some(kind)) => kind,
        (Found::IndexObject, None) => inspector.kind_of_sections().await?.ok_or_else(unknown)?,
        (Found::Unknown, None) => return Err(unknown()),
    };
    let content = match inspector.content(kind).await {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            inspector.damage(&[error]);
            None
        }
        Err(error) => return Err(error),
    };
    let Inspector { object, mut problems, .. } = inspector;
    problems.dedup();
    Ok(Inspection { path: path.to_owned(), kind, bytes: object.size, content, problems })
}

fn kind_of_name(path: &str) -> Option<Kind> {
    let ends = |end: &str| path.ends_with(end);
    let by_end = [
        (".wal", Kind::Log),
        (".wal.damaged", Kind::Log),
        (".parquet", Kind::Segment),
        (".index", Kind::Index),
        (".run", Kind::Run),
        (".mask", Kind::Mask),
        (".checkpoint", Kind::Checkpoint),
        (".json.zst", Kind::Checkpoint),
        (".json", Kind::Commit),
    ];
    by_end.into_iter().find(|(end, _)| ends(end)).map(|(_, kind)| kind)
}

enum Found {
    Kind(Kind),
    /// An index, a run or a checkpoint.
    IndexObject,
    Unknown,
}

fn kind_of_bytes(begin: &[u8]) -> Found {
    let begins = |magic: &[u8]| begin.starts_with(magic);
    match () {
        () if begins(&wal::record::MAGIC) => Found::Kind(Kind::Log),
        () if begins(PARQUET_MAGIC) => Found::Kind(Kind::Segment),
        () if begins(mask::MAGIC) => Found::Kind(Kind::Mask),
        () if begins(ZSTD_MAGIC) => Found::Kind(Kind::Checkpoint),
        () if begins(b"{") => Found::Kind(Kind::Commit),
        () if begins(sidecar::MAGIC) => Found::IndexObject,
        () => Found::Unknown,
    }
}

struct Inspector<'a> {
    store: &'a Arc<dyn ObjectStore>,
    object: ObjectMeta,
    /// Its first bytes.
    begin: bytes::Bytes,
    problems: Vec<Problem>,
}

impl Inspector<'_> {
    fn problem(&mut self, what: impl std::fmt::Display) {
        self.problems.push(Problem::new(&self.object.location, what));
    }

    fn damage(&mut self, errors: &[Error]) {
        let path = &self.object.location;
        self.problems.extend(errors.iter().map(|error| Problem::unreadable(path, error)));
    }

    async fn bytes(&self) -> Result<bytes::Bytes> {
        Ok(self.store.get(&self.object.location).await?.bytes().await?)
    }

    async fn sidecar(&self) -> Result<Sidecar> {
        Sidecar::open(Arc::clone(self.store), self.object.location.as_ref(), self.object.size).await
    }

    /// What an index object without a name is.
    async fn kind_of_sections(&self) -> Result<Option<Kind>> {
        let sidecar = self.sidecar().await?;
        let kinds = [("segment", Kind::Index), ("run", Kind::Run), ("head", Kind::Checkpoint)];
        let mut kinds = kinds.into_iter().filter(|(section, _)| sidecar.length(section).is_some());
        Ok(kinds.next().map(|(_, kind)| kind))
    }

    async fn content(&mut self, kind: Kind) -> Result<Option<Content>> {
        let path = self.object.location.to_string();
        Ok(Some(match kind {
            Kind::Log => Content::Log(self.log(&path).await?),
            Kind::Segment => return Ok(self.segment(&path).await?.map(Content::Segment)),
            Kind::Index | Kind::Run => {
                let (sidecar, mut damage) = (self.sidecar().await?, Vec::new());
                let content = index_inspect::inspect(&sidecar, &mut damage).await;
                self.damage(&damage);
                Content::Index(content)
            }
            Kind::Mask => Content::Mask(self.mask(&path).await?),
            Kind::Commit => {
                let (json, mut damage) = (self.bytes().await?, Vec::new());
                let content = crate::catalog::inspect::commit(&path, &json, &mut damage);
                self.damage(&damage);
                Content::Commit(content?)
            }
            Kind::Checkpoint if self.begin.starts_with(ZSTD_MAGIC) => Content::Checkpoint(
                crate::catalog::inspect::whole_checkpoint(self.store, &self.object).await?,
            ),
            Kind::Checkpoint => {
                let (sidecar, mut damage) = (self.sidecar().await?, Vec::new());
                let read =
                    crate::catalog::inspect::checkpoint(self.store, &self.object, &sidecar, &mut damage);
                let content = read.await;
                self.damage(&damage);
                Content::Checkpoint(content?)
            }
        }))
    }

    async fn log(&mut self, path: &str) -> Result<LogContent> {
        let file = self.bytes().await?;
        let mut records = Vec::new();
        let mut undecodable = Vec::new();
        let read = wal_inspect::inspect(Path::new(path), &file, |record| {
            let decoded = record.batch.and_then(|batch| Ok((batch.len(), EventBatch::decode(batch)?)));
            let (plain_bytes, batch) = match decoded {
                Ok((plain_bytes, batch)) => (plain_bytes as u64, Some(batch)),
                Err(error) => {
                    undecodable.push(error.context(format!("batch {}", record.seq)));
                    (0, None)
                }
            };
            let time = batch.as_ref().and_then(EventBatch::time_range);
            records.push(RecordRow {
                seq: record.seq.0,
                offset: record.offset,
                bytes: record.bytes,
                plain_bytes,
                rows: batch.as_ref().map(|batch| batch.rows() as u64),
                attributes: batch.as_ref().map(|batch| batch.attributes().len()),
                from_ns: time.map(|time| time.min_ns),
                to_ns: time.map(|time| time.max_ns),
                delivery: record.message.map(|id| id.to_string()),
            });
        })?;
        self.damage(&undecodable);
        for damaged in read.damage {
            let wal_inspect::DamagedBytes { offset, bytes, why } = damaged;
            self.problem(format_args!("{bytes} bytes from offset {offset}: {why}"));
        }
        let rows = records.iter().filter_map(|record| record.rows).sum();
        Ok(LogContent { first: read.first.0, sound_bytes: read.sound_bytes, rows, records })
    }

    /// What the footer says, or the copy of it in the side-car; with the side-car's checksums compared.
    async fn segment(&mut self, path: &str) -> Result<Option<SegmentFile>> {
        let index = format!("{}.index", path.trim_end_matches(".parquet"));
        let sidecar = match self.store.head(&ObjectPath::from(index.as_str())).await {
            Ok(object) => Sidecar::open(Arc::clone(self.store), &index, object.size).await.ok(),
            Err(_) => None,
        };
        let footer = match (segment_inspect::footer(self.store, &self.object).await, &sidecar) {
            (Ok(footer), _) => Some(footer),
            (Err(error), Some(sidecar)) => {
                self.damage(&[
                    error.context("its footer cannot be read; what is said here is from its index")
                ]);
                index_inspect::footer(sidecar).await.ok().flatten()
            }
            (Err(error), None) => return Err(error),
        };
        let content = footer.as_ref().map(segment_inspect::describe);
        let Some(sidecar) = sidecar else { return Ok(content) };
        let damaged = match checksums::verify(self.store, &sidecar, path, self.object.size).await {
            Ok(damaged) => damaged.unwrap_or_default(),
            Err(error) => {
                self.damage(&[error]);
                Vec::new()
            }
        };
        for checksums::Damaged { bytes, expected, found } in damaged {
            let within = |place: std::ops::Range<u64>| place.start < bytes.end && bytes.start < place.end;
            let columns = content.iter().flat_map(|content| &content.columns);
            let columns: Vec<_> =
                columns.filter(|c| within(c.place())).map(|c| c.column.as_str()).take(8).collect();
            let what = match columns.as_slice() {
                [] => format!("checksum of bytes {} to {}", bytes.start, bytes.end),
                some => {
                    format!("checksum of bytes {} to {}, with {}", bytes.start, bytes.end, some.join(", "))
                }
            };
            let (expected, found) = (format!("{expected:08x}"), format!("{found:08x}"));
            self.problems.push(Problem::differs(path, what, expected, found));
        }
        Ok(content)
    }

    async fn mask(&self, path: &str) -> Result<MaskContent> {
        let rows = mask::parse(&self.bytes().await?)?;
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        let mut each = rows.iter();
        let ranges = std::iter::from_fn(|| each.next_range())
            .map(|range| RowRange { first: *range.start(), last: *range.end() });
        let ranges = ranges.collect();
        Ok(MaskContent { segment: name.split('.').next().map(str::to_owned), rows: rows.len(), ranges })
    }
}

/// What a data directory holds.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// The directory.
    pub data: String,
    /// Number of the newest commit.
    pub catalog_version: u64,
    /// Segments.
    pub segment_count: usize,
    /// Events in them that are not deleted.
    pub events: u64,
    /// Events in them that are deleted.
    pub deleted_events: u64,
    /// The oldest of all events in segments.
    pub from_ns: Option<i64>,
    /// The newest.
    pub to_ns: Option<i64>,
    /// Size of all segments.
    pub segments_bytes: u64,
    /// Size of their indexes.
    pub indexes_bytes: u64,
    /// Runs.
    pub run_count: usize,
    /// Size of all runs.
    pub runs_bytes: u64,
    /// The log up to here is in segments.
    pub wal_watermark: u64,
    /// Events behind it in the log.
    pub log_events: u64,
    /// Attribute keys, each with the types that it has had.
    pub attribute_keys: usize,
    /// Objects that were removed lately, and may be there for queries that began before.
    pub removed_lately: usize,
    /// Segments, newest first.
    pub segments: Vec<SegmentRow>,
    /// Indexes of many segments.
    pub runs: Vec<RunRow>,
    /// Masks.
    pub masks: Vec<MaskRow>,
    /// Deletions that were asked for.
    pub deletions: Vec<Deletion>,
    /// Files of the log.
    pub log: Vec<LogFileRow>,
    /// What is damaged, as far as it had to be read: `check` reads the rest.
    pub problems: Vec<Problem>,
}

/// A file of the log in short.
#[derive(Debug, Clone, Serialize)]
pub struct LogFileRow {
    /// Its name.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Number of its first batch.
    pub first: Option<u64>,
    /// Number of its last batch.
    pub last: Option<u64>,
    /// Events in it, in segments already or not.
    pub rows: u64,
}

/// What a database holds, by its catalog and its log. A writer may be at work.
///
/// Fails with [`ErrorKind::NotFound`] when there is no database.
pub async fn overview(settings: &Settings) -> Result<Overview> {
    let data = &settings.data;
    let missing = || Error::new(ErrorKind::NotFound, format!("there is no Broadloom database in {data}"));
    let Storage { store, log: storage, .. } = Storage::open_read_only(settings).await?.ok_or_else(missing)?;
    let checked = crate::catalog::check::check(&store).await?;
    let mut files = storage.files().await?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    if checked.objects == 0 && files.is_empty() {
        return Err(missing());
    }
    let (snapshot, mut problems) = (checked.snapshot, checked.problems);
    let (mut log, mut log_events) = (Vec::new(), 0);
    for file in files {
        let name = file.name;
        let inspected = match &storage {
            LogStorage::Files { directory, .. } => inspect_file(&directory.join(&name)).await,
            LogStorage::Objects { store, .. } => inspect_object(store, &format!("wal/{name}")).await,
        };
        match inspected {
            Ok(Inspection { bytes, content: Some(Content::Log(content)), problems: found, .. }) => {
                problems.extend(found.into_iter().map(|p| Problem { path: format!("wal/{name}"), ..p }));
                let (first, last) = (content.records.first(), content.records.last());
                let waiting = content.records.iter().filter(|record| record.seq > snapshot.wal_watermark.0);
                log_events += waiting.filter_map(|record| record.rows).sum::<u64>();
                let (first, last) = (first.map(|record| record.seq), last.map(|record| record.seq));
                log.push(LogFileRow { file: name, bytes, first, last, rows: content.rows });
            }
            Ok(Inspection { problems: found, .. }) => problems.extend(found),
            // A flush deletes files meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => problems.push(Problem::unreadable(format_args!("wal/{name}"), &error)),
        }
    }
    let segments = &snapshot.segments;
    let masks = segments.iter().filter_map(|segment| Some(MaskRow::new(segment.id, &segment.mask?)));
    Ok(Overview {
        data: data.to_string(),
        catalog_version: snapshot.version,
        segment_count: segments.len(),
        events: snapshot.rows(),
        deleted_events: snapshot.rows_stored() - snapshot.rows(),
        from_ns: segments.iter().map(|segment| segment.time.min_ns).min(),
        to_ns: segments.iter().map(|segment| segment.time.max_ns).max(),
        segments_bytes: snapshot.bytes(),
        indexes_bytes: segments.iter().filter_map(|segment| segment.index).sum(),
        run_count: snapshot.runs.len(),
        runs_bytes: snapshot.runs.runs().iter().map(|run| run.bytes).sum(),
        wal_watermark: snapshot.wal_watermark.0,
        log_events,
        attribute_keys: checked.keys,
        removed_lately: snapshot.removed.len(),
        segments: segments.iter().map(|segment| segment.as_ref().into()).collect(),
        runs: snapshot.runs.runs().iter().map(|run| run.as_ref().into()).collect(),
        masks: masks.collect(),
        deletions: snapshot.deletions.as_ref().clone(),
        log,
        problems,
    })
}

/// What is in what `what` names: a file, a path below the data that `settings` name, or the id of a segment or
/// run there.
///
/// Fails with [`ErrorKind::NotFound`] when it is none of these, else as [`inspect_file`] does.
pub async fn inspect(settings: &Settings, what: &Path) -> Result<Inspection> {
    if what.is_file() {
        return inspect_file(what).await;
    }
    if let Some(Storage { store, .. }) = Storage::open_read_only(settings).await? {
        let named = what.to_str().and_then(|what| ObjectPath::parse(what).ok());
        if let Some(path) = named
            && store.head(&path).await.is_ok()
        {
            return inspect_object(&store, path.as_ref()).await;
        }
        let id = what.to_string_lossy().replace('-', "");
        if id.len() == 32 {
            let catalog = Catalog::load(Arc::clone(&store), Arc::clone(&settings.clock)).await?.snapshot();
            let segment = catalog.segments.iter().find(|segment| segment.id.to_string() == id);
            let run = || catalog.runs.runs().iter().find(|run| run.id.to_string() == id);
            if let Some(path) = segment.map(|segment| segment.path()).or_else(|| Some(run()?.path())) {
                return inspect_object(&store, &path).await;
            }
        }
    }
    let (what, data) = (what.display(), &settings.data);
    let message =
        format!("{what} is neither a file, nor one below {data}, nor the id of a segment or run there");
    Err(Error::new(ErrorKind::NotFound, message))
}
