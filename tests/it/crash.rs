//! Does `kill -9` at any moment neither lose nor duplicate an acknowledged event?
//!
//! The test binary starts itself as a child ([`child`]) that appends numbered events from several tasks and prints each
//! range once it is acknowledged. Flushes, imports and compactions run all the time, in the background and by call.
//! Some messages are delivered twice, and the last one of a life again in the next. After a random number of
//! acknowledgements the child is killed. Then every acknowledged event must be there once, and no event twice. The next
//! child continues in the same directory.
//!
//! `BROADLOOM_CRASH_CYCLES` sets the number of kills, `BROADLOOM_CRASH_SEED` repeats a run.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use broadloom::Database;
use broadloom::ErrorKind;
use broadloom::config::SegmentLimits;
use broadloom::config::Settings;
use broadloom::db::{CompactionOptions, DeleteRequest};
use broadloom::event::{CoreEvent, EventBatch, EventBatchBuilder, Level, Value};
use broadloom::query::ReadSnapshot;
use broadloom::wal::DeliveryId;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CYCLES: u32 = 20;
/// Lives of one database. Limited, because all its events are counted after each.
const LIVES: u64 = 100;
const PRODUCERS: i64 = 4;
/// Numbers reserved for one producer in one cycle.
const NUMBERS_EACH: i64 = 1_000_000;

fn batch(range: Range<i64>) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    let n = builder.key(Level::Record, "n");
    let text = builder.key(Level::Resource, "service.name");
    for i in range {
        builder.push(&CoreEvent { timestamp_ns: i, ..CoreEvent::default() });
        builder.attribute(n, Value::Int(i));
        builder.attribute(text, Value::Text("crash"));
    }
    builder.finish().expect("a small batch")
}

/// Id of the message that contains the numbers of a range.
fn message(range: &Range<i64>) -> DeliveryId {
    DeliveryId::of(0, format!("{range:?}").as_bytes())
}

/// Small limits, so that flushes, checkpoints and truncation happen all the time.
fn settings(data: &Path) -> Settings {
    let mut settings = Settings::new(data);
    settings.buffer.flush_rows = 1000;
    settings.buffer.flush_age_ms = 20;
    settings.maintenance.segment.rows = 3000;
    settings.maintenance.grace = Duration::ZERO;
    settings.maintenance.check_every = Duration::from_millis(5);
    settings
}

/// Settings for checking: a running flush would still hold the directory when the next child opens it.
fn without_flushes(data: &Path) -> Settings {
    let mut settings = settings(data);
    settings.buffer.flush_rows = usize::MAX;
    settings.buffer.flush_age_ms = u64::MAX;
    settings
}

/// Not a test, but the main function of the child process. Without the variable it returns at once.
#[test]
fn child() {
    let Ok(data) = std::env::var("BROADLOOM_CRASH_DATA") else { return };
    let base: i64 = std::env::var("BROADLOOM_CRASH_BASE").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut settings = settings(Path::new(&data));
        settings.maintenance.background = true;
        let database = loop {
            match Database::open(settings.clone()).await {
                // The checker may still be merging indexes; it will release the directory in a moment.
                Err(error) if error.kind() == ErrorKind::Conflict => tokio::task::yield_now().await,
                opened => break opened.unwrap(),
            }
        };
        // Redelivery of a message that was acknowledged in the previous life.
        if let Some(range) = std::env::var("BROADLOOM_CRASH_AGAIN").ok().and_then(|line| parse(&line)) {
            assert!(!database.deliver(message(&range), batch(range.clone())).await.unwrap(), "{range:?}");
        }
        let producers = (0..PRODUCERS).map(|p| {
            let first = base + p * NUMBERS_EACH;
            tokio::spawn(produce(database.clone(), first, p == 0))
        });
        let producers: Vec<_> = producers.collect();
        tokio::spawn(compact(database.clone()));
        tokio::spawn(delete(database, base));
        for producer in producers {
            producer.await.unwrap();
        }
    });
}

/// Appends until its numbers are used up.
async fn produce(database: Database, first: i64, imports: bool) {
    let mut random = ChaCha8Rng::seed_from_u64(first as u64);
    let mut next = first;
    while next + 100 < first + NUMBERS_EACH {
        let range = next..next + random.random_range(1..100);
        next = range.end;
        if imports {
            let mut importer = database.importer().unwrap();
            importer.append(batch(range.clone())).await.unwrap();
            importer.commit().await.unwrap();
        } else {
            let id = message(&range);
            assert!(database.deliver(id, batch(range.clone())).await.unwrap());
            if random.random_bool(0.2) {
                assert!(!database.deliver(id, batch(range.clone())).await.unwrap());
            }
        }
        // One write call per line, so that a kill never leaves half a line.
        let line = format!("\nack {} {}\n", range.start, range.end);
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
    }
}

/// Compacts for ever, besides the background task; merged segments are deleted at once.
async fn compact(database: Database) {
    let options = CompactionOptions { segment: SegmentLimits::of_rows(3000), grace: Duration::ZERO };
    loop {
        while database.stats().maintenance.compactions % 3 < 2 {
            tokio::task::yield_now().await;
        }
        match database.compact(options, |_| {}).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            compacted => drop(compacted.unwrap()),
        }
        tokio::task::yield_now().await;
    }
}

/// Appends events with negative numbers and deletes them, for ever.
async fn delete(database: Database, base: i64) {
    for round in base.. {
        let mut builder = EventBatchBuilder::new();
        let n = builder.key(Level::Record, "n");
        builder.push(&CoreEvent { timestamp_ns: round, ..CoreEvent::default() });
        builder.attribute(n, Value::Int(-1 - round));
        database.append(builder.finish().unwrap()).await.unwrap();
        let condition = format!("n = {}", -1 - round);
        let request = DeleteRequest { condition, ..DeleteRequest::default() };
        match database.delete(&request).await {
            Ok(receipt) => assert_eq!(receipt.deletion.rows, 1),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
}

fn start(data: &Path, base: i64, again: Option<&Range<i64>>) -> Child {
    let again = again.map_or(String::new(), |range| format!("ack {} {}", range.start, range.end));
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture", "--test-threads=1"])
        .env("BROADLOOM_CRASH_DATA", data)
        .env("BROADLOOM_CRASH_BASE", base.to_string())
        .env("BROADLOOM_CRASH_AGAIN", again)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Runs a child until it has acknowledged `acks` batches, kills it, and returns all acknowledged ranges.
fn run_and_kill(data: &Path, base: i64, acks: usize, again: Option<&Range<i64>>) -> Vec<Range<i64>> {
    let mut child = start(data, base, again);
    let mut acknowledged = Vec::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while acknowledged.len() < acks {
        let line = lines.next().expect("the child runs until it is killed").unwrap();
        acknowledged.extend(parse(&line));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Acknowledgements printed before the kill count, too.
    acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line)));
    acknowledged
}

fn parse(line: &str) -> Option<Range<i64>> {
    let mut words = line.strip_prefix("ack ")?.split(' ');
    let range = words.next()?.parse().ok()?..words.next()?.parse().ok()?;
    Some(range)
}

/// Number of occurrences of each event number in the database.
async fn count(snapshot: &ReadSnapshot) -> HashMap<i64, u32> {
    let mut counts = HashMap::new();
    let mut add = |column: &dyn arrow::array::Array| {
        for n in column.as_primitive::<Int64Type>().values() {
            *counts.entry(*n).or_default() += 1;
        }
    };
    for batch in snapshot.buffer.iter() {
        batch.attributes().iter().filter(|c| c.key().level == Level::Record).for_each(|c| add(c.values()));
    }
    for segment in &snapshot.catalog.segments {
        let path = object_store::path::Path::from(segment.path());
        let object = snapshot.store.get(&path).await.unwrap().bytes().await.unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(object).unwrap().build().unwrap() {
            add(batch.unwrap().column_by_name("n").unwrap());
        }
    }
    counts
}

/// Number of events with negative numbers that a query sees. In each life, one may not have been deleted yet.
async fn negative(database: &Database) -> u64 {
    let result = database.sql("SELECT count(*) FROM events WHERE n < 0").await.unwrap();
    let batches = result.collect().await.unwrap();
    batches[0].column(0).as_primitive::<Int64Type>().value(0) as u64
}

fn check(counts: &HashMap<i64, u32>, acknowledged: &[Range<i64>], what: &str) {
    let lost: Vec<_> =
        acknowledged.iter().cloned().flatten().filter(|n| !counts.contains_key(n)).take(5).collect();
    assert!(lost.is_empty(), "{what}: lost acknowledged events, such as {lost:?}");
    let twice: Vec<_> = counts.iter().filter(|(_, times)| **times > 1).take(5).collect();
    assert!(twice.is_empty(), "{what}: events are there more than once, such as {twice:?}");
}

#[test]
fn killing_at_any_moment_loses_nothing_acknowledged_and_repeats_nothing() {
    let from_environment = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let cycles = from_environment("BROADLOOM_CRASH_CYCLES").unwrap_or(u64::from(CYCLES));
    let seed = from_environment("BROADLOOM_CRASH_SEED").unwrap_or_else(rand::random);
    println!("BROADLOOM_CRASH_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<Range<i64>> = Vec::new();
    let mut batches = 0;
    for cycle in 0..cycles {
        if cycle > 0 && cycle % LIVES == 0 {
            batches += acknowledged.len();
            println!("{cycle} lives, {batches} batches acknowledged");
            acknowledged.clear();
            dir = tempfile::tempdir().unwrap();
        }
        let acks = if random.random_bool(0.2) { 0 } else { random.random_range(1..150) };
        // The first producer of each life imports, and imports are not deduplicated.
        let is_message = |range: &&Range<i64>| range.start / NUMBERS_EACH % PRODUCERS != 0;
        let again = acknowledged.iter().rfind(is_message).cloned();
        let base = cycle as i64 * PRODUCERS * NUMBERS_EACH;
        acknowledged.extend(run_and_kill(dir.path(), base, acks, again.as_ref()));
        runtime.block_on(async {
            if acknowledged.is_empty() {
                return;
            }
            let reader = Database::open_read_only(settings(dir.path())).await.unwrap();
            check(&count(&reader.snapshot()).await, &acknowledged, &format!("cycle {cycle}, read-only"));
            let database = Database::open(without_flushes(dir.path())).await.unwrap();
            check(&count(&database.snapshot()).await, &acknowledged, &format!("cycle {cycle}"));
            let left = negative(&database).await;
            assert!(left <= cycle % LIVES + 1, "cycle {cycle}: {left} deleted events have come back");
            if random.random_bool(0.3) {
                database.close().await.unwrap();
                check(&count(&database.snapshot()).await, &acknowledged, &format!("cycle {cycle}, closed"));
            }
        });
    }
    batches += acknowledged.len();
    println!("{batches} batches acknowledged in {cycles} lives");
    assert!(batches > cycles as usize * 10, "the children hardly did anything");
}
