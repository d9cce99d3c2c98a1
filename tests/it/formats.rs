//! Can data directories of earlier versions still be read and written?
//!
//! `testdata/formats/{version}/` has a small data directory that this version wrote, with an object of every kind,
//! and the results of its queries. These files are never changed. To add a version after a format has changed:
//!
//! ```sh
//! BROADLOOM_WRITE_FORMATS=0.2.0 cargo test --test it formats::write
//! ```

use std::path::{Path, PathBuf};

use broadloom::Database;
use broadloom::config::Settings;
use broadloom::db::check::{Part, check};
use broadloom::db::{CompactionOptions, DeleteRequest};
use broadloom::event::{CoreEvent, EventBatch, EventBatchBuilder, Level, Link, TraceId, Value};
use broadloom::ingest::otlp::{Encoding, RequestKind, decode};
use broadloom::query::output::{Format, encode};
use broadloom::store::DurableFileSystem;
use broadloom::wal::DeliveryId;
use futures::TryStreamExt;
use serde_json::json;

/// Time of the newest event, 2026-01-01T00:00:00Z, in nanoseconds since the epoch.
const END_NS: i64 = 1_767_225_600_000_000_000;

const QUERIES: [&str; 10] = [
    "select count(*) as n, min(timestamp) as oldest, max(timestamp) as newest from events",
    "select signal, count(*) as n from events group by signal order by signal",
    "select user.id, n, ratio, sampled, raw, list from events where n % 97 = 0 order by n",
    "select service.name, sum(n) as sum, avg(ratio) as ratio from events where n >= 0 group by service.name order by 1",
    "select n, attributes['LONG'] as rare from events where attributes['LONG'] is not null",
    "select count(*) as n from events where user.id = 'u-350'",
    "select n, links from events where trace_id = '00000000000000000000000000000123' order by n",
    "select n, mixed from events where mixed is not null order by n",
    "select name, service.name, duration_ns from spans where name is not null and n is null order by name",
    "select * from events where n is null order by timestamp, name, body",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/formats")
}

/// A key that is too long for a column, so that its values are in the overflow.
fn long_key() -> String {
    "long.".repeat(60)
}

fn queries() -> Vec<String> {
    QUERIES.iter().map(|sql| sql.replace("LONG", &long_key())).collect()
}

/// Settings without background work.
fn settings(data: &Path) -> Settings {
    let mut settings = Settings::new(data);
    settings.buffer.flush_age_ms = u64::MAX;
    settings.index.lookup_keys = vec!["user.id".to_owned()];
    settings
}

/// Events `from` to `to`, with attributes of every type.
fn events(from: i64, to: i64) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    for n in from..to {
        let mut id = [0; 16];
        id[15] = 0x23;
        id[14] = (n / 10) as u8;
        let trace_id = Some(TraceId::new(id));
        let link = [Link { trace_id, ..Link::default() }];
        let links = if n % 100 == 13 { &link[..] } else { &[] };
        let timestamp_ns = END_NS - 1_000_000_000 * (1000 - n);
        builder.push(&CoreEvent { timestamp_ns, trace_id, links, ..CoreEvent::default() });
        let mut attribute = |level, key: &str, value: Value<'_>| {
            let key = builder.key(level, key);
            builder.attribute(key, value);
        };
        attribute(Level::Resource, "service.name", Value::Text(["cart", "pay", "ship"][n as usize % 3]));
        attribute(Level::Scope, "feature", Value::Text("fixture"));
        attribute(Level::Record, "n", Value::Int(n));
        attribute(Level::Record, "user.id", Value::Text(&format!("u-{n}")));
        attribute(Level::Record, "ratio", Value::Double(n as f64 / 8.0));
        attribute(Level::Record, "sampled", Value::Bool(n % 2 == 0));
        if n % 97 == 0 {
            attribute(Level::Record, "raw", Value::Bytes(&n.to_be_bytes()));
            attribute(Level::Record, "list", Value::Json("[1,\"zwei\",3.0]"));
        }
        if n % 50 == 7 {
            let mixed = [Value::Int(n), Value::Text("text"), Value::Bool(true)][n as usize / 50 % 3];
            attribute(Level::Record, "mixed", mixed);
        }
        if n == 517 {
            attribute(Level::Record, &long_key(), Value::Text("once"));
        }
    }
    builder.finish().unwrap()
}

/// The OTLP specification's examples.
fn examples() -> Vec<EventBatch> {
    let kinds = [
        (RequestKind::Traces, "trace.json"),
        (RequestKind::Logs, "logs.json"),
        (RequestKind::Metrics, "metrics.json"),
    ];
    let read = |(kind, name): (RequestKind, &str)| {
        let json = std::fs::read(folder().parent().unwrap().join("otlp").join(name)).unwrap();
        decode(kind, Encoding::Json, &json, END_NS).unwrap().batch
    };
    kinds.into_iter().map(read).collect()
}

fn message() -> DeliveryId {
    DeliveryId::of(0, b"a message whose batch is in the log")
}

/// Results of all queries, as JSON by statement.
async fn answers(database: &Database) -> serde_json::Value {
    let mut answers = serde_json::Map::new();
    for sql in queries() {
        let result = database.sql(&sql).await.unwrap_or_else(|e| panic!("{sql}: {}", e.chain()));
        let bytes: Vec<_> = encode(result, Format::Json).try_collect().await.unwrap();
        answers.insert(sql, serde_json::from_slice(&bytes.concat()).unwrap());
    }
    answers.into()
}

/// Not a test: writes a data directory of this version. Without the variable it returns at once.
#[test]
fn write() {
    let Ok(version) = std::env::var("BROADLOOM_WRITE_FORMATS") else { return };
    let target = folder().join(version);
    assert!(!target.exists(), "{} exists and must not be changed", target.display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let first = dir.path().join("first");
        let database = Database::open(settings(&first)).await.unwrap();
        for n in (0..900).step_by(100) {
            database.append(events(n, n + 100)).await.unwrap();
            database.flush().await.unwrap();
        }
        while database.snapshot().catalog.runs.is_empty() {
            tokio::task::yield_now().await;
        }
        // A backup writes a checkpoint, without waiting for 64 commits.
        let data = target.join("data");
        let store = std::sync::Arc::new(DurableFileSystem::create(&data).unwrap());
        database.backup(store, "fixture", |_| {}).await.unwrap();
        let database = Database::open(settings(&data)).await.unwrap();
        for batch in examples() {
            database.append(batch).await.unwrap();
        }
        database.flush().await.unwrap();
        let condition = "n = 42 or user.id = 'u-350'".to_owned();
        database.delete(&DeleteRequest { condition, ..DeleteRequest::default() }).await.unwrap();
        database.append(events(900, 950)).await.unwrap();
        assert!(database.deliver(message(), events(950, 1000)).await.unwrap());
        let found = answers(&database).await;
        let sql = queries();
        // Results that later versions are compared with must be right.
        assert_eq!(
            found[&sql[0]][0]["n"],
            json!(998 + examples().iter().map(EventBatch::rows).sum::<usize>())
        );
        assert_eq!(found[&sql[2]].as_array().unwrap().len(), 11);
        assert_eq!(found[&sql[4]], json!([{ "n": 517, "rare": "once" }]));
        assert_eq!(found[&sql[5]], json!([{ "n": 0 }]));
        assert_eq!(found[&sql[6]].as_array().unwrap().len(), 10);
        std::fs::write(target.join("answers.json"), format!("{found:#}\n")).unwrap();
        // Drop without closing, as in a crash: the log keeps its events.
        drop(database);
    });
    for left in ["data/LOCK", "data/spill"] {
        let left = target.join(left);
        let _ = std::fs::remove_file(&left).or_else(|_| std::fs::remove_dir_all(&left));
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let to = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            std::fs::copy(&entry, &to).unwrap();
        }
    }
}

#[test]
fn data_directories_of_all_versions_are_read_and_gone_on_with() {
    let versions: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let versions: Vec<_> = versions.into_iter().filter(|path| path.join("answers.json").exists()).collect();
    assert!(!versions.is_empty());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for version in versions {
        runtime.block_on(read_and_go_on(&version));
    }
}

async fn read_and_go_on(version: &Path) {
    let expected = std::fs::read(version.join("answers.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    copy(&version.join("data"), &data);

    let found = check(&settings(&data), |_| {}).await.unwrap();
    assert!(found.problems.is_empty(), "{}: {found:#?}", version.display());
    let parts = Part::ALL.map(|part| found.parts[&part].objects);
    assert!(parts.iter().all(|objects| *objects > 0), "{}: {parts:?}", version.display());
    let same = async |database: &Database| {
        let found = answers(database).await;
        for (sql, rows) in expected.as_object().unwrap() {
            assert_eq!(&found[sql], rows, "{}: {sql}", version.display());
        }
    };
    same(&Database::open_read_only(settings(&data)).await.unwrap()).await;

    let database = Database::open(settings(&data)).await.unwrap();
    same(&database).await;
    assert!(!database.deliver(message(), events(950, 1000)).await.unwrap(), "the log knows its message");
    database.flush().await.unwrap();
    same(&database).await;
    let options = CompactionOptions { grace: std::time::Duration::ZERO, ..CompactionOptions::default() };
    database.compact(options, |_| {}).await.unwrap();
    same(&database).await;
    database.close().await.unwrap();
    let found = check(&settings(&data), |_| {}).await.unwrap();
    assert!(found.problems.is_empty(), "{}: {found:#?}", version.display());
}
