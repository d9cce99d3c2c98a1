//! Which events are acknowledged but not yet in a segment?
//!
//! The buffer holds them in memory, in order of their sequence numbers, and queries read them there. The log
//! has the same batches, so losing the buffer loses nothing. The buffer has no lock: its owner
//! (`maintenance`) changes buffer and catalog together under a single lock.
//!
//! ```text
//!   push ──▶ [ 41 42 43 │ 44 45 ]        seal() shares a prefix with a flush and takes nothing away;
//!              ▲ flush    ▲ next         remove_through(43) drops it once its segment is committed
//! ```
//!
//! Queries share the batches, so a query's snapshot stays the same while the buffer changes. Each batch costs a
//! query time, so runs of small ones are merged ([`Buffer::small_run`]); queries return the same events.
//! A run never crosses the end of a sealed prefix: a flush may turn out to be committed long after it seemed to
//! have failed, and then exactly its batches must be removed.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::EventBatch;
use crate::wal::SequenceNumber;

/// Number of events below which a batch is small.
const SMALL_ROWS: usize = 4096;
/// Number of adjacent small batches that are worth merging.
const RUN_BATCHES_MIN: usize = 16;
/// Largest number of events in a run to be merged.
const RUN_ROWS_MAX: usize = 16 << 10;

/// Acknowledged batches that are not in a segment yet.
#[derive(Debug, Default)]
pub struct Buffer {
    entries: VecDeque<Entry>,
    rows: usize,
    bytes: usize,
    /// List of batches for queries; built by the first query after a change.
    shared: Option<Arc<[Arc<EventBatch>]>>,
}

#[derive(Debug)]
struct Entry {
    seq: SequenceNumber,
    batch: Arc<EventBatch>,
    bytes: usize,
    arrived_ns: i64,
    /// True if a flush has sealed the buffer up to and including this batch.
    ends_sealed: bool,
}

/// A prefix of the buffer, to be flushed to a segment.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The batches, in order of arrival.
    pub batches: Vec<Arc<EventBatch>>,
    /// Sequence number of the last batch.
    pub through: SequenceNumber,
    /// Number of events in the batches.
    pub rows: usize,
}

/// Adjacent small batches to be merged.
#[derive(Debug, Clone)]
pub struct Run {
    /// The batches, in order of arrival.
    pub batches: Vec<Arc<EventBatch>>,
    first: SequenceNumber,
    last: SequenceNumber,
}

impl Buffer {
    /// Adds a batch that has become durable at `now_ns`.
    ///
    /// # Panics
    /// If `seq` is not above the numbers in the buffer.
    pub fn push(&mut self, seq: SequenceNumber, batch: Arc<EventBatch>, now_ns: i64) {
        assert!(self.entries.back().is_none_or(|last| last.seq < seq), "the log delivers in order");
        let bytes = batch.memory_bytes();
        self.rows += batch.rows();
        self.bytes += bytes;
        self.shared = None;
        self.entries.push_back(Entry { seq, batch, bytes, arrived_ns: now_ns, ends_sealed: false });
    }

    /// Seals the oldest batches: at least one, and up to `rows_max` events. `None` if the buffer is empty.
    pub fn seal(&mut self, rows_max: usize) -> Option<Sealed> {
        let mut sealed = Sealed { batches: Vec::new(), through: self.entries.front()?.seq, rows: 0 };
        let mut last = None;
        for entry in &mut self.entries {
            let rows = sealed.rows + entry.batch.rows();
            if rows > rows_max && !sealed.batches.is_empty() {
                break;
            }
            sealed.rows = rows;
            sealed.through = entry.seq;
            sealed.batches.push(Arc::clone(&entry.batch));
            last = Some(&mut entry.ends_sealed);
        }
        if let Some(ends_sealed) = last {
            *ends_sealed = true;
        }
        Some(sealed)
    }

    /// Removes the batches up to `through`; returns their size in bytes.
    ///
    /// # Panics
    /// If an empty buffer still counts events or bytes.
    pub fn remove_through(&mut self, through: SequenceNumber) -> usize {
        let before = self.bytes;
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.seq <= through) {
            self.rows -= entry.batch.rows();
            self.bytes -= entry.bytes;
            self.shared = None;
        }
        let is_empty = self.entries.is_empty();
        assert!(
            !is_empty || (self.rows, self.bytes) == (0, 0),
            "an empty buffer has neither events nor bytes"
        );
        before - self.bytes
    }

    /// Returns the first run of small batches that is worth merging.
    pub fn small_run(&self) -> Option<Run> {
        let mut run: Vec<&Entry> = Vec::new();
        let mut rows = 0;
        let worth = |run: &[&Entry]| run.len() >= RUN_BATCHES_MIN;
        for entry in &self.entries {
            let small = entry.batch.rows() < SMALL_ROWS;
            if !small || rows + entry.batch.rows() > RUN_ROWS_MAX {
                if worth(&run) {
                    break;
                }
                (run, rows) = (Vec::new(), 0);
            }
            if small {
                rows += entry.batch.rows();
                run.push(entry);
            }
            if entry.ends_sealed {
                if worth(&run) {
                    break;
                }
                (run, rows) = (Vec::new(), 0);
            }
        }
        let (first, last) = (run.first()?.seq, run.last()?.seq);
        let batches = run.iter().map(|entry| Arc::clone(&entry.batch)).collect();
        worth(&run).then_some(Run { batches, first, last })
    }

    /// Replaces the batches of `run` with `merged`, their concatenation. Does nothing if some are already removed.
    ///
    /// The caller ensures that no flush has sealed a part of the run.
    ///
    /// # Panics
    /// If `merged` has another number of events than `run`.
    pub fn replace_run(&mut self, run: &Run, merged: Arc<EventBatch>) {
        let start = self.entries.partition_point(|entry| entry.seq < run.first);
        let end = self.entries.partition_point(|entry| entry.seq <= run.last);
        if end - start != run.batches.len() {
            return;
        }
        let ends_sealed = self.entries[end - 1].ends_sealed;
        let rows: usize = self.entries.range(start..end).map(|entry| entry.batch.rows()).sum();
        assert_eq!(merged.rows(), rows, "merged batches have the same events");
        let old = self.entries.drain(start..end);
        let (bytes, arrived_ns) = old.fold((0, i64::MAX), |(b, t), e| (b + e.bytes, t.min(e.arrived_ns)));
        let entry =
            Entry { seq: run.last, bytes: merged.memory_bytes(), batch: merged, arrived_ns, ends_sealed };
        self.bytes = self.bytes - bytes + entry.bytes;
        self.shared = None;
        self.entries.insert(start, entry);
    }

    /// All batches, in order of arrival. O(1) until the buffer changes.
    pub fn batches(&mut self) -> Arc<[Arc<EventBatch>]> {
        let entries = &self.entries;
        Arc::clone(self.shared.get_or_insert_with(|| entries.iter().map(|e| Arc::clone(&e.batch)).collect()))
    }

    /// Sequence number of the oldest batch.
    pub fn first(&self) -> Option<SequenceNumber> {
        self.entries.front().map(|entry| entry.seq)
    }

    /// Sequence number of the newest batch.
    pub fn last(&self) -> Option<SequenceNumber> {
        self.entries.back().map(|entry| entry.seq)
    }

    /// Number of events in the buffer.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Memory used by the batches, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Arrival time of the oldest batch, in nanoseconds since the Unix epoch.
    pub fn oldest_ns(&self) -> Option<i64> {
        self.entries.front().map(|entry| entry.arrived_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CoreEvent, EventBatchBuilder};

    fn batch(rows: usize) -> Arc<EventBatch> {
        let mut builder = EventBatchBuilder::new();
        for i in 0..rows {
            builder.push(&CoreEvent { timestamp_ns: i as i64, ..CoreEvent::default() });
        }
        Arc::new(builder.finish().unwrap())
    }

    fn buffer(rows: &[usize]) -> Buffer {
        let mut buffer = Buffer::default();
        for (i, rows) in rows.iter().enumerate() {
            buffer.push(SequenceNumber(i as u64 + 1), batch(*rows), i as i64);
        }
        buffer
    }

    #[test]
    fn sealing_takes_whole_batches_and_removes_nothing() {
        let mut buffer = buffer(&[3, 3, 3]);
        let sealed = buffer.seal(7).unwrap();
        assert_eq!((sealed.rows, sealed.through), (6, SequenceNumber(2)));
        assert_eq!(buffer.seal(1).unwrap().rows, 3, "one batch at least");
        assert_eq!(buffer.batches().len(), 3);
    }

    #[test]
    fn runs_of_small_batches_are_merged_between_large_ones() {
        let mut buffer = buffer(&[&[1; 3][..], &[5000], &[2; 20], &[5000], &[1; 15]].concat());
        let (rows, before) = (buffer.rows(), buffer.bytes());
        let run = buffer.small_run().unwrap();
        assert_eq!(run.batches.len(), 20);
        let merged = Arc::new(EventBatch::concat(&run.batches).unwrap());
        buffer.push(SequenceNumber(100), batch(1), 99);
        buffer.replace_run(&run, merged);
        assert_eq!(buffer.batches().iter().map(|b| b.rows()).collect::<Vec<_>>()[3..6], [5000, 40, 5000]);
        assert_eq!(buffer.rows(), rows + 1);
        assert!(buffer.bytes() < before);
        let sealed = buffer.seal(1 + 1 + 1 + 5000 + 40).unwrap();
        assert_eq!(sealed.through, SequenceNumber(24), "the number of the run's last batch");
        let gone = buffer.small_run().unwrap();
        assert_eq!(gone.batches.len(), 16);
        buffer.remove_through(SequenceNumber(100));
        buffer.replace_run(&gone, batch(16));
        assert_eq!((buffer.rows(), buffer.bytes()), (0, 0), "what was flushed meanwhile does not come back");
    }

    #[test]
    fn a_flush_that_was_committed_after_all_takes_its_batches_and_no_others() {
        let mut buffer = buffer(&[1; 40]);
        let through = buffer.seal(20).unwrap().through;
        while let Some(run) = buffer.small_run() {
            let merged = Arc::new(EventBatch::concat(&run.batches).unwrap());
            buffer.replace_run(&run, merged);
        }
        assert_eq!(buffer.batches().iter().map(|b| b.rows()).collect::<Vec<_>>(), [20, 20]);
        buffer.remove_through(through);
        assert_eq!(buffer.rows(), 20);
    }

    #[test]
    fn removal_keeps_what_arrived_during_the_flush_and_what_a_query_holds() {
        let mut buffer = buffer(&[1, 2]);
        let seen = buffer.batches();
        let through = buffer.seal(100).unwrap().through;
        buffer.push(SequenceNumber(3), batch(4), 9);
        buffer.remove_through(through);
        assert_eq!((buffer.rows(), buffer.oldest_ns()), (4, Some(9)));
        assert_eq!(buffer.batches().len(), 1);
        assert_eq!(seen.iter().map(|b| b.rows()).sum::<usize>(), 3);
        assert!(buffer.bytes() > 0);
        buffer.remove_through(SequenceNumber(3));
        assert_eq!((buffer.bytes(), buffer.rows(), buffer.oldest_ns()), (0, 0, None));
        assert!(buffer.seal(1).is_none());
    }
}
