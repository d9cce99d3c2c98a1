//! Does every query see every event once, whatever happens at the same time?
//!
//! Producers append, redeliver messages, and import; events expire and are deleted. Flushes, merges of segments and
//! indexes, and the deletion of unused objects run by call and in the background, on several threads. Every event has a
//! unique number. Readers run several kinds of queries, and know for each number what the result must be:
//!
//! | number | in the result |
//! |---|---|
//! | acknowledged before the query began, and its removal not requested until it ended | once |
//! | sent after the query ended, or its removal acknowledged before it began | not |
//! | anything between | once or not. Once seen, it stays until it is removed; once gone, it stays gone |
//!
//! `BROADLOOM_CONCURRENCY_SECONDS` sets the duration, `BROADLOOM_CONCURRENCY_SEED` the random choices (not how threads
//! interleave).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use broadloom::config::SegmentLimits;
use broadloom::config::{Clock, RetentionRule, Settings, SystemClock};
use broadloom::db::{CompactionOptions, DeleteRequest};
use broadloom::event::{CoreEvent, EventBatch, EventBatchBuilder, Level, TraceId, Value};
use broadloom::wal::DeliveryId;
use broadloom::{Database, ErrorKind, Result};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

const SECONDS: u64 = 4;
const PRODUCERS: usize = 4;
const READERS: u64 = 3;
/// Numbers reserved for one producer.
const NUMBERS_EACH: i64 = 1_000_000_000;
/// Events of a producer in the database, above which it waits.
const EVENTS_MAX: i64 = 4_000;
/// One of this many events has already expired when it is sent.
const EXPIRED_EVERY: i64 = 16;
const HOUR_NS: i64 = 3_600_000_000_000;

/// State of one producer's numbers, counted from 0: event `i` has the number `first + i`.
#[derive(Debug)]
struct Producer {
    first: i64,
    /// All numbers below were sent.
    sent: AtomicI64,
    /// All numbers below are acknowledged.
    acknowledged: AtomicI64,
    /// Ranges of its latest messages, at most 100.
    messages: Mutex<VecDeque<Range<i64>>>,
    /// Ranges whose removal was requested: start, end, and true once it was acknowledged. They do not overlap.
    removals: Mutex<BTreeMap<i64, (i64, bool)>>,
    /// All numbers below are removed.
    removed: watch::Sender<i64>,
    /// All expired numbers below are gone.
    expired: AtomicI64,
}

/// State of a producer at one moment.
#[derive(Debug, Clone)]
struct Moment {
    sent: i64,
    acknowledged: i64,
    removed: i64,
    expired: i64,
    removals: BTreeMap<i64, (i64, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Once,
    Absent,
    Either,
}

impl Producer {
    fn new(number: usize) -> Self {
        Self {
            first: number as i64 * NUMBERS_EACH,
            sent: AtomicI64::new(0),
            acknowledged: AtomicI64::new(0),
            messages: Mutex::default(),
            removals: Mutex::default(),
            removed: watch::channel(0).0,
            expired: AtomicI64::new(0),
        }
    }

    /// Reads `acknowledged` first: an event that is acknowledged later is then not required in a result.
    fn now(&self) -> Moment {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let expired = self.expired.load(Ordering::SeqCst);
        let removals = self.removals.lock().unwrap().clone();
        let (removed, sent) = (*self.removed.borrow(), self.sent.load(Ordering::SeqCst));
        Moment { sent, acknowledged, removed, expired, removals }
    }

    fn name(&self) -> String {
        format!("producer-{}", self.first / NUMBERS_EACH)
    }
}

impl Moment {
    /// `None` if no removal of `i` was requested, else true once it was acknowledged.
    fn removal(&self, i: i64) -> Option<bool> {
        let (_, (end, done)) = self.removals.range(..=i).next_back()?;
        (i < *end).then_some(*done)
    }
}

/// Required number of occurrences of event `i` in the result of a query that began after `before` and ended before
/// `after`.
fn fate(i: i64, before: &Moment, after: &Moment) -> Fate {
    let expires = i % EXPIRED_EVERY == 3;
    if i < before.removed || before.removal(i) == Some(true) || expires && i < before.expired {
        return Fate::Absent;
    }
    if i < after.removed || after.removal(i).is_some() || expires {
        return if i < after.sent { Fate::Either } else { Fate::Absent };
    }
    match i {
        i if i < before.acknowledged => Fate::Once,
        i if i < after.sent => Fate::Either,
        _ => Fate::Absent,
    }
}

fn trace_id(first: i64) -> TraceId {
    let mut id = [9; 16];
    id[..8].copy_from_slice(&first.to_be_bytes());
    TraceId::new(id)
}

fn hex(first: i64) -> String {
    hex::encode(trace_id(first).as_bytes())
}

fn batch(producer: &Producer, range: &Range<i64>) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    let [n, name, user, old] = ["n", "producer", "user.id", "old"].map(|key| builder.key(Level::Record, key));
    let now_ns = SystemClock.now_ns();
    for i in range.clone() {
        let expires = i % EXPIRED_EVERY == 3;
        let timestamp_ns = if expires { now_ns - HOUR_NS } else { now_ns + i % 7 };
        let trace_id = Some(trace_id(producer.first + range.start));
        builder.push(&CoreEvent { timestamp_ns, trace_id, ..CoreEvent::default() });
        builder.attribute(n, Value::Int(producer.first + i));
        builder.attribute(name, Value::Text(&producer.name()));
        builder.attribute(user, Value::Text(&format!("u-{}", producer.first + i)));
        if expires {
            builder.attribute(old, Value::Text("yes"));
        }
    }
    builder.finish().unwrap()
}

fn settings(data: &Path) -> Settings {
    let mut settings = Settings::new(data);
    settings.buffer.flush_rows = 1500;
    settings.buffer.flush_age_ms = 100;
    settings.index.lookup_keys = vec!["user.id".to_owned()];
    settings.maintenance.background = true;
    settings.maintenance.segment.rows = 4000;
    settings.maintenance.grace = Duration::ZERO;
    settings.maintenance.check_every = Duration::from_millis(5);
    let condition = Some("attributes['old'] = 'yes'".to_owned());
    settings.maintenance.retention.rules = vec![RetentionRule { condition, keep: Duration::from_mins(1) }];
    settings
}

/// State that all tasks share.
#[derive(Debug)]
struct Run {
    database: Database,
    producers: Vec<Producer>,
    stop: AtomicBool,
    seed: u64,
    messages: AtomicU64,
    again: AtomicU64,
    queries: [AtomicU64; 5],
    numbers: AtomicU64,
    deletions: AtomicU64,
    retentions: AtomicU64,
    compactions: AtomicU64,
    conflicts: AtomicU64,
}

impl Run {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn random(&self, actor: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed ^ actor << 32)
    }

    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The result, or `None` after a conflict: then the operation was not done, or only in part.
    fn unless_conflict<T>(&self, result: Result<T>) -> Option<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                Self::count(&self.conflicts);
                None
            }
            result => Some(result.unwrap()),
        }
    }

    async fn produce(self: Arc<Self>, number: usize) {
        let producer = &self.producers[number];
        let mut random = self.random(number as u64);
        let mut removed = producer.removed.subscribe();
        let mut next = 0;
        while self.goes_on() {
            let full = next - EVENTS_MAX;
            tokio::select! {
                room = removed.wait_for(|removed| *removed >= full) => drop(room.unwrap()),
                () = tokio::time::sleep(Duration::from_millis(20)) => continue,
            }
            let range = next..next + random.random_range(1..100);
            next = range.end;
            producer.sent.store(range.end, Ordering::SeqCst);
            let id = DeliveryId::of(number as u8, &range.start.to_le_bytes());
            let events = || batch(producer, &range);
            match random.random_range(0..10) {
                _ if number == 0 => {
                    let mut importer = self.database.importer().unwrap();
                    importer.append(events()).await.unwrap();
                    importer.commit().await.unwrap();
                }
                0..2 => self.database.append(events()).await.unwrap(),
                2..4 => {
                    let twice = (self.database.deliver(id, events()), self.database.deliver(id, events()));
                    let new = tokio::join!(twice.0, twice.1);
                    assert!(new.0.unwrap() != new.1.unwrap(), "{id} must be new once");
                    Self::count(&self.again);
                }
                4..6 => {
                    assert!(self.database.deliver(id, events()).await.unwrap());
                    assert!(!self.database.deliver(id, events()).await.unwrap());
                    Self::count(&self.again);
                }
                _ => assert!(self.database.deliver(id, events()).await.unwrap()),
            }
            producer.acknowledged.store(range.end, Ordering::SeqCst);
            let mut messages = producer.messages.lock().unwrap();
            messages.push_back(range);
            if messages.len() > 100 {
                messages.pop_front();
            }
            drop(messages);
            Self::count(&self.messages);
        }
    }

    /// Deletes the older half of a producer's events if there are many, else a few in between.
    async fn delete(self: Arc<Self>) {
        let mut random = self.random(100);
        while self.goes_on() {
            let producer = self.producers.choose(&mut random).unwrap();
            let now = producer.now();
            let there = now.acknowledged - now.removed;
            let range = if there > EVENTS_MAX / 2 {
                now.removed..now.removed + there / 2
            } else if there > 100 {
                let start = now.removed + random.random_range(0..there - 10);
                start..start + random.random_range(1..10)
            } else {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            };
            self.delete_range(producer, &range).await;
        }
    }

    async fn delete_range(&self, producer: &Producer, range: &Range<i64>) {
        let ask = |done: bool| {
            let mut removals = producer.removals.lock().unwrap();
            // Pieces of the range whose removal was already requested keep their own entries.
            let mut next = range.start;
            let pieces: Vec<_> =
                removals.range(..range.end).map(|(start, (end, _))| (*start, *end)).collect();
            for (start, end) in pieces.into_iter().filter(|(_, end)| *end > range.start) {
                if start > next {
                    removals.insert(next, (start, done));
                }
                next = next.max(end);
                if done && start >= range.start && end <= range.end {
                    removals.insert(start, (end, true));
                }
            }
            if next < range.end {
                removals.insert(next, (range.end, done));
            }
        };
        ask(false);
        let (from, to) = (producer.first + range.start, producer.first + range.end);
        let request =
            DeleteRequest { condition: format!("n >= {from} AND n < {to}"), ..DeleteRequest::default() };
        while self.unless_conflict(self.database.delete(&request).await).is_none() {}
        ask(true);
        Self::count(&self.deletions);
        if range.start == *producer.removed.borrow() {
            producer.removed.send_replace(range.end);
            producer.removals.lock().unwrap().retain(|_, (end, _)| *end > range.end);
        }
    }

    async fn retain(self: Arc<Self>) {
        while self.goes_on() {
            let acknowledged: Vec<_> = self.producers.iter().map(|p| p.now().acknowledged).collect();
            self.database.flush().await.unwrap();
            if self.unless_conflict(self.database.apply_retention().await).is_some() {
                for (producer, acknowledged) in self.producers.iter().zip(acknowledged) {
                    producer.expired.store(acknowledged, Ordering::SeqCst);
                }
                Self::count(&self.retentions);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn compact(self: Arc<Self>) {
        let options = CompactionOptions { segment: SegmentLimits::of_rows(4000), grace: Duration::ZERO };
        while self.goes_on() {
            if self.unless_conflict(self.database.compact(options, |_| {}).await).is_some() {
                Self::count(&self.compactions);
            }
            let _ = self.unless_conflict(self.database.rewrite_deleted(options).await);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn numbers(&self, sql: &str) -> Vec<i64> {
        let batches = self.database.sql(sql).await.unwrap().collect().await.unwrap();
        let columns = batches.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>());
        columns.flat_map(|column| column.values().to_vec()).collect()
    }

    fn moments(&self) -> Vec<Moment> {
        self.producers.iter().map(Producer::now).collect()
    }

    async fn read(self: Arc<Self>, reader: u64) {
        let mut random = self.random(1000 + reader);
        let mut memory = Memory::default();
        while self.goes_on() {
            self.ask(&mut random, &mut memory).await;
        }
    }

    /// Runs one query of a random kind and checks its result.
    async fn ask(&self, random: &mut ChaCha8Rng, memory: &mut Memory) {
        let kind = random.random_range(0..self.queries.len());
        let version = self.database.snapshot().catalog.version;
        assert!(
            version >= memory.version,
            "the catalog was at version {}, and is at {version}",
            memory.version
        );
        memory.version = version;
        let producer = self.producers.choose(random).unwrap();
        let message = producer.messages.lock().unwrap().iter().nth(random.random_range(0..100)).cloned();
        let before = self.moments();
        match (kind, message) {
            (1, Some(range)) => {
                let trace = hex(producer.first + range.start);
                let sql = format!("SELECT n FROM events WHERE trace_id = '{trace}'");
                Self::compare(producer, &before, range, self.numbers(&sql).await, &sql);
            }
            (2, Some(range)) => {
                let i = random.random_range(range);
                let sql = format!("SELECT n FROM events WHERE user.id = 'u-{}'", producer.first + i);
                Self::compare(producer, &before, i..i + 1, self.numbers(&sql).await, &sql);
            }
            (3, _) => {
                let sql = "SELECT count(*), count(DISTINCT n) FROM events";
                let batches = self.database.sql(sql).await.unwrap().collect().await.unwrap();
                let counts = |i: usize| batches[0].column(i).as_primitive::<Int64Type>().value(0);
                assert_eq!(counts(0), counts(1), "some events are there twice");
                let after = self.moments();
                let bounds = before.iter().zip(&after).map(|(before, after)| bounds(before, after));
                let (least, most) = bounds.fold((0, 0), |sum, some| (sum.0 + some.0, sum.1 + some.1));
                assert!((least..=most).contains(&counts(0)), "{} events, not {least} to {most}", counts(0));
            }
            (4, _) => {
                let sql = format!("SELECT count(*) FROM events WHERE producer = '{}'", producer.name());
                let found = self.numbers(&sql).await[0];
                let before = &before[(producer.first / NUMBERS_EACH) as usize];
                let (least, most) = bounds(before, &producer.now());
                assert!((least..=most).contains(&found), "{sql}: {found}, not {least} to {most}");
            }
            _ => self.ask_for_all(&before, memory).await,
        }
        Self::count(&self.queries[kind]);
    }

    async fn ask_for_all(&self, before: &[Moment], memory: &mut Memory) {
        let mut found = self.numbers("SELECT n FROM events").await;
        found.sort_unstable();
        self.numbers.fetch_add(found.len() as u64, Ordering::Relaxed);
        let twice = found.windows(2).find(|pair| pair[0] == pair[1]);
        assert!(twice.is_none(), "event {twice:?} is there twice");
        let after = self.moments();
        let mut found = found.into_iter().peekable();
        for ((producer, before), after) in self.producers.iter().zip(before).zip(&after) {
            let (mut gone, mut seen) = (BTreeSet::new(), BTreeSet::new());
            let from = std::iter::from_fn(|| found.next_if(|n| *n < producer.first + NUMBERS_EACH));
            let there: BTreeSet<i64> = from.map(|n| n - producer.first).collect();
            assert!(
                there.first().is_none_or(|i| *i >= before.removed),
                "deleted events are there: {there:?}"
            );
            for i in before.removed..after.sent.max(there.last().map_or(0, |last| last + 1)) {
                let (n, is_there) = (producer.first + i, there.contains(&i));
                match fate(i, before, after) {
                    Fate::Once => assert!(is_there, "event {n} is not there: {before:?} {after:?}"),
                    Fate::Absent => assert!(!is_there, "event {n} is there: {before:?} {after:?}"),
                    Fate::Either => {}
                }
                if is_there {
                    assert!(!memory.gone.contains(&n), "event {n} has come back");
                    seen.insert(n);
                } else {
                    let removable = i % EXPIRED_EVERY == 3 || i < after.removed || after.removal(i).is_some();
                    assert!(removable || !memory.seen.contains(&n), "event {n} was there, and is gone");
                    if i < before.acknowledged {
                        gone.insert(n);
                    }
                }
            }
            memory.replace(producer.first..producer.first + NUMBERS_EACH, gone, seen);
        }
        assert_eq!(found.next(), None, "an event that no producer sent");
    }

    /// Checks a result for a range of one producer's events.
    fn compare(producer: &Producer, before: &[Moment], range: Range<i64>, mut found: Vec<i64>, sql: &str) {
        let before = &before[(producer.first / NUMBERS_EACH) as usize];
        let after = producer.now();
        found.sort_unstable();
        let mut found = found.into_iter().map(|n| n - producer.first).peekable();
        for i in range {
            let times = std::iter::from_fn(|| found.next_if(|other| *other == i)).count();
            let fits = match fate(i, before, &after) {
                Fate::Once => times == 1,
                Fate::Absent => times == 0,
                Fate::Either => times <= 1,
            };
            assert!(fits, "{sql}: event {i} is there {times} times: {before:?} {after:?}");
        }
        assert_eq!(found.next(), None, "{sql}: another event");
    }
}

/// Least and greatest possible number of a producer's events.
fn bounds(before: &Moment, after: &Moment) -> (i64, i64) {
    let fates = (before.removed..after.sent).map(|i| fate(i, before, after));
    fates.fold((0, 0), |(least, most), fate| {
        (least + i64::from(fate == Fate::Once), most + i64::from(fate != Fate::Absent))
    })
}

/// Results that a reader has seen so far.
#[derive(Debug, Default)]
struct Memory {
    version: u64,
    /// Acknowledged events that were missing: they must not come back.
    gone: BTreeSet<i64>,
    seen: BTreeSet<i64>,
}

impl Memory {
    fn replace(&mut self, numbers: Range<i64>, gone: BTreeSet<i64>, seen: BTreeSet<i64>) {
        // Numbers in neither set were removed long ago.
        for (old, new) in [(&mut self.gone, gone), (&mut self.seen, seen)] {
            let mut rest = old.split_off(&numbers.start);
            old.append(&mut rest.split_off(&numbers.end));
            old.extend(new);
        }
    }
}

#[test]
fn every_query_sees_every_event_once_whatever_goes_on() {
    let from_environment = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = from_environment("BROADLOOM_CONCURRENCY_SECONDS").unwrap_or(SECONDS);
    let seed = from_environment("BROADLOOM_CONCURRENCY_SEED").unwrap_or_else(rand::random);
    println!("BROADLOOM_CONCURRENCY_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::open(settings(dir.path())).await.unwrap();
        // A first event, so that the attribute names in queries are known.
        let first = Producer::new(PRODUCERS);
        database.append(batch(&first, &(3..4))).await.unwrap();
        database
            .delete(&DeleteRequest { condition: "n >= 0".to_owned(), ..DeleteRequest::default() })
            .await
            .unwrap();
        let run = Arc::new(Run {
            database,
            producers: (0..PRODUCERS).map(Producer::new).collect(),
            stop: AtomicBool::new(false),
            seed,
            messages: AtomicU64::default(),
            again: AtomicU64::default(),
            queries: Default::default(),
            numbers: AtomicU64::default(),
            deletions: AtomicU64::default(),
            retentions: AtomicU64::default(),
            compactions: AtomicU64::default(),
            conflicts: AtomicU64::default(),
        });
        let mut tasks = tokio::task::JoinSet::new();
        (0..PRODUCERS).for_each(|number| drop(tasks.spawn(Arc::clone(&run).produce(number))));
        (0..READERS).for_each(|reader| drop(tasks.spawn(Arc::clone(&run).read(reader))));
        tasks.spawn(Arc::clone(&run).delete());
        tasks.spawn(Arc::clone(&run).retain());
        tasks.spawn(Arc::clone(&run).compact());
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            tokio::select! {
                // A task that ends before `stop` is set has failed.
                ended = tasks.join_next() => ended.unwrap().unwrap(),
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
        run.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        finish(&run, dir.path()).await;
    });
}

/// Checks all events once nothing runs any more, before and after a restart.
async fn finish(run: &Run, data: &Path) {
    run.database.flush().await.unwrap();
    while run.unless_conflict(run.database.apply_retention().await).is_none() {}
    for producer in &run.producers {
        producer.expired.store(producer.now().acknowledged, Ordering::SeqCst);
    }
    let moments = run.moments();
    let (least, most) =
        moments.iter().map(|now| bounds(now, now)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    assert_eq!(least, most, "no operation is running");
    run.ask_for_all(&moments, &mut Memory::default()).await;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let stats = run.database.stats();
    let sent: i64 = moments.iter().map(|now| now.sent).sum();
    println!(
        "{sent} events in {} messages ({} delivered again), {least} left; queries: {:?}, {} numbers compared; \
         {} deletions, {} retentions, {} compactions by call, {} conflicts; {:?}",
        load(&run.messages),
        load(&run.again),
        run.queries.each_ref().map(load),
        load(&run.numbers),
        load(&run.deletions),
        load(&run.retentions),
        load(&run.compactions),
        load(&run.conflicts),
        stats.maintenance,
    );
    let little = [&run.messages, &run.again, &run.deletions, &run.retentions, &run.compactions];
    assert!(little.iter().all(|counter| load(counter) > 0), "hardly anything happened");
    assert!(run.queries.iter().all(|counter| load(counter) > 0), "hardly any query ran");
    run.database.close().await.unwrap();
    let report = broadloom::db::check::check(&settings(data), |_| {}).await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let database = Database::open(settings(data)).await.unwrap();
    let left = database.sql("SELECT count(*) FROM events").await.unwrap().collect().await.unwrap();
    assert_eq!(left[0].column(0).as_primitive::<Int64Type>().value(0), least);
    database.close().await.unwrap();
}
