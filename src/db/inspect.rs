//! What is in this file?
//!
//! For people, and for programs that show it to people. This module finds the kind of a file by its first bytes and
//! its name. The `inspect.rs` of `wal`, `segment`, `index` and `catalog` read the formats, all in the same way: they
//! return a `…Content` of plain fields and rows, and add each damage to a list as a [`Problem`]; everything else that
//! can be read is returned. [`overview`](super::overview) shows the whole directory.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::Serialize;

use super::storage::Storage;
use crate::catalog::Catalog;
use crate::catalog::inspect::{self as catalog_inspect, CheckpointContent, CommitContent};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Problem, Result};
use crate::index::checksums;
use crate::index::inspect::{self as index_inspect, IndexContent};
use crate::index::sidecar::{self, Sidecar};
use crate::segment::inspect::{self as segment_inspect, MaskContent, SegmentContent};
use crate::segment::mask;
use crate::store::DurableFileSystem;
use crate::wal::inspect::{self as wal_inspect, LogContent};
use crate::wal::record;

/// First bytes of a zstd frame: a checkpoint of the first format is one.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];
/// First bytes of a Parquet file.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// Kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// File of the log.
    Log,
    /// Parquet file of events.
    Segment,
    /// Side-car of a segment.
    Index,
    /// Index of many segments.
    Run,
    /// Deleted rows of a segment.
    Mask,
    /// Single change of the catalog.
    Commit,
    /// State of the catalog after many commits.
    Checkpoint,
}

/// Content and damage of one file.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Path, as it was requested.
    pub path: String,
    /// Kind of the file.
    pub kind: Kind,
    /// Size of the file.
    pub bytes: u64,
    /// Content; none when nothing can be read.
    #[serde(flatten)]
    pub content: Option<Content>,
    /// Damaged parts.
    pub problems: Vec<Problem>,
}

/// Content of a file, by its kind.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// See [`Kind::Log`].
    Log(LogContent),
    /// See [`Kind::Segment`].
    Segment(SegmentContent),
    /// See [`Kind::Index`] and [`Kind::Run`].
    Index(IndexContent),
    /// See [`Kind::Mask`].
    Mask(MaskContent),
    /// See [`Kind::Commit`].
    Commit(CommitContent),
    /// See [`Kind::Checkpoint`].
    Checkpoint(CheckpointContent),
}

/// Reads the file at `path`, which need not be in a data directory.
///
/// Fails with [`ErrorKind::InvalidInput`] when it is not a Broadloom file, or was written by a newer program, and
/// with [`ErrorKind::NotFound`] when it does not exist.
pub async fn inspect_file(path: &Path) -> Result<Inspection> {
    let whole = path.canonicalize().map_err(|e| Error::from(e).context(path.display()))?;
    let parent = whole.parent().unwrap_or(Path::new("/"));
    let name = whole.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let store: Arc<dyn ObjectStore> = Arc::new(DurableFileSystem::new(parent)?);
    let inspection = inspect_object(&store, name).await?;
    Ok(Inspection { path: path.display().to_string(), ..inspection })
}

/// Reads the file that `what` names: a path, a path below the data in `settings`, or the id of a segment or run
/// there.
///
/// Fails with [`ErrorKind::NotFound`] when it is none of these, else as [`inspect_file`] does.
pub async fn inspect(settings: &Settings, what: &Path) -> Result<Inspection> {
    if what.is_file() {
        return inspect_file(what).await;
    }
    if let Some(Storage { store, .. }) = Storage::open_read_only(settings).await? {
        let named = what.to_str().and_then(|what| ObjectPath::parse(what).ok());
        if let Some(path) = named {
            match store.head(&path).await {
                Ok(_) => return inspect_object(&store, path.as_ref()).await,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(Error::from(error).context(path)),
            }
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
        format!("{what} is neither a file, nor a path below {data}, nor the id of a segment or run there");
    Err(Error::new(ErrorKind::NotFound, message))
}

/// Reads the object at `path` of `store`; fails as [`inspect_file`] does.
pub async fn inspect_object(store: &Arc<dyn ObjectStore>, path: &str) -> Result<Inspection> {
    let location = ObjectPath::parse(path)
        .map_err(|e| Error::invalid(format!("{path:?} is not a valid object path")).with_source(e))?;
    let found = store.head(&location).await.map_err(|e| Error::from(e).context(path))?;
    // A store with a prefix returns the whole name.
    let object = ObjectMeta { location: location.clone(), ..found };
    // Stores refuse empty ranges.
    let begin = match object.size.min(8) {
        0 => Bytes::new(),
        bytes => store.get_range(&location, 0..bytes).await?,
    };
    let unknown = || {
        Error::invalid(format!(
            "{path} is not a Broadloom file: its name and first bytes match no known kind"
        ))
    };
    let (named, found) = (kind_of_name(path), kind_of_bytes(&begin));
    let mut inspector = Inspector { store, object, begin, problems: Vec::new() };
    let kind = match (found, named) {
        (Found::Kind(kind), named) => {
            if named.is_some_and(|named| named != kind) {
                inspector.problem("its name belongs to another kind of file");
            }
            kind
        }
        (Found::IndexObject | Found::Unknown, Some(kind)) => kind,
        (Found::IndexObject, None) => inspector.kind_of_sections().await?.ok_or_else(unknown)?,
        (Found::Unknown, None) => return Err(unknown()),
    };
    let mut damage = Vec::new();
    let content = inspector.content(kind, &mut damage).await;
    inspector.damage(&damage);
    let content = match content {
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
    /// Container of an index, a run or a checkpoint; its sections tell which.
    IndexObject,
    Unknown,
}

fn kind_of_bytes(begin: &[u8]) -> Found {
    let begins = |magic: &[u8]| begin.starts_with(magic);
    match () {
        () if begins(&record::MAGIC) => Found::Kind(Kind::Log),
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
    /// First bytes of the object, 8 at most.
    begin: Bytes,
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

    async fn bytes(&self) -> Result<Bytes> {
        Ok(self.store.get(&self.object.location).await?.bytes().await?)
    }

    async fn sidecar(&self) -> Result<Sidecar> {
        Sidecar::open(Arc::clone(self.store), self.object.location.as_ref(), self.object.size).await
    }

    /// Finds the kind of an index object by its sections, when its name does not tell.
    async fn kind_of_sections(&self) -> Result<Option<Kind>> {
        let sidecar = self.sidecar().await?;
        let kinds = [("segment", Kind::Index), ("run", Kind::Run), ("head", Kind::Checkpoint)];
        let mut kinds = kinds.into_iter().filter(|(section, _)| sidecar.length(section).is_some());
        Ok(kinds.next().map(|(_, kind)| kind))
    }

    /// Reads the object; adds damage to `damage` or to the problems. None when nothing can be read.
    async fn content(&mut self, kind: Kind, damage: &mut Vec<Error>) -> Result<Option<Content>> {
        let path = self.object.location.to_string();
        Ok(Some(match kind {
            Kind::Segment => return Ok(self.segment(&path).await?.map(Content::Segment)),
            Kind::Log => Content::Log(wal_inspect::inspect(Path::new(&path), &self.bytes().await?, damage)?),
            Kind::Index | Kind::Run => {
                Content::Index(index_inspect::inspect(&self.sidecar().await?, damage).await)
            }
            Kind::Mask => Content::Mask(segment_inspect::mask(&path, &self.bytes().await?)?),
            Kind::Commit => Content::Commit(catalog_inspect::commit(&path, &self.bytes().await?, damage)?),
            Kind::Checkpoint if self.begin.starts_with(ZSTD_MAGIC) => {
                Content::Checkpoint(catalog_inspect::whole_checkpoint(self.store, &self.object).await?)
            }
            Kind::Checkpoint => {
                let sidecar = self.sidecar().await?;
                let read = catalog_inspect::checkpoint(self.store, &self.object, &sidecar, damage);
                Content::Checkpoint(read.await?)
            }
        }))
    }

    /// Describes a segment by its footer, or by the copy in the side-car, and compares the side-car's checksums.
    async fn segment(&mut self, path: &str) -> Result<Option<SegmentContent>> {
        let index = format!("{}.index", path.trim_end_matches(".parquet"));
        let sidecar = match self.store.head(&ObjectPath::from(index.as_str())).await {
            Ok(object) => Sidecar::open(Arc::clone(self.store), &index, object.size).await.ok(),
            Err(_) => None,
        };
        let footer = match (segment_inspect::footer(self.store, &self.object).await, &sidecar) {
            (Ok(footer), _) => Some(footer),
            (Err(error), Some(sidecar)) => {
                self.damage(&[error.context("its footer cannot be read; this output is from its index")]);
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
}
