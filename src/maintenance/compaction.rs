//! How do many small segments become few large ones, while everything else goes on?
//!
//! ```text
//! plan ─▶ merge a group: read columns ─▶ encode ─▶ store … ─▶ commit {add, remove} ─▶ swap ─▶ next group
//!                                                                    after the grace period: delete objects
//! ```
//!
//! [`plan`](super::compaction_policy::plan) says which segments to merge. Each group is one commit, so that
//! events are in the old segments or in the new ones, never in both. A crash before the commit leaves
//! objects that the next start deletes; one after it leaves objects that are deleted when their time has
//! come. Either way the next run goes on from what is committed.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;

use super::compaction_policy::{Extent, plan};
use super::orphans::{GRACE, remove_retired};
use super::{Live, store_built};
use crate::catalog::{Catalog, CatalogSnapshot, Change};
use crate::config::{Clock, IndexSettings};
use crate::error::{Error, Result};
use crate::index::IndexBuilder;
use crate::segment::{Merge, NewSegment, ROWS_MAX, SegmentId, SegmentMeta};

/// Plans that are carried out one after the other. Each merges up to 256 segments into one, so a few are
/// enough for any catalog.
const ROUNDS_MAX: usize = 16;

/// What a compaction aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionOptions {
    /// Events of a full segment, at most [`ROWS_MAX`].
    pub segment_rows: usize,
    /// How long the objects of merged segments are kept, for queries that began before.
    pub grace: Duration,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        Self { segment_rows: ROWS_MAX, grace: GRACE }
    }
}

/// How far a compaction is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionProgress {
    /// Events that were written to new segments.
    pub rows_done: u64,
    /// Events that are to be written, as far as is known.
    pub rows_planned: u64,
}

/// How many segments there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SegmentTotals {
    /// Segments.
    pub segments: u64,
    /// Their events.
    pub rows: u64,
    /// Size of their objects, indexes included.
    pub bytes: u64,
}

/// What a compaction has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionReport {
    /// The segments at the beginning.
    pub before: SegmentTotals,
    /// The segments at the end.
    pub after: SegmentTotals,
    /// Events that were written to new segments; some maybe more than once.
    pub rewritten_rows: u64,
}

impl SegmentTotals {
    fn of(catalog: &CatalogSnapshot) -> Self {
        let bytes = |segment: &Arc<SegmentMeta>| segment.bytes + segment.index.unwrap_or(0);
        Self {
            segments: catalog.segments.len() as u64,
            rows: catalog.rows(),
            bytes: catalog.segments.iter().map(bytes).sum(),
        }
    }
}

/// Merges segments. One compaction at a time; flushes and queries go on meanwhile.
#[derive(Debug)]
pub struct Compactor {
    live: Arc<Live>,
    catalog: Arc<Catalog>,
    store: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    index: IndexSettings,
    /// One compaction at a time. What was removed up to this moment is deleted.
    deleted_until_ns: tokio::sync::Mutex<i64>,
}

impl Compactor {
    /// Merges what `catalog` and `store` have, and tells `live`.
    pub fn new(
        live: Arc<Live>,
        catalog: Arc<Catalog>,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        index: IndexSettings,
    ) -> Self {
        let deleted_until_ns = tokio::sync::Mutex::new(i64::MIN);
        Self { live, catalog, store, clock, index, deleted_until_ns }
    }

    /// Merges until there is nothing left to merge; `progress` hears of every new segment.
    ///
    /// What was committed stays when it fails or is dropped. Fails with
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) on impossible options,
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a segment cannot be read.
    pub async fn run(
        &self,
        options: CompactionOptions,
        mut progress: impl FnMut(CompactionProgress) + Send,
    ) -> Result<CompactionReport> {
        let CompactionOptions { segment_rows, grace } = options;
        if !(1..=ROWS_MAX).contains(&segment_rows) {
            return Err(Error::invalid(format!("a segment has 1 to {ROWS_MAX} rows, not {segment_rows}")));
        }
        let mut deleted_until_ns = self.deleted_until_ns.lock().await;
        let before = SegmentTotals::of(&self.catalog.snapshot());
        let mut so_far = CompactionProgress::default();
        for _ in 0..ROUNDS_MAX {
            let groups = planned(&self.catalog.snapshot(), segment_rows);
            if groups.is_empty() {
                break;
            }
            so_far.rows_planned += groups.iter().flatten().map(|segment| segment.rows).sum::<u64>();
            for group in groups {
                self.merge(group, segment_rows, |rows| {
                    so_far.rows_done += rows;
                    progress(so_far);
                })
                .await?;
            }
        }
        let catalog = self.catalog.snapshot();
        let grace_ns = i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
        let until_ns = self.clock.now_ns().saturating_sub(grace_ns);
        remove_retired(&self.store, &catalog, *deleted_until_ns, until_ns).await?;
        *deleted_until_ns = until_ns.max(*deleted_until_ns);
        let after = SegmentTotals::of(&catalog);
        Ok(CompactionReport { before, after, rewritten_rows: so_far.rows_done })
    }

    /// Replaces segments by ones that have the same events.
    async fn merge(
        &self,
        group: Vec<Arc<SegmentMeta>>,
        segment_rows: usize,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<()> {
        let remove: Vec<SegmentId> = group.iter().map(|segment| segment.id).collect();
        let rows: u64 = group.iter().map(|segment| segment.rows).sum();
        let mut merge = Merge::new(Arc::clone(&self.store), group, segment_rows);
        let mut add: Vec<NewSegment> = Vec::new();
        while merge.rows_left() > 0 {
            let id = SegmentId::new(self.clock.now_ns());
            let builder = IndexBuilder::new(&self.index);
            let next = tokio::task::spawn_blocking(move || {
                let built = merge.next(id, &builder)?;
                let indexed = built.map(|built| builder.finish(&built).map(|index| (built, index)));
                Ok::<_, Error>((merge, indexed.transpose()?))
            });
            let next = next.await.map_err(|e| Error::internal("a merge failed").with_source(e))?;
            let (rest, Some((built, index))) = next? else { break };
            merge = rest;
            let segment = store_built(&self.store, built, index).await?;
            progress(segment.meta.rows);
            add.push(segment);
        }
        let written: u64 = add.iter().map(|segment| segment.meta.rows).sum();
        if written != rows {
            return Err(Error::internal(format!(
                "a merge of {rows} events has {written}: nothing was changed"
            )));
        }
        let (from, to) = (remove.len(), add.len());
        let committed = self.catalog.commit(Change { add, remove, ..Change::default() }).await;
        // After a failure too: the commit may have got through.
        self.live.committed(&self.catalog.snapshot());
        committed?;
        tracing::info!(rows, from, to, "merged segments");
        Ok(())
    }
}

/// Groups of segments to merge, newest first.
fn planned(catalog: &CatalogSnapshot, segment_rows: usize) -> Vec<Vec<Arc<SegmentMeta>>> {
    let segments = &catalog.segments;
    let extents: Vec<_> = segments.iter().map(|s| Extent { rows: s.rows, time: s.time }).collect();
    let group = |group: Vec<usize>| group.into_iter().map(|i| Arc::clone(&segments[i])).collect();
    plan(&extents, segment_rows as u64).into_iter().map(group).collect()
}
