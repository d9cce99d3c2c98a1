//! Has this message been stored before?
//!
//! A producer that gets no answer sends the message again: while the first delivery is on its way to the disk, after
//! a restart, or long after a flush. So the messages of a recent window are remembered in three places: those in
//! progress and stored ones here, in memory; in the log with their batches; and in the catalog with the segments that
//! the batches became.
//!
//! ```text
//! claim ─▶ Known       stored before: answered at once
//!       ─▶ Waiting     in progress: the second delivery waits for the outcome of the first
//!       ─▶ Claimed     new: the claim goes through the log with the batch, even if its caller goes away
//! ```
//!
//! A message is forgotten by age or by number; if it is delivered after that, it is stored again. Duplicates are only
//! rejected within the window.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::catalog::WalRange;
use crate::config::DeliverySettings;
use crate::wal::{DeliveryId, SequenceNumber};

/// Recently stored messages, and those in progress.
#[derive(Debug, Default)]
pub struct Deliveries {
    state: Mutex<State>,
    settings: DeliverySettings,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<DeliveryId, Known>,
    /// Stored messages with their times, oldest first.
    stored: VecDeque<(i64, DeliveryId)>,
}

#[derive(Debug)]
enum Known {
    /// In progress; the sender is dropped when the outcome is known.
    UnderWay(watch::Receiver<()>),
    Stored(SequenceNumber),
}

/// Decision on a message.
#[derive(Debug)]
pub enum Verdict {
    /// Stored already.
    Known,
    /// In progress: claim again when this receiver ends.
    Waiting(watch::Receiver<()>),
    /// New: store it.
    Claimed(Claim),
}

/// A message on its way into the log. It is forgotten if this is dropped before [`stored`](Self::stored).
#[derive(Debug)]
pub struct Claim {
    id: DeliveryId,
    deliveries: Arc<Deliveries>,
    _decided: watch::Sender<()>,
}

impl Deliveries {
    /// Creates a memory with the window of `settings`.
    pub fn new(settings: DeliverySettings) -> Self {
        Self { state: Mutex::default(), settings }
    }

    /// True if messages are remembered at all.
    pub fn is_on(&self) -> bool {
        !self.settings.window.is_zero() && self.settings.count_max > 0
    }

    /// Decides what to do with the message `id`, which arrives at `now_ns`.
    pub fn claim(self: &Arc<Self>, id: DeliveryId, now_ns: i64) -> Verdict {
        let mut state = self.state.lock();
        state.forget(&self.settings, now_ns);
        match state.known.get(&id) {
            Some(Known::Stored(_)) => Verdict::Known,
            Some(Known::UnderWay(decided)) => Verdict::Waiting(decided.clone()),
            None => {
                let (sender, decided) = watch::channel(());
                state.known.insert(id, Known::UnderWay(decided));
                Verdict::Claimed(Claim { id, deliveries: Arc::clone(self), _decided: sender })
            }
        }
    }

    /// Adds a message that was stored before this process began.
    pub fn remember(&self, id: DeliveryId, seq: SequenceNumber, at_ns: i64) {
        if self.is_on() {
            self.state.lock().store(id, seq, at_ns);
        }
    }

    /// Returns the messages whose batches are in this part of the log.
    pub fn within(&self, range: WalRange) -> Vec<DeliveryId> {
        let state = self.state.lock();
        let of_range = state.known.iter().filter_map(|(id, known)| match known {
            Known::Stored(seq) if range.from < *seq && *seq <= range.through => Some(*id),
            _ => None,
        });
        of_range.collect()
    }

    /// Number of remembered messages.
    pub fn len(&self) -> usize {
        self.state.lock().known.len()
    }

    /// True if no message is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl State {
    fn store(&mut self, id: DeliveryId, seq: SequenceNumber, at_ns: i64) {
        if !matches!(self.known.insert(id, Known::Stored(seq)), Some(Known::Stored(_))) {
            self.stored.push_back((at_ns, id));
        }
    }

    fn forget(&mut self, settings: &DeliverySettings, now_ns: i64) {
        let window_ns = i64::try_from(settings.window.as_nanos()).unwrap_or(i64::MAX);
        let oldest_ns = now_ns.saturating_sub(window_ns);
        let surplus = |stored: &VecDeque<(i64, DeliveryId)>| stored.len() > settings.count_max;
        while surplus(&self.stored) || self.stored.front().is_some_and(|(at_ns, _)| *at_ns < oldest_ns) {
            if let Some((_, id)) = self.stored.pop_front() {
                self.known.remove(&id);
            }
        }
    }
}

impl Claim {
    /// Id of the claimed message.
    pub fn id(&self) -> DeliveryId {
        self.id
    }

    /// Records that the message is durable as batch `seq` of the log.
    pub fn stored(self, seq: SequenceNumber, now_ns: i64) {
        self.deliveries.state.lock().store(self.id, seq, now_ns);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.deliveries.state.lock();
        if matches!(state.known.get(&self.id), Some(Known::UnderWay(_))) {
            state.known.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn deliveries(seconds: u64, count_max: usize) -> Arc<Deliveries> {
        Arc::new(Deliveries::new(DeliverySettings { window: Duration::from_secs(seconds), count_max }))
    }

    fn id(n: u64) -> DeliveryId {
        DeliveryId::of(0, &n.to_le_bytes())
    }

    fn claim(deliveries: &Arc<Deliveries>, n: u64, at: i64) -> Option<Claim> {
        match deliveries.claim(id(n), at * SECOND_NS) {
            Verdict::Claimed(claim) => Some(claim),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_second_waits_for_the_first_and_goes_on_when_that_fails() {
        let deliveries = deliveries(60, 10);
        let first = claim(&deliveries, 1, 0).unwrap();
        let Verdict::Waiting(mut decided) = deliveries.claim(id(1), 0) else { panic!("it is under way") };
        assert!(!decided.has_changed().unwrap());
        drop(first);
        assert!(decided.changed().await.is_err(), "it is decided");
        let second = claim(&deliveries, 1, 0).unwrap();
        second.stored(SequenceNumber(7), 0);
        assert!(matches!(deliveries.claim(id(1), 0), Verdict::Known));
        let range = |from, through| WalRange { from: SequenceNumber(from), through: SequenceNumber(through) };
        assert_eq!(deliveries.within(range(6, 7)), [id(1)]);
        assert_eq!(deliveries.within(range(7, 9)), []);
    }

    proptest! {
        #[test]
        fn within_window_and_number_nothing_is_stored_twice_and_memory_is_bounded(
            arrivals in prop::collection::vec((0_u64..20, 0_i64..5, any::<bool>()), 1..200),
        ) {
            let (window, count_max) = (30, 12);
            let deliveries = deliveries(window as u64, count_max);
            let mut stored: Vec<(u64, i64)> = Vec::new();
            let mut now = 0;
            for (n, later, survives) in arrivals {
                now += later;
                let claimed = claim(&deliveries, n, now);
                let last = stored.iter().rposition(|(other, _)| *other == n);
                let remembered =
                    last.is_some_and(|at| stored[at].1 >= now - window && stored.len() - at <= count_max);
                prop_assert_eq!(claimed.is_none(), remembered);
                if let Some(claim) = claimed.filter(|_| survives) {
                    claim.stored(SequenceNumber(stored.len() as u64 + 1), now * SECOND_NS);
                    stored.push((n, now));
                }
                prop_assert!(deliveries.len() <= count_max + 1);
            }
        }
    }
}
