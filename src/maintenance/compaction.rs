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
    ground: Ground,
    index: IndexSettings,
    one_at_a_time: tokio::sync::Mutex<()>,
    /// Segments of merges that failed because of what they are: others are merged first, and without them.
    suspects: Mutex<HashSet<SegmentId>>,
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
    /// Merges the segments of `ground`; new ones get indexes as `index` says.
    pub fn new(ground: Ground, index: IndexSettings) -> Self {
        let (one_at_a_time, suspects) = Default::default();
        Self { ground, index, one_at_a_time, suspects }
    }

    /// Merges what is due next by [`tiers`], in the background, and returns whether anything was.
    ///
    /// When it fails nothing has changed; [`ErrorKind::Conflict`] means that others came first, and that
    /// there may be something else to do at once. A step that `stop` ends counts as none. Segments that cannot be
    /// merged do not keep the others: they are tried again when there is nothing else to do.
    pub async fn merge_step(&self, limits: SegmentLimits, stop: &CancellationToken) -> Result<bool> {
        self.step(limits, stop, |segments| {
            let steps = tiers::steps(&extents(segments, &limits), limits.rows as u64);
            // The smallest first: it is done soon, and what is new is what queries ask most.
            let rows = |step: &tiers::Step| step.members.iter().map(|i| segments[*i].rows).sum::<u64>();
            let tiers::Step { members, cuts } = steps.into_iter().min_by_key(rows)?;
            Some((members.into_iter().map(|i| Arc::clone(&segments[i])).collect(), cuts))
        })
        .await
    }

    /// Writes one segment again without its deleted events, when they are many or somebody asked for it; else as
    /// [`merge_step`](Self::merge_step).
    pub async fn rewrite_step(&self, limits: SegmentLimits, stop: &CancellationToken) -> Result<bool> {
        let catalog = self.ground.catalog.snapshot();
        let deleted = deleted_objects(&catalog);
        self.step(limits, stop, |segments| {
            let segment = segments.iter().find(|segment| is_to_be_rewritten(segment, &deleted))?;
            Some((vec![Arc::clone(segment)], Vec::new()))
        })
        .await
    }

    /// Merges the group that `choose` chooses, with the times at which its outputs end.
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

    /// Writes the masked segments again without what is deleted.
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

    /// Merges until there is nothing left to merge; `progress` hears of every new segment.
    ///
    /// What was committed stays when it fails or is dropped. Fails with
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
        let after = SegmentTotals::of(&self.ground.catalog.snapshot());
        Ok(CompactionReport { before, after, rewritten_rows: so_far.rows_done })
    }

    /// Replaces segments by ones that have the same events; `false` when it was stopped.
    ///
    /// Unless it is not known whether the commit got through, a merge that fails leaves no objects.
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
                // A merge that nobody waits for any more has read, and changes nothing.
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

/// New segments that do not count yet.
#[derive(Default)]
struct Outputs {
    add: Vec<NewSegment>,
    births: Vec<Birth>,
    /// Paths of all objects that may have been stored, also of a segment whose storing failed.
    paths: Vec<String>,
}

/// Whether a merge failed because of the segments that it was to merge.
fn is_of_its_inputs(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Internal | ErrorKind::InvalidInput
    )
}

/// One merge.
struct Plan<'a> {
    group: Vec<Arc<SegmentMeta>>,
    cuts: Vec<i64>,
    limits: SegmentLimits,
    priority: Priority<'a>,
}

/// Paths of objects that may hold events that somebody deleted.
fn deleted_objects(catalog: &CatalogSnapshot) -> HashSet<String> {
    let masked = catalog.segments.iter().any(|segment| segment.mask.is_some());
    let deletions = catalog.deletions.iter().filter(|_| masked);
    deletions.flat_map(|deletion| &deletion.objects).cloned().collect()
}

/// Whether a segment is to be written again: without events that somebody deleted, which are in the objects
/// `deleted`, or because a good part of it has expired.
fn is_to_be_rewritten(segment: &SegmentMeta, deleted: &HashSet<String>) -> bool {
    let masked = segment.mask.map_or(0, |mask| mask.rows);
    masked > 0 && (masked * MASKED_SHARE >= segment.rows || deleted.contains(&segment.path()))
}

fn extents(segments: &[Arc<SegmentMeta>], limits: &SegmentLimits) -> Vec<Extent> {
    segments.iter().map(|s| Extent { size: s.size(s.live_rows(), limits), time: s.time }).collect()
}

/// Groups of segments to merge, newest first.
fn planned(catalog: &CatalogSnapshot, limits: SegmentLimits) -> Vec<Vec<Arc<SegmentMeta>>> {
    let segments = &catalog.segments;
    let group = |group: Vec<usize>| group.into_iter().map(|i| Arc::clone(&segments[i])).collect();
    plan(&extents(segments, &limits), limits.rows as u64).into_iter().map(group).collect()
}
