//! Can other engines read segments? DuckDB's Python package reads the plain Parquet files.

use std::path::Path;
use std::process::Command;

use broadloom::Database;
use broadloom::config::Settings;
use broadloom::event::{CoreEvent, EventBatchBuilder, Level, Link, Signal, SpanId, TraceId, Value};

const ROWS: i64 = 20_000;

/// Writes columns of every encoding: packed integers, split doubles, dictionaries, long text, ids, nested, JSON.
async fn write(data: &Path) {
    let database = Database::open(Settings::new(data)).await.unwrap();
    let mut builder = EventBatchBuilder::new();
    let route = builder.key(Level::Record, "http.route");
    let load = builder.key(Level::Record, "load");
    let user = builder.key(Level::Record, "user id");
    let list = builder.key(Level::Record, "list");
    let service = builder.key(Level::Resource, "service.name");
    for i in 0..ROWS {
        let name = format!("request number {i}");
        let links = [Link { trace_id: TraceId::from_slice(&[1; 16]), ..Link::default() }];
        builder.push(&CoreEvent {
            timestamp_ns: 1_700_000_000_000_000_000 + i,
            signal: Signal::Span,
            trace_id: TraceId::from_slice(&(i as u128 + 1).to_be_bytes()),
            span_id: SpanId::from_slice(&(i as u64 + 1).to_be_bytes()),
            name: Some(&name),
            duration_ns: Some(i * i % 1_000_003),
            links: if i % 2 == 0 { &links } else { &[] },
            ..CoreEvent::default()
        });
        builder.attribute(route, Value::Text(["/cart", "/pay"][(i % 2) as usize]));
        builder.attribute(load, Value::Double(i as f64 / 3.0));
        builder.attribute(user, Value::Int(i % 7));
        builder.attribute(service, Value::Text("web"));
        if i % 10 == 0 {
            builder.attribute(list, Value::Json("[1,2]"));
        }
    }
    database.append(builder.finish().unwrap()).await.unwrap();
    database.close().await.unwrap();
}

const QUERY: &str = r#"
import sys, duckdb
rows = duckdb.sql(f"""
    select count(*), sum(duration_ns), sum("user id"), round(sum(load)),
           count(distinct trace_id), count(distinct name), min(name),
           count(*) filter (where "http.route" = '/pay'), count(*) filter (where "resource.service.name" = 'web'),
           sum(len(links)), count(list), max(epoch_ns(timestamp)),
           count(*) filter (where octet_length(span_id) = 8)
    from read_parquet('{sys.argv[1]}/segments/*/*/*/*.parquet')""").fetchall()
print('|'.join(str(int(v)) if not isinstance(v, str) else v for v in rows[0]))
"#;

#[tokio::test]
async fn duckdb_reads_segments_as_plain_parquet() {
    // Python environment that .ci/clients installs.
    let installed = std::env::var("BROADLOOM_CLIENTS").map(|folder| format!("{folder}/python/bin/python"));
    let python = installed.unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import duckdb"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: {python} has no duckdb: `pip install duckdb` to run this test");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path()).await;
    let output = Command::new(&python).args(["-c", QUERY]).arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let sum = |f: fn(i64) -> i64| (0..ROWS).map(f).sum::<i64>();
    let load = (0..ROWS).map(|i| i as f64 / 3.0).sum::<f64>().round() as i64;
    let expected = [
        ROWS.to_string(),
        sum(|i| i * i % 1_000_003).to_string(),
        sum(|i| i % 7).to_string(),
        load.to_string(),
        ROWS.to_string(),
        ROWS.to_string(),
        "request number 0".to_owned(),
        (ROWS / 2).to_string(),
        ROWS.to_string(),
        (ROWS / 2).to_string(),
        (ROWS / 10).to_string(),
        (1_700_000_000_000_000_000 + ROWS - 1).to_string(),
        ROWS.to_string(),
    ];
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected.join("|"));
}
