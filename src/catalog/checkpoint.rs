//! How is the state of the catalog stored in one object?
//!
//! Opening a database reads only the head of the object. A query reads the statistics of the few columns that
//! it names, however many there are:
//!
//! ```text
//! catalog/checkpoint/{version:020}.checkpoint = container (index::sidecar) with the sections
//!   head             zstd of {"format":2, "version":n, "wal":n, "segments":[segment…], "keys":[…],
//!                             "removed":[[object path, at_ns]…],    within a day of the last removal
//!                             "runs":[run…], "deletions":[deletion…],        format 3 if a segment has a mask
//!                             "begins":n,                           version of the backup that it is or came from
//!                             "claim":claim}                                 format 4 in a store
//!   columns          blocks (index::blocks): for each physical name, the statistics of all segments
//!   columns.names    names and places of these blocks
//!
//! segment = id, sizes, rows, time; its position in the list is its ordinal in the blocks
//! ```
//!
//! [`section`](super::section) has the format of a block.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use object_store::{ObjectStore, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::columns::{ColumnFact, ColumnSource};
use super::commit::{self, Keys};
use super::section::{ColumnSection, SectionWriter};
use super::{Claim, Deletion, Delivered, Removed};
use crate::error::{Error, ErrorKind, Result};
use crate::event::schema;
use crate::index::RunMeta;
use crate::index::blocks::{BlockNames, BlocksWriter};
use crate::index::byte_cache::ByteCache;
use crate::index::sidecar::{Sidecar, SidecarWriter};
use crate::segment::{SegmentColumns, SegmentId, SegmentMeta};
use crate::wal::SequenceNumber;

/// Version of the head. Version 1 was a JSON document with everything.
pub(super) const FORMAT: u32 = 2;
/// Version of a head with masked segments: a program that does not know masks would show deleted events.
pub(super) const FORMAT_WITH_MASKS: u32 = 3;
/// Version of a head in a store: a program that does not know claims must not commit there.
pub(super) const FORMAT_WITH_CLAIM: u32 = 4;
const HEAD: &str = "head";
const COLUMNS: &str = "columns";
/// Memory for cached columns of a checkpoint, in bytes: about 300 kB per column with 10,000 segments.
const CACHE_BYTES_MAX: usize = 64 << 20;
/// Largest head in bytes, decompressed: 10,000 segments take 2 MB of JSON.
const HEAD_BYTES_MAX: u64 = 1 << 30;

/// Part of a checkpoint that opening a database reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: u32,
    pub(super) version: u64,
    pub(super) wal: SequenceNumber,
    pub(super) segments: Vec<SegmentMeta>,
    pub(super) keys: Keys,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) removed: Vec<Removed>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) runs: Vec<RunMeta>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) deletions: Vec<Deletion>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) deliveries: Vec<Delivered>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) claim: Option<Claim>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) begins: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(version: &u64) -> bool {
    *version == 0
}

/// An open checkpoint. Columns are read on demand.
#[derive(Debug)]
pub(super) struct Checkpoint {
    sidecar: Sidecar,
    names: OnceCell<BlockNames>,
    ordinals: HashMap<SegmentId, u32>,
    /// `None` for a column that no segment has.
    cache: ByteCache<Box<str>, Option<Arc<ColumnSection>>>,
    /// True once damage has been logged.
    reported: AtomicBool,
}

impl Checkpoint {
    /// Opens the object of `bytes` bytes at `path`, and reads its head.
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if it is damaged or not a checkpoint.
    pub(super) async fn open(store: &Arc<dyn ObjectStore>, path: &str, bytes: u64) -> Result<(Self, Head)> {
        let sidecar = Sidecar::open(Arc::clone(store), path, bytes).await?;
        let corrupt = |what: &str| Error::corrupt(format!("{path}, section {HEAD}: {what}"));
        let compressed = sidecar.read(HEAD).await?.ok_or_else(|| corrupt("it is missing"))?;
        let json = plain(&compressed).map_err(|e| corrupt("it is not a zstd frame").with_source(e))?;
        let head: Head = commit::parse(path, &json, FORMAT..=FORMAT_WITH_CLAIM)?;
        commit::check(path, head.segments.iter(), Some(head.wal))?;
        let ordinals = head.segments.iter().zip(0..).map(|(segment, ordinal)| (segment.id, ordinal));
        let checkpoint = Self {
            sidecar,
            names: OnceCell::new(),
            ordinals: ordinals.collect(),
            cache: ByteCache::new(CACHE_BYTES_MAX),
            reported: AtomicBool::new(false),
        };
        Ok((checkpoint, head))
    }

    /// Position of a segment in the checkpoint.
    pub(super) fn ordinal(&self, id: SegmentId) -> Option<u32> {
        self.ordinals.get(&id).copied()
    }

    /// Reads the statistics of these columns in all segments; `None` for a column that no segment has.
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if one is damaged, and with
    /// [`NotFound`](crate::ErrorKind::NotFound) if a newer checkpoint has replaced this one.
    pub(super) async fn columns(
        &self,
        names: &[&str],
    ) -> Result<HashMap<String, Option<Arc<ColumnSection>>>> {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        for name in names {
            match self.cache.get(*name) {
                Some(section) => drop(found.insert((*name).to_owned(), section)),
                None => missing.push(*name),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let table = self.names().await?;
        for (name, block) in table.read_blocks(&self.sidecar, COLUMNS, missing.iter().copied()).await? {
            found.insert(name.to_owned(), Some(Arc::new(self.section(name, block)?)));
        }
        for name in missing {
            let section = found.entry(name.to_owned()).or_default();
            let bytes = name.len() + section.as_ref().map_or(0, |section| section.memory_bytes());
            self.cache.put(name.into(), section.clone(), bytes);
        }
        Ok(found)
    }

    /// Logs that columns cannot be read, the first time only; queries then prune less.
    pub(super) fn report(&self, error: &Error) {
        if !self.reported.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "cannot read column statistics from a checkpoint; more segments are scanned instead");
        }
    }

    /// Reads the whole checkpoint; returns its damage.
    pub(super) async fn damage(&self) -> Vec<Error> {
        let mut wrong = self.sidecar.verify().await;
        match self.names().await {
            Ok(names) => {
                for name in names.iter() {
                    wrong.extend(self.columns(&[name]).await.err());
                }
            }
            Err(error) => wrong.push(error),
        }
        wrong
    }

    /// Memory use in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let names = self.names.get().map_or(0, BlockNames::memory_bytes);
        let ordinals = self.ordinals.capacity() * size_of::<(SegmentId, u32)>();
        self.sidecar.memory_bytes() + names + ordinals + self.cache.memory_bytes()
    }

    /// Names of its columns.
    pub(super) async fn names(&self) -> Result<&BlockNames> {
        let read = async || {
            let names = BlockNames::read(&self.sidecar, COLUMNS).await?;
            names.ok_or_else(|| {
                Error::corrupt(format!("{} has no section with column statistics", self.sidecar.path()))
            })
        };
        self.names.get_or_try_init(read).await
    }

    fn section(&self, name: &str, block: Bytes) -> Result<ColumnSection> {
        ColumnSection::parse(block, self.ordinals.len()).ok_or_else(|| {
            Error::corrupt(format!("{}, column {name}: its statistics are malformed", self.sidecar.path()))
        })
    }
}

/// Column statistics for a new checkpoint.
pub(super) struct Sources {
    /// Previous checkpoint, with the bytes of all its columns.
    before: Option<(Arc<Checkpoint>, Bytes)>,
    /// Columns of the segments added since.
    recent: Arc<HashMap<SegmentId, Arc<SegmentColumns>>>,
}

impl Sources {
    /// Reads the columns of the previous checkpoint.
    pub(super) async fn read(source: &ColumnSource) -> Result<Self> {
        let before = match &source.checkpoint {
            None => None,
            Some(checkpoint) => {
                checkpoint.names().await?;
                let blocks = checkpoint.sidecar.read(COLUMNS).await?.unwrap_or_default();
                Some((Arc::clone(checkpoint), blocks))
            }
        };
        Ok(Self { before, recent: Arc::clone(&source.recent) })
    }

    /// Encodes the checkpoint with `head`. CPU-bound, so not for an async thread: a second for 10,000 segments
    /// with 200 columns. Needs memory for the compressed columns, twice.
    pub(super) fn encode(&self, head: &Head) -> Result<PutPayload> {
        let mut writer = SidecarWriter::new();
        let json = serde_json::to_vec(head)
            .map_err(|e| Error::internal("cannot encode the checkpoint as JSON").with_source(e))?;
        if json.len() as u64 > HEAD_BYTES_MAX {
            let message =
                format!("a checkpoint's head has {} bytes, at most {HEAD_BYTES_MAX} are read", json.len());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        writer.section(HEAD, zstd::bulk::compress(&json, 3)?);
        let recent = self.recent_by_name(&head.segments);
        let moved = self.moved(&head.segments);
        let before = self
            .before
            .iter()
            .filter_map(|(checkpoint, _)| checkpoint.names.get())
            .flat_map(BlockNames::iter);
        let mut names: Vec<&str> = recent.keys().copied().chain(before).collect();
        names.sort_unstable();
        names.dedup();
        let mut blocks = BlocksWriter::new();
        for name in names {
            let mut section = SectionWriter::default();
            let none = Recent::default();
            self.merge(name, &moved, recent.get(name).unwrap_or(&none), &mut section)?;
            if !section.is_empty() {
                blocks.add(name, &section.finish())?;
            }
        }
        blocks.finish(COLUMNS, &mut writer);
        Ok(writer.finish())
    }

    /// New ordinal of each old one; `None` if the segment is gone.
    fn moved(&self, segments: &[SegmentMeta]) -> Vec<Option<u32>> {
        let Some((checkpoint, _)) = &self.before else { return Vec::new() };
        let mut moved = vec![None; checkpoint.ordinals.len()];
        for (segment, ordinal) in segments.iter().zip(0..) {
            if let Some(old) = checkpoint.ordinal(segment.id) {
                moved[old as usize] = Some(ordinal);
            }
        }
        moved
    }

    fn recent_by_name(&self, segments: &[SegmentMeta]) -> BTreeMap<&str, Recent<'_>> {
        let mut by_name: BTreeMap<&str, Recent<'_>> = BTreeMap::new();
        for (segment, ordinal) in segments.iter().zip(0..) {
            let Some(columns) = self.recent.get(&segment.id) else { continue };
            for column in &columns.columns {
                by_name.entry(&column.name).or_default().columns.push((ordinal, column.into()));
            }
            if !columns.has_overflow() {
                continue;
            }
            match &columns.overflow {
                Some(keys) => {
                    for key in keys {
                        by_name.entry(key).or_default().overflowing.push(ordinal);
                    }
                }
                None => by_name.entry(schema::OVERFLOW).or_default().overflowing.push(ordinal),
            }
        }
        by_name
    }

    /// Merges the statistics of the column `name` from both sources, by new ordinals.
    fn merge(
        &self,
        name: &str,
        moved: &[Option<u32>],
        recent: &Recent<'_>,
        section: &mut SectionWriter,
    ) -> Result<()> {
        let mut columns = recent.columns.clone();
        let mut overflowing = recent.overflowing.clone();
        let before = match &self.before {
            Some((checkpoint, blocks)) => checkpoint.block(name, blocks)?,
            None => None,
        };
        let to = |old: u32| moved.get(old as usize).copied().flatten();
        if let Some(before) = &before {
            columns.extend(before.iter().filter_map(|(old, fact)| Some((to(old)?, fact))));
            overflowing.extend(before.overflowing().filter_map(to));
        }
        columns.sort_by_key(|(ordinal, _)| *ordinal);
        columns.dedup_by_key(|(ordinal, _)| *ordinal);
        overflowing.sort_unstable();
        overflowing.dedup();
        for (ordinal, fact) in columns {
            section.column(ordinal, fact);
        }
        for ordinal in overflowing {
            section.overflowing(ordinal);
        }
        Ok(())
    }
}

impl Checkpoint {
    /// Extracts a column from `blocks`, the bytes of all columns.
    fn block(&self, name: &str, blocks: &Bytes) -> Result<Option<ColumnSection>> {
        let Some(table) = self.names.get() else { return Ok(None) };
        let block = table.block(&self.sidecar, COLUMNS, blocks, name)?;
        block.map(|block| self.section(name, block)).transpose()
    }
}

/// Statistics of one name in the segments since the last checkpoint, by ascending ordinal.
#[derive(Debug, Default)]
struct Recent<'a> {
    columns: Vec<(u32, ColumnFact<'a>)>,
    overflowing: Vec<u32>,
}

/// Decompresses a head, up to [`HEAD_BYTES_MAX`].
pub(super) fn plain(compressed: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut json = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
    decoder.take(HEAD_BYTES_MAX + 1).read_to_end(&mut json)?;
    if json.len() as u64 > HEAD_BYTES_MAX {
        return Err(std::io::Error::other(format!("expected at most {HEAD_BYTES_MAX} bytes, found more")));
    }
    Ok(json)
}
