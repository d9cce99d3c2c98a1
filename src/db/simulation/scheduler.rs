//! In which order does everything happen? One step at a time, by seed.
//!
//! Each concurrent activity is an [`Actor`]: a future. The scheduler polls one that is ready, then waits until the
//! engine's thread for long work (`spawn_blocking`) has finished its queue. There is only one such thread, and it
//! takes its work in order. A [`Gate`] in its queue keeps it from starting while an actor is polled; reaching the next
//! gate proves that all work is done. So the seed alone decides the order.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::{BoxFuture, poll_fn};
use parking_lot::Mutex;

use crate::disk::chaos::Chaos;
use crate::disk::simulated::SimulatedDisk;

/// Turns of tokio that are enough for anything that an actor waits for.
const TURNS_MAX: usize = 10_000;

/// Loops of logs that were started and are not scheduled yet.
pub(super) type LogLoops = Arc<Mutex<Vec<BoxFuture<'static, ()>>>>;

/// Counts the steps, so that an actor can let some pass without being polled.
#[derive(Debug, Default)]
pub(super) struct Steps {
    state: Mutex<(usize, Vec<(usize, Waker)>)>,
}

impl Steps {
    /// Returns after `steps` steps of others, or as soon as no other actor is ready.
    pub(super) async fn pass(&self, steps: usize) {
        let mut begun = steps == 0;
        poll_fn(|context| {
            if begun {
                return Poll::Ready(());
            }
            begun = true;
            let (now, sleepers) = &mut *self.state.lock();
            sleepers.push((*now + steps, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Counts one more step, and wakes the actors whose time has come.
    fn advance(&self) {
        let (now, sleepers) = &mut *self.state.lock();
        *now += 1;
        sleepers.extract_if(.., |(at, _)| *at <= *now).for_each(|(_, waker)| waker.wake());
    }

    /// Skips to the step at which the next actor wakes; false when none is waiting.
    fn leap(&self) -> bool {
        let (now, sleepers) = &mut *self.state.lock();
        let Some(next) = sleepers.iter().map(|(at, _)| *at).min() else { return false };
        *now = next.max(*now);
        sleepers.extract_if(.., |(at, _)| *at <= *now).for_each(|(_, waker)| waker.wake());
        true
    }
}

/// An activity under the scheduler's control.
pub(super) struct Actor {
    name: &'static str,
    future: Pin<Box<dyn Future<Output = ()>>>,
    ready: Arc<Ready>,
    /// True if [`Scheduler::run`] waits for its end.
    awaited: bool,
}

#[derive(Debug)]
struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Reason why the scheduler returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All awaited actors have ended.
    Done,
    /// The machine has stopped.
    Stopped,
    /// The given number of steps was made.
    Steps,
}

/// Blocks the thread for long work.
struct Gate {
    reached: tokio::sync::oneshot::Receiver<()>,
    /// Dropped to open the gate.
    open: std::sync::mpsc::SyncSender<()>,
}

impl Gate {
    /// Puts a gate into the queue.
    fn set() -> Self {
        let (reach, reached) = tokio::sync::oneshot::channel();
        let (open, opened) = std::sync::mpsc::sync_channel(0);
        tokio::task::spawn_blocking(move || {
            let _nobody_waits = reach.send(());
            let _opened = opened.recv();
        });
        Self { reached, open }
    }
}

/// Runs actors.
pub(super) struct Scheduler {
    gate: Option<Gate>,
    actors: Vec<Actor>,
    steps: Arc<Steps>,
    logs: LogLoops,
    disk: SimulatedDisk,
    chaos: Chaos,
}

impl Scheduler {
    pub(super) fn new(disk: SimulatedDisk, steps: Arc<Steps>, logs: LogLoops, chaos: Chaos) -> Self {
        Self { gate: None, actors: Vec::new(), steps, logs, disk, chaos }
    }

    /// Adds an actor that ends by itself.
    pub(super) fn spawn(&mut self, name: &'static str, future: impl Future<Output = ()> + 'static) {
        self.add(name, Box::pin(future), true);
    }

    fn add(&mut self, name: &'static str, future: Pin<Box<dyn Future<Output = ()>>>, awaited: bool) {
        // Budgets of tokio are for tasks of its own.
        let future = Box::pin(tokio::task::unconstrained(future));
        let ready = Arc::new(Ready(AtomicBool::new(true)));
        self.actors.push(Actor { name, future, ready, awaited });
    }

    /// Halts the actors for which `keep` is true, and those that run logs: they can continue in another scheduler.
    /// Drops the others.
    pub(super) fn halt(mut self, keep: impl Fn(&str) -> bool) -> Vec<Actor> {
        self.actors.retain(|actor| !actor.awaited || keep(actor.name));
        self.actors
    }

    /// Adds halted actors. Nothing waits for their end.
    pub(super) fn resume(&mut self, actors: Vec<Actor>) {
        self.actors.extend(actors.into_iter().map(|actor| Actor { awaited: false, ..actor }));
    }

    /// Drops all awaited actors at whatever point they are; the others stay.
    pub(super) fn interrupt(&mut self) {
        self.actors.retain(|actor| !actor.awaited);
    }

    /// Makes at most `steps` steps.
    ///
    /// # Panics
    /// When no actor is ready although some are awaited.
    pub(super) async fn run(&mut self, steps: usize) -> End {
        for _ in 0..steps {
            let started = std::mem::take(&mut *self.logs.lock());
            for log in started {
                self.add("log", log, false);
            }
            if !self.actors.iter().any(|actor| actor.awaited) {
                return End::Done;
            }
            self.step().await;
            if self.disk.is_stopped() {
                return End::Stopped;
            }
        }
        End::Steps
    }

    fn ready(&self) -> Vec<usize> {
        let is_ready = |i: &usize| self.actors[*i].ready.0.load(Ordering::SeqCst);
        (0..self.actors.len()).filter(is_ready).collect()
    }

    async fn step(&mut self) {
        self.steps.advance();
        let which = self.choose().await;
        let gate = self.gate.take().unwrap_or_else(Gate::set);
        let actor = &mut self.actors[which];
        self.chaos.note("·", Path::new(actor.name), "");
        actor.ready.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&actor.ready));
        if let Poll::Ready(()) = actor.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.actors.remove(which);
        }
        self.let_work(gate).await;
    }

    /// Chooses one of the actors that are ready.
    async fn choose(&mut self) -> usize {
        for _ in 0..TURNS_MAX {
            let ready = self.ready();
            if !ready.is_empty() {
                return ready[self.chaos.below(ready.len())];
            }
            if !self.steps.leap() {
                // Tasks that an actor has given to tokio: parts of a query.
                let gate = self.gate.take().unwrap_or_else(Gate::set);
                self.let_work(gate).await;
                tokio::task::yield_now().await;
            }
        }
        panic!("nobody can go on: {:?}", self.actors.iter().map(|actor| actor.name).collect::<Vec<_>>());
    }

    /// Lets the other thread finish its queue.
    async fn let_work(&mut self, gate: Gate) {
        let mut next = Gate::set();
        drop(gate.open);
        (&mut next.reached).await.expect("the gate is reached");
        self.gate = Some(next);
    }
}
