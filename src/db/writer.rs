//! How does a batch get in?
//!
//! ```text
//! append ─▶ ticket ─▶ room ─▶ encode ─▶ log: one fsync for many ─▶ buffer ─▶ ticket given back, answer
//! close  ─▶ no more tickets ─▶ wait for all ─▶ flush ─▶ end the duties ─▶ release the claim
//! ```
//!
//! # Invariants
//!
//! - A batch on its way through the log holds a ticket until queries see it or it has failed, even if its caller has
//!   gone. `close` waits for all tickets before it flushes, so no batch is left in the log.
//! - After a failed fsync or a takeover every append fails; [`readiness`](Writer::readiness) says so.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::Inner;
use super::lease::StoreLease;
use crate::catalog::Catalog;
use crate::config::BufferSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventBatch;
use crate::maintenance::{Arrival, Claim, Ground, Hold, Live, Maintenance, Verdict};
use crate::query::row_matcher::EngineMatcher;
use crate::segment;
use crate::store::placement::Placement;
use crate::wal::{DeliveryId, Log, Payload, SequenceNumber, Wal, WalStats};

/// Batches up to this size are encoded on the caller's thread: a switch to another thread would take longer.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// The write half of an open database.
#[derive(Debug)]
pub(super) struct Writer {
    maintenance: Arc<Maintenance>,
    wal: Arc<Wal<Arrival>>,
    /// Appends in progress.
    tickets: TaskTracker,
    /// Background task. It is asked to end, never aborted.
    background: Mutex<Option<JoinHandle<()>>>,
    placement: Option<Arc<Placement>>,
    /// Lease of the store; none where the log is in a directory.
    lease: Option<Arc<StoreLease>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.maintenance.stop().cancel();
    }
}

impl Writer {
    /// Starts the log. `lock` is released last: the log thread and the maintenance hold shares of it until they end.
    pub(super) async fn start(
        inner: &Inner,
        ground: Ground,
        lock: Arc<Hold>,
        log: Box<dyn Log>,
    ) -> Result<Self> {
        let sink = {
            let (live, clock, lock) =
                (Arc::clone(&ground.live), Arc::clone(&ground.clock), Arc::clone(&lock));
            move |batches| {
                let _held_while_the_log_is_open = &lock;
                live.durable(batches, clock.now_ns());
            }
        };
        let wal = Arc::new(Wal::start(log, Box::new(sink))?);
        let (engine, store) = (inner.engine.clone(), Arc::clone(&ground.store));
        let matcher = Arc::new(EngineMatcher::new(engine, store, Arc::clone(ground.live.keys())));
        let maintenance = Maintenance::new(ground, Arc::clone(&wal), matcher, &inner.settings, lock).await?;
        Ok(Self {
            maintenance: Arc::new(maintenance),
            wal,
            tickets: TaskTracker::new(),
            background: Mutex::default(),
            placement: inner.storage.placement.clone(),
            lease: inner.storage.lease.clone(),
        })
    }

    /// Starts the background task, which carries out due maintenance.
    pub(super) fn start_background(&self) {
        *self.background.lock() = Some(self.maintenance.start());
    }

    /// Makes `batch` of the message `id` durable and visible, unless the message was stored before. Returns true if
    /// it was new.
    pub(super) async fn deliver(
        &self,
        id: DeliveryId,
        batch: Arc<EventBatch>,
        limits: BufferSettings,
    ) -> Result<bool> {
        let deliveries = self.live().deliveries();
        if !deliveries.is_on() {
            return self.append(batch, None, limits).await.map(|_: SequenceNumber| true);
        }
        loop {
            match deliveries.claim(id, self.ground().clock.now_ns()) {
                Verdict::Known => return Ok(false),
                // The wait ends with an error, as nothing is ever sent: the claim was stored or dropped.
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
        let under_way = self.tickets.token();
        // In this order: either `close` sees the ticket, or this sees that the database is closed.
        if self.tickets.is_closed() {
            return Err(Error::new(ErrorKind::Unavailable, "the database was closed: open it again"));
        }
        if batch.rows() > segment::ROWS_MAX {
            let message = format!(
                "the batch has {} events, the limit is {}: send smaller batches",
                batch.rows(),
                segment::ROWS_MAX
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        self.catalog().is_owner()?;
        let bytes = batch.memory_bytes();
        let _room = self.live().admit(bytes, limits.bytes_max)?;
        let payload = if bytes <= INLINE_BYTES_MAX {
            encode(&batch, id)?
        } else {
            let batch = Arc::clone(&batch);
            let encode = tokio::task::spawn_blocking(move || encode(&batch, id));
            encode.await.map_err(|e| Error::internal("encoding a batch failed").with_source(e))??
        };
        let arrival = Arrival { batch, claim, under_way: Some(under_way) };
        let seq = self.wal.append(payload, arrival).await?;
        let level = self.live().level();
        if level.bytes >= limits.flush_bytes || level.rows >= limits.flush_rows {
            self.live().signals().buffer_is_full();
        }
        Ok(seq)
    }

    /// Flushes until all events that are in the buffer now are in segments.
    pub(super) async fn flush_all(&self) -> Result<()> {
        let Some((_, all)) = self.live().seal(usize::MAX) else { return Ok(()) };
        while self.catalog().snapshot().wal_watermark < all.through {
            self.maintenance.flusher().flush(segment::ROWS_MAX).await?;
        }
        Ok(())
    }

    /// Waits for appends in progress, flushes, merges indexes that are due, and ends the background task.
    pub(super) async fn close(self: Arc<Self>) -> Result<()> {
        self.tickets.close();
        self.tickets.wait().await;
        let background = self.background.lock().take();
        let flushed = self.flush_all().await;
        if flushed.is_ok() {
            self.maintenance.runs().settle().await;
        }
        if let Some(task) = background {
            self.maintenance.stop().cancel();
            task.await.map_err(|e| Error::internal("the background task failed").with_source(e))?;
        }
        flushed?;
        self.catalog().release().await?;
        if let Some(lease) = &self.lease {
            lease.release().await;
        }
        Ok(())
    }

    /// Fails with [`ErrorKind::Poisoned`], and the reason, when no append will work until a restart.
    pub(super) fn readiness(&self) -> Result<()> {
        let poisoned = |why: String| Err(Error::new(ErrorKind::Poisoned, why));
        self.catalog().is_owner()?;
        if let Some(owner) = self.lease.as_ref().and_then(|lease| lease.successor()) {
            return poisoned(format!("{owner} has taken over writing: restart the process, or stop it"));
        }
        match self.placement.as_ref().and_then(|placement| placement.poison()) {
            Some(why) => poisoned(why),
            None => self.wal.poison().map_or(Ok(()), poisoned),
        }
    }

    /// Flushes about this many events into one segment.
    #[cfg(test)]
    pub(super) async fn flush_some(&self, rows_max: usize) -> Result<()> {
        self.maintenance.flusher().flush(rows_max).await.map(drop)
    }

    /// Merges small batches in the buffer.
    #[cfg(test)]
    pub(super) async fn merge_small(&self) -> Result<()> {
        self.maintenance.flusher().merge_small().await
    }

    /// Carries out all due merges of indexes.
    #[cfg(test)]
    pub(super) async fn settle_runs(&self) {
        self.maintenance.runs().settle().await;
    }

    /// Returns the maintenance of the database.
    pub(super) fn maintenance(&self) -> &Maintenance {
        &self.maintenance
    }

    pub(super) fn ground(&self) -> &Ground {
        self.maintenance.ground()
    }

    pub(super) fn live(&self) -> &Arc<Live> {
        &self.ground().live
    }

    pub(super) fn catalog(&self) -> &Arc<Catalog> {
        &self.ground().catalog
    }

    pub(super) fn wal_stats(&self) -> WalStats {
        self.wal.stats()
    }
}

fn encode(batch: &EventBatch, id: Option<DeliveryId>) -> Result<Payload> {
    let encoded = batch.encode()?;
    match id {
        Some(id) => Payload::compress(&id.with_batch(&encoded)),
        None => Payload::compress(&encoded),
    }
}
