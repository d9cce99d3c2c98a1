//! Does the engine keep its promises whatever fails, and whenever?
//!
//! A seed decides everything: the appends of producers, the order of the steps of all concurrent work
//! ([`scheduler`]), the failures of disk and object store ([`chaos`](crate::disk::chaos), [`store`]), when the
//! machine stops, and which data on its disk survives ([`simulated`](crate::disk::simulated)). A [`model`] records
//! the promises; it is compared with the results of queries all the time, and after each recovery. The code under
//! test is the unchanged [`Database`].
//!
//! ```text
//! BROADLOOM_SIM_SEED=42 cargo test --lib simulation::seeds -- --nocapture     one seed, with its trace
//! BROADLOOM_SIM_SEEDS=100000 cargo test --lib simulation::seeds              this many, from the first on
//! ```
//!
//! With the log in the store, a process may be halted instead of stopped: it wakes up while or after another process
//! opens the same database, and continues all its work. With the log on a machine, another machine may take over
//! without that log once the database was closed.
//!
//! Not simulated: bytes that rot on disk.

mod actors;
mod model;
mod scheduler;
mod store;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use object_store::ObjectStore;
use parking_lot::Mutex;

use super::recovery::open_in;
use super::storage::{LogStorage, Storage};
use super::*;
use crate::catalog::Claim;
use crate::config::SegmentLimits;
use crate::disk::chaos::Chaos;
use crate::disk::simulated::SimulatedDisk;
use crate::store::placement::Placement;
use crate::wal::objects::FENCE_KEPT;
use crate::wal::{ObjectLogOptions, WalOptions};
use actors::Process;
use scheduler::{Actor, End, LogLoops, Scheduler, Steps};
use store::SimulatedStore;
use world::{LogIn, World};

/// Number of seeds in an ordinary test run, from the first on.
const SEEDS: u64 = 100;
/// Most lives of a database in one seed.
const LIVES_MAX: usize = 3;
/// Attempts to open the database while faults happen.
const ATTEMPTS: usize = 4;
/// Bound that no correct run reaches, in steps.
const STEPS_MAX: usize = 100_000;

/// Faults; a seed chooses how often each happens.
const FAULTS: [&str; 17] = [
    "create fails: no space",
    "write fails: no space",
    "truncation fails",
    "fsync fails",
    "directory fsync fails",
    "rename fails",
    "remove fails",
    "read fails",
    "put fails",
    "put arrives late",
    "put meets another",
    "put is repeated",
    "answer to a put is lost",
    "get fails",
    "get ends early",
    "list fails",
    "delete fails",
];

/// Result of a seed.
struct Outcome {
    wrong: Vec<String>,
    /// Holds the trace.
    chaos: Chaos,
    counts: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
}

/// A process on a disk.
struct Life {
    scheduler: Scheduler,
    steps: Arc<Steps>,
    disk: SimulatedDisk,
    placement: Arc<Placement>,
    store: Arc<SimulatedStore>,
    storage: Storage,
    world: Rc<World>,
}

/// A halted process, which continues beside the next one that opens the same database.
struct Halted {
    actors: Vec<Actor>,
    steps: Arc<Steps>,
    /// Placement of the store, which both processes share.
    placement: Arc<Placement>,
}

/// State that the next life starts from.
struct Remains {
    disk: SimulatedDisk,
    halted: Option<Halted>,
}

impl From<SimulatedDisk> for Remains {
    fn from(disk: SimulatedDisk) -> Self {
        Self { disk, halted: None }
    }
}

impl Life {
    fn new(world: &Rc<World>, Remains { disk, halted }: Remains) -> Self {
        world.lives.set(world.lives.get() + 1);
        let chaos = world.chaos.clone();
        let data = world.data.clone();
        if world.closed.take() && chaos.one_in(2) {
            world.machine.set(world.machine.get() + 1);
        }
        let machine = format!("wal-{}", world.machine.get());
        let directory = data.join(if world.log == LogIn::Machine { &machine } else { "wal" });
        let logs = LogLoops::default();
        let halted = halted.unwrap_or_else(|| Halted {
            actors: Vec::new(),
            steps: Arc::default(),
            placement: Arc::new(Placement::new(Arc::new(disk.clone()), data.clone())),
        });
        let (steps, placement) = (halted.steps, halted.placement);
        let mut scheduler =
            Scheduler::new(disk.clone(), Arc::clone(&steps), Arc::clone(&logs), chaos.clone());
        scheduler.resume(halted.actors);
        let (on, by) = (disk.clone(), Arc::clone(&placement));
        let store = Arc::new(SimulatedStore::new(on, by, world, Arc::clone(&steps)));
        let start = Arc::new(move |log| {
            logs.lock().push(log);
            Ok(None)
        });
        let file_bytes = [1, 600, 64 << 20][chaos.below(3)];
        let objects = Arc::clone(&store) as Arc<dyn ObjectStore>;
        let writer = format!("writer {}", chaos.below(usize::MAX));
        let claim = |log| Some(Claim { owner: writer.clone(), writer: writer.clone(), log, released: false });
        let (log, claim) = match world.log {
            LogIn::Store => {
                let time = Arc::clone(&steps);
                let pause = move |_| {
                    let time = Arc::clone(&time);
                    async move { time.pass(1).await }.boxed()
                };
                let options = ObjectLogOptions { pause: Arc::new(pause), start };
                (LogStorage::Objects { store: Arc::clone(&objects), options }, claim(None))
            }
            LogIn::Directory | LogIn::Machine => {
                let options = WalOptions { file_bytes, disk: Arc::new(disk.clone()), start };
                let claim = (world.log == LogIn::Machine).then(|| claim(Some(machine.clone()))).flatten();
                (LogStorage::Files { directory, options }, claim)
            }
        };
        let storage = Storage {
            store: objects,
            placement: Some(Arc::clone(&placement)),
            log,
            claim,
            lease: None,
            cache: None,
        };
        Self { scheduler, steps, disk, placement, store, storage, world: Rc::clone(world) }
    }

    /// Halts the process. Actors that compare, read or commit beside it end: they cannot know of later work.
    fn halt(self) -> Remains {
        let goes_on = |name: &str| !["watcher", "reader", "importer", "stale writer"].contains(&name);
        let actors = self.scheduler.halt(goes_on);
        let halted = Halted { actors, steps: self.steps, placement: self.placement };
        Remains { disk: self.disk, halted: Some(halted) }
    }

    /// Runs `work` as the only actor; none when the machine stops meanwhile.
    async fn alone<T: 'static>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = T> + 'static,
    ) -> Option<T> {
        let slot = Rc::new(RefCell::new(None));
        let result = Rc::clone(&slot);
        self.scheduler.spawn(name, async move {
            let done = work.await;
            *result.borrow_mut() = Some(done);
        });
        let end = self.scheduler.run(STEPS_MAX).await;
        assert_ne!(end, End::Steps, "{name} does not come to an end");
        if end == End::Stopped { None } else { slot.take() }
    }

    /// Opens the database and compares it with the model; none when the machine stops, or faults prevent it.
    async fn open(&mut self) -> Option<Process> {
        let settings = self.world.settings();
        let resources = Resources::of_writer(&settings).expect("a directory for what queries spill");
        let opening = open_in(settings, self.storage.clone(), Arc::new(()), resources);
        let database = match self.alone("open", opening).await? {
            Ok(database) => database,
            Err(error) => {
                self.world.chaos.note("failed: open", Path::new(""), error.to_string());
                return None;
            }
        };
        let (world, store, steps) =
            (Rc::clone(&self.world), Arc::clone(&self.store), Arc::clone(&self.steps));
        let (disk, life) = (self.disk.clone(), world.lives.get());
        Some(Process { world, database, store, steps, disk, life })
    }

    /// After a recovery, batches that are there stay for good.
    async fn recovered(&mut self, process: &Process) {
        self.world.chaos.activate(false);
        let (world, snapshot) = (Rc::clone(&self.world), process.database.snapshot());
        self.alone("compare", async move {
            let told = world.model.borrow().told_anywhere();
            world.compare("after recovery", &snapshot, &told).await;
            if let Ok(seen) = world.events(&snapshot).await {
                let settled = world.model.borrow_mut().settle(&seen);
                for (what, times) in settled {
                    *world.done.borrow_mut().entry(what).or_default() += times;
                }
            }
        })
        .await;
        self.world.chaos.activate(true);
    }
}

/// Runs all lives of `seed`.
fn simulate(seed: u64, data: &Path) -> Outcome {
    let chaos = Chaos::new(seed);
    let world = World::new(chaos.clone(), data.to_owned());
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let mut remains = Remains::from(SimulatedDisk::new(data, chaos.clone()));
        choose_faults(&chaos);
        for _ in 0..=chaos.below(LIVES_MAX) {
            remains = run(live(&world, remains));
            if !world.wrong.borrow().is_empty() {
                return;
            }
        }
        chaos.activate(false);
        run(retire(&world, remains));
    }));
    if let Err(panic) = lived {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        world.report(format!("panic: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?")));
    }
    let wrong = world.wrong.borrow().clone();
    let counts = world.done.borrow().clone();
    Outcome { wrong, faults: chaos.injected(), chaos, counts }
}

/// A runtime whose only other thread does one thing at a time.
fn run<T>(life: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).build();
    runtime.expect("a runtime").block_on(life)
}

/// A third of the seeds only crash; the others have some kinds of faults, rare or common.
fn choose_faults(chaos: &Chaos) {
    if chaos.one_in(3) {
        return;
    }
    let common = [10, 40, 200][chaos.below(3)];
    for fault in FAULTS {
        if chaos.one_in(2) {
            chaos.set(fault, common);
        }
    }
}

/// Opens the database, works, and ends in one of many ways; returns the state for the next life.
async fn live(world: &Rc<World>, mut remains: Remains) -> Remains {
    let chaos = &world.chaos;
    for attempt in 0.. {
        // The last attempt has no faults, so the database must open.
        chaos.activate(attempt < ATTEMPTS);
        let disk = remains.disk.clone();
        if remains.halted.is_none() && chaos.one_in(8) {
            // Long enough for fences to be deleted. They would not hold off a halted process any more.
            world.clock.leap(2 * FENCE_KEPT);
        }
        let mut life = Life::new(world, remains);
        if chaos.one_in(4) && attempt < ATTEMPTS {
            disk.stop_after(chaos.below(40) as u64);
        }
        let opened = life.open().await;
        if let Some(process) = opened {
            chaos.activate(true);
            life.recovered(&process).await;
            return work(life, process).await;
        }
        if attempt >= ATTEMPTS {
            world.report("it cannot be opened");
            return disk.into();
        }
        remains = if chaos.one_in(2) { disk.kill() } else { disk.power_loss() }.into();
    }
    remains
}

async fn work(mut life: Life, process: Process) -> Remains {
    let chaos = life.world.chaos.clone();
    let to_be_halted = life.world.log == LogIn::Store && chaos.one_in(2);
    if !to_be_halted && chaos.one_in(2) {
        life.disk.stop_after(chaos.below(250) as u64);
    }
    let scheduler = &mut life.scheduler;
    for _ in 0..=chaos.below(3) {
        scheduler.spawn("producer", process.clone().produce(1 + chaos.below(20)));
    }
    scheduler.spawn("flusher", process.clone().flush(1 + chaos.below(4)));
    scheduler.spawn("merger", process.clone().merge_small(3));
    scheduler.spawn("watcher", process.clone().watch(4));
    scheduler.spawn("weather", process.clone().weather(10));
    if chaos.one_in(2) {
        scheduler.spawn("compactor", process.clone().compact(1));
    }
    if chaos.one_in(2) {
        scheduler.spawn("deleter", process.clone().delete(1 + chaos.below(3)));
    }
    if chaos.one_in(2) {
        // No other process sweeps at the same time.
        scheduler.spawn("sweeper", process.clone().sweep(4));
    } else {
        scheduler.spawn("importer", process.clone().import(1 + chaos.below(2)));
        if chaos.one_in(2) {
            scheduler.spawn("stale writer", process.clone().commit_late());
        }
    }
    if chaos.one_in(4) {
        scheduler.spawn("closer", process.clone().close(150));
    }
    if chaos.one_in(4) {
        scheduler.spawn("reader", process.clone().read_beside(2));
    }
    let steps = match to_be_halted {
        true => chaos.below(200),
        false if chaos.one_in(2) => chaos.below(400),
        false => STEPS_MAX,
    };
    let end = scheduler.run(steps).await;
    if end == End::Steps && to_be_halted && life.placement.poison().is_none() {
        life.world.count("halted");
        return life.halt();
    }
    if end != End::Stopped {
        scheduler.interrupt();
        if chaos.one_in(3) {
            let _may_fail = life.alone("close", process.clone().close(1)).await;
        }
    }
    life.disk.stop();
    if chaos.one_in(2) { life.disk.kill() } else { life.disk.power_loss() }.into()
}

/// Checks at the end, without faults, that everything is there once, also after flushes and merges.
async fn retire(world: &Rc<World>, remains: Remains) {
    remains.disk.stop_never();
    let mut life = Life::new(world, remains);
    let Some(process) = life.open().await else {
        world.report("it cannot be opened in peace");
        return;
    };
    life.recovered(&process).await;
    world.chaos.activate(false);
    let (with_compaction, with_sql) = (world.chaos.one_in(3), world.chaos.one_in(16));
    let world = Rc::clone(world);
    let story = async move {
        let database = &process.database;
        let grace = world.grace;
        let moved = async {
            database.flush().await?;
            let told = world.model.borrow().told_anywhere();
            world.compare("after the last flush", &database.snapshot(), &told).await;
            if with_compaction {
                database
                    .compact(CompactionOptions { segment: SegmentLimits::of_rows(50), grace }, |_| {})
                    .await?;
                world.compare("after the last compaction", &database.snapshot(), &told).await;
            }
            if with_sql {
                world.query(database).await;
            }
            database.close().await
        };
        if let Err(error) = moved.await {
            world.report(format!("although nothing fails: {error}"));
        }
        *world.done.borrow_mut().entry("batches kept").or_default() +=
            world.model.borrow().acknowledged() as u64;
    };
    if life.alone("last things", story).await.is_none() {
        life.world.report("the last things were not done");
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Fails with the seed, the trace and all differences.
fn assert_right(seed: u64, outcome: &Outcome) {
    if !outcome.wrong.is_empty() {
        println!("{}", outcome.chaos.trace());
        panic!(
            "seed {seed}: {:#?}\nrepeat it with: BROADLOOM_SIM_SEED={seed} cargo test --lib simulation::seeds",
            outcome.wrong
        );
    }
}

#[test]
fn seeds() {
    let data = tempfile::tempdir().unwrap();
    if let Some(seed) = from_environment("BROADLOOM_SIM_SEED") {
        let outcome = simulate(seed, data.path());
        println!("{}\n{:#?}\n{:#?}", outcome.chaos.trace(), outcome.counts, outcome.faults);
        return assert_right(seed, &outcome);
    }
    let seeds = from_environment("BROADLOOM_SIM_SEEDS").unwrap_or(SEEDS);
    drop(data);
    let first = from_environment("BROADLOOM_SIM_FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let total = Mutex::new(BTreeMap::<_, u64>::new());
    let work = || {
        let data = tempfile::tempdir().expect("for what queries spill");
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            let outcome = simulate(seed, data.path());
            assert_right(seed, &outcome);
            for (what, times) in outcome.counts.into_iter().chain(outcome.faults) {
                *total.lock().entry(what).or_default() += times;
            }
        }
    };
    std::thread::scope(|scope| {
        // Each seed has two threads that take turns, so half of the threads wait.
        let threads = 2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    println!("{seeds} seeds from {first}: {:#?}", total.lock());
}

#[test]
fn a_seed_repeats_itself_exactly() {
    let data = tempfile::tempdir().unwrap();
    let mut lines = 0;
    for seed in 0..10 {
        let (one, two) = (simulate(seed, data.path()), simulate(seed, data.path()));
        let traces = [one.chaos.trace(), two.chaos.trace()];
        let [first, second] = traces.each_ref().map(|trace| trace.lines());
        lines += first.clone().count();
        for (line, (a, b)) in first.zip(second).enumerate() {
            assert_eq!(a, b, "seed {seed}, line {line}");
        }
        assert_eq!((one.counts, one.faults), (two.counts, two.faults));
    }
    assert!(lines > 2000, "hardly anything happens: {lines} lines");
}
