//! What does a process do at the same time? Each actor is one kind of work.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{Either, select};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use roaring::RoaringBitmap;
use tokio_util::sync::CancellationToken;

use super::model::Fate;
use super::scheduler::Steps;
use super::store::SimulatedStore;
use super::world::{World, numbers};
use crate::catalog::{Catalog, CatalogSnapshot, Change, Keys};
use crate::config::{RetentionRule, RetentionSettings, SegmentLimits};
use crate::db::recovery::open_read_only_in;
use crate::db::{CompactionOptions, Database};
use crate::disk::simulated::SimulatedDisk;
use crate::error::{Error, ErrorKind};
use crate::maintenance::{Condition, DeleteRequest, Ground, Masker, Retainer, RowMatcher, store_segment};
use crate::segment::{SegmentId, SegmentMeta};

/// Finds events without the query engine, which has threads.
#[derive(Debug)]
struct ByNumber {
    store: Arc<dyn ObjectStore>,
    numbers: Range<i64>,
}

#[async_trait]
impl RowMatcher for ByNumber {
    fn parse(&self, _: &str) -> Result<Condition, Error> {
        Ok(Condition::new(sqlparser::ast::Expr::Value(sqlparser::ast::Value::Null.with_empty_span())))
    }

    async fn check(&self, _: &Condition) -> Result<(), Error> {
        Ok(())
    }

    async fn candidates(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        _: &Condition,
    ) -> Result<Vec<Arc<SegmentMeta>>, Error> {
        Ok(catalog.segments.clone())
    }

    async fn rows(
        &self,
        _: &Arc<CatalogSnapshot>,
        segment: &Arc<SegmentMeta>,
        _: &Condition,
    ) -> Result<RoaringBitmap, Error> {
        let object = self.store.get(&Path::from(segment.path())).await?.bytes().await?;
        let rows = (0_u32..).zip(numbers(object)?);
        Ok(rows.filter(|(_, n)| self.numbers.contains(n)).map(|(row, _)| row).collect())
    }
}

/// Applies a retention rule that is due for all past events that match `condition`.
async fn expire(masker: Masker, condition: String) -> Result<u64, Error> {
    let rule = RetentionRule { condition: Some(condition), keep: Duration::ZERO };
    let settings = RetentionSettings { rules: vec![rule], bytes_max: None };
    let retainer = Retainer::new(Arc::new(masker), settings).await?;
    retainer.apply_rule(0, &CancellationToken::new()).await
}

/// A process with an open database.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) world: Rc<World>,
    pub(super) database: Database,
    pub(super) store: Arc<SimulatedStore>,
    pub(super) steps: Arc<Steps>,
    pub(super) disk: SimulatedDisk,
    /// Number of lives that had begun when this one did.
    pub(super) life: u64,
}

impl Process {
    /// True if its machine has stopped.
    fn is_stopped(&self) -> bool {
        self.disk.is_stopped()
    }

    /// True if another process has begun to open the database.
    fn is_replaced(&self) -> bool {
        self.world.lives.get() > self.life
    }

    /// Lets others run for at most `steps_max` steps.
    async fn pause(&self, steps_max: usize) {
        self.steps.pass(self.world.chaos.below(steps_max)).await;
    }

    /// Runs `work`; sometimes drops it before its end, as a caller that goes away does.
    async fn maybe_cut_off<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if !self.world.chaos.one_in(8) {
            return Some(work.await);
        }
        let (work, pause) = (std::pin::pin!(work), std::pin::pin!(self.pause(12)));
        match select(work, pause).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(((), _)) => {
                self.world.count("cut off");
                None
            }
        }
    }

    fn note(&self, who: &'static str, what: impl Into<String>) {
        self.world.chaos.note(who, std::path::Path::new(""), what);
    }

    /// Appends batches, and records the answers.
    pub(super) async fn produce(self, batches: usize) {
        for _ in 0..batches {
            self.pause(6).await;
            let (id, numbers) = self.world.model.borrow_mut().begin(1 + self.world.chaos.below(3));
            self.note("append", format!("{numbers:?}"));
            let batch = self.world.batch(numbers.clone());
            let answer = self.maybe_cut_off(self.database.append(batch)).await;
            // A stopped process gets no answers.
            if self.is_stopped() {
                return;
            }
            let fate = match answer {
                None => Fate::Open,
                Some(Ok(())) => Fate::Acknowledged,
                Some(Err(error)) if error.kind() == ErrorKind::Poisoned => Fate::Open,
                Some(Err(_)) => Fate::Absent,
            };
            self.note("append answered", format!("{numbers:?} {fate:?}"));
            self.world.count(match fate {
                Fate::Open if self.is_replaced() => "appends held off",
                Fate::Acknowledged => "appends acknowledged",
                Fate::Absent => "appends refused",
                _ => "appends without an answer",
            });
            self.world.model.borrow_mut().told(id, fate);
        }
    }

    /// Closes the database after at most `steps_max` steps, whatever others are doing.
    pub(super) async fn close(self, steps_max: usize) {
        self.pause(steps_max).await;
        self.note("close", "");
        // A second close has nothing to do, whether the first one failed or not.
        let is_open = self.database.writer().is_ok();
        let closed = self.database.close().await;
        if !self.is_stopped() && is_open && closed.is_ok() {
            self.world.closed.set(true);
        }
        self.outcome("closed", Some(closed));
    }

    /// Flushes the buffer into segments.
    pub(super) async fn flush(self, times: usize) {
        for _ in 0..times {
            self.pause(60).await;
            let Ok(writer) = self.database.writer() else { return };
            let rows = if self.world.chaos.one_in(2) { 5 } else { usize::MAX };
            self.note("flush", "");
            let done = self.maybe_cut_off(writer.flush_some(rows)).await;
            self.outcome("flushes", done.map(|done| done.map(drop)));
        }
    }

    /// Merges small batches in the buffer.
    pub(super) async fn merge_small(self, times: usize) {
        for _ in 0..times {
            self.pause(60).await;
            let Ok(writer) = self.database.writer() else { return };
            let done = self.maybe_cut_off(writer.merge_small()).await;
            self.outcome("merges of batches", done);
        }
    }

    /// Chooses small segments, limited by events or by bytes.
    fn limits(&self) -> SegmentLimits {
        let chaos = &self.world.chaos;
        let rows = 10 + chaos.below(30);
        let bytes = if chaos.below(2) == 0 { 8_000 + chaos.below(40_000) } else { 128 << 20 };
        SegmentLimits { rows, bytes: bytes as u64 }
    }

    /// Merges segments, and indexes.
    pub(super) async fn compact(self, times: usize) {
        for _ in 0..times {
            self.pause(150).await;
            let Ok(writer) = self.database.writer() else { return };
            let options = CompactionOptions { segment: self.limits(), grace: self.world.grace };
            self.note("compact", "");
            let done = self.maybe_cut_off(self.database.compact(options, |_| {})).await;
            self.outcome("compactions", done.map(|done| done.map(drop)));
            if self.maybe_cut_off(writer.settle_runs()).await.is_some() {
                self.world.count("runs settled");
            }
        }
    }

    /// Merges segments step by step, and deletes retired objects and orphans.
    pub(super) async fn sweep(self, times: usize) {
        let stop = CancellationToken::new();
        for _ in 0..times {
            self.pause(100).await;
            let Ok(writer) = self.database.writer() else { return };
            let compactor = writer.maintenance().compactor();
            let rewritten = self.maybe_cut_off(compactor.rewrite_step(self.limits(), &stop)).await;
            self.outcome("steps of rewriting", rewritten.map(|done| done.map(drop)));
            let merged = self.maybe_cut_off(compactor.merge_step(self.limits(), &stop)).await;
            self.outcome("steps of merging", merged.map(|done| done.map(drop)));
            self.note("sweep", "");
            let swept =
                self.maybe_cut_off(writer.maintenance().sweeper().remove_orphans(self.world.grace)).await;
            self.outcome("sweeps", swept.map(|done| done.map(drop)));
            let swept =
                self.maybe_cut_off(writer.maintenance().sweeper().remove_retired(self.world.grace)).await;
            self.outcome("retirements", swept.map(|done| done.map(drop)));
        }
    }

    /// Deletes acknowledged batches one at a time, or lets them expire.
    pub(super) async fn delete(self, times: usize) {
        let chaos = &self.world.chaos;
        for _ in 0..times {
            self.pause(120).await;
            let Ok(writer) = self.database.writer() else { return };
            // Only events in segments are deleted.
            let told = self.world.model.borrow().told_here();
            if !matches!(self.maybe_cut_off(writer.flush_some(usize::MAX)).await, Some(Ok(()))) {
                continue;
            }
            let begun = self.world.model.borrow_mut().begin_deletion(&told, |n| chaos.below(n));
            let Some((id, numbers)) = begun else { continue };
            self.note("delete", format!("{numbers:?}"));
            let store = Arc::clone(&self.store) as Arc<dyn ObjectStore>;
            let condition = format!("n in {numbers:?}");
            let ground = Ground { store: Arc::clone(&store), ..writer.ground().clone() };
            let masker = Masker::new(ground, Arc::new(ByNumber { store, numbers: numbers.clone() }));
            let (what, done) = if chaos.one_in(2) {
                let request = DeleteRequest { condition, ..DeleteRequest::default() };
                let done = self.maybe_cut_off(masker.delete(&request)).await;
                ("deletions", done.map(|done| done.map(|deletion| deletion.rows)))
            } else {
                // Then all events are in the past.
                self.world.clock.leap(Duration::from_secs(1));
                ("expirations", self.maybe_cut_off(expire(masker, condition)).await)
            };
            if self.is_stopped() {
                return;
            }
            match done {
                Some(Ok(0)) if what == "expirations" && self.is_replaced() => {
                    // Another process has replaced this one, and nothing was expired: no promise was made.
                }
                Some(Ok(rows)) => {
                    self.note("deleted", format!("{rows} of {numbers:?}"));
                    self.world.model.borrow_mut().told(id, Fate::Deleted);
                }
                _ => {}
            }
            self.outcome(what, done.map(|done| done.map(drop)));
        }
    }

    /// Writes segments with a second catalog beside the first.
    pub(super) async fn import(self, times: usize) {
        for _ in 0..times {
            self.pause(100).await;
            let (id, numbers) = self.world.model.borrow_mut().begin(1 + self.world.chaos.below(5));
            self.note("import", format!("{numbers:?}"));
            let batch = Arc::new(self.world.batch(numbers.clone()));
            let done = self.maybe_cut_off(self.commit_beside(batch)).await;
            if !self.is_stopped() && matches!(done, Some(Ok(()))) {
                self.note("imported", format!("{numbers:?}"));
                self.world.model.borrow_mut().told(id, Fate::Elsewhere);
            }
            self.outcome("imports", done);
        }
    }

    async fn commit_beside(&self, batch: Arc<crate::event::EventBatch>) -> Result<(), Error> {
        let (store, settings) = (Arc::clone(&self.store) as Arc<dyn ObjectStore>, self.world.settings());
        let catalog = Catalog::load(Arc::clone(&store), Arc::clone(&settings.clock)).await?;
        let keys = Keys::of(std::slice::from_ref(&batch));
        let segment =
            store_segment(&store, SegmentId::new(settings.clock.now_ns()), vec![batch], &settings.index)
                .await?;
        self.pause(20).await;
        catalog.commit(Change { add: vec![segment], keys, ..Change::default() }).await.map(drop)
    }

    /// Commits late: an old writer that sealed the buffer, was stopped for a while, and now commits.
    pub(super) async fn commit_late(self) {
        self.pause(100).await;
        let (store, settings) = (Arc::clone(&self.store) as Arc<dyn ObjectStore>, self.world.settings());
        let Ok(catalog) = Catalog::load(Arc::clone(&store), Arc::clone(&settings.clock)).await else {
            return;
        };
        let Some((sealed, range)) = self.database.inner.live.seal(usize::MAX) else { return };
        let stored =
            store_segment(&store, SegmentId::new(settings.clock.now_ns()), sealed.batches, &settings.index)
                .await;
        let Ok(segment) = stored else { return };
        self.pause(150).await;
        self.note("stale writer commits", format!("{range:?}"));
        let change = Change { add: vec![segment], wal: Some(range), ..Change::default() };
        self.outcome("stale commits", Some(catalog.commit(change).await.map(drop)));
    }

    /// Compares snapshots with the model from time to time.
    pub(super) async fn watch(self, times: usize) {
        for _ in 0..times {
            self.pause(60).await;
            let told = self.world.model.borrow().told_here();
            let snapshot = self.database.snapshot();
            self.world.compare("a query", &snapshot, &told).await;
        }
    }

    /// Reads as another process beside this one.
    pub(super) async fn read_beside(self, times: usize) {
        for _ in 0..times {
            self.pause(120).await;
            let told = self.world.model.borrow().told_anywhere();
            let storage = self.database.inner.storage.clone();
            let resources = self.database.inner.resources.clone();
            let opened = open_read_only_in(self.world.settings(), storage, resources).await;
            match opened {
                Ok(reader) if !self.is_stopped() => {
                    self.world.compare("another process", &reader.snapshot(), &told).await;
                }
                Ok(_) => return,
                Err(error) => self.outcome("reads beside", Some(Err(error))),
            }
        }
    }

    /// Delivers late requests and advances the clock.
    pub(super) async fn weather(self, times: usize) {
        for _ in 0..times {
            self.pause(40).await;
            self.store.deliver_late();
            if self.world.chaos.one_in(10) {
                self.world.clock.leap(Duration::from_mins(self.world.chaos.below(20) as u64));
            }
        }
    }

    fn outcome(&self, what: &'static str, done: Option<Result<(), Error>>) {
        match done {
            None => {}
            Some(Ok(())) => self.world.count(what),
            Some(Err(error)) => {
                self.note("failed:", format!("{what}: {error}"));
                let is_fenced = error.kind() == ErrorKind::Poisoned && self.is_replaced();
                self.world.count(if is_fenced { "held off" } else { "failures reported" });
                let expected = [
                    ErrorKind::Unavailable,
                    ErrorKind::Busy,
                    ErrorKind::Conflict,
                    ErrorKind::Poisoned,
                    ErrorKind::NotFound,
                ];
                if !expected.contains(&error.kind()) && !self.is_stopped() {
                    self.world.report(format!("{what}: {:?}: {error}", error.kind()));
                }
            }
        }
    }
}
