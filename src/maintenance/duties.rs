//! What is done by itself while a database is open?
//!
//! | lane | duties | when |
//! |---|---|---|
//! | buffer | flush; small batches merged otherwise | the buffer is full, or its oldest event old; a moment after batches arrive |
//! | indexes | runs | after commits |
//! | orphans | objects that no commit knows | at the start, then every hour |
//! | retired | objects of removed segments | their time of grace is over |
//! | retention | old segments, then each rule | after commits, and when a segment reaches an age |
//! | segments | rewriting, merging | after commits, as long as there is something to gain |
//!
//! The last three, and orphans after the start, only with [`MaintenanceSettings::background`]. Each duty has a
//! retry and a [`DutyState`] of its own. A step is never cut off: a commit cut off half-way could still reach the
//! disk after the directory was given back; so steps look at [`Maintenance::stop`] where they may take long.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::duty::DutyStates;
use super::lanes::Lane;
use super::live::BufferLevel;
use super::{
    Arrival, CompactionOptions, CompactionProgress, CompactionReport, Compactor, Duty, DutyState, Flusher,
    Ground, Masker, Retainer, RowMatcher, RunKeeper, Sweeper,
};
use crate::config::{BufferSettings, MaintenanceSettings, Settings};
use crate::error::Result;
use crate::segment;
use crate::wal::Wal;

/// Time from the arrival of batches to the merging of small ones.
const ARRIVAL_DELAY: Duration = Duration::from_millis(250);
/// Time from a commit to the merging of indexes.
const RUNS_DELAY: Duration = Duration::from_millis(500);
/// Time from a commit to a look at what has expired.
const RETENTION_DELAY: Duration = Duration::from_mins(1);
/// Time from a commit to a look at what can be merged, at most.
const LOOK_DELAY_MAX: Duration = Duration::from_secs(1);
/// Time between two searches for orphans.
const ORPHANS_PERIOD: Duration = Duration::from_hours(1);
/// Time until objects are looked at again that only queries keep.
const HELD_PERIOD: Duration = Duration::from_secs(1);

/// Keeps others from writing while it exists.
pub type Hold = dyn std::fmt::Debug + Send + Sync;

/// Everything that maintains one database.
#[derive(Debug)]
pub struct Maintenance {
    ground: Ground,
    flusher: Flusher,
    runs: RunKeeper,
    compactor: Compactor,
    sweeper: Sweeper,
    masker: Arc<Masker>,
    retainer: Retainer,
    buffer: BufferSettings,
    settings: MaintenanceSettings,
    states: DutyStates,
    stop: CancellationToken,
    /// Given up last.
    _hold: Arc<Hold>,
}

impl Maintenance {
    /// What maintains `ground`, of which `wal` is the log, as `settings` say. Steps under way keep `hold`.
    ///
    /// Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) when the condition of a retention rule is wrong.
    pub async fn new(
        ground: Ground,
        wal: Arc<Wal<Arrival>>,
        matcher: Arc<dyn RowMatcher>,
        settings: &Settings,
        hold: Arc<Hold>,
    ) -> Result<Self> {
        let masker = Arc::new(Masker::new(ground.clone(), matcher));
        let retention = settings.maintenance.retention.clone();
        Ok(Self {
            flusher: Flusher::new(ground.clone(), wal, settings.index.clone()),
            runs: RunKeeper::new(ground.clone()),
            compactor: Compactor::new(ground.clone(), settings.index.clone()),
            sweeper: Sweeper::new(ground.clone()),
            retainer: Retainer::new(Arc::clone(&masker), retention).await?,
            masker,
            ground,
            buffer: settings.buffer,
            settings: settings.maintenance.clone(),
            states: DutyStates::default(),
            stop: CancellationToken::new(),
            _hold: hold,
        })
    }

    /// Starts the duties on the current runtime. They end after [`stop`](Self::stop) was cancelled.
    pub fn start(self: &Arc<Self>) -> JoinHandle<()> {
        let lanes = self.lanes().into_iter().map(|lane| lane.run(Arc::downgrade(self)));
        let all = futures::future::join_all(lanes);
        tokio::spawn(async move { drop(all.await) })
    }

    fn lanes(&self) -> Vec<Lane> {
        let signals = self.ground.live.signals();
        let mut lanes = vec![
            Lane::by_buffer(signals, Duty::Flush, ARRIVAL_DELAY),
            Lane::by_catalog(signals, [(Duty::Runs, RUNS_DELAY)]),
            Lane::by_deadline(signals, Duty::Orphans),
        ];
        if self.settings.background {
            let delay = self.settings.check_every.min(LOOK_DELAY_MAX);
            let retention = self.retention().into_iter().map(|duty| (duty, RETENTION_DELAY));
            lanes.push(Lane::by_catalog(signals, retention));
            lanes.push(Lane::by_catalog(signals, [(Duty::RetiredObjects, delay)]));
            lanes.push(Lane::by_catalog(signals, [(Duty::Rewriting, delay), (Duty::Merging, delay)]));
        }
        lanes
    }

    /// The duties by which events expire.
    fn retention(&self) -> Vec<Duty> {
        if self.retainer.keeps_all() {
            return Vec::new();
        }
        std::iter::once(Duty::Retention).chain((0..self.retainer.rules()).map(Duty::RetentionRule)).collect()
    }

    /// Does what is due of `duty`, and takes note of how that went. Returns the time until more is due; none when
    /// that depends on signals.
    pub(super) async fn attempt(&self, duty: Duty) -> Result<Option<Duration>> {
        let outcome = match duty {
            Duty::Flush => self.flush().await,
            Duty::Runs => self.runs.step().await.map(|more| next(more, self.runs.due_in())),
            Duty::RetiredObjects => self.remove_retired().await,
            Duty::Orphans => self.remove_orphans().await,
            Duty::Retention => self.retainer.remove_expired().await.map(|_| self.retainer.due_in()),
            Duty::RetentionRule(rule) => {
                let applied = self.retainer.apply_rule(rule, &self.stop).await;
                applied.map(|_| self.retainer.rule_due_in(rule))
            }
            Duty::Rewriting => {
                self.compactor.rewrite_step(self.settings.segment, &self.stop).await.map(again)
            }
            Duty::Merging => self.compactor.merge_step(self.settings.segment, &self.stop).await.map(again),
        };
        self.states.record(duty, outcome.as_ref().err(), self.ground.clock.now_ns());
        outcome
    }

    /// Flushes when the buffer is full or old, and merges small batches otherwise.
    async fn flush(&self) -> Result<Option<Duration>> {
        let level = self.ground.live.level();
        if self.is_full(level) || self.old_in(level).is_some_and(|left| left.is_zero()) {
            self.flusher.flush(segment::ROWS_MAX).await?;
            return Ok(Some(Duration::ZERO));
        }
        self.flusher.merge_small().await?;
        Ok(self.old_in(level))
    }

    fn is_full(&self, level: BufferLevel) -> bool {
        level.rows > 0 && (level.bytes >= self.buffer.flush_bytes || level.rows >= self.buffer.flush_rows)
    }

    /// Time until the oldest event has waited long enough.
    fn old_in(&self, level: BufferLevel) -> Option<Duration> {
        let oldest_ns = level.oldest_ns.filter(|_| level.rows > 0)?;
        let age_ns = self.ground.clock.now_ns().saturating_sub(oldest_ns);
        let age = Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0));
        Some(Duration::from_millis(self.buffer.flush_age_ms).saturating_sub(age))
    }

    async fn remove_retired(&self) -> Result<Option<Duration>> {
        self.sweeper.remove_retired(self.settings.grace).await?;
        let held = self.settings.check_every.min(HELD_PERIOD);
        let next = self.sweeper.due_in(self.settings.grace);
        Ok(next.map(|next| if next.is_zero() { held } else { next }))
    }

    /// A search may take a request for every thousand objects, so `stop` cuts it off: it changes nothing.
    async fn remove_orphans(&self) -> Result<Option<Duration>> {
        if let Some(orphans) = self.stop.run_until_cancelled(self.sweeper.orphans(self.settings.grace)).await
        {
            self.sweeper.remove(&orphans?).await?;
        }
        Ok(self.settings.background.then_some(ORPHANS_PERIOD))
    }

    /// Removes what has expired; returns how many events. A rule that fails does not keep the others; its error is
    /// returned after them.
    pub async fn retain(&self) -> Result<u64> {
        let (mut rows, mut failed) = (0, None);
        for duty in self.retention() {
            let done = match duty {
                Duty::RetentionRule(rule) => self.retainer.apply_rule(rule, &self.stop).await,
                _ => self.retainer.remove_expired().await,
            };
            self.states.record(duty, done.as_ref().err(), self.ground.clock.now_ns());
            match done {
                Ok(done) => rows += done,
                Err(error) => failed = Some(failed.unwrap_or(error)),
            }
        }
        failed.map_or(Ok(rows), Err)
    }

    /// Removes what has expired, merges segments, and deletes objects whose time of grace is over.
    ///
    /// What cannot expire or be deleted is logged and stays in the [states](Self::states): the merges count.
    pub async fn compact(
        &self,
        options: CompactionOptions,
        progress: impl FnMut(CompactionProgress) + Send,
    ) -> Result<CompactionReport> {
        if let Err(error) = self.retain().await {
            tracing::error!(error = error.chain(), "retention failed; merging segments anyway");
        }
        let report = self.compactor.run(options.segment, progress).await?;
        let swept = self.sweeper.remove_retired(options.grace).await;
        self.states.record(Duty::RetiredObjects, swept.as_ref().err(), self.ground.clock.now_ns());
        if let Err(error) = swept {
            tracing::error!(error = error.chain(), "could not delete objects of merged segments");
        }
        Ok(report)
    }

    /// Writes the segments again that have deleted events, and deletes the objects whose time of grace is over.
    pub async fn rewrite_deleted(&self, options: CompactionOptions) -> Result<()> {
        self.compactor.rewrite_deleted(options.segment).await?;
        self.sweeper.remove_retired(options.grace).await.map(drop)
    }

    /// How each duty is doing that was tried since the database was opened.
    pub fn states(&self) -> Vec<DutyState> {
        self.states.list()
    }

    /// Tells steps and duties to end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// State of the database, and what it is kept in.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Makes segments of the buffer.
    pub fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    /// Merges indexes.
    pub fn runs(&self) -> &RunKeeper {
        &self.runs
    }

    /// Deletes events.
    pub fn masker(&self) -> &Masker {
        &self.masker
    }

    /// Merges segments.
    #[cfg(test)]
    pub(crate) fn compactor(&self) -> &Compactor {
        &self.compactor
    }

    /// Deletes objects.
    #[cfg(test)]
    pub(crate) fn sweeper(&self) -> &Sweeper {
        &self.sweeper
    }

    pub(super) fn count_wakeup(&self) {
        self.ground.capacity.count_wakeup();
    }
}

/// At once when there may be more, else `later`.
fn next(more: bool, later: Option<Duration>) -> Option<Duration> {
    if more { Some(Duration::ZERO) } else { later }
}

fn again(more: bool) -> Option<Duration> {
    next(more, None)
}
