//! How do many small segments become few large ones, while everything else goes on?
//!
//! ```text
//! plan ─▶ merge a group: read columns ─▶ encode ─▶ store … ─▶ commit {add, remove} ─▶ swap ─▶ next group
//!                                                                    after the grace period: delete objects
//! ```
//!
//! [`plan`] chooses the segments for a single compaction, [`tiers`] for one that never ends. Each group is one commit,
//! so that events are in the old segments or in the new ones, never in both. A crash before the commit leaves orphans,
//! deleted after the next start; a crash after it leaves replaced objects, deleted after the grace period. Either way
//! the next run continues from the committed state. When an input has left the catalog meanwhile, the commit is
//! refused, its outputs are deleted, and the next step plans anew.
//!
//! In the background, one thread of low priority does all costly work: flushes and queries come first. It holds the
//! columns of one output in memory, which [`SegmentLimits`] keep small however wide the events are.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::births::Birth;
use super::compaction_policy::{Extent, plan};
use super::sweep::GRACE;
use super::{Ground, background, store_built, tiers};
use crate::catalog::{CatalogSnapshot, Change};
use crate::config::{IndexSettings, SegmentLimits};
use crate::error::{Error, ErrorKind, Result};
use crate::index::IndexBuilder;
use crate::segment::{Merge, NewSegment, ROWS_MAX, SegmentId, SegmentMeta};

/// Most plans that one compaction carries out in a row. Each merges up to 256 segments into one, so a few are enough
/// for any catalog.
const ROUNDS_MAX: usize = 16;

/// A segment is rewritten when one in this many of its events has expired.
const MASKED_SHARE: u64 = 4;

/// Aims of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionOptions {
    /// Limits of the new segments.
    pub segment: SegmentLimits,
    /// Time for which the objects of merged segments are kept, for queries that began earlier.
    pub grace: Duration,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        Self { segment: SegmentLimits::default(), grace: GRACE }
    }
}

/// Progress of a compaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionProgress {
    /// Events written to new segments so far.
    pub rows_done: u64,
    /// Events planned to be written, as known so far.
    pub rows_planned: u64,
}

/// Number and size of segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SegmentTotals {
    /// Number of segments.
    pub segments: u64,
    /// Number of their events.
    pub rows: u64,
    /// Size of their objects in bytes, indexes included.
    pub bytes: u64,
}

/// Result of a compaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionReport {
    /// Segments at the beginning.
    pub before: SegmentTotals,
    /// Segments at the end.
    pub after: SegmentTotals,
    /// Events written to new segments, counted each time that they are written.
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
    ground: Ground,
    index: IndexSettings,
    one_at_a_time: tokio::sync::Mutex<()>,
    /// Inputs of merges that failed because of an input: other segments are merged first, and without these.
    suspects: Mutex<HashSet<SegmentId>>,
}

/// Priority of a merge's work.
#[derive(Debug, Clone, Copy)]
enum Priority<'a> {
    /// Normal priority, on as many threads as encoding a segment takes.
    Normal,
    /// One thread of low priority, until the token is cancelled.
    Low(&'a CancellationToken),
}

impl Compactor {
    /// Creates a compactor of the segments of `ground`; new segments are indexed by `index`.
    pub fn new(ground: Ground, index: IndexSettings) -> Self {
        let (one_at_a_time, suspects) = Default::default();
        Self { ground, index, one_at_a_time, suspects }
    }

    /// Carries out the next merge by [`tiers`], at low priority; returns false when none was due.
    ///
    /// When it fails nothing has changed; [`ErrorKind::Conflict`] means that another commit came first, and another
    /// merge may be due at once. Returns false for a step that `stop` ends. Segments that cannot be merged do not stop
    /// the others: they are retried when nothing else is due.
    pub async fn merge_step(&self, limits: SegmentLimits, stop: &CancellationToken) -> Result<bool> {
        self.step(limits, stop, |segments| {
            let steps = tiers::steps(&extents(segments, &limits), limits.rows as u64);
            // The smallest first: it ends soon, and queries mostly read new segments.
            let rows = |step: &tiers::Step| step.members.iter().map(|i| segments[*i].rows).sum::<u64>();
            let tiers::Step { members, cuts } = steps.into_iter().min_by_key(rows)?;
            Some((members.into_iter().map(|i| Arc::clone(&segments[i])).collect(), cuts))
        })
        .await
    }

    /// Rewrites one segment without its hidden events, if their deletion was requested or they are many. Returns and
    /// fails like [`merge_step`](Self::merge_step).
    pub async fn rewrite_step(&self, limits: SegmentLimits, stop: &CancellationToken) -> Result<bool> {
        let catalog = self.ground.catalog.snapshot();
        let deleted = deleted_objects(&catalog);
        self.step(limits, stop, |segments| {
            let segment = segments.iter().find(|segment| is_to_be_rewritten(segment, &deleted))?;
            Some((vec![Arc::clone(segment)], Vec::new()))
        })
        .await
    }

    /// Merges the group that `choose` returns, with the times at which its outputs end.
    async fn step(
        &self,
        limits: SegmentLimits,
        stop: &CancellationToken,
        choose: impl Fn(&[Arc<SegmentMeta>]) -> Option<(Vec<Arc<SegmentMeta>>, Vec<i64>)>,
    ) -> Result<bool> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let chosen = {
            let catalog = self.ground.catalog.snapshot();
            let suspects = self.suspects.lock();
            if suspects.is_empty() {
                choose(&catalog.segments)
            } else {
                let sound = catalog.segments.iter().filter(|segment| !suspects.contains(&segment.id));
                let sound: Vec<_> = sound.cloned().collect();
                choose(&sound).or_else(|| choose(&catalog.segments))
            }
        };
        let Some((group, cuts)) = chosen else { return Ok(false) };
        let _one_of_few = self.ground.capacity.merge().await?;
        let members: Vec<SegmentId> = group.iter().map(|segment| segment.id).collect();
        let merged = self.merge(Plan { group, cuts, limits, priority: Priority::Low(stop) }, |_| {}).await;
        let mut suspects = self.suspects.lock();
        suspects.retain(|id| !members.contains(id));
        if merged.as_ref().is_err_and(is_of_its_inputs) {
            suspects.extend(members);
        }
        merged
    }

    /// Rewrites the masked segments without their hidden events.
    pub async fn rewrite_deleted(&self, limits: SegmentLimits) -> Result<()> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let catalog = self.ground.catalog.snapshot();
        let masked: Vec<_> =
            catalog.segments.iter().filter(|segment| segment.mask.is_some()).cloned().collect();
        drop(catalog);
        for segment in masked {
            let (group, cuts) = (vec![segment], Vec::new());
            let plan = Plan { group, cuts, limits, priority: Priority::Normal };
            self.merge(plan, |_| {}).await?;
        }
        Ok(())
    }

    /// Merges until nothing is left to merge; `progress` is called for every new segment.
    ///
    /// Committed merges stay when it fails or is dropped. Fails with
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) on impossible options,
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) when a segment cannot be read.
    pub async fn run(
        &self,
        limits: SegmentLimits,
        mut progress: impl FnMut(CompactionProgress) + Send,
    ) -> Result<CompactionReport> {
        if !(1..=ROWS_MAX).contains(&limits.rows) {
            let rows = limits.rows;
            return Err(Error::invalid(format!("rows per segment must be 1 to {ROWS_MAX}, not {rows}")));
        }
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let before = SegmentTotals::of(&self.ground.catalog.snapshot());
        let mut so_far = CompactionProgress::default();
        for _ in 0..ROUNDS_MAX {
            let catalog = self.ground.catalog.snapshot();
            let mut groups = planned(&catalog, limits);
            let merged: HashSet<SegmentId> = groups.iter().flatten().map(|segment| segment.id).collect();
            // Once, without a bound on their number.
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
        let after = SegmentTotals::of(&self.ground.catalog.snapshot());
        Ok(CompactionReport { before, after, rewritten_rows: so_far.rows_done })
    }

    /// Replaces segments by new ones with the same events; `false` when it was stopped.
    ///
    /// A failed merge leaves no objects, unless the outcome of its commit is unknown.
    async fn merge(&self, plan: Plan<'_>, progress: impl FnMut(u64) + Send) -> Result<bool> {
        let unchanged = plan.group.clone();
        let remove: Vec<SegmentId> = unchanged.iter().map(|segment| segment.id).collect();
        let rows: u64 = unchanged.iter().map(|segment| segment.live_rows()).sum();
        let mut outputs = Outputs::default();
        match self.write(plan, &mut outputs, progress).await {
            Ok(true) => {}
            other => {
                self.ground.discard(&outputs.paths).await;
                return other;
            }
        }
        let Outputs { add, births, paths } = outputs;
        let (from, to) = (remove.len(), add.len());
        let bytes: u64 = add.iter().map(|segment| segment.meta.bytes + segment.meta.index.unwrap_or(0)).sum();
        let change = Change { add, remove, unchanged, ..Change::default() };
        if let Err(error) = self.ground.commit(births, change).await {
            if error.kind() == ErrorKind::Conflict {
                self.ground.discard(&paths).await;
            }
            return Err(error);
        }
        self.ground.stats.compacted(rows, bytes);
        tracing::info!(rows, from, to, bytes, "merged segments");
        Ok(true)
    }

    /// Stores the outputs of a merge; `false` when it was stopped.
    async fn write(
        &self,
        plan: Plan<'_>,
        outputs: &mut Outputs,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<bool> {
        let Plan { group, cuts, limits, priority } = plan;
        let rows: u64 = group.iter().map(|segment| segment.live_rows()).sum();
        let mut merge = Merge::new(Arc::clone(&self.ground.store), group, limits).cut_at(cuts);
        if let Priority::Low(_) = priority {
            merge = merge.on_one_thread();
        }
        while merge.rows_left() > 0 {
            let (id, birth) = self.ground.live.births().segment(self.ground.clock.now_ns());
            outputs.births.push(birth);
            let builder = IndexBuilder::new(&self.index);
            let next = move || {
                let built = merge.next(id, &builder)?;
                let indexed = built.map(|built| builder.finish(&built).map(|index| (built, index)));
                Ok::<_, Error>((merge, indexed.transpose()?))
            };
            let next = match priority {
                Priority::Normal => background::on_own_thread(next).await?,
                // A merge that is no longer awaited has only read, and changes nothing.
                Priority::Low(stop) => match stop.run_until_cancelled(background::run(next)).await {
                    Some(next) => next?,
                    None => return Ok(false),
                },
            };
            let (rest, Some((built, index))) = next? else { break };
            merge = rest;
            outputs.paths.extend([built.segment.meta.path(), built.segment.meta.index_path()]);
            let segment = store_built(&self.ground.store, built, index).await?;
            progress(segment.meta.rows);
            outputs.add.push(segment);
        }
        let written: u64 = outputs.add.iter().map(|segment| segment.meta.rows).sum();
        if written == rows {
            return Ok(true);
        }
        Err(Error::internal(format!("a merge of {rows} events wrote {written}: nothing was changed")))
    }
}

/// New segments that are not committed yet.
#[derive(Default)]
struct Outputs {
    add: Vec<NewSegment>,
    births: Vec<Birth>,
    /// Paths of all objects that may be stored, also of a segment whose put failed.
    paths: Vec<String>,
}

/// True if a merge failed because of its inputs.
fn is_of_its_inputs(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Internal | ErrorKind::InvalidInput
    )
}

/// Inputs and limits of one merge.
struct Plan<'a> {
    group: Vec<Arc<SegmentMeta>>,
    cuts: Vec<i64>,
    limits: SegmentLimits,
    priority: Priority<'a>,
}

/// Paths of objects that may hold events of requested deletions.
fn deleted_objects(catalog: &CatalogSnapshot) -> HashSet<String> {
    let masked = catalog.segments.iter().any(|segment| segment.mask.is_some());
    let deletions = catalog.deletions.iter().filter(|_| masked);
    deletions.flat_map(|deletion| &deletion.objects).cloned().collect()
}

/// True if a segment is due for a rewrite: it is in `deleted`, the objects with events of requested deletions, or
/// one in [`MASKED_SHARE`] of its events has expired.
fn is_to_be_rewritten(segment: &SegmentMeta, deleted: &HashSet<String>) -> bool {
    let masked = segment.mask.map_or(0, |mask| mask.rows);
    masked > 0 && (masked * MASKED_SHARE >= segment.rows || deleted.contains(&segment.path()))
}

fn extents(segments: &[Arc<SegmentMeta>], limits: &SegmentLimits) -> Vec<Extent> {
    segments.iter().map(|s| Extent { size: s.size(s.live_rows(), limits), time: s.time }).collect()
}

/// Plans the groups of segments to merge, newest first.
fn planned(catalog: &CatalogSnapshot, limits: SegmentLimits) -> Vec<Vec<Arc<SegmentMeta>>> {
    let segments = &catalog.segments;
    let group = |group: Vec<usize>| group.into_iter().map(|i| Arc::clone(&segments[i])).collect();
    plan(&extents(segments, &limits), limits.rows as u64).into_iter().map(group).collect()
}
