//! How does a batch get in, and when is the buffer flushed?

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::lease::StoreLease;
use super::maintain::maintain;
use crate::catalog::Catalog;
use crate::config::{BufferSettings, Clock, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventBatch;
use crate::maintenance::live::BufferLevel;
use crate::maintenance::{
    Arrival, Claim, CompactionOptions, CompactionProgress, CompactionReport, Compactor, Flusher, Live,
    MaintenanceCounts, MaintenanceStats, Masker, Retainer, RunKeeper, Sweeper, Verdict,
};
use crate::query::matching::EngineMatcher;
use crate::segment;
use crate::wal::{DeliveryId, Log, Payload, SequenceNumber, Wal, WalStats};

/// How often the age of the buffer is looked at; size is looked at after every append.
const AGE_CHECK: Duration = Duration::from_millis(250);
/// How often it is looked at whether there are new segments for the runs.
const RUN_CHECK: Duration = Duration::from_millis(500);
/// Smaller batches are encoded where they are: going to another thread would take longer.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// Pauses between attempts when flushing fails.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What keeps others from writing while it exists.
pub(super) type Lock = dyn std::fmt::Debug + Send + Sync;

/// The write half of an open database.
#[derive(Debug)]
pub(super) struct Writer {
    live: Arc<Live>,
    catalog: Arc<Catalog>,
    wal: Arc<Wal<Arrival>>,
    flusher: Flusher,
    runs: RunKeeper,
    compactor: Compactor,
    sweeper: Arc<Sweeper>,
    masker: Arc<Masker>,
    retainer: Retainer,
    stats: Arc<MaintenanceStats>,
    clock: Arc<dyn Clock>,
    /// Wakes the background task when the buffer is full.
    full: Arc<Notify>,
    /// Asks the background task to end. It is never aborted: a commit cut off half-way could still reach
    /// the disk after the directory was given back.
    stop: CancellationToken,
    background: Mutex<Option<JoinHandle<()>>>,
    /// The sign of life, in a store.
    lease: Option<Arc<StoreLease>>,
    /// Given up last: the log thread has its own share until it has ended.
    _lock: Arc<Lock>,
}

impl Writer {
    /// Starts the log.
    pub(super) async fn start(
        inner: &Inner,
        catalog: Arc<Catalog>,
        lock: Arc<Lock>,
        log: Box<dyn Log>,
        sweeper: Arc<Sweeper>,
    ) -> Result<Self> {
        let live = Arc::clone(&inner.live);
        let clock = Arc::clone(&inner.settings.clock);
        let sink = {
            let (live, clock, lock) = (Arc::clone(&live), Arc::clone(&clock), Arc::clone(&lock));
            move |batches| {
                let _held_while_the_log_is_open = &lock;
                live.durable(batches, clock.now_ns());
            }
        };
        let wal = Arc::new(Wal::start(log, Box::new(sink))?);
        let flusher = Flusher::new(
            Arc::clone(&live),
            Arc::clone(&catalog),
            Arc::clone(&inner.storage.store),
            Arc::clone(&wal),
            Arc::clone(&clock),
            inner.settings.index.clone(),
        );
        let runs = RunKeeper::new(
            Arc::clone(&live),
            Arc::clone(&catalog),
            Arc::clone(&inner.storage.store),
            Arc::clone(&clock),
        );
        let compactor = Compactor::new(
            Arc::clone(&live),
            Arc::clone(&catalog),
            Arc::clone(&inner.storage.store),
            Arc::clone(&clock),
            inner.settings.index.clone(),
            Arc::clone(&sweeper),
            Arc::clone(sweeper.stats()),
        );
        let full = Arc::new(Notify::new());
        let stop = CancellationToken::new();
        let background = Mutex::default();
        let stats = Arc::clone(sweeper.stats());
        let (engine, store) = (inner.engine.clone(), Arc::clone(&inner.storage.store));
        let matcher = EngineMatcher::new(engine, Arc::clone(&store), Arc::clone(live.keys()));
        let masker = Arc::new(Masker::new(
            Arc::clone(&live),
            Arc::clone(&catalog),
            store,
            Arc::clone(&clock),
            Arc::new(matcher),
            Arc::clone(&stats),
        ));
        let retention = inner.settings.maintenance.retention.clone();
        let retainer = Retainer::new(Arc::clone(&masker), retention).await?;
        Ok(Self {
            live,
            catalog,
            wal,
            flusher,
            runs,
            compactor,
            sweeper,
            masker,
            retainer,
            stats,
            clock,
            full,
            stop,
            background,
            lease: inner.storage.lease.clone(),
            _lock: lock,
        })
    }

    /// Starts the background task, which does by itself what is due.
    pub(super) fn start_background(self: &Arc<Self>, settings: &Settings) {
        let Settings { buffer, clock, maintenance, .. } = settings.clone();
        let task = flush_when_due(Arc::downgrade(self), Arc::clone(&self.full), buffer, clock);
        let runs = keep_runs(Arc::downgrade(self));
        let leftovers = remove_leftovers(Arc::downgrade(self), maintenance.grace);
        let weak = Arc::downgrade(self);
        let maintain = async move {
            if maintenance.background {
                maintain(weak, maintenance).await;
            }
        };
        *self.background.lock() = Some(tokio::spawn(async move {
            tokio::join!(task, runs, leftovers, maintain);
        }));
    }

    /// Makes `batch`, which came in the message `id`, durable and visible, unless the message was taken in
    /// before. Returns whether it was new.
    pub(super) async fn deliver(
        &self,
        id: DeliveryId,
        batch: Arc<EventBatch>,
        limits: BufferSettings,
    ) -> Result<bool> {
        let deliveries = self.live.deliveries();
        if !deliveries.is_on() {
            return self.append(batch, None, limits).await.map(|_: SequenceNumber| true);
        }
        loop {
            match deliveries.claim(id, self.clock.now_ns()) {
                Verdict::Known => return Ok(false),
                // It ends with an error: nothing is ever sent.
                Verdict::Waiting(mut decided) => drop(decided.changed().await),
                Verdict::Claimed(claim) => {
                    return self.append(batch, Some(claim), limits).await.map(|_: SequenceNumber| true);
                }
            }
        }
    }

    /// Makes `batch` durable and visible.
    pub(super) async fn append(
        &self,
        batch: Arc<EventBatch>,
        claim: Option<Claim>,
        limits: BufferSettings,
    ) -> Result<SequenceNumber> {
        let id = claim.as_ref().map(Claim::id);
        if batch.rows() > segment::ROWS_MAX {
            let message = format!(
                "batch of {} events, at most {} go in one: send smaller batches",
                batch.rows(),
                segment::ROWS_MAX
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        self.catalog.is_owner()?;
        let bytes = batch.memory_bytes();
        let _room = self.live.admit(bytes, limits.bytes_max).inspect_err(|_| self.full.notify_one())?;
        let payload = if bytes <= INLINE_BYTES_MAX {
            encode(&batch, id)?
        } else {
            let batch = Arc::clone(&batch);
            let encode = tokio::task::spawn_blocking(move || encode(&batch, id));
            encode.await.map_err(|e| Error::internal("encoding a batch failed").with_source(e))??
        };
        let seq = self.wal.append(payload, Arrival { batch, claim }).await?;
        if is_full(self.live.level(), limits) {
            self.full.notify_one();
        }
        Ok(seq)
    }

    /// Flushes until everything that is in the buffer now is in segments.
    pub(super) async fn flush_all(&self) -> Result<()> {
        let Some((_, all)) = self.live.seal(usize::MAX) else { return Ok(()) };
        while self.catalog.snapshot().wal_watermark < all.through {
            self.flusher.flush(segment::ROWS_MAX).await?;
        }
        Ok(())
    }

    /// Merges small batches in the buffer.
    pub(super) async fn merge_small(&self) -> Result<()> {
        self.flusher.merge_small().await
    }

    /// Merges segments.
    pub(super) async fn compact(
        &self,
        options: CompactionOptions,
        progress: impl FnMut(CompactionProgress) + Send,
    ) -> Result<CompactionReport> {
        self.retainer.apply(&self.stop).await?;
        self.compactor.run(options, progress).await
    }

    /// Flushes, does what is due for the runs, and ends the background task.
    pub(super) async fn close(self: Arc<Self>) -> Result<()> {
        let background = self.background.lock().take();
        let flushed = self.flush_all().await;
        if flushed.is_ok() {
            self.runs.settle().await;
        }
        if let Some(task) = background {
            self.stop.cancel();
            task.await.map_err(|e| Error::internal("the background task failed").with_source(e))?;
        }
        flushed?;
        self.catalog.release().await?;
        if let Some(lease) = &self.lease {
            lease.release().await;
        }
        Ok(())
    }

    /// Makes one segment of about so many events.
    #[cfg(test)]
    pub(super) async fn flush_some(&self, rows_max: usize) -> Result<()> {
        self.flusher.flush(rows_max).await.map(drop)
    }

    /// Merges the indexes of segments as far as is due, now.
    #[cfg(test)]
    pub(super) async fn settle_runs(&self) {
        self.runs.settle().await;
    }

    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(super) fn compactor(&self) -> &Compactor {
        &self.compactor
    }

    pub(super) fn sweeper(&self) -> &Sweeper {
        &self.sweeper
    }

    pub(super) fn masker(&self) -> &Masker {
        &self.masker
    }

    pub(super) fn retainer(&self) -> &Retainer {
        &self.retainer
    }

    pub(super) fn maintenance(&self) -> MaintenanceCounts {
        self.stats.counts()
    }

    pub(super) fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    pub(super) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(super) fn wal_stats(&self) -> WalStats {
        self.wal.stats()
    }

    pub(super) fn flushes(&self) -> u64 {
        self.flusher.flushes()
    }
}

fn encode(batch: &EventBatch, id: Option<DeliveryId>) -> Result<Payload> {
    let encoded = batch.encode()?;
    match id {
        Some(id) => Payload::compress(&id.with_batch(&encoded)),
        None => Payload::compress(&encoded),
    }
}

fn is_full(level: BufferLevel, limits: BufferSettings) -> bool {
    level.bytes >= limits.flush_bytes || level.rows >= limits.flush_rows
}

fn is_old(level: BufferLevel, limits: BufferSettings, now_ns: i64) -> bool {
    let age_ns = level.oldest_ns.map_or(0, |oldest| now_ns.saturating_sub(oldest));
    age_ns.unsigned_abs() >= limits.flush_age_ms.saturating_mul(1_000_000) && level.rows > 0
}

/// Flushes when the buffer is full or old, until the writer is gone.
async fn flush_when_due(
    writer: Weak<Writer>,
    full: Arc<Notify>,
    limits: BufferSettings,
    clock: Arc<dyn Clock>,
) {
    let Some(stop) = writer.upgrade().map(|writer| writer.stop.clone()) else { return };
    let mut pause = RETRY_MIN;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = full.notified() => {}
            () = tokio::time::sleep(AGE_CHECK) => {}
        }
        let Some(writer) = writer.upgrade() else { return };
        let level = writer.live.level();
        let due = is_full(level, limits) || is_old(level, limits, clock.now_ns());
        let done = if due {
            writer.flusher.flush(segment::ROWS_MAX).await.map(|_| ())
        } else {
            writer.merge_small().await
        };
        match done {
            Ok(()) => pause = RETRY_MIN,
            Err(error) => {
                drop(writer);
                tracing::error!(%error, "could not flush or merge the buffer; trying again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Deletes what a crash may have left. Nobody waits for it: to look through an object store takes a request for
/// every thousand objects.
async fn remove_leftovers(writer: Weak<Writer>, grace: Duration) {
    let Some((stop, sweeper)) = writer.upgrade().map(|w| (w.stop.clone(), Arc::clone(&w.sweeper))) else {
        return;
    };
    let look = async {
        let orphans = sweeper.orphans(grace).await?;
        // Only while the lock is held, and has been since before.
        match writer.upgrade() {
            Some(writer) if !orphans.is_empty() => writer.sweeper.remove(&orphans).await,
            _ => Ok(()),
        }
    };
    if let Some(Err(error)) = stop.run_until_cancelled(look).await {
        tracing::warn!(%error, "could not look for what a crash may have left");
    }
}

/// Makes and merges runs when segments have come or gone, until the writer is gone.
async fn keep_runs(writer: Weak<Writer>) {
    let Some(stop) = writer.upgrade().map(|writer| writer.stop.clone()) else { return };
    let mut settled = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RUN_CHECK) => {}
        }
        let Some(writer) = writer.upgrade() else { return };
        let version = writer.catalog.snapshot().version;
        if settled == Some(version) {
            continue;
        }
        // What failed is tried again when there are other segments.
        settled = match writer.runs.step().await {
            Ok(true) => None,
            Ok(false) => Some(version),
            Err(error) => {
                tracing::warn!(%error, "could not merge indexes; lookups ask more objects until it works");
                Some(version)
            }
        };
    }
}
