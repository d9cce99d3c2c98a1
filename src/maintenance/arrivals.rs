//! Who is told of events as they arrive?
//!
//! A watcher begins at one moment: what queries see then, and what arrives later, are all events, each once. Batches
//! wait in a queue of limited size. A watcher that takes them more slowly than they come loses the oldest, and is told
//! how many events these had.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::event::EventBatch;

/// Largest memory of the batches that wait for one watcher, in bytes; a single batch may have more.
const BYTES_MAX: usize = 16 << 20;

/// Most batches that wait for one watcher: each costs a query time.
const BATCHES_MAX: usize = 1_000;

/// Batches that a watcher has not taken yet.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Arc<EventBatch>>,
    bytes: usize,
    lost: u64,
}

impl Queue {
    fn offer(&self, batch: &Arc<EventBatch>) {
        let mut waiting = self.waiting.lock();
        waiting.bytes += batch.memory_bytes();
        waiting.batches.push_back(Arc::clone(batch));
        while waiting.batches.len() > BATCHES_MAX || (waiting.bytes > BYTES_MAX && waiting.batches.len() > 1)
        {
            let Some(oldest) = waiting.batches.pop_front() else { break };
            waiting.bytes -= oldest.memory_bytes();
            waiting.lost += oldest.rows() as u64;
        }
        drop(waiting);
        self.changed.notify_one();
    }
}

/// The watchers of a database.
#[derive(Debug, Default)]
pub(super) struct Watchers(Vec<Weak<Queue>>);

impl Watchers {
    /// Adds a watcher, until the result is dropped.
    pub(super) fn add(&mut self) -> Arrivals {
        let queue = Arc::default();
        self.0.retain(|queue| queue.strong_count() > 0);
        self.0.push(Arc::downgrade(&queue));
        Arrivals(queue)
    }

    /// Tells all watchers of a batch.
    pub(super) fn tell(&self, batch: &Arc<EventBatch>) {
        for queue in self.0.iter().filter_map(Weak::upgrade) {
            queue.offer(batch);
        }
    }
}

/// Events that arrive from one moment on.
#[derive(Debug)]
pub struct Arrivals(Arc<Queue>);

/// Events that have arrived since the watcher looked before.
#[derive(Debug, Default)]
pub struct Arrived {
    /// The batches, in order of arrival.
    pub batches: Vec<Arc<EventBatch>>,
    /// Number of events that arrived before these and were lost.
    pub lost: u64,
}

impl Arrivals {
    /// Waits until there is something, and takes it. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Arrived {
        loop {
            {
                let mut waiting = self.0.waiting.lock();
                if !waiting.batches.is_empty() {
                    let Waiting { batches, lost, .. } = std::mem::take(&mut *waiting);
                    return Arrived { batches: batches.into(), lost };
                }
            }
            self.0.changed.notified().await;
        }
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

    #[tokio::test]
    async fn each_watcher_takes_what_came_after_it_began() {
        let mut watchers = Watchers::default();
        watchers.tell(&batch(1));
        let (mut one, mut other) = (watchers.add(), watchers.add());
        watchers.tell(&batch(2));
        watchers.tell(&batch(3));
        let rows = |arrived: &Arrived| arrived.batches.iter().map(|batch| batch.rows()).collect::<Vec<_>>();
        assert_eq!(rows(&one.next().await), [2, 3]);
        watchers.tell(&batch(4));
        assert_eq!(rows(&one.next().await), [4]);
        let all = other.next().await;
        assert_eq!((rows(&all), all.lost), (vec![2, 3, 4], 0));
        drop(one);
        watchers.add();
        assert_eq!(watchers.0.len(), 2, "who has gone is forgotten");
    }

    #[tokio::test]
    async fn who_is_slow_loses_the_oldest_and_is_told_how_many() {
        let mut watchers = Watchers::default();
        let mut slow = watchers.add();
        for _ in 0..BATCHES_MAX + 2 {
            watchers.tell(&batch(3));
        }
        let arrived = slow.next().await;
        assert_eq!((arrived.batches.len(), arrived.lost), (BATCHES_MAX, 6));
    }
}
