//! Which maintenance runs by itself while a database is open?
//!
//! | lane | duties | when |
//! |---|---|---|
//! | buffer | flush; small batches merged otherwise | the buffer is full, or its oldest event old; a moment after batches arrive |
//! | indexes | runs | after commits |
//! | orphans | objects that are in no commit | at the start, then every hour |
//! | retired | objects of removed segments | their grace period is over |
//! | retention | old segments, then each rule | after commits, and when a segment reaches an age |
//! | segments | rewriting, merging | after commits, as long as there is something to gain |
//!
//! The last three, and orphans after the start, run only with [`MaintenanceSettings::background`]. Each duty has its
//! own retry and [`DutyState`]. A step is never cut off, as a commit cut off half-way could still reach the disk after
//! the directory's lock was released; so long steps check [`Maintenance::stop`].

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

/// Delay from the arrival of batches to the merge of small ones.
const ARRIVAL_DELAY: Duration = Duration::from_millis(250);
/// Delay from a commit to the merge of indexes.
const RUNS_DELAY: Duration = Duration::from_millis(500);
/// Delay from a commit to the next check for expired events.
const RETENTION_DELAY: Duration = Duration::from_mins(1);
/// Longest delay from a commit to the next check for segments to merge.
const LOOK_DELAY_MAX: Duration = Duration::from_secs(1);
/// Interval between searches for orphans.
const ORPHANS_PERIOD: Duration = Duration::from_hours(1);
/// Interval between checks of objects that only queries still hold.
const HELD_PERIOD: Duration = Duration::from_secs(1);

/// A lock that keeps other processes from writing while it exists.
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
    /// Released last.
    _hold: Arc<Hold>,
}

impl Maintenance {
    /// Creates the maintenance of `ground` and its log `wal` by `settings`. Running steps keep `hold`.
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

    /// Lists the duties of retention.
    fn retention(&self) -> Vec<Duty> {
        if self.retainer.keeps_all() {
            return Vec::new();
        }
        std::iter::once(Duty::Retention).chain((0..self.retainer.rules()).map(Duty::RetentionRule)).collect()
    }

    /// Carries out the due work of `duty`, and records the outcome. Returns the time until it is due again; none when a
    /// signal decides that.
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

    /// Flushes when the buffer is full or its oldest event old; otherwise merges small batches.
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
        let limits = &self.buffer;
        level.rows > 0
            && (level.bytes >= limits.flush_bytes || level.rows >= limits.flush_rows || level.is_wanted)
    }

    /// Time until the oldest event must be flushed.
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

    /// Removes orphans. `stop` cuts off the search, which may take a request per thousand objects and changes nothing.
    async fn remove_orphans(&self) -> Result<Option<Duration>> {
        if let Some(orphans) = self.stop.run_until_cancelled(self.sweeper.orphans(self.settings.grace)).await
        {
            self.sweeper.remove(&orphans?).await?;
        }
        Ok(self.settings.background.then_some(ORPHANS_PERIOD))
    }

    /// Removes expired events; returns their number. A failing rule does not stop the others; its error is returned
    /// after them.
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

    /// Removes expired events, merges segments, and deletes objects whose grace period is over.
    ///
    /// Failures of retention and deletes are logged and stay in the [states](Self::states); only a failing merge fails
    /// this.
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

    /// Rewrites the segments that have deleted events, and deletes the objects whose grace period is over.
    pub async fn rewrite_deleted(&self, options: CompactionOptions) -> Result<()> {
        self.compactor.rewrite_deleted(options.segment).await?;
        self.sweeper.remove_retired(options.grace).await.map(drop)
    }

    /// State of each duty that was tried since the database was opened.
    pub fn states(&self) -> Vec<DutyState> {
        self.states.list()
    }

    /// Token that ends steps and duties.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// State and storage of the database.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Flushes the buffer into segments.
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

/// Returns zero when there may be more to do, else `later`.
fn next(more: bool, later: Option<Duration>) -> Option<Duration> {
    if more { Some(Duration::ZERO) } else { later }
}

fn again(more: bool) -> Option<Duration> {
    next(more, None)
}
