//! What do 10,000 segments with 200 columns cost before the first row is read?
//!
//! `cargo bench --bench catalog`. The data directory is complete: a checkpoint, 63 commits after it, and an object
//! (empty here) for each segment and index, which a writer compares with the catalog to find orphans. The first query
//! reads the parts of the checkpoint that it needs; later ones find them in memory.
//!
//! `keys` runs one query on events that have ten more attributes each, out of 100 or of 20,000 different keys. The time
//! should be the same for both, in the first query after opening and in later ones.

#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use broadloom::Database;
use broadloom::catalog::{Catalog, Change};
use broadloom::config::{Settings, SystemClock};
use broadloom::event::{AttributeType, CoreEvent, EventBatchBuilder, Level, TimeRange, Value};
use broadloom::segment::{Bound, ColumnMeta, NewSegment, SegmentColumns, SegmentId, SegmentMeta};
use broadloom::store::DurableFileSystem;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use object_store::ObjectStore;
use tokio::runtime::Runtime;

const SEGMENTS: usize = 10_000;
const ATTRIBUTES: usize = 190;
const CORE: [&str; 10] = [
    "duration_ns",
    "name",
    "overflow",
    "parent_span_id",
    "service.name",
    "signal",
    "span_id",
    "status",
    "timestamp",
    "trace_id",
];
const HOUR_NS: i64 = 3_600_000_000_000;
const ROWS: u64 = 1_000_000;

/// Queries that prune no segment, all but those of one day, and all but the few that may contain a value.
const QUERIES: [(&str, &str); 3] = [
    ("all", "EXPLAIN SELECT attribute.n006, count(*) FROM events WHERE attribute.n009 <> 'x' GROUP BY 1"),
    (
        "time",
        "EXPLAIN SELECT attribute.n006, count(*) FROM events
         WHERE timestamp > '1970-03-01' AND timestamp < '1970-03-02' AND attribute.n009 <> 'x' GROUP BY 1",
    ),
    ("value", "EXPLAIN SELECT attribute.n006 FROM events WHERE attribute.n009 = 'value 0005'"),
];

fn segment(i: usize) -> NewSegment {
    let time = TimeRange { min_ns: i as i64 * HOUR_NS, max_ns: (i as i64 + 1) * HOUR_NS - 1 };
    let meta = SegmentMeta {
        id: SegmentId::new(time.max_ns),
        bytes: 90 << 20,
        column_bytes: 0,
        index: Some(2 << 20),
        rows: ROWS,
        time,
        mask: None,
    };
    let attributes = (0..ATTRIBUTES).map(|a| ColumnMeta {
        name: format!("attribute.n{a:03}"),
        attribute_type: Some(if a % 3 == 0 { AttributeType::Text } else { AttributeType::Int }),
        null_count: (i * a) as u64 % ROWS,
        bounds: Some(match a % 3 {
            0 => (Bound::Text(format!("value {i:04}")), Bound::Text(format!("value {:04}", i + a % 7))),
            _ => (Bound::Int((i * a) as i64), Bound::Int((i * a + 1_000_000) as i64)),
        }),
    });
    let core = CORE.map(|name| ColumnMeta {
        name: name.to_owned(),
        attribute_type: None,
        null_count: 0,
        bounds: (name == "timestamp").then_some((Bound::Int(time.min_ns), Bound::Int(time.max_ns))),
    });
    let mut columns: Vec<_> = attributes.chain(core).collect();
    columns.sort_by(|a, b| a.name.cmp(&b.name));
    let overflow = Some((0..20).map(|n| format!("rare.{:03}", (i + n) % 200)).collect::<Vec<_>>());
    let overflow = overflow.map(|mut names| {
        names.sort_unstable();
        names
    });
    NewSegment { meta, columns: Arc::new(SegmentColumns { columns, overflow }) }
}

/// Creates a database of `SEGMENTS` segments: a checkpoint, and after it 63 commits of one segment each.
async fn synthesise(data: &Path) {
    let store: Arc<dyn ObjectStore> = Arc::new(DurableFileSystem::create(data).expect("a directory"));
    let catalog = Catalog::load(store, Arc::new(SystemClock)).await.expect("an empty catalog");
    let keys: Vec<_> = (0..ATTRIBUTES)
        .map(|a| {
            (
                format!("attribute.n{a:03}"),
                1 << if a % 3 == 0 { AttributeType::Text } else { AttributeType::Int } as u8,
            )
        })
        .chain((0..200).map(|n| (format!("rare.{n:03}"), 1 << AttributeType::Text as u8)))
        .collect();
    let mut made = 0;
    for commit in 0..127 {
        let upto = if commit < 64 { (SEGMENTS - 63) * (commit + 1) / 64 } else { made + 1 };
        let add: Vec<_> = (made..upto).map(segment).collect();
        made = upto;
        for new in &add {
            for path in [new.meta.path(), new.meta.index_path()] {
                let path = data.join(path);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                std::fs::write(path, []).expect("an empty object");
            }
        }
        catalog
            .commit(Change { add, keys: keys.clone().into(), ..Change::default() })
            .await
            .expect("a commit");
    }
    assert_eq!(catalog.snapshot().segments.len(), SEGMENTS);
}

async fn explain(database: &Database, sql: &str) -> usize {
    let result = database.sql(sql).await.expect("a plan");
    result.collect().await.expect("a plan").len()
}

fn catalog(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    runtime.block_on(synthesise(dir.path()));
    let checkpoint = dir.path().join("catalog/checkpoint").join(format!("{:020}.checkpoint", 64));
    let settings = Settings::new(dir.path());
    let open = || runtime.block_on(Database::open(settings.clone())).expect("a database");
    let read = || runtime.block_on(Database::open_read_only(settings.clone())).expect("a database");

    let database = read();
    println!("checkpoint: {} kB", std::fs::metadata(checkpoint).expect("a checkpoint").len() / 1000);
    println!("memory of the catalog, open: {} kB", database.snapshot().catalog.memory_bytes() / 1000);
    for (name, sql) in QUERIES {
        runtime.block_on(explain(&database, sql));
        println!(
            "memory of the catalog after {name}: {} kB",
            database.snapshot().catalog.memory_bytes() / 1000
        );
    }

    let mut group = c.benchmark_group("catalog");
    group.bench_function("open to write", |b| {
        b.iter_batched(|| (), |()| runtime.block_on(open().close()), BatchSize::PerIteration);
    });
    group.bench_function("open to read", |b| b.iter(read));
    for (name, sql) in QUERIES {
        group.bench_function(format!("open to read and first plan, {name}"), |b| {
            b.iter(|| runtime.block_on(explain(&read(), sql)));
        });
        group.bench_function(format!("later plan, {name}"), |b| {
            b.iter(|| runtime.block_on(explain(&database, sql)));
        });
    }
    // The facts of all columns in all segments.
    group.bench_function("all attributes", |b| {
        b.iter(|| assert!(runtime.block_on(explain(&database, ALL_ATTRIBUTES)) > 0));
    });
    group.bench_function("plan without segments", |b| {
        let sql = "EXPLAIN SELECT attribute.n006 FROM events WHERE timestamp < '1969-01-01'";
        b.iter(|| runtime.block_on(explain(&database, sql)));
    });
}

/// Every key, how often and since when.
const ALL_ATTRIBUTES: &str = "SELECT key, level, types, events, share, first_seen, last_seen FROM attributes";

/// Events per segment, and number of segments.
const EVENTS: (i64, i64) = (100_000, 4);

/// Creates a database whose events have ten attributes each out of `keys` keys, besides the queried ones.
async fn load(data: &Path, keys: i64) {
    let database = Database::open(Settings::new(data)).await.expect("a database");
    for segment in 0..EVENTS.1 {
        let mut importer = database.importer().expect("an importer");
        let mut builder = EventBatchBuilder::new();
        for i in segment * EVENTS.0..(segment + 1) * EVENTS.0 {
            builder.push(&CoreEvent { timestamp_ns: i * 1_000_000, ..CoreEvent::default() });
            let mut add = |key: &str, value| {
                let key = builder.key(Level::Record, key);
                builder.attribute(key, value);
            };
            add("code", Value::Int(200 + i % 7 * 50));
            if i % 2 == 0 {
                add("http.route", Value::Text(["/", "/cart", "/pay", "/search"][(i / 2 % 4) as usize]));
            }
            for n in 0..10 {
                add(&format!("key.{}", (i * 10 + n) % keys), Value::Int(i % 10));
            }
        }
        importer.append(builder.finish().expect("a batch")).await.expect("events");
        importer.commit().await.expect("a segment");
    }
    database.close().await.expect("a database");
}

fn keys(c: &mut Criterion) {
    const SQL: &str = "SELECT http.route, count(*) FROM events WHERE code = 350 GROUP BY 1";
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("keys");
    for keys in [100, 20_000] {
        let dir = tempfile::tempdir().expect("a directory");
        runtime.block_on(load(dir.path(), keys));
        let open =
            || runtime.block_on(Database::open_read_only(Settings::new(dir.path()))).expect("a database");
        let query = |database: &Database| {
            let found = runtime.block_on(async { database.sql(SQL).await.expect("a plan").collect().await });
            assert_eq!(found.expect("rows").iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
        };
        group.bench_function(format!("open, {keys}"), |b| b.iter(open));
        group.bench_function(format!("first query, {keys}"), |b| {
            b.iter_batched_ref(open, |database| query(database), BatchSize::PerIteration);
        });
        let database = open();
        group.bench_function(format!("later query, {keys}"), |b| b.iter(|| query(&database)));
        for (name, sql) in [
            ("all attributes", ALL_ATTRIBUTES),
            ("all attributes with values", "SELECT * FROM attributes"),
            ("values of an attribute", "SELECT * FROM attribute_values('http.route', '/c')"),
        ] {
            group.bench_function(format!("{name}, {keys}"), |b| {
                b.iter(|| assert!(runtime.block_on(explain(&database, sql)) > 0));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = catalog, keys
}
criterion_main!(benches);
