//! How do many small segments become few large ones, while everything else goes on?
//!
//! ```text
//! plan ─▶ merge a group: read columns ─▶ encode ─▶ store … ─▶ commit {add, remove} ─▶ swap ─▶ next group
//!                                                                    after the grace period: delete objects
//! ```
//!
//! [`plan`] says which segments to merge when it is done once, [`tiers`] when it is done all the time. Each
//! group is one commit, so that events are in the old segments or in the new ones, never in both. A crash
//! before the commit leaves objects that are deleted after the next start; one after it leaves objects that are deleted
//! when their time has come. Either way the next run goes on from what is committed. When one of the inputs
//! has left the catalog meanwhile, the commit is refused, its outputs are deleted, and the next step begins
//! with what there is.
//!
//! In the background everything that costs time is done by one thread of low priority: flushes and queries
//! come first. What it holds in memory is the columns of one output, which [`SegmentLimits`] keep small however wide
//! the events are.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio_util::sync::CancellationToken;

use super::births::{Birth, decide};
use super::compaction_policy::{Extent, plan};
use super::sweep::GRACE;
use super::{Live, MaintenanceStats, Sweeper, background, store_built, tiers};
use crate::catalog::{Catalog, CatalogSnapshot, Change};
use crate::config::{Clock, IndexSettings, SegmentLimits};
use crate::error::{Error, ErrorKind, Result};
use crate::index::IndexBuilder;
use crate::segment::{Merge, NewSegment, ROWS_MAX, SegmentId, SegmentMeta};

/// Plans that are carried out one after the other. Each merges up to 256 segments into one, so a few are
/// enough for any catalog.
const ROUNDS_MAX: usize = 16;

/// A segment is written again when one in so many of its events has expired.
const MASKED_SHARE: u64 = 4;

/// What a compaction aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionOptions {
    /// How large segments become.
    pub segment: SegmentLimits,
    /// How long the objects of merged segments are kept, for queries that began before.
    pub grace: Duration,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        Self { segment: SegmentLimits::default(), grace: GRACE }
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
    sweeper: Arc<Sweeper>,
    stats: Arc<MaintenanceStats>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// Who does the work of a merge.
#[derive(Debug, Clone, Copy)]
enum Priority<'a> {
    /// As many threads as encoding a segment takes, as for everything else.
    Normal,
    /// One thread that leaves the machine to others, until this says stop.
    Low(&'a CancellationToken),
}

impl Compactor {
    /// Merges what `catalog` and `store` have, tells `live`, and counts in `stats`.
    pub fn new(
        live: Arc<Live>,
        catalog: Arc<Catalog>,
        store: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        index: IndexSettings,
        sweeper: Arc<Sweeper>,
        stats: Arc<MaintenanceStats>,
    ) -> Self {
        let one_at_a_time = tokio::sync::Mutex::default();
        Self { live, catalog, store, clock, index, sweeper, stats, one_at_a_time }
    }

    /// Does what is due next by [`tiers`], in the background, and returns whether anything was.
    ///
    /// When it fails nothing has changed; [`ErrorKind::Conflict`] means that others came first, and that
    /// there may be something else to do at once. A step that `stop` ends counts as none.
    pub async fn step(&self, limits: SegmentLimits, stop: &CancellationToken) -> Result<bool> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let catalog = self.catalog.snapshot();
        let rewrite = to_rewrite(&catalog).next().cloned();
        if let Some(segment) = rewrite {
            let (group, cuts) = (vec![segment], Vec::new());
            drop(catalog);
            return self.merge(Plan { group, cuts, limits, priority: Priority::Low(stop) }, |_| {}).await;
        }
        let steps = tiers::steps(&extents(&catalog, &limits), limits.rows as u64);
        // The smallest first: it is done soon, and what is new is what queries ask most.
        let rows = |step: &tiers::Step| step.members.iter().map(|i| catalog.segments[*i].rows).sum::<u64>();
        let Some(tiers::Step { members, cuts }) = steps.into_iter().min_by_key(rows) else {
            return Ok(false);
        };
        let group = members.into_iter().map(|i| Arc::clone(&catalog.segments[i])).collect();
        drop(catalog);
        self.merge(Plan { group, cuts, limits, priority: Priority::Low(stop) }, |_| {}).await
    }

    /// Writes the masked segments again without what is deleted, and deletes the objects whose time of grace
    /// is over.
    pub async fn rewrite_deleted(&self, options: CompactionOptions) -> Result<()> {
        let CompactionOptions { segment: limits, grace } = options;
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let catalog = self.catalog.snapshot();
        let masked: Vec<_> =
            catalog.segments.iter().filter(|segment| segment.mask.is_some()).cloned().collect();
        drop(catalog);
        for segment in masked {
            let (group, cuts) = (vec![segment], Vec::new());
            let plan = Plan { group, cuts, limits, priority: Priority::Normal };
            self.merge(plan, |_| {}).await?;
        }
        self.sweeper.remove_retired(grace).await?;
        Ok(())
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
        let CompactionOptions { segment: limits, grace } = options;
        if !(1..=ROWS_MAX).contains(&limits.rows) {
            let rows = limits.rows;
            return Err(Error::invalid(format!("a segment has 1 to {ROWS_MAX} rows, not {rows}")));
        }
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let before = SegmentTotals::of(&self.catalog.snapshot());
        let mut so_far = CompactionProgress::default();
        for _ in 0..ROUNDS_MAX {
            let catalog = self.catalog.snapshot();
            let mut groups = planned(&catalog, limits);
            let merged: HashSet<SegmentId> = groups.iter().flatten().map(|segment| segment.id).collect();
            // Once and for all, whatever their number.
            let masked = catalog.segments.iter().filter(|segment| segment.mask.is_some());
            let masked = masked.filter(|segment| !merged.contains(&segment.id));
            groups.extend(masked.map(|segment| vec![Arc::clone(segment)]));
            drop(catalog);
            if groups.is_empty() {
                break;
            }
            so_far.rows_planned += groups.iter().flatten().map(|segment| segment.live_rows()).sum::<u64>();
            for group in groups {
                let plan = Plan { group, cuts: Vec::new(), limits, priority: Priority::Normal };
                self.merge(plan, |rows| {
                    so_far.rows_done += rows;
                    progress(so_far);
                })
                .await?;
            }
        }
        self.sweeper.remove_retired(grace).await?;
        let after = SegmentTotals::of(&self.catalog.snapshot());
        Ok(CompactionReport { before, after, rewritten_rows: so_far.rows_done })
    }

    /// Replaces segments by ones that have the same events; `false` when it was stopped.
    async fn merge(&self, plan: Plan<'_>, mut progress: impl FnMut(u64) + Send) -> Result<bool> {
        let Plan { group, cuts, limits, priority } = plan;
        let unchanged = group.clone();
        let remove: Vec<SegmentId> = group.iter().map(|segment| segment.id).collect();
        let rows: u64 = group.iter().map(|segment| segment.live_rows()).sum();
        let mut merge = Merge::new(Arc::clone(&self.store), group, limits).cut_at(cuts);
        if let Priority::Low(_) = priority {
            merge = merge.on_one_thread();
        }
        let mut add: Vec<NewSegment> = Vec::new();
        let mut births: Vec<Birth> = Vec::new();
        while merge.rows_left() > 0 {
            let (id, birth) = self.live.births().segment(self.clock.now_ns());
            births.push(birth);
            let builder = IndexBuilder::new(&self.index);
            let next = move || {
                let built = merge.next(id, &builder)?;
                let indexed = built.map(|built| builder.finish(&built).map(|index| (built, index)));
                Ok::<_, Error>((merge, indexed.transpose()?))
            };
            let next = match priority {
                Priority::Normal => background::on_own_thread(next).await?,
                // A merge that nobody waits for any more has read, and changes nothing.
                Priority::Low(stop) => {
                    let Some(next) = stop.run_until_cancelled(background::run(next)).await else {
                        self.discard(&add).await;
                        return Ok(false);
                    };
                    next?
                }
            };
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
        let bytes: u64 = add.iter().map(|segment| segment.meta.bytes + segment.meta.index.unwrap_or(0)).sum();
        let change = Change { add: add.clone(), remove, unchanged, ..Change::default() };
        let committed = decide(births, self.catalog.commit(change)).await;
        // After a failure too: the commit may have got through.
        self.live.committed(&self.catalog.snapshot());
        if let Err(error) = committed {
            if error.kind() == ErrorKind::Conflict {
                self.discard(&add).await;
            }
            return Err(error);
        }
        self.stats.compacted(rows, bytes);
        tracing::info!(rows, from, to, bytes, "merged segments");
        Ok(true)
    }

    /// Deletes new segments that will never be committed.
    async fn discard(&self, segments: &[NewSegment]) {
        for NewSegment { meta, .. } in segments {
            for path in [meta.path(), meta.index_path()] {
                // What is left is an orphan, and goes with those.
                if let Err(error) = self.store.delete(&Path::from(path)).await {
                    tracing::warn!(%error, "could not delete a segment that was not needed after all");
                }
            }
        }
    }
}

/// One merge.
struct Plan<'a> {
    group: Vec<Arc<SegmentMeta>>,
    cuts: Vec<i64>,
    limits: SegmentLimits,
    priority: Priority<'a>,
}

/// Segments that are to be written again without the events that somebody deleted, or because a good part
/// of them has expired.
fn to_rewrite(catalog: &CatalogSnapshot) -> impl Iterator<Item = &Arc<SegmentMeta>> {
    let masked = catalog.segments.iter().any(|segment| segment.mask.is_some());
    let deletions = catalog.deletions.iter().filter(|_| masked);
    let deleted: HashSet<&str> =
        deletions.flat_map(|deletion| &deletion.objects).map(String::as_str).collect();
    catalog.segments.iter().filter(move |segment| {
        let masked = segment.mask.map_or(0, |mask| mask.rows);
        masked > 0 && (masked * MASKED_SHARE >= segment.rows || deleted.contains(segment.path().as_str()))
    })
}

fn extents(catalog: &CatalogSnapshot, limits: &SegmentLimits) -> Vec<Extent> {
    catalog.segments.iter().map(|s| Extent { size: s.size(s.live_rows(), limits), time: s.time }).collect()
}

/// Groups of segments to merge, newest first.
fn planned(catalog: &CatalogSnapshot, limits: SegmentLimits) -> Vec<Vec<Arc<SegmentMeta>>> {
    let segments = &catalog.segments;
    let group = |group: Vec<usize>| group.into_iter().map(|i| Arc::clone(&segments[i])).collect();
    plan(&extents(catalog, &limits), limits.rows as u64).into_iter().map(group).collect()
}
