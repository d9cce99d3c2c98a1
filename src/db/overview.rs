//! What is in this data directory?
//!
//! Reads the catalog and the log. [`inspect`](super::inspect) shows a single file.

use serde::Serialize;

use super::inspect::{Content, Inspection, inspect_file, inspect_object};
use super::storage::{LogStorage, Storage};
use crate::catalog::Deletion;
use crate::catalog::inspect::{MaskRow, RunRow, SegmentRow};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Problem, Result};

/// Summary of a data directory.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// Data directory or store.
    pub data: String,
    /// Number of the newest commit.
    pub catalog_version: u64,
    /// Number of segments.
    pub segment_count: usize,
    /// Events in segments that are not deleted.
    pub events: u64,
    /// Events in segments that are deleted.
    pub deleted_events: u64,
    /// Time of the oldest event in segments, in nanoseconds since 1970.
    pub from_ns: Option<i64>,
    /// Time of the newest event in segments.
    pub to_ns: Option<i64>,
    /// Size of all segments, in bytes.
    pub segments_bytes: u64,
    /// Size of their indexes, in bytes.
    pub indexes_bytes: u64,
    /// Number of runs.
    pub run_count: usize,
    /// Size of all runs, in bytes.
    pub runs_bytes: u64,
    /// Number of the last batch of the log that is in segments.
    pub wal_watermark: u64,
    /// Events of the log that are not in segments yet.
    pub log_events: u64,
    /// Number of attribute keys.
    pub attribute_keys: usize,
    /// Objects removed within the grace period, which may still exist for queries that began earlier.
    pub removed_lately: usize,
    /// Segments, newest first.
    pub segments: Vec<SegmentRow>,
    /// Runs: indexes of many segments.
    pub runs: Vec<RunRow>,
    /// Masks: deleted rows of segments.
    pub masks: Vec<MaskRow>,
    /// Requested deletions.
    pub deletions: Vec<Deletion>,
    /// Files of the log.
    pub log: Vec<LogFileRow>,
    /// Damage in the parts that were read; `check` reads the rest.
    pub problems: Vec<Problem>,
}

/// Summary of a log file.
#[derive(Debug, Clone, Serialize)]
pub struct LogFileRow {
    /// File name.
    pub file: String,
    /// File size.
    pub bytes: u64,
    /// Number of its first batch.
    pub first: Option<u64>,
    /// Number of its last batch.
    pub last: Option<u64>,
    /// Events in the file, also those that are in segments already.
    pub rows: u64,
}

/// Summarises a database from its catalog and its log. A writer may be running.
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
            // A flush may delete log files meanwhile.
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
