//! What does one commit or checkpoint contain?
//!
//! For people who examine a file: damage is reported, and the rest is still shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::{ObjectMeta, ObjectStore};
use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::commit::{self, Commit, FORMAT, FORMAT_WITH_WRITER};
use super::log::{Head, head_of, read_whole_checkpoint};
use super::{Claim, Deletion, WalRange};
use crate::error::{Error, Result};
use crate::event::{AttributeType, TypeSet};
use crate::index::RunMeta;
use crate::index::inspect::{Section, sections};
use crate::index::sidecar::Sidecar;
use crate::segment::{Mask, NewSegment, SegmentId, SegmentMeta};

/// Contents of a commit.
#[derive(Debug, Clone, Serialize)]
pub struct CommitContent {
    /// Version of the commit format.
    pub format: u32,
    /// Id of the commit.
    pub commit: String,
    /// Time of the commit, in nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// Batches of the log that it puts into segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal: Option<WalRange>,
    /// Number of messages whose events it adds.
    pub deliveries: usize,
    /// Writer of the commit, in a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    /// New claim, which gives the right to commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// Segments that it adds.
    pub add: Vec<SegmentRow>,
    /// Segments that it removes.
    pub remove: Vec<String>,
    /// Runs that it adds.
    pub add_runs: Vec<RunRow>,
    /// Runs that it removes.
    pub remove_runs: Vec<String>,
    /// Masks of segments that stay.
    pub masks: Vec<MaskRow>,
    /// Deletion on request that the masks belong to.
    pub deletions: Vec<Deletion>,
    /// New attribute keys, and known keys with new types.
    pub keys: Vec<KeyRow>,
}

/// Contents of a checkpoint.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointContent {
    /// Version of the catalog.
    pub version: u64,
    /// Last batch of the log that is in a segment.
    pub wal_watermark: u64,
    /// Number of messages remembered for deduplication.
    pub deliveries: usize,
    /// Number of objects removed within a day of the last removal.
    pub removed: usize,
    /// Segments, newest first.
    pub segments: Vec<SegmentRow>,
    /// Runs, in no particular order.
    pub runs: Vec<RunRow>,
    /// Deletions on request, oldest first.
    pub deletions: Vec<Deletion>,
    /// Attribute keys, with their types.
    pub keys: Vec<KeyRow>,
    /// Statistics by column.
    pub columns: Vec<ColumnRow>,
    /// Sections of the object.
    pub sections: Vec<Section>,
}

/// Summary of a segment.
#[derive(Debug, Clone, Serialize)]
pub struct SegmentRow {
    /// Id of the segment.
    pub id: String,
    /// Timestamp of the oldest event, in nanoseconds since the Unix epoch.
    pub from_ns: i64,
    /// Timestamp of the newest event, in nanoseconds since the Unix epoch.
    pub to_ns: i64,
    /// Number of events in its object, deleted ones included.
    pub rows: u64,
    /// Number of deleted events.
    pub deleted: u64,
    /// Size of its object in bytes.
    pub bytes: u64,
    /// Size of its index in bytes, if it has one.
    pub index_bytes: Option<u64>,
    /// Number of columns, in a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<usize>,
}

/// Summary of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunRow {
    /// Id of the run.
    pub id: String,
    /// Number of its segments.
    pub segments: usize,
    /// Number of hashes, of all columns.
    pub hashes: u64,
    /// Size of its object in bytes.
    pub bytes: u64,
}

/// Summary of a mask.
#[derive(Debug, Clone, Serialize)]
pub struct MaskRow {
    /// Id of the masked segment.
    pub segment: String,
    /// Id of the mask.
    pub mask: String,
    /// Number of deleted rows.
    pub rows: u64,
    /// Size of its object in bytes.
    pub bytes: u64,
}

/// An attribute key.
#[derive(Debug, Clone, Serialize)]
pub struct KeyRow {
    /// Physical name.
    pub key: String,
    /// Types of its values.
    pub types: Vec<&'static str>,
}

/// Summary of a column in a checkpoint.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnRow {
    /// Physical name.
    pub column: String,
    /// Number of segments that have the column.
    pub segments: usize,
    /// Number of segments that have it in the overflow.
    pub overflowing: usize,
}

impl From<&SegmentMeta> for SegmentRow {
    fn from(segment: &SegmentMeta) -> Self {
        Self {
            id: segment.id.to_string(),
            from_ns: segment.time.min_ns,
            to_ns: segment.time.max_ns,
            rows: segment.rows,
            deleted: segment.rows - segment.live_rows(),
            bytes: segment.bytes,
            index_bytes: segment.index,
            columns: None,
        }
    }
}

impl From<&NewSegment> for SegmentRow {
    fn from(segment: &NewSegment) -> Self {
        Self { columns: Some(segment.columns.columns.len()), ..Self::from(&segment.meta) }
    }
}

impl From<&RunMeta> for RunRow {
    fn from(RunMeta { id, bytes, entries, segments }: &RunMeta) -> Self {
        Self { id: id.to_string(), segments: segments.len(), hashes: *entries, bytes: *bytes }
    }
}

impl MaskRow {
    /// Describes a mask of `segment`.
    pub fn new(segment: SegmentId, Mask { id, rows, bytes }: &Mask) -> Self {
        Self { segment: segment.to_string(), mask: id.to_string(), rows: *rows, bytes: *bytes }
    }
}

fn keys(keys: &super::Keys) -> Vec<KeyRow> {
    let pairs: Vec<(String, u8)> = keys.clone().into();
    let row = |(key, bits)| {
        let types = TypeSet::from_bits(bits).iter().map(AttributeType::name).collect();
        KeyRow { key, types }
    };
    pairs.into_iter().map(row).collect()
}

/// Reads a commit, and adds a wrong checksum to `damage`.
///
/// Fails if it is not a commit, or a newer program wrote it.
pub fn commit(path: &str, json: &[u8], damage: &mut Vec<Error>) -> Result<CommitContent> {
    if let Some((found, expected)) = commit::checksums(json).filter(|(found, expected)| found != expected) {
        let message = format!("{path}: its checksum is {found:08x}, but its bytes have {expected:08x}");
        damage.push(Error::corrupt(message));
    }
    let commit: Commit = commit::parse(path, json, FORMAT..=FORMAT_WITH_WRITER)?;
    Ok(CommitContent {
        format: commit.format,
        commit: commit.id,
        at_ns: commit.at_ns,
        wal: commit.wal,
        deliveries: commit.deliveries.len(),
        writer: commit.writer,
        claim: commit.claim,
        add: commit.add.iter().map(SegmentRow::from).collect(),
        remove: commit.remove.iter().map(ToString::to_string).collect(),
        add_runs: commit.add_runs.iter().map(RunRow::from).collect(),
        remove_runs: commit.remove_runs.iter().map(ToString::to_string).collect(),
        masks: commit.masks.iter().map(|(segment, mask)| MaskRow::new(*segment, mask)).collect(),
        deletions: commit.deletion.into_iter().collect(),
        keys: keys(&commit.keys),
    })
}

/// Reads a checkpoint with the container `sidecar`, and adds its damage to `damage`.
///
/// Fails if its head cannot be read.
pub async fn checkpoint(
    store: &Arc<dyn ObjectStore>,
    object: &ObjectMeta,
    sidecar: &Sidecar,
    damage: &mut Vec<Error>,
) -> Result<CheckpointContent> {
    let parts = sections(sidecar, damage).await;
    let (checkpoint, head) = Checkpoint::open(store, object.location.as_ref(), object.size).await?;
    let mut columns = Vec::new();
    for name in checkpoint.names().await.map(|names| names.iter().map(str::to_owned).collect::<Vec<_>>())? {
        match checkpoint.columns(&[&name]).await {
            Ok(found) => {
                let section = found.get(&name).and_then(Option::as_ref);
                let (segments, overflowing) =
                    section.map_or((0, 0), |s| (s.iter().count(), s.overflowing().count()));
                columns.push(ColumnRow { column: name, segments, overflowing });
            }
            Err(error) => damage.push(error),
        }
    }
    Ok(describe(&head_of(checkpoint, head), columns, parts))
}

/// Reads a checkpoint of the first format.
pub async fn whole_checkpoint(
    store: &Arc<dyn ObjectStore>,
    object: &ObjectMeta,
) -> Result<CheckpointContent> {
    let head = read_whole_checkpoint(store, &object.location).await?;
    let mut columns: BTreeMap<&str, usize> = BTreeMap::new();
    for segment in head.snapshot.columns.recent.values() {
        for column in &segment.columns {
            *columns.entry(&column.name).or_default() += 1;
        }
    }
    let row =
        |(column, segments): (&str, usize)| ColumnRow { column: column.to_owned(), segments, overflowing: 0 };
    Ok(describe(&head, columns.into_iter().map(row).collect(), Vec::new()))
}

fn describe(head: &Head, columns: Vec<ColumnRow>, sections: Vec<Section>) -> CheckpointContent {
    let snapshot = head.snapshot.as_ref();
    CheckpointContent {
        version: snapshot.version,
        wal_watermark: snapshot.wal_watermark.0,
        deliveries: snapshot.deliveries.iter().map(|delivered| delivered.ids.len()).sum(),
        removed: snapshot.removed.len(),
        segments: snapshot.segments.iter().map(|segment| segment.as_ref().into()).collect(),
        runs: snapshot.runs.runs().iter().map(|run| run.as_ref().into()).collect(),
        deletions: snapshot.deletions.as_ref().clone(),
        keys: keys(&head.keys),
        columns,
        sections,
    }
}
