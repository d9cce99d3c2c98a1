//! Does every reader see each event once, and no deleted object, in whatever order threads take the locks?
//!
//! [`Live`] and [`Deliveries`] have one lock each for their shared state, so every execution is an order of critical
//! sections. These tests go through all orders: each actor is a list of steps that take a lock at most once, and
//! the invariants are checked after every step.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::deliveries::{Claim, Deliveries, Verdict};
use super::live::{Arrival, Live};
use crate::buffer::{Buffer, Sealed};
use crate::catalog::{CatalogSnapshot, Removed, WalRange};
use crate::config::DeliverySettings;
use crate::event::{CoreEvent, EventBatch, EventBatchBuilder, TimeRange};
use crate::segment::{SegmentId, SegmentMeta};
use crate::wal::{DeliveryId, SequenceNumber};

/// Calls `run` with every order in which actors can take `steps[actor]` steps each; returns the number of orders.
fn each_order(steps: &[usize], run: &mut impl FnMut(&[usize])) -> usize {
    fn go(left: &mut [usize], order: &mut Vec<usize>, run: &mut impl FnMut(&[usize])) -> usize {
        let mut orders = 0;
        for actor in 0..left.len() {
            if left[actor] > 0 {
                left[actor] -= 1;
                order.push(actor);
                orders += go(left, order, run);
                order.pop();
                left[actor] += 1;
            }
        }
        if orders == 0 {
            run(order);
        }
        orders.max(1)
    }
    go(&mut steps.to_vec(), &mut Vec::new(), run)
}

/// A database whose catalog is in memory, and whose segments are lists of batches.
struct World {
    live: Live,
    catalog: Arc<CatalogSnapshot>,
    /// Batches in each segment, by the number in its id.
    contents: Vec<BTreeSet<u64>>,
    durable: u64,
    sealed: Option<(Sealed, WalRange)>,
    /// Catalog snapshot that each actor has read.
    read: [Option<Arc<CatalogSnapshot>>; 4],
    view: Option<Arc<CatalogSnapshot>>,
    deleted: BTreeSet<String>,
}

fn batch(seq: u64) -> Arc<EventBatch> {
    let mut builder = EventBatchBuilder::new();
    builder.push(&CoreEvent { timestamp_ns: seq as i64, ..CoreEvent::default() });
    Arc::new(builder.finish().unwrap())
}

fn seq_of(batch: &EventBatch) -> u64 {
    batch.time_range().unwrap().min_ns as u64
}

impl World {
    fn new() -> Self {
        let catalog = Arc::new(CatalogSnapshot::default());
        Self {
            live: Live::new(Arc::clone(&catalog), Buffer::default(), Arc::default()),
            catalog,
            contents: Vec::new(),
            durable: 0,
            sealed: None,
            read: Default::default(),
            view: None,
            deleted: BTreeSet::new(),
        }
    }

    fn segment(&mut self, batches: BTreeSet<u64>) -> Arc<SegmentMeta> {
        let id: SegmentId = format!("{:032x}", self.contents.len()).parse().unwrap();
        let (rows, time) = (batches.len() as u64, TimeRange { min_ns: 0, max_ns: 0 });
        self.contents.push(batches);
        Arc::new(SegmentMeta { id, bytes: 1, column_bytes: 0, index: None, rows, time, mask: None })
    }

    fn contents(&self, segment: &SegmentMeta) -> &BTreeSet<u64> {
        &self.contents[usize::from(segment.id.as_bytes()[15])]
    }

    /// Makes the next batch durable, as the log does.
    fn arrive(&mut self) {
        self.durable += 1;
        let arrival = Arrival { batch: batch(self.durable), claim: None, under_way: None };
        self.live.durable(vec![(SequenceNumber(self.durable), arrival)], 0);
    }

    fn seal(&mut self) {
        self.sealed = self.live.seal(1);
    }

    /// Commits a flush on top of all other commits, as `Catalog::commit` does.
    fn commit_flush(&mut self) {
        let Some((sealed, range)) = self.sealed.take() else { return };
        // If the watermark has moved meanwhile, the commit is a conflict.
        if self.catalog.wal_watermark == range.from {
            let segment = self.segment(sealed.batches.iter().map(|batch| seq_of(batch)).collect());
            let next = Arc::make_mut(&mut self.catalog);
            next.version += 1;
            next.segments.push(segment);
            next.wal_watermark = range.through;
        }
    }

    /// Commits a merge of all segments into one.
    fn commit_merge(&mut self) {
        let batches =
            self.catalog.segments.iter().flat_map(|segment| self.contents(segment).clone()).collect();
        let merged = self.segment(batches);
        let next = Arc::make_mut(&mut self.catalog);
        next.version += 1;
        let gone = std::mem::replace(&mut next.segments, vec![merged]);
        let removed = gone.iter().map(|segment| Removed { path: segment.path(), at_ns: 0 });
        Arc::make_mut(&mut next.removed).extend(removed);
    }

    fn read(&mut self, actor: usize) {
        self.read[actor] = Some(Arc::clone(&self.catalog));
    }

    /// Makes the catalog that the actor has read visible to readers.
    fn tell(&mut self, actor: usize) {
        if let Some(catalog) = self.read[actor].take() {
            self.live.committed(&catalog);
        }
    }

    /// Deletes segments that have left the catalog that the actor has read and that no reader holds.
    fn sweep(&mut self, actor: usize) {
        let Some(catalog) = self.read[actor].take() else { return };
        let held = self.live.held();
        let name = |path: &str| path.rsplit('/').next().unwrap().split('.').next().unwrap().to_owned();
        let removed = catalog.removed.iter().map(|removed| name(&removed.path));
        self.deleted.extend(removed.filter(|id| !held.contains(id)));
    }

    /// Checks that every durable batch is there once, and every object that a reader uses or may begin to use.
    fn look(&self, order: &[usize]) {
        let (catalog, buffer) = self.live.view();
        let in_segments = catalog.segments.iter().flat_map(|segment| self.contents(segment).iter().copied());
        let mut seen: Vec<u64> = in_segments.chain(buffer.iter().map(|batch| seq_of(batch))).collect();
        seen.sort_unstable();
        assert_eq!(seen, (1..=self.durable).collect::<Vec<_>>(), "in the order {order:?}");
        let held = catalog.segments.iter().chain(self.view.iter().flat_map(|view| &view.segments));
        let gone = held.filter(|segment| self.deleted.contains(&segment.id.to_string())).count();
        assert_eq!(gone, 0, "an object that is read was deleted in the order {order:?}");
    }
}

/// A step of the actor with the given number.
type Step = fn(&mut World, usize);

/// Runs all orders of the steps of `actors`, each in a world made by `prepare`; returns the number of orders.
fn explore(prepare: impl Fn(&mut World), actors: &[&[Step]]) -> usize {
    let steps: Vec<usize> = actors.iter().map(|steps| steps.len()).collect();
    each_order(&steps, &mut |order| {
        let mut world = World::new();
        prepare(&mut world);
        let mut at = vec![0; actors.len()];
        for actor in order {
            actors[*actor][at[*actor]](&mut world, *actor);
            at[*actor] += 1;
            world.look(order);
        }
    })
}

const ARRIVE: Step = |world, _| world.arrive();
const READ: Step = |world, actor| world.read(actor);
const TELL: Step = |world, actor| world.tell(actor);
/// `Flusher::flush`.
const FLUSH: [Step; 6] = [READ, TELL, |world, _| world.seal(), |world, _| world.commit_flush(), READ, TELL];
/// The end of a merge.
const MERGE: [Step; 3] = [|world, _| world.commit_merge(), READ, TELL];
/// `Sweeper::remove_retired`.
const SWEEP: [Step; 2] = [READ, |world, actor| world.sweep(actor)];
/// A query.
const QUERY: [Step; 2] = [|world, _| world.view = Some(world.live.view().0), |world, _| world.view = None];

#[test]
fn views_have_every_batch_once_however_flushes_and_merges_meet() {
    let arrived = |world: &mut World| (0..2).for_each(|_| world.arrive());
    let orders = explore(arrived, &[&[ARRIVE, ARRIVE], &FLUSH, &MERGE]);
    assert_eq!(orders, 4_620);
    let two_merges = [MERGE, MERGE].concat();
    let orders = explore(arrived, &[&[ARRIVE], &FLUSH, &two_merges]);
    assert_eq!(orders, 12_012);
}

#[test]
fn what_is_read_is_not_deleted_however_merges_sweeps_and_queries_meet() {
    let flushed = |world: &mut World| {
        for _ in 0..2 {
            world.arrive();
            for step in FLUSH {
                step(world, 0);
            }
        }
    };
    let (merges, sweeps) = ([MERGE, MERGE].concat(), [SWEEP, SWEEP].concat());
    let orders = explore(flushed, &[&merges, &sweeps, &QUERY]);
    assert_eq!(orders, 13_860);
    // The sweep does delete something.
    let mut world = World::new();
    flushed(&mut world);
    for step in MERGE.iter().chain(&SWEEP) {
        step(&mut world, 0);
    }
    assert_eq!(world.deleted.len(), 2);
}

/// A sender of a message.
#[derive(Debug)]
enum Sender {
    Begins,
    Waits(tokio::sync::watch::Receiver<()>),
    HasClaimed(Claim),
    /// Finished: stored by this sender, known already, or failed.
    Ended,
}

/// Runs all orders of the steps of the senders of one message, and all outcomes of each claim.
fn deliver(choices: &mut Vec<usize>, ends: &mut usize) {
    let deliveries = Arc::new(Deliveries::new(DeliverySettings::default()));
    let id = DeliveryId::of(0, b"message");
    let mut senders = [const { Sender::Begins }; 3];
    let mut stored = 0;
    let mut step = 0;
    loop {
        // Choices: a sender that can make progress, and the end of its claim.
        let mut able = Vec::new();
        for (i, sender) in senders.iter().enumerate() {
            match sender {
                Sender::Begins => able.push((i, true)),
                Sender::Waits(decided) if decided.has_changed().is_err() => able.push((i, true)),
                Sender::HasClaimed(_) => able.extend([(i, true), (i, false)]),
                Sender::Waits(_) | Sender::Ended => {}
            }
        }
        let Some((i, succeeds)) = able.get(choices.get(step).copied().unwrap_or(0)).copied() else {
            assert!(
                senders.iter().all(|sender| matches!(sender, Sender::Ended)),
                "{senders:?} wait for ever"
            );
            assert!(stored <= 1, "stored {stored} times");
            assert_eq!(deliveries.len(), stored, "a claim is left");
            *ends += 1;
            break;
        };
        if choices.len() == step {
            choices.push(0);
        }
        // The number of choices is needed to find the next one.
        step += 1;
        senders[i] = match std::mem::replace(&mut senders[i], Sender::Ended) {
            Sender::HasClaimed(claim) if succeeds => {
                claim.stored(SequenceNumber(1), 0);
                stored += 1;
                Sender::Ended
            }
            Sender::HasClaimed(_) | Sender::Ended => Sender::Ended,
            Sender::Begins | Sender::Waits(_) => match deliveries.claim(id, 0) {
                Verdict::Known => {
                    assert_eq!(stored, 1, "known, and not stored");
                    Sender::Ended
                }
                Verdict::Waiting(decided) => Sender::Waits(decided),
                Verdict::Claimed(claim) => Sender::HasClaimed(claim),
            },
        };
        choices[step - 1] |= able.len() << 8;
    }
    choices.truncate(step);
}

#[test]
fn a_message_is_stored_once_however_its_deliveries_meet() {
    let (mut choices, mut ends) = (Vec::new(), 0);
    loop {
        let mut made: Vec<usize> = choices.iter().map(|choice| choice & 0xFF).collect();
        deliver(&mut made, &mut ends);
        // Back to the last choice with an untried alternative.
        while made.last().is_some_and(|choice| (choice & 0xFF) + 1 >= choice >> 8) {
            made.pop();
        }
        let Some(last) = made.last_mut() else { break };
        *last += 1;
        choices = made;
    }
    assert!(ends > 100, "{ends} ends");
}
