//! Is everything in a data directory as it was written?
//!
//! Reads all of it and changes nothing; a writer may be running. At the end the catalog is read again, and problems
//! with objects that it no longer names are dropped: the writer has replaced or deleted them meanwhile.
//!
//! The checks themselves are beside the formats: `catalog::check`, `segment::check`, `index::check`,
//! `index::checksums`, `segment::mask`, `wal::replay`. This module runs them and compares their results.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::ArrayRef;
use futures::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::Serialize;
use tokio::runtime::Handle;

use super::storage::{LogStorage, Storage};
use crate::catalog::check::CheckedCatalog;
use crate::catalog::{Catalog, CatalogSnapshot, ColumnFact, Fact};
use crate::config::{Settings, SystemClock};
use crate::error::{Error, ErrorKind, Problem, Result};
use crate::event::EventBatch;
use crate::event::schema::column;
use crate::index::run::Run;
use crate::index::words::WORDS_OF_BODY;
use crate::index::{SegmentIndex, check as index_check, checksums};
use crate::segment::mask::deleted_rows;
use crate::segment::{NewSegment, SegmentId, SegmentMeta, check as segment_check};
use crate::wal::{self, Replay, SequenceNumber, delivery};

/// Most attempts to read the log when flushes come in between.
const LOG_ATTEMPTS: usize = 5;

/// Part of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Commits and checkpoints.
    Catalog,
    /// Parquet files of events.
    Segments,
    /// Side-cars of segments.
    Indexes,
    /// Deleted rows of segments.
    Masks,
    /// Indexes of many segments.
    Runs,
    /// Files or objects of the log.
    Log,
}

impl Part {
    /// All parts, in the order of the check.
    pub const ALL: [Self; 6] =
        [Self::Catalog, Self::Segments, Self::Indexes, Self::Masks, Self::Runs, Self::Log];

    /// Name, as in reports and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Segments => "segments",
            Self::Indexes => "indexes",
            Self::Masks => "masks",
            Self::Runs => "runs",
            Self::Log => "log",
        }
    }

    /// Advice for a problem with this part.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Catalog => {
                "restore the file from a backup; until then the database may not open, and a writer must not \
                 be started on it"
            }
            Self::Segments => {
                "restore the file from a backup; until then queries that read the damaged part fail or may be \
                 wrong"
            }
            Self::Indexes | Self::Runs => {
                "restore the file from a backup, or delete it: answers are right without it, but slower"
            }
            Self::Masks => "restore the file from a backup; until then queries that read its segment fail",
            Self::Log => {
                "restore the file from a backup before a writer is started; without one the damaged batches \
                 are lost, and all others are kept"
            }
        }
    }
}

/// Progress of a check.
#[derive(Debug, Clone, Copy)]
pub struct CheckProgress {
    /// Events of the segments checked so far.
    pub rows_done: u64,
    /// Events of all segments.
    pub rows: u64,
}

/// A problem, with its part and advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckProblem {
    /// Part that has the problem.
    pub part: Part,
    /// Place and description.
    #[serde(flatten)]
    pub problem: Problem,
    /// Advice, by [`Part::advice`].
    pub advice: &'static str,
}

/// Totals of one part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PartTotals {
    /// Objects or files checked.
    pub objects: u64,
    /// Size of these, in bytes.
    pub bytes: u64,
    /// Problems found in them.
    pub problems: u64,
}

/// Result of a check.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CheckReport {
    /// Problems found.
    pub problems: Vec<CheckProblem>,
    /// Remarks that are not problems.
    pub notes: Vec<String>,
    /// Totals by part.
    pub parts: BTreeMap<Part, PartTotals>,
    /// Events in the segments, deleted ones too.
    pub rows: u64,
    /// Batches in the log.
    pub batches: u64,
}

impl CheckReport {
    fn add(&mut self, part: Part, problems: impl IntoIterator<Item = Problem>) {
        let advice = part.advice();
        self.problems.extend(problems.into_iter().map(|problem| CheckProblem { part, problem, advice }));
    }

    fn saw(&mut self, part: Part, bytes: u64) {
        let totals = self.parts.entry(part).or_default();
        totals.objects += 1;
        totals.bytes += bytes;
    }
}

/// Checks the whole database in `settings`, and changes nothing. Takes as long as reading and decoding all of it on
/// one core. Memory is that of the widest column, and at most 16 kB for each side-car.
///
/// Fails only when there is no database or its directory cannot be listed; everything else that is wrong is
/// reported.
pub async fn check(settings: &Settings, mut progress: impl FnMut(CheckProgress)) -> Result<CheckReport> {
    let missing =
        || Error::new(ErrorKind::NotFound, format!("there is no Broadloom database in {}", settings.data));
    let Storage { store, log, .. } = Storage::open_read_only(settings).await?.ok_or_else(missing)?;
    let listed_first = list(&store).await?;
    let CheckedCatalog { problems, notes, objects, bytes, snapshot, .. } =
        crate::catalog::check::check(&store).await?;
    if objects == 0 && listed_first.is_empty() && log.files().await?.is_empty() {
        return Err(missing());
    }
    let mut report = CheckReport { notes, rows: snapshot.rows_stored(), ..CheckReport::default() };
    report.parts = Part::ALL.into_iter().map(|part| (part, PartTotals::default())).collect();
    report.parts.insert(Part::Catalog, PartTotals { objects, bytes, problems: 0 });
    if objects == 0 {
        report.add(
            Part::Catalog,
            [Problem::new("catalog/log", "the catalog is missing although other files exist")],
        );
    }
    report.add(Part::Catalog, problems);

    let mut checker = Checker { store, snapshot, report, indexes: HashMap::new(), unsealed: 0 };
    let mut done = CheckProgress { rows_done: 0, rows: checker.report.rows };
    for segment in checker.snapshot.segments.clone() {
        progress(done);
        checker.segment(&segment).await?;
        done.rows_done += segment.rows;
    }
    progress(done);
    checker.runs().await;
    checker.log(&log).await?;
    checker.unreferenced(listed_first);
    checker.finish().await
}

struct Checker {
    store: Arc<dyn ObjectStore>,
    snapshot: Arc<CatalogSnapshot>,
    report: CheckReport,
    /// Side-cars that could be opened.
    indexes: HashMap<SegmentId, Arc<SegmentIndex>>,
    /// Number of segments without readable checksums.
    unsealed: u64,
}

impl Checker {
    /// Returns true if `path` can be read; reports it when it is missing or does not have `bytes` bytes.
    async fn exists(&mut self, part: Part, path: &str, bytes: u64) -> bool {
        match self.store.head(&ObjectPath::from(path)).await {
            Ok(object) => {
                self.report.saw(part, object.size);
                let differs = Problem::differs(path, "its size in bytes", bytes, object.size);
                self.report.add(part, (object.size != bytes).then_some(differs));
                true
            }
            Err(object_store::Error::NotFound { .. }) => {
                self.report.add(part, [Problem::new(path, "the file is missing")]);
                false
            }
            Err(error) => {
                self.report.add(part, [Problem::unreadable(path, &error.into())]);
                false
            }
        }
    }

    async fn segment(&mut self, segment: &Arc<SegmentMeta>) -> Result<()> {
        let path = segment.path();
        let exists = self.exists(Part::Segments, &path, segment.bytes).await;
        let index = self.index(segment).await;
        self.mask(segment).await;
        if !exists {
            return Ok(());
        }
        let damaged = self.damaged(segment, index.as_deref()).await;
        let (store, meta, of_index) = (Arc::clone(&self.store), Arc::clone(segment), index.clone());
        let read = move || {
            let (mut problems, mut misses) = (Vec::new(), Vec::new());
            let visit = |name: &str, values: &ArrayRef| {
                let Some(index) = &of_index else { return };
                misses.extend(lookup(index, &meta, name, values));
                if name == column::BODY {
                    misses.extend(lookup(index, &meta, WORDS_OF_BODY, values));
                }
            };
            let found = segment_check::check(&store, &meta, &damaged, &mut problems, visit);
            (found, problems, misses)
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (found, problems, misses) =
            read.map_err(|e| Error::internal(format!("checking {path} failed")).with_source(e))?;
        self.report.add(Part::Segments, problems);
        self.report.add(Part::Indexes, misses);
        if let Some(found) = found {
            self.compare(segment, &found).await;
        }
        Ok(())
    }

    /// Returns the byte ranges of a segment whose checksums are wrong.
    async fn damaged(&mut self, segment: &SegmentMeta, index: Option<&SegmentIndex>) -> Vec<Range<u64>> {
        let path = segment.path();
        let Some(index) = index else {
            self.unsealed += 1;
            return Vec::new();
        };
        // Errors are reported elsewhere: the side-car is damaged, or the segment too short.
        let verified = checksums::verify(&self.store, index.sidecar(), &path, segment.bytes).await;
        let Ok(Some(damaged)) = verified else {
            self.unsealed += 1;
            return Vec::new();
        };
        let problem = |d: &checksums::Damaged| {
            let what = format!("checksum of bytes {} to {}", d.bytes.start, d.bytes.end);
            Problem::differs(&path, what, format!("{:08x}", d.expected), format!("{:08x}", d.found))
        };
        self.report.add(Part::Segments, damaged.iter().map(problem));
        damaged.into_iter().map(|d| d.bytes).collect()
    }

    /// Compares the footer with the catalog.
    async fn compare(&mut self, segment: &SegmentMeta, found: &NewSegment) {
        let path = segment.path();
        let mut problems = Vec::new();
        let mut differs = |what: String, expected: String, is: String| {
            if expected != is {
                problems.push(Problem::differs(&path, what, expected, is));
            }
        };
        differs("its id".to_owned(), segment.id.to_string(), found.meta.id.to_string());
        differs("its rows".to_owned(), segment.rows.to_string(), found.meta.rows.to_string());
        differs("its times".to_owned(), format!("{:?}", segment.time), format!("{:?}", found.meta.time));
        let names: Vec<&str> = found.columns.columns.iter().map(|column| column.name.as_str()).collect();
        let loaded = self.snapshot.columns(&names).await;
        let known = loaded.of(segment.id);
        for column in &found.columns.columns {
            let fact = ColumnFact::from(column);
            let expected = match known.get(&column.name) {
                // Damage of a checkpoint is reported elsewhere.
                Fact::Unknown => continue,
                Fact::Absent => "no such column".to_owned(),
                Fact::Present(known) => format!("{known:?}"),
            };
            differs(
                format!("the catalog's facts on column {:?}", column.name),
                expected,
                format!("{fact:?}"),
            );
        }
        self.report.add(Part::Segments, problems);
    }

    async fn index(&mut self, segment: &Arc<SegmentMeta>) -> Option<Arc<SegmentIndex>> {
        let (bytes, path) = (segment.index?, segment.index_path());
        if !self.exists(Part::Indexes, &path, bytes).await {
            return None;
        }
        match SegmentIndex::open(&self.store, segment).await {
            Ok(index) => {
                let index = index?;
                let damage = index_check::damage(&index, segment.rows).await;
                let problems: Vec<_> = damage.iter().map(|e| Problem::unreadable(&path, e)).collect();
                self.report.add(Part::Indexes, problems);
                self.indexes.insert(segment.id, Arc::clone(&index));
                Some(index)
            }
            Err(error) => {
                self.report.add(Part::Indexes, [Problem::unreadable(&path, &error)]);
                None
            }
        }
    }

    async fn mask(&mut self, segment: &SegmentMeta) {
        let (Some(mask), Some(path)) = (segment.mask, segment.mask_path()) else { return };
        if self.exists(Part::Masks, &path, mask.bytes).await {
            let read = deleted_rows(&self.store, segment).await;
            self.report.add(Part::Masks, read.err().map(|error| Problem::unreadable(&path, &error)));
        }
    }

    async fn runs(&mut self) {
        for meta in Arc::clone(&self.snapshot).runs.runs() {
            let path = meta.path();
            if !self.exists(Part::Runs, &path, meta.bytes).await {
                continue;
            }
            let problems = match Run::open(&self.store, meta).await {
                Ok(run) => self.run(&path, &run).await,
                Err(error) => vec![Problem::unreadable(&path, &error)],
            };
            self.report.add(Part::Runs, problems);
        }
    }

    async fn run(&self, path: &str, run: &Run) -> Vec<Problem> {
        let damage = run.sidecar().verify().await;
        let mut problems: Vec<_> = damage.iter().map(|error| Problem::unreadable(path, error)).collect();
        let of_run =
            run.meta().segments.iter().filter_map(|id| Some((*id, Arc::clone(self.indexes.get(id)?))));
        let (ids, indexes): (Vec<_>, Vec<_>) = of_run.unzip();
        match index_check::hashes_not_found(run, &indexes, &ids).await {
            Ok(missing) => problems.extend(missing.into_iter().map(|((segment, column), count)| {
                Problem::new(path, format!("{count} values of {column:?} in segment {segment} are not found"))
            })),
            Err(error) if problems.is_empty() => problems.push(Problem::unreadable(path, &error)),
            Err(_) => {}
        }
        problems
    }

    /// Replays the whole log, also the batches that are in segments already.
    async fn log(&mut self, log: &LogStorage) -> Result<()> {
        let mut after = self.snapshot.wal_watermark;
        let mut read = replay_all(log, after).await?;
        for _ in 1..LOG_ATTEMPTS {
            let sound = |replay: &Replay| replay.damage.is_empty() && !replay.has_gap_after(after);
            if read.replay.as_ref().is_ok_and(sound) {
                break;
            }
            // A flush may have deleted files while others were being read.
            let now = self.catalog().await.map_or(after, |catalog| catalog.wal_watermark);
            if now == after {
                break;
            }
            after = now;
            read = replay_all(log, after).await?;
        }
        let ReadLog { replay: replayed, batches, undecodable, files } = read;
        self.report.batches = batches;
        self.report.add(Part::Log, undecodable);
        for (name, bytes) in files {
            if Path::new(&name).extension().is_some_and(|extension| extension == "wal") {
                self.report.saw(Part::Log, bytes);
            } else {
                self.report
                    .notes
                    .push(format!("wal/{name} was set aside, and is not read: delete it by hand"));
            }
        }
        let below = |path: &Path| {
            let name = path.file_name().unwrap_or(path.as_os_str());
            format!("wal/{}", name.to_string_lossy())
        };
        let replay = match replayed {
            Ok(replay) => replay,
            Err(error) => {
                self.report.add(Part::Log, [Problem::unreadable("wal", &error)]);
                return Ok(());
            }
        };
        let damage = |damage: &wal::Damage| {
            let what = format!("{} bytes from offset {}: {}", damage.bytes, damage.offset, damage.why);
            Problem::new(below(&damage.file), what)
        };
        self.report.add(Part::Log, replay.damage.iter().map(damage));
        if let Some((file, keep)) = replay.torn_file() {
            let file = below(file);
            self.report.notes.push(format!(
                "{file} ends with {} bytes of an incomplete batch from offset {keep} on, left by a crash or \
                 still being written: they were never acknowledged",
                replay.torn_bytes()
            ));
        }
        if replay.has_gap_after(after) {
            let next = after.next();
            self.report
                .add(Part::Log, [Problem::new("wal", format!("the file with batch {next} is missing"))]);
        }
        Ok(())
    }

    /// Notes the objects that the catalog does not name.
    fn unreferenced(&mut self, objects: Vec<ObjectMeta>) {
        let mut known: HashSet<String> = self.snapshot.runs.runs().iter().map(|run| run.path()).collect();
        for segment in &self.snapshot.segments {
            known.extend([segment.path(), segment.index_path()]);
            known.extend(segment.mask_path());
        }
        let retired: HashSet<&str> =
            self.snapshot.removed.iter().map(|r| r.path.trim_end_matches(".parquet")).collect();
        for object in objects {
            let path = object.location.as_ref();
            if known.contains(path) {
                continue;
            }
            let stem = path.trim_end_matches(".parquet").trim_end_matches(".index");
            let why = if retired.contains(stem) {
                "was replaced; kept for queries that began earlier"
            } else {
                "is in no commit: left by a crash, or being made by a writer; the next start deletes orphans"
            };
            self.report.notes.push(format!("{path} {why}"));
        }
    }

    async fn catalog(&self) -> Result<Arc<CatalogSnapshot>> {
        Ok(Catalog::load(Arc::clone(&self.store), Arc::new(SystemClock)).await?.snapshot())
    }

    /// Drops problems with objects that a writer has replaced meanwhile, and counts the others.
    async fn finish(mut self) -> Result<CheckReport> {
        if let Ok(now) = self.catalog().await.as_deref()
            && now.version > self.snapshot.version
        {
            let paths = |snapshot: &CatalogSnapshot| -> HashSet<String> {
                let of_segment = |s: &Arc<SegmentMeta>| [Some(s.path()), Some(s.index_path()), s.mask_path()];
                let segments = snapshot.segments.iter().flat_map(of_segment).flatten();
                segments.chain(snapshot.runs.runs().iter().map(|run| run.path())).collect()
            };
            let gone: HashSet<_> = paths(&self.snapshot).difference(&paths(now)).cloned().collect();
            self.report.problems.retain(|problem| !gone.contains(&problem.problem.path));
        }
        let mut report = self.report;
        if self.unsealed > 0 {
            let count = self.unsealed;
            report.notes.push(format!(
                "{count} segments have no readable checksums: checked only that they can be decoded"
            ));
        }
        for problem in &report.problems {
            report.parts.entry(problem.part).or_default().problems += 1;
        }
        Ok(report)
    }
}

/// Looks up the values of a column in the index of its segment.
fn lookup(index: &SegmentIndex, segment: &SegmentMeta, name: &str, values: &ArrayRef) -> Option<Problem> {
    let path = segment.index_path();
    match Handle::current().block_on(index_check::values_not_found(index, name, values)) {
        Ok(Some(count)) if count > 0 => {
            Some(Problem::new(path, format!("{count} values of {name:?} are not found on their pages")))
        }
        // Damage was already reported, section by section.
        Ok(_) | Err(_) => None,
    }
}

/// Lists the stored segments, side-cars, masks and runs.
async fn list(store: &Arc<dyn ObjectStore>) -> Result<Vec<ObjectMeta>> {
    let mut objects = Vec::new();
    for folder in ["segments", "runs"] {
        let listed: Vec<ObjectMeta> = store.list(Some(&ObjectPath::from(folder))).try_collect().await?;
        objects.extend(listed);
    }
    objects.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(objects)
}

/// Files and replay of the log.
struct ReadLog {
    replay: Result<Replay>,
    batches: u64,
    undecodable: Vec<Problem>,
    /// Names and sizes in bytes.
    files: Vec<(String, u64)>,
}

/// Decodes and counts batches.
#[derive(Default)]
struct Looked {
    batches: u64,
    undecodable: Vec<Problem>,
}

impl Looked {
    fn look(&mut self, seq: SequenceNumber, payload: &[u8]) {
        self.batches += 1;
        if let Err(error) = EventBatch::decode(delivery::split(payload).1) {
            let what = format!("batch {seq} cannot be read: {}", error.chain());
            self.undecodable.push(Problem::new("wal", what));
        }
    }
}

/// Replays the batches only to check that they can be read: all of those in files, and those above `after` in a
/// store, where old fences leave gaps.
async fn replay_all(log: &LogStorage, after: SequenceNumber) -> Result<ReadLog> {
    let mut looked = Looked::default();
    let (replay, looked) = match log.clone() {
        LogStorage::Files { directory, options } => {
            let read = move || {
                let look = |seq, payload: Vec<u8>| {
                    looked.look(seq, &payload);
                    Ok(())
                };
                let replay = wal::replay(options.disk.as_ref(), &directory, SequenceNumber::ZERO, look);
                (replay, looked)
            };
            let read = tokio::task::spawn_blocking(read).await;
            read.map_err(|e| Error::internal("replay of the log failed").with_source(e))?
        }
        LogStorage::Objects { store, .. } => {
            let look = &mut |seq, payload: Vec<u8>| {
                looked.look(seq, &payload);
                Ok(())
            };
            (wal::replay_objects(&store, after, look).await, looked)
        }
    };
    let Looked { batches, undecodable } = looked;
    let mut files: Vec<_> = log.files().await?.into_iter().map(|file| (file.name, file.bytes)).collect();
    files.sort();
    Ok(ReadLog { replay, batches, undecodable, files })
}
