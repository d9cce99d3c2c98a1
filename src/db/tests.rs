use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::catalog::CatalogSnapshot;
use crate::config::BufferSettings;
use crate::event::{CoreEvent, EventBatchBuilder, Level, Value};

/// Events with the attribute `n` = the numbers of `range`.
fn batch(range: std::ops::Range<i64>) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    let n = builder.key(Level::Record, "n");
    for i in range {
        builder.push(&CoreEvent { timestamp_ns: i, ..CoreEvent::default() });
        builder.attribute(n, Value::Int(i));
    }
    builder.finish().unwrap()
}

/// Every `n` that a query would see, sorted: a number that is there twice is in the list twice.
async fn numbers(snapshot: &ReadSnapshot) -> Vec<i64> {
    let mut numbers = Vec::new();
    for batch in snapshot.buffer.iter() {
        for column in batch.attributes() {
            numbers.extend(column.values().as_primitive::<Int64Type>().values());
        }
    }
    for segment in &snapshot.catalog.segments {
        let path = object_store::path::Path::from(segment.path());
        let object = snapshot.store.get(&path).await.unwrap().bytes().await.unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(object).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let column = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
            assert_eq!(column.null_count(), 0);
            numbers.extend(column.values());
        }
    }
    numbers.sort_unstable();
    numbers
}

fn upto(n: i64) -> Vec<i64> {
    (0..n).collect()
}

/// Nothing is flushed unless a test says so.
fn manual(data: &Path) -> Settings {
    let mut settings = Settings::new(data);
    settings.buffer = BufferSettings {
        flush_bytes: usize::MAX,
        flush_rows: usize::MAX,
        flush_age_ms: u64::MAX,
        bytes_max: usize::MAX,
    };
    settings
}

async fn open(data: &Path) -> Database {
    Database::open(manual(data)).await.unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(data: &Path, folder: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(data.join(folder)) else { return 0 };
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() { files(data, &name) } else { 1 }
        })
        .sum()
}

#[tokio::test]
async fn an_acknowledged_batch_is_seen_at_once_and_after_every_way_of_ending() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(batch(0..3)).await.unwrap();
    assert_eq!(numbers(&database.snapshot()).await, upto(3));
    drop(database);

    let database = open(dir.path()).await;
    assert_eq!(numbers(&database.snapshot()).await, upto(3), "dropped without close");
    database.append(batch(3..5)).await.unwrap();
    database.flush().await.unwrap();
    database.append(batch(5..6)).await.unwrap();
    drop(database);

    let database = open(dir.path()).await;
    assert_eq!(numbers(&database.snapshot()).await, upto(6), "half in a segment, half in the log");
    database.close().await.unwrap();
    assert_eq!(files(dir.path(), "wal"), 0);
    assert_eq!(numbers(&database.snapshot()).await, upto(6), "queries go on after close");
    let error = database.append(batch(0..1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    let database = open(dir.path()).await;
    assert_eq!(numbers(&database.snapshot()).await, upto(6));
    assert!(database.snapshot().keys.lookup("n").is_some(), "keys are known without reading segments");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_see_every_event_exactly_once_while_flushes_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = manual(dir.path());
    settings.buffer.flush_rows = 200;
    let database = Database::open(settings).await.unwrap();
    let producer = {
        let database = database.clone();
        tokio::spawn(async move {
            for i in 0..300 {
                database.append(batch(i * 10..(i + 1) * 10)).await.unwrap();
            }
        })
    };
    let mut looks = 0;
    while !producer.is_finished() || looks < 20 {
        let snapshot = database.snapshot();
        let seen = numbers(&snapshot).await;
        assert_eq!(
            seen,
            upto(seen.len() as i64),
            "batches come in order: anything else is a loss or a duplicate"
        );
        assert_eq!(snapshot.rows(), seen.len() as u64);
        looks += 1;
    }
    producer.await.unwrap();
    assert_eq!(numbers(&database.snapshot()).await, upto(3000));
    assert!(database.stats().flushes > 1, "{:?}", database.stats());
}

#[tokio::test]
async fn merging_small_batches_changes_nothing_that_anybody_sees() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for i in 0..40 {
        database.append(batch(i * 5..(i + 1) * 5)).await.unwrap();
    }
    let before = database.snapshot();
    database.writer().unwrap().merge_small().await.unwrap();
    let after = database.snapshot();
    // The background task may have merged some of them already.
    assert!(after.buffer.len() < 16, "{}", after.buffer.len());
    assert_eq!((numbers(&before).await, numbers(&after).await), (upto(200), upto(200)));
    database.append(batch(200..205)).await.unwrap();
    drop(database);
    let database = open(dir.path()).await;
    assert_eq!(numbers(&database.snapshot()).await, upto(205), "the log has the batches as they came");
    database.writer().unwrap().merge_small().await.unwrap();
    database.flush().await.unwrap();
    assert_eq!(numbers(&database.snapshot()).await, upto(205));
    assert_eq!(database.stats().buffer_events, 0);
}

#[tokio::test]
async fn a_crash_between_any_two_steps_of_a_flush_loses_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (live, before, after) =
        (dir.path().join("live"), dir.path().join("before"), dir.path().join("after"));
    let database = open(&live).await;
    database.append(batch(0..50)).await.unwrap();
    database.flush().await.unwrap();
    database.append(batch(50..100)).await.unwrap();
    copy(&live, &before);
    database.flush().await.unwrap();
    copy(&live, &after);
    drop(database);

    let image = |name: &str, parts: &[(&Path, &str)]| {
        let image = dir.path().join(name);
        for (from, folder) in parts {
            if from.join(folder).exists() {
                copy(&from.join(folder), &image.join(folder));
            }
        }
        image
    };
    let (b, a) = (before.as_path(), after.as_path());
    let steps = [
        image("nothing happened yet", &[(b, "wal"), (b, "segments"), (b, "catalog")]),
        image("segment stored, not committed", &[(b, "wal"), (a, "segments"), (b, "catalog")]),
        image("committed, log not truncated", &[(b, "wal"), (a, "segments"), (a, "catalog")]),
        image("done", &[(a, "wal"), (a, "segments"), (a, "catalog")]),
    ];
    for step in steps {
        let read_only = Database::open_read_only(manual(&step)).await.unwrap();
        assert_eq!(numbers(&read_only.snapshot()).await, upto(100), "read-only, {}", step.display());
        let database = open(&step).await;
        assert_eq!(numbers(&database.snapshot()).await, upto(100), "{}", step.display());
        let known = database.snapshot().catalog.segments.len();
        assert_eq!(files(&step, "segments"), 2 * known, "orphans are removed: {}", step.display());
        database.append(batch(100..101)).await.unwrap();
        database.close().await.unwrap();
        assert_eq!(numbers(&open(&step).await.snapshot()).await, upto(101), "{}", step.display());
    }
}

#[tokio::test]
async fn a_second_writer_is_told_who_is_first() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    let error = Database::open(manual(dir.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let says = error.message();
    assert!(says.contains(&format!("process {} on ", std::process::id())), "{says}");
    assert!(says.contains(dir.path().to_str().unwrap()), "{says}");
    database.close().await.unwrap();
    open(dir.path()).await.append(batch(0..1)).await.unwrap();
    open(dir.path()).await;
}

#[tokio::test]
async fn a_reader_beside_a_writer_sees_what_is_there_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path()).await;
    writer.append(batch(0..10)).await.unwrap();
    writer.flush().await.unwrap();
    writer.append(batch(10..20)).await.unwrap();
    let reader = Database::open_read_only(manual(dir.path())).await.unwrap();
    assert_eq!(numbers(&reader.snapshot()).await, upto(20));
    assert_eq!(reader.append(batch(0..1)).await.unwrap_err().kind(), ErrorKind::InvalidInput);

    writer.flush().await.unwrap();
    writer.append(batch(20..30)).await.unwrap();
    assert_eq!(numbers(&reader.snapshot()).await, upto(20), "a snapshot stays");
    reader.refresh().await.unwrap();
    assert_eq!(numbers(&reader.snapshot()).await, upto(30));
}

#[tokio::test]
async fn reading_where_there_is_no_database_creates_none() {
    let dir = tempfile::tempdir().unwrap();
    for data in [dir.path().to_owned(), dir.path().join("missing")] {
        let error = Database::open_read_only(manual(&data)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_buffer_tells_producers_to_wait_and_a_flush_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = manual(dir.path());
    settings.buffer.bytes_max = 3 * batch(0..100).memory_bytes();
    let database = Database::open(settings).await.unwrap();
    let mut accepted = 0;
    let error = loop {
        match database.append(batch(accepted * 100..(accepted + 1) * 100)).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("buffer.bytes_max"), "{error}");
    assert!((2..4).contains(&accepted), "{accepted}");
    database.flush().await.unwrap();
    database.append(batch(accepted * 100..(accepted + 1) * 100)).await.unwrap();
    assert_eq!(
        numbers(&database.snapshot()).await,
        upto((accepted + 1) * 100),
        "what was refused was not stored"
    );
}

#[tokio::test]
async fn an_import_counts_from_its_commit_on() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(batch(0..10)).await.unwrap();
    let mut importer = database.importer().unwrap();
    importer.append(batch(10..20)).await.unwrap();
    assert_eq!(numbers(&database.snapshot()).await, upto(10));
    let progress = importer.commit().await.unwrap();
    assert_eq!((progress.appended_rows, progress.committed_rows, progress.segments), (10, 10, 1));
    assert_eq!(importer.commit().await.unwrap(), progress, "nothing to commit is no segment");
    assert_eq!(numbers(&database.snapshot()).await, upto(20));
    importer.append(batch(20..30)).await.unwrap();
    drop(importer);
    database.flush().await.unwrap();
    assert_eq!(numbers(&database.snapshot()).await, upto(20), "what was not committed is not in");
    drop(database);
    assert_eq!(numbers(&open(dir.path()).await.snapshot()).await, upto(20));
}

#[tokio::test]
async fn two_databases_in_one_process_know_nothing_of_each_other() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (open(one.path()).await, open(two.path()).await);
    let (x, y) = tokio::join!(a.append(batch(0..5)), b.append(batch(0..7)));
    x.and(y).unwrap();
    a.flush().await.unwrap();
    assert_eq!((numbers(&a.snapshot()).await, numbers(&b.snapshot()).await), (upto(5), upto(7)));
    assert_eq!((a.stats().flushes, b.stats().flushes), (1, 0));
}

#[tokio::test]
async fn a_lost_catalog_is_reported_and_its_segments_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(batch(0..5)).await.unwrap();
    database.close().await.unwrap();
    std::fs::remove_dir_all(dir.path().join("catalog")).unwrap();
    let error = Database::open(manual(dir.path())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(files(dir.path(), "segments"), 2, "the segment and its index");
}

#[tokio::test]
async fn a_database_opened_for_nothing_leaves_no_log() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    drop(open(dir.path()).await);
    assert_eq!(files(dir.path(), "wal"), 0);
    let names: BTreeSet<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["LOCK", "catalog", "spill", "wal"].map(String::from).into());
}

#[tokio::test]
async fn the_background_task_flushes_what_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = manual(dir.path());
    settings.buffer.flush_age_ms = 1;
    let database = Database::open(settings).await.unwrap();
    database.append(batch(0..5)).await.unwrap();
    while database.stats().flushes == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&database.snapshot()).await, upto(5));
}

#[tokio::test]
async fn damage_in_the_log_costs_its_own_batch() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for i in 0..3 {
        database.append(batch(i * 10..(i + 1) * 10)).await.unwrap();
    }
    drop(database);
    let file = std::fs::read_dir(dir.path().join("wal")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    // The batches are alike, so the middle of the file is in the middle batch.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, bytes).unwrap();

    let database = open(dir.path()).await;
    let left: Vec<i64> = (0..10).chain(20..30).collect();
    assert_eq!(numbers(&database.snapshot()).await, left);
    database.close().await.unwrap();
    assert!(file.with_extension("wal.damaged").exists());
    assert_eq!(numbers(&open(dir.path()).await.snapshot()).await, left);
}

#[tokio::test]
async fn many_segments_are_found_by_few_runs_which_outlive_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for i in 0..30 {
        let mut importer = database.importer().unwrap();
        importer.append(batch(i * 10..(i + 1) * 10)).await.unwrap();
        importer.commit().await.unwrap();
    }
    database.close().await.unwrap();
    let catalog = database.snapshot().catalog;
    let uncovered = |catalog: &CatalogSnapshot| {
        catalog.segments.iter().filter(|segment| !catalog.runs.contains(segment.id)).count()
    };
    assert!(!catalog.runs.is_empty() && uncovered(&catalog) <= 8);
    let known = catalog.runs.len();
    std::fs::write(dir.path().join("runs/0123.run"), "left by a crash").unwrap();
    let again = open(dir.path()).await.snapshot().catalog;
    assert_eq!(again.runs.runs(), catalog.runs.runs());
    assert!(files(dir.path(), "runs") == known, "what the catalog does not know is removed");
}

/// The one column of text of a result, joined.
async fn text(database: &Database, sql: &str) -> String {
    let batches = database.sql(sql).await.unwrap().collect().await.unwrap();
    let lines = batches.iter().flat_map(|batch| {
        let last = batch.column(batch.num_columns() - 1);
        (0..batch.num_rows())
            .map(|i| arrow::util::display::array_value_to_string(last, i).unwrap())
            .collect::<Vec<_>>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// How many segments EXPLAIN says that runs excluded.
fn pruned_by_index(plan: &str) -> usize {
    let number = plan.split("pruned_by_index=").nth(1).and_then(|rest| rest.lines().next());
    number.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn a_trace_is_found_through_the_runs_and_only_its_segment_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for segment in 0..12_u8 {
        let mut builder = EventBatchBuilder::new();
        let user = builder.key(Level::Record, "user.id");
        for i in 0..50_u8 {
            let mut id = [i; 16];
            id[0] = segment;
            // All segments cover the same time, so that time cannot exclude one.
            let (trace_id, timestamp_ns) = (Some(TraceId::new(id)), i64::from(i));
            builder.push(&CoreEvent { timestamp_ns, trace_id, ..CoreEvent::default() });
            builder.attribute(user, Value::Text(&format!("u{segment}-{i}")));
        }
        database.append(builder.finish().unwrap()).await.unwrap();
        database.flush().await.unwrap();
    }
    database.writer().unwrap().settle_runs().await;
    let found = "trace_id = '03050505050505050505050505050505'";
    let explain = |filter: &str| format!("EXPLAIN SELECT user.id FROM events WHERE {filter}");
    let plan = text(&database, &explain(found)).await;
    // The background task makes runs too, when it comes to it: some segments may be in none.
    let snapshot = database.snapshot();
    let covered = snapshot.catalog.segments.iter().filter(|s| snapshot.catalog.runs.contains(s.id)).count();
    assert!((covered - 1..=covered).contains(&pruned_by_index(&plan)), "{covered} in runs: {plan}");
    assert_eq!(text(&database, &format!("SELECT user.id FROM events WHERE {found}")).await, "u3-5");
    let absent = "trace_id = 'ffffffffffffffffffffffffffffffff'";
    let plan = text(&database, &explain(absent)).await;
    assert!(covered > 3 && pruned_by_index(&plan) == covered, "{covered} in runs: {plan}");
    assert_eq!(text(&database, &format!("SELECT count(*) FROM events WHERE {absent}")).await, "0");
    let either = "trace_id IN ('03050505050505050505050505050505', '04060606060606060606060606060606')";
    let plan = text(&database, &explain(either)).await;
    assert!((covered - 2..=covered).contains(&pruned_by_index(&plan)), "{covered} in runs: {plan}");
    assert_eq!(text(&database, &format!("SELECT count(*) FROM events WHERE {either}")).await, "2");
    database.close().await.unwrap();
}

#[derive(Debug, Default)]
struct SetClock(std::sync::atomic::AtomicI64);

impl crate::config::Clock for SetClock {
    fn now_ns(&self) -> i64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Events of `seconds`, one each, with a trace, and in turn of users u0 to u3; every fifth is an error.
fn users(seconds: impl IntoIterator<Item = i64>) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    let (user, n) = (builder.key(Level::Record, "user.id"), builder.key(Level::Record, "n"));
    for i in seconds {
        let trace_id = Some(TraceId::new([(i % 7 + 1) as u8; 16]));
        let signal = if i % 5 == 0 { crate::event::Signal::Log } else { crate::event::Signal::Span };
        builder.push(&CoreEvent { timestamp_ns: i * SECOND_NS, trace_id, signal, ..CoreEvent::default() });
        builder.attribute(user, Value::Text(&format!("u{}", i % 4)));
        builder.attribute(n, Value::Int(i));
    }
    builder.finish().unwrap()
}

const SECOND_NS: i64 = 1_000_000_000;

/// Questions whose answers come from everywhere: the catalog, bitmaps, side-cars, pages and rows.
const QUESTIONS: [&str; 9] = [
    "SELECT count(*) FROM events",
    "SELECT CAST(min(timestamp) AS text) || CAST(max(timestamp) AS text) FROM events",
    "SELECT user.id || count(*) FROM events GROUP BY user.id ORDER BY 1",
    "SELECT count(*) FROM events WHERE user.id = 'u1'",
    "SELECT count(*) FROM events WHERE user.id <> 'u3' AND signal = 'span'",
    "SELECT string_agg(CAST(n AS text), ',' ORDER BY n) FROM events
     WHERE trace_id = '03030303030303030303030303030303'",
    "SELECT string_agg(CAST(n AS text), ',' ORDER BY n) FROM events WHERE n % 3 = 1",
    "SELECT string_agg(CAST(n AS text), ',') FROM (SELECT n FROM events ORDER BY timestamp DESC LIMIT 9)",
    "SELECT date_trunc('minute', timestamp) || count(*) FROM events
     GROUP BY date_trunc('minute', timestamp) ORDER BY 1",
];

async fn answers(database: &Database) -> Vec<String> {
    let mut answers = Vec::new();
    for question in QUESTIONS {
        let question = question.replace(" || count", " || ' ' || count");
        let first = text(database, &question).await;
        // The second time there are bitmaps.
        assert_eq!(text(database, &question).await, first);
        answers.push(first);
    }
    answers
}

/// What a database says that never had the events that `keep` refuses.
async fn without(range: std::ops::Range<i64>, keep: impl Fn(i64) -> bool) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(users(range.filter(|i| keep(*i)))).await.unwrap();
    database.flush().await.unwrap();
    answers(&database).await
}

fn delete(condition: &str) -> DeleteRequest {
    DeleteRequest { condition: condition.to_owned(), ..DeleteRequest::default() }
}

#[tokio::test]
async fn deleted_events_are_gone_from_every_answer_at_once_and_from_disk_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for from in [0, 100, 200] {
        database.append(users(from..from + 100)).await.unwrap();
        database.flush().await.unwrap();
    }
    database.append(users(300..330)).await.unwrap();
    answers(&database).await;
    assert_eq!(database.count_deletable(&delete("user.id = 'u2'")).await.unwrap(), (82, 4));
    let before = database.snapshot();
    let receipt = database.delete(&delete("user.id = 'u2'")).await.unwrap();
    let Deletion { rows, segments, ref id, .. } = receipt.deletion;
    assert_eq!((rows, segments, receipt.pending.len()), (82, 4, 2 * 4), "{receipt:?}");
    let expected = without(0..330, |i| i % 4 != 2).await;
    assert_eq!(answers(&database).await, expected);
    assert_eq!(before.rows(), 330, "what was asked before stays as it was");
    assert_eq!((database.stats().events, database.stats().masked_events), (248, 82));

    let range =
        DeleteRequest { from_ns: Some(90 * SECOND_NS), to_ns: Some(110 * SECOND_NS), ..delete("true") };
    assert_eq!(database.delete(&range).await.unwrap().deletion.rows, 15, "without those that are deleted");
    let expected = without(0..330, |i| i % 4 != 2 && !(90..110).contains(&i)).await;
    assert_eq!(answers(&database).await, expected);
    drop(database);

    let database = open(dir.path()).await;
    assert_eq!(answers(&database).await, expected, "after a restart");
    let reader = Database::open_read_only(manual(dir.path())).await.unwrap();
    assert_eq!(answers(&reader).await, expected);
    let options = CompactionOptions { grace: std::time::Duration::ZERO, ..CompactionOptions::default() };
    drop(before);
    database.rewrite_deleted(options).await.unwrap();
    assert_eq!(answers(&database).await, expected);
    let receipt = database.deletion(id).await.unwrap();
    assert!(receipt.is_complete(), "{receipt:?}");
    assert_eq!((database.stats().masked_events, numbers_left(&database)), (0, 233));
    assert_eq!(files(dir.path(), "segments"), 2 * database.stats().segments as usize, "and no mask");
    database.compact(options, |_| {}).await.unwrap();
    assert_eq!(answers(&database).await, expected);
    assert_eq!(database.deletion("nope").await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Events that are in objects.
fn numbers_left(database: &Database) -> u64 {
    database.snapshot().catalog.segments.iter().map(|segment| segment.rows).sum()
}

#[tokio::test]
async fn a_deletion_of_everything_or_nothing_leaves_what_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(users(0..50)).await.unwrap();
    database.delete(&delete("n < 25")).await.unwrap();
    database.append(users(50..60)).await.unwrap();
    let nothing = database.delete(&delete("user.id = 'nobody'")).await.unwrap();
    assert_eq!((nothing.deletion.rows, nothing.is_complete()), (0, true));
    assert_eq!(database.delete(&delete("n < 50")).await.unwrap().deletion.rows, 25);
    assert_eq!(answers(&database).await, without(50..60, |_| true).await);
    assert_eq!(database.stats().segments, 1);
    database.delete(&delete("true")).await.unwrap();
    assert_eq!(text(&database, "SELECT count(*) FROM events").await, "0");
    for (wrong, says) in [
        ("user.idd = 'x'", "user.id"),
        ("n <", "condition"),
        ("true) OR (true", "condition"),
        ("n = 1; DROP TABLE events", "condition"),
        ("n IN (SELECT n FROM events)", "each event alone"),
        ("random() < 0.5", "each event alone"),
        ("count(*) > 1", ""),
    ] {
        let error = database.delete(&delete(wrong)).await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::InvalidInput && error.to_string().contains(says),
            "{wrong}: {error}"
        );
    }
}

#[tokio::test]
async fn a_deletion_and_a_merge_of_the_same_segments_do_not_undo_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    let mut next = 0;
    for round in 0..6 {
        for _ in 0..3 {
            database.append(users(next..next + 40)).await.unwrap();
            database.flush().await.unwrap();
            next += 40;
        }
        let options = CompactionOptions { grace: std::time::Duration::ZERO, ..CompactionOptions::default() };
        let request = delete(&format!("n % 10 = {round}"));
        let (deleted, merged) = tokio::join!(database.delete(&request), database.compact(options, |_| {}));
        deleted.unwrap();
        if let Err(error) = merged {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        }
    }
    // Each round deletes of what there was then.
    let expected = without(0..next, |i| (i / 120..6).all(|round| i % 10 != round)).await;
    assert_eq!(answers(&database).await, expected);
}

#[tokio::test]
async fn a_mask_that_cannot_be_read_is_an_error_and_shows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    database.append(users(0..50)).await.unwrap();
    database.delete(&delete("n = 7")).await.unwrap();
    let mask = database.snapshot().catalog.segments[0].mask_path().unwrap();
    std::fs::write(dir.path().join(mask), "BLMK").unwrap();
    for question in ["SELECT sum(n) FROM events", "SELECT n FROM events WHERE n = 7"] {
        let asked = database.sql(question).await.unwrap().collect().await;
        assert_eq!(asked.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn events_expire_by_the_first_rule_that_fits_and_segments_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SetClock::default());
    let mut settings = manual(dir.path());
    settings.clock = Arc::clone(&clock) as _;
    let rule = |condition: Option<&str>, seconds| crate::config::RetentionRule {
        condition: condition.map(str::to_owned),
        keep: std::time::Duration::from_secs(seconds),
    };
    settings.maintenance.retention.rules = vec![rule(Some("signal = 'log'"), 400), rule(None, 100)];
    let database = Database::open(settings.clone()).await.unwrap();
    for from in [0, 100, 200] {
        database.append(users(from..from + 100)).await.unwrap();
        database.flush().await.unwrap();
    }
    let at = |seconds: i64| clock.0.store(seconds * SECOND_NS, std::sync::atomic::Ordering::Relaxed);
    at(300);
    assert_eq!(database.apply_retention().await.unwrap(), 160, "spans before 200");
    assert_eq!(answers(&database).await, without(0..300, |i| i >= 200 || i % 5 == 0).await);
    assert_eq!(database.apply_retention().await.unwrap(), 0);
    at(501);
    assert_eq!(database.apply_retention().await.unwrap(), 20 + 80, "a segment, and the other spans");
    assert_eq!(answers(&database).await, without(100..300, |i| i % 5 == 0).await);
    let options = CompactionOptions { grace: std::time::Duration::ZERO, ..CompactionOptions::default() };
    database.compact(options, |_| {}).await.unwrap();
    assert_eq!((numbers_left(&database), database.stats().maintenance.expired_rows), (40, 260));
    database.close().await.unwrap();
    drop(database);

    settings.maintenance.retention.bytes_max = Some(1);
    let database = Database::open(settings.clone()).await.unwrap();
    assert_eq!(database.apply_retention().await.unwrap(), 40);
    drop(database);
    settings.maintenance.retention.rules.push(rule(Some("signal ="), 1));
    let error = Database::open(settings).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("retention rule 3"), "{error}");
}

#[tokio::test]
async fn a_database_maintains_itself_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = manual(dir.path());
    settings.maintenance.background = true;
    settings.maintenance.grace = std::time::Duration::ZERO;
    settings.maintenance.check_every = std::time::Duration::from_millis(1);
    let database = Database::open(settings).await.unwrap();
    for i in 0..8 {
        database.append(batch(i * 10..(i + 1) * 10)).await.unwrap();
        database.flush().await.unwrap();
    }
    while database.stats().segments > 1 || files(dir.path(), "segments") > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&database.snapshot()).await, upto(80));
    database.delete(&delete("n >= 60")).await.unwrap();
    while database.stats().masked_events > 0 || files(dir.path(), "segments") > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&database.snapshot()).await, upto(60));
    assert!(database.stats().maintenance.compactions >= 2);
    database.close().await.unwrap();
}

fn message(n: u8) -> DeliveryId {
    DeliveryId::of(0, &[n])
}

#[tokio::test]
async fn a_message_that_is_delivered_again_adds_nothing_before_and_after_a_flush_and_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = open(dir.path()).await;
    assert!(database.deliver(message(1), batch(0..10)).await.unwrap());
    assert!(!database.deliver(message(1), batch(0..10)).await.unwrap());
    assert!(database.deliver(message(2), batch(10..20)).await.unwrap(), "another message");
    database.append(batch(20..25)).await.unwrap();
    database.append(batch(25..30)).await.unwrap();
    for step in ["in the log", "in a segment", "in a segment and the log"] {
        drop(database);
        database = open(dir.path()).await;
        for n in 1..=2 {
            assert!(!database.deliver(message(n), batch(0..10)).await.unwrap(), "{step}, message {n}");
        }
        assert!(numbers(&database.snapshot()).await.starts_with(&upto(30)), "{step}");
        if step == "in a segment" {
            assert!(database.deliver(message(3), batch(30..40)).await.unwrap());
        }
        if step != "in a segment and the log" {
            database.flush().await.unwrap();
        }
    }
    assert!(!database.deliver(message(3), batch(30..40)).await.unwrap());
    for i in 40..110 {
        // A checkpoint comes in between.
        database.append(batch(i..i + 1)).await.unwrap();
        database.flush().await.unwrap();
    }
    drop(database);
    let database = open(dir.path()).await;
    for n in 1..=3 {
        assert!(!database.deliver(message(n), batch(0..10)).await.unwrap(), "message {n}");
    }
    assert_eq!(numbers(&database.snapshot()).await, upto(110));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_deliveries_at_once_one_is_stored_though_producers_leave() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path()).await;
    for round in 0..50_u8 {
        let range = i64::from(round) * 10..i64::from(round) * 10 + 10;
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let (database, batch) = (database.clone(), batch(range.clone()));
                tokio::spawn(async move { database.deliver(message(round), batch).await.unwrap() })
            })
            .collect();
        // Producers that hang up: what they sent may be stored or not.
        tasks[usize::from(round % 6)].abort();
        tasks[usize::from(round % 5)].abort();
        let mut stored = 0;
        for task in tasks {
            stored += u32::from(task.await.is_ok_and(|is_new| is_new));
        }
        assert!(stored <= 1, "{stored}");
    }
    assert_eq!(numbers(&database.snapshot()).await, upto(500));
}

#[tokio::test]
async fn messages_are_forgotten_after_their_time_and_when_it_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SetClock::default());
    let mut settings = manual(dir.path());
    settings.clock = Arc::clone(&clock) as _;
    settings.deliveries.window = std::time::Duration::from_mins(1);
    let database = Database::open(settings.clone()).await.unwrap();
    assert!(database.deliver(message(1), batch(0..1)).await.unwrap());
    database.close().await.unwrap();
    drop(database);
    let database = Database::open(settings.clone()).await.unwrap();
    assert!(!database.deliver(message(1), batch(0..1)).await.unwrap());
    clock.0.store(61 * SECOND_NS, std::sync::atomic::Ordering::Relaxed);
    assert!(database.deliver(message(1), batch(1..2)).await.unwrap());
    database.close().await.unwrap();
    drop(database);
    settings.deliveries.window = std::time::Duration::ZERO;
    let database = Database::open(settings).await.unwrap();
    assert!(database.deliver(message(1), batch(2..3)).await.unwrap());
    assert_eq!(numbers(&database.snapshot()).await, upto(3));
}
