//! How are rows deleted from segments that never change?
//!
//! ```text
//! condition ─▶ candidates ─▶ rows of each ─▶ store masks ─▶ commit {masks, deletion} ─▶ swap
//!                                                           later: compaction without them ─▶ sweep
//! ```
//!
//! One commit hides all rows of a deletion. If a segment was merged meanwhile, the commit is refused and the merged
//! segment is evaluated; a merge whose inputs got masks meanwhile is refused likewise. So no deleted row comes back.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use roaring::RoaringBitmap;
use uuid::Uuid;

use super::births::Birth;
use super::flush::store_object;
use super::{Condition, Ground, RowMatcher};
use crate::catalog::{Catalog, CatalogSnapshot, Change, Deletion};
use crate::error::{Error, ErrorKind, Result};
use crate::event::TimeRange;
use crate::segment::mask::{MaskId, NewMask, deleted_rows};
use crate::segment::{SegmentId, SegmentMeta};

/// Most attempts of a deletion that starts over because segments were merged meanwhile.
const ATTEMPTS_MAX: usize = 20;

/// Request to delete events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteRequest {
    /// SQL condition on events.
    pub condition: String,
    /// Limits the deletion to events at or after this time.
    pub from_ns: Option<i64>,
    /// Limits the deletion to events before this time.
    pub to_ns: Option<i64>,
}

/// Hides rows, and records deletions in the catalog.
#[derive(Debug)]
pub struct Masker {
    ground: Ground,
    matcher: Arc<dyn RowMatcher>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

/// Rows of a segment that are to be hidden.
#[derive(Debug, Clone)]
pub(super) struct Hidden {
    pub(super) segment: Arc<SegmentMeta>,
    /// All hidden rows, with those hidden before.
    pub(super) rows: RoaringBitmap,
    /// Number of rows that were not hidden before.
    pub(super) new_rows: u64,
}

impl DeleteRequest {
    /// Returns the condition with the time range, after checking that it can be evaluated.
    async fn condition(&self, matcher: &dyn RowMatcher) -> Result<Condition> {
        let condition = matcher.parse(&self.condition)?;
        matcher.check(&condition).await?;
        let bounds = [self.from_ns.map(Condition::from), self.to_ns.map(Condition::before)];
        Ok(bounds.into_iter().flatten().fold(condition, Condition::and))
    }
}

impl Masker {
    /// Creates a masker of the segments of `ground`, whose rows `matcher` finds.
    pub fn new(ground: Ground, matcher: Arc<dyn RowMatcher>) -> Self {
        Self { ground, matcher, one_at_a_time: tokio::sync::Mutex::default() }
    }

    /// Evaluates conditions.
    pub(super) fn matcher(&self) -> &Arc<dyn RowMatcher> {
        &self.matcher
    }

    /// Counts the events that [`delete`](Self::delete) would hide, and their segments.
    pub async fn count(&self, request: &DeleteRequest) -> Result<(u64, u64)> {
        let condition = request.condition(self.matcher.as_ref()).await?;
        let hidden = self.find(&condition, &mut HashMap::new()).await?;
        Ok((hidden.iter().map(|hidden| hidden.new_rows).sum(), hidden.len() as u64))
    }

    /// Hides the requested events that are in segments from every later query, and records the deletion in the
    /// catalog.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] on a wrong condition; nothing is hidden when it fails.
    pub async fn delete(&self, request: &DeleteRequest) -> Result<Deletion> {
        let condition = request.condition(self.matcher.as_ref()).await?;
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let mut known = HashMap::new();
        for _ in 0..ATTEMPTS_MAX {
            let hidden = self.find(&condition, &mut known).await?;
            let catalog = self.ground.catalog.snapshot();
            let mut objects: Vec<String> = hidden.iter().map(|hidden| hidden.segment.path()).collect();
            // Objects of recently merged segments may hold the events too, until they are swept.
            for removed in catalog.removed.iter().filter(|removed| removed.path.ends_with(".parquet")) {
                if self.ground.store.head(&Path::from(removed.path.as_str())).await.is_ok() {
                    objects.push(removed.path.clone());
                }
            }
            let deletion = Deletion {
                id: Uuid::new_v4().simple().to_string(),
                at_ns: self.ground.clock.now_ns(),
                condition: request.condition.clone(),
                from_ns: request.from_ns,
                to_ns: request.to_ns,
                rows: hidden.iter().map(|hidden| hidden.new_rows).sum(),
                segments: hidden.len() as u64,
                objects,
                wal: catalog.wal_watermark,
            };
            match self.hide(hidden, Vec::new(), Some(deletion.clone())).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    tracing::info!(
                        id = deletion.id,
                        rows = deletion.rows,
                        segments = deletion.segments,
                        "deleted events"
                    );
                    return Ok(deletion);
                }
            }
        }
        Err(Error::new(ErrorKind::Conflict, "merges of the same segments kept coming first: try again"))
    }

    /// Finds the rows that fulfil `condition` and are not hidden yet. `known` caches the rows found in each segment.
    async fn find(
        &self,
        condition: &Condition,
        known: &mut HashMap<(SegmentId, Option<MaskId>), Option<Hidden>>,
    ) -> Result<Vec<Hidden>> {
        let catalog = self.ground.catalog.snapshot();
        let mut found = Vec::new();
        for segment in self.matcher.candidates(&catalog, condition).await? {
            let key = (segment.id, segment.mask.map(|mask| mask.id));
            let hidden = match known.get(&key) {
                Some(hidden) => hidden.clone(),
                None => self.rows(&catalog, segment, condition).await?,
            };
            known.insert(key, hidden.clone());
            found.extend(hidden);
        }
        Ok(found)
    }

    /// Finds the rows of one segment that fulfil `condition` and are not hidden yet; none if there are none.
    pub(super) async fn rows(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        segment: Arc<SegmentMeta>,
        condition: &Condition,
    ) -> Result<Option<Hidden>> {
        let matching = self.matcher.rows(catalog, &segment, condition).await?;
        let before = deleted_rows(&self.ground.store, &segment).await?.unwrap_or_default();
        let rows = matching | &before;
        let new_rows = rows.len() - before.len();
        Ok((new_rows > 0).then_some(Hidden { segment, rows, new_rows }))
    }

    /// Hides rows and removes segments in one commit. A segment without visible rows is removed.
    pub(super) async fn hide(
        &self,
        hidden: Vec<Hidden>,
        mut remove: Vec<Arc<SegmentMeta>>,
        deletion: Option<Deletion>,
    ) -> Result<()> {
        let (mut masks, mut paths) = (Vec::new(), Vec::new());
        let mut births: Vec<Birth> = Vec::new();
        let mut unchanged = remove.clone();
        for Hidden { segment, rows, .. } in hidden {
            unchanged.push(Arc::clone(&segment));
            if rows.len() == segment.rows {
                remove.push(segment);
                continue;
            }
            let NewMask { mask, object } = NewMask::new(&rows, self.ground.clock.now_ns())?;
            births.push(self.ground.live.births().mask(mask.id));
            let masked = SegmentMeta { mask: Some(mask), ..segment.as_ref().clone() };
            paths.extend(masked.mask_path());
            if let Err(error) =
                store_object(&self.ground.store, &masked.mask_path().unwrap_or_default(), object.into()).await
            {
                self.ground.discard(&paths).await;
                return Err(error);
            }
            masks.push((segment.id, mask));
        }
        let remove = remove.iter().map(|segment| segment.id).collect();
        let change = Change { remove, masks, deletion, unchanged, ..Change::default() };
        let committed = self.ground.commit(births, change).await;
        if committed.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
            self.ground.discard(&paths).await;
        }
        committed
    }

    /// Hides expired rows and removes expired segments; counts the events.
    pub(super) async fn expire(&self, hidden: Vec<Hidden>, remove: Vec<Arc<SegmentMeta>>) -> Result<u64> {
        let of_segments: u64 = remove.iter().map(|segment| segment.live_rows()).sum();
        let rows = of_segments + hidden.iter().map(|hidden| hidden.new_rows).sum::<u64>();
        if rows == 0 && remove.is_empty() {
            return Ok(0);
        }
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let segments = remove.len();
        self.hide(hidden, remove, None).await?;
        self.ground.stats.expired(rows);
        tracing::info!(rows, segments, "events expired");
        Ok(rows)
    }

    /// Catalog that is changed.
    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.ground.catalog
    }

    /// Current time.
    pub(super) fn now_ns(&self) -> i64 {
        self.ground.clock.now_ns()
    }
}

/// True if a time range ends before `ns`.
pub(super) fn is_before(time: TimeRange, ns: i64) -> bool {
    time.max_ns < ns
}
