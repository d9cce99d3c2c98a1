//! Which events are in the database at this moment?

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::arrivals::{Arrivals, Watchers};
use super::births::Births;
use super::buffers::{Admission, Buffers, Share};
use super::deliveries::{Claim, Deliveries};
use super::signals::Signals;
use super::sweep::names;
use crate::buffer::{Buffer, Run, Sealed};
use crate::catalog::{CatalogSnapshot, WalRange};
use crate::config::DeliverySettings;
use crate::error::Result;
use crate::event::{EventBatch, KeyDictionary};
use crate::segment::{SegmentId, SegmentMeta};
use crate::wal::SequenceNumber;

/// Catalog and buffer under one lock, so that each reader sees each event exactly once.
#[derive(Debug)]
pub struct Live {
    state: Mutex<State>,
    keys: Arc<KeyDictionary>,
    births: Arc<Births>,
    deliveries: Arc<Deliveries>,
    signals: Arc<Signals>,
    /// Memory of the buffer, and of batches that are on their way through the log.
    share: Share,
}

#[derive(Debug)]
struct State {
    catalog: Arc<CatalogSnapshot>,
    buffer: Buffer,
    /// Segments that have left the catalog. A query that may still read one holds it.
    retired: Vec<Weak<SegmentMeta>>,
    /// Those who are told of batches when queries see them.
    watchers: Watchers,
}

impl State {
    fn new(catalog: Arc<CatalogSnapshot>, buffer: Buffer) -> Self {
        Self { catalog, buffer, retired: Vec::new(), watchers: Watchers::default() }
    }

    /// Makes `catalog` the current one, and remembers the segments that it has removed.
    fn swap(&mut self, catalog: &Arc<CatalogSnapshot>) {
        let old = std::mem::replace(&mut self.catalog, Arc::clone(catalog));
        self.retired.retain(|segment| segment.strong_count() > 0);
        if Arc::ptr_eq(&old.removed, &catalog.removed) {
            return;
        }
        let present: HashMap<SegmentId, &Arc<SegmentMeta>> =
            catalog.segments.iter().map(|segment| (segment.id, segment)).collect();
        let stays = |s: &Arc<SegmentMeta>| present.get(&s.id).is_some_and(|other| Arc::ptr_eq(s, other));
        let gone = old.segments.iter().filter(|segment| !stays(segment));
        self.retired.extend(gone.map(Arc::downgrade));
    }
}

/// A batch on its way through the log.
#[derive(Debug)]
pub struct Arrival {
    /// Events.
    pub batch: Arc<EventBatch>,
    /// Claim of the message that brought them; none when messages are not deduplicated.
    pub claim: Option<Claim>,
    /// Dropped when queries see the events, or never will; `close` waits for it.
    pub under_way: Option<TaskTrackerToken>,
}

/// Fill level of the buffer.
#[derive(Debug, Clone, Copy, Default)]
pub struct BufferLevel {
    /// Number of events.
    pub rows: usize,
    /// Memory, in bytes.
    pub bytes: usize,
    /// Time at which the oldest batch arrived.
    pub oldest_ns: Option<i64>,
    /// True if a batch was refused, here or in another database of the process, and a flush would make room.
    pub is_wanted: bool,
}

impl Live {
    /// Creates the state at start: committed segments, and the batches above the watermark in the log.
    pub fn new(catalog: Arc<CatalogSnapshot>, buffer: Buffer, keys: Arc<KeyDictionary>) -> Self {
        let live = Self::remembering(catalog, keys, DeliverySettings::default(), &Arc::default());
        live.share.holds(buffer.bytes());
        live.state.lock().buffer = buffer;
        live
    }

    /// Creates the state with an empty buffer, one of `buffers`. Messages are deduplicated by `deliveries`.
    pub fn remembering(
        catalog: Arc<CatalogSnapshot>,
        keys: Arc<KeyDictionary>,
        deliveries: DeliverySettings,
        buffers: &Arc<Buffers>,
    ) -> Self {
        let deliveries = Arc::new(Deliveries::new(deliveries));
        let state = Mutex::new(State::new(catalog, Buffer::default()));
        let (births, signals) = Default::default();
        let share = buffers.join(&signals);
        Self { state, keys, births, deliveries, signals, share }
    }

    /// Attribute keys seen so far.
    pub fn keys(&self) -> &Arc<KeyDictionary> {
        &self.keys
    }

    /// Recently stored messages.
    pub fn deliveries(&self) -> &Arc<Deliveries> {
        &self.deliveries
    }

    /// Signals to the maintenance of the database.
    pub fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// Objects that are being made.
    pub fn births(&self) -> &Arc<Births> {
        &self.births
    }

    /// Names of the objects of segments that queries of this process read or may begin to read: those in the catalog,
    /// and removed ones that a query still holds.
    pub fn held(&self) -> HashSet<String> {
        let state = self.state.lock();
        let present = state.catalog.segments.iter().cloned();
        let retired = state.retired.iter().filter_map(Weak::upgrade);
        present.chain(retired).flat_map(|segment| names(&segment).collect::<Vec<_>>()).collect()
    }

    /// Returns segments and buffer at one moment.
    pub fn view(&self) -> (Arc<CatalogSnapshot>, Arc<[Arc<EventBatch>]>) {
        let mut state = self.state.lock();
        (Arc::clone(&state.catalog), state.buffer.batches())
    }

    /// Returns segments and buffer at one moment, and the batches that arrive from then on.
    pub fn watch(&self) -> (Arc<CatalogSnapshot>, Arc<[Arc<EventBatch>]>, Arrivals) {
        let mut state = self.state.lock();
        let arrivals = state.watchers.add();
        (Arc::clone(&state.catalog), state.buffer.batches(), arrivals)
    }

    /// Returns segments and buffer at one moment, and the log range of the buffer's batches.
    pub fn view_of_log(&self) -> (Arc<CatalogSnapshot>, Arc<[Arc<EventBatch>]>, WalRange) {
        let mut state = self.state.lock();
        let from = state.catalog.wal_watermark;
        let wal = WalRange { from, through: state.buffer.last().unwrap_or(from) };
        (Arc::clone(&state.catalog), state.buffer.batches(), wal)
    }

    /// Fill level of the buffer.
    pub fn level(&self) -> BufferLevel {
        let is_wanted = self.share.is_wanted();
        let buffer = &self.state.lock().buffer;
        BufferLevel { rows: buffer.rows(), bytes: buffer.bytes(), oldest_ns: buffer.oldest_ns(), is_wanted }
    }

    /// Reserves memory for a batch of `bytes`. A single batch of any size fits where nothing else is.
    ///
    /// Fails with [`ErrorKind::Busy`](crate::ErrorKind::Busy) when the buffer and the batches in progress would exceed
    /// `bytes_max`, or those of all databases of the process their limit, and has the full ones flushed.
    pub fn admit(&self, bytes: usize, bytes_max: usize) -> Result<Admission> {
        self.share.reserve(bytes, bytes_max)
    }

    /// Adds batches that have become durable: from now on queries see them.
    pub fn durable(&self, arrivals: Vec<(SequenceNumber, Arrival)>, now_ns: i64) {
        let mut batches = Vec::with_capacity(arrivals.len());
        for (seq, Arrival { batch, claim, under_way }) in arrivals {
            self.keys.observe(&batch);
            // Before a flush can see the batch, as the flush commits the message too.
            if let Some(claim) = claim {
                claim.stored(seq, now_ns);
            }
            batches.push((seq, batch, under_way));
        }
        let mut state = self.state.lock();
        let mut arrived = Vec::with_capacity(batches.len());
        for (seq, batch, under_way) in batches {
            state.watchers.tell(&batch);
            state.buffer.push(seq, batch, now_ns);
            arrived.push(under_way);
        }
        self.share.holds(state.buffer.bytes());
        drop(state);
        drop(arrived);
        self.signals.batches_arrived();
    }

    /// Seals the oldest batches, up to about `rows_max` events, and returns them with their log range.
    pub fn seal(&self, rows_max: usize) -> Option<(Sealed, WalRange)> {
        let mut state = self.state.lock();
        let sealed = state.buffer.seal(rows_max)?;
        let range = WalRange { from: state.catalog.wal_watermark, through: sealed.through };
        Some((sealed, range))
    }

    /// Finds a run of small batches that is worth merging.
    pub fn small_run(&self) -> Option<Run> {
        self.state.lock().buffer.small_run()
    }

    /// Replaces a run by its merged events; no flush may be running.
    pub fn replace_run(&self, run: &Run, merged: Arc<EventBatch>) {
        let mut state = self.state.lock();
        state.buffer.replace_run(run, merged);
        self.share.holds(state.buffer.bytes());
    }

    /// Makes queries see `catalog`, and drops the batches that it has in segments. A snapshot older than the current
    /// one changes nothing.
    pub fn committed(&self, catalog: &Arc<CatalogSnapshot>) {
        let mut state = self.state.lock();
        if catalog.version > state.catalog.version {
            state.buffer.remove_through(catalog.wal_watermark);
            self.share.holds(state.buffer.bytes());
            state.swap(catalog);
            drop(state);
            self.signals.committed(catalog.version);
        }
    }

    /// Replaces everything, for a reader beside a writer.
    ///
    /// # Panics
    /// If the buffer has a batch that is in segments already.
    pub fn replace(&self, catalog: Arc<CatalogSnapshot>, buffer: Buffer) {
        let replayed = buffer.first();
        assert!(
            replayed.is_none_or(|first| first > catalog.wal_watermark),
            "segments have no batch of the buffer"
        );
        let mut state = self.state.lock();
        self.share.holds(buffer.bytes());
        let watchers = std::mem::take(&mut state.watchers);
        *state = State { watchers, ..State::new(catalog, buffer) };
    }
}
