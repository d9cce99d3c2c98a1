//! Runs the engine on snapshots made by hand: the place of storage must not matter.

mod arithmetic;
mod columns;
mod foreign;
mod limits;
mod parts;
mod types;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Engine, Parameter, Question, ReadSnapshot};
use crate::catalog::CatalogSnapshot;
use crate::config::{IndexSettings, QuerySettings, SegmentLimits};
use crate::error::ErrorKind;
use crate::event::{
    CoreEvent, EventBatch, EventBatchBuilder, KeyDictionary, Level, Signal, SpanId, TraceId, Value,
};
use crate::index::segment_index::BuiltIndex;
use crate::index::{IndexBuilder, IndexCache};
use crate::segment::{Built, Merge, NewSegment, SegmentId, build};

/// Nanoseconds of 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000_000_000;

/// One event: a row number, and attributes.
type Row = (i64, Vec<(Level, &'static str, Value<'static>)>);

fn batch(rows: &[Row]) -> Arc<EventBatch> {
    let mut builder = EventBatchBuilder::new();
    for (i, attributes) in rows {
        let id = TraceId::new([(*i as u8).wrapping_add(1).max(1); 16]);
        builder.push(&CoreEvent {
            timestamp_ns: START + i * 1_000_000_000,
            signal: if i % 2 == 0 { Signal::Span } else { Signal::Log },
            trace_id: Some(id),
            span_id: Some(SpanId::new([(*i as u8).wrapping_add(1).max(1); 8])),
            name: Some(if i % 2 == 0 { "GET /cart" } else { "said something" }),
            duration_ns: (i % 2 == 0).then_some(i * 1000),
            ..CoreEvent::default()
        });
        for (level, key, value) in attributes {
            let key = builder.key(*level, key);
            builder.attribute(key, *value);
        }
    }
    Arc::new(builder.finish().unwrap())
}

/// A snapshot with each of `segments` in a segment of its own, and `buffer` in the buffer.
async fn snapshot(segments: &[&[Row]], buffer: &[&[Row]]) -> ReadSnapshot {
    let store = Arc::new(InMemory::new());
    let keys = Arc::new(KeyDictionary::new());
    let mut stored: Vec<NewSegment> = Vec::new();
    for (i, rows) in segments.iter().filter(|rows| !rows.is_empty()).enumerate() {
        let events = batch(rows);
        keys.observe(&events);
        let builder = IndexBuilder::new(&IndexSettings::default());
        let built = build(SegmentId::new(START), &[events], &builder).unwrap();
        // Every other segment has no side-car.
        let index = (i % 2 == 0).then(|| builder.finish(&built).unwrap());
        stored.push(store_built(store.as_ref(), built, index).await);
    }
    let buffer: Vec<_> = buffer.iter().filter(|rows| !rows.is_empty()).map(|rows| batch(rows)).collect();
    for batch in &buffer {
        keys.observe(batch);
    }
    let catalog = CatalogSnapshot::of(&stored);
    ReadSnapshot {
        catalog: Arc::new(catalog),
        buffer: buffer.into(),
        keys,
        store: store as Arc<dyn ObjectStore>,
    }
}

async fn store_built(store: &dyn ObjectStore, built: Built, index: Option<BuiltIndex>) -> NewSegment {
    let Built { mut segment, object, .. } = built;
    if let Some(index) = index {
        segment.meta.index = Some(index.bytes());
        store.put(&Path::from(segment.meta.index_path()), index.object).await.unwrap();
    }
    store.put(&Path::from(segment.meta.path()), object.into()).await.unwrap();
    segment
}

/// The events of `home`, whose segments are merged into some of at most `rows` events.
async fn compacted(home: &ReadSnapshot, rows: usize) -> ReadSnapshot {
    let limits = SegmentLimits { rows, ..SegmentLimits::default() };
    let mut merge = Merge::new(Arc::clone(&home.store), home.catalog.segments.clone(), limits);
    let merged = tokio::task::spawn_blocking(move || {
        let mut merged = Vec::new();
        loop {
            let builder = IndexBuilder::new(&IndexSettings::default());
            let id = SegmentId::new(START + 1 + merged.len() as i64);
            let Some(built) = merge.next(id, &builder).unwrap() else { return merged };
            let index = builder.finish(&built).unwrap();
            merged.push((built, index));
        }
    });
    let mut stored = Vec::new();
    for (built, index) in merged.await.unwrap() {
        stored.push(store_built(home.store.as_ref(), built, Some(index)).await);
    }
    ReadSnapshot { catalog: Arc::new(CatalogSnapshot::of(&stored)), ..home.clone() }
}

/// Reads columns from memory at once.
fn engine() -> (Engine, TempDir) {
    engine_that_decodes_after(0)
}

fn engine_that_decodes_after(decoded_asks: u32) -> (Engine, TempDir) {
    engine_with(QuerySettings { decoded_asks, ..settings() })
}

/// Two partitions, and bitmaps from the first query on.
fn settings() -> QuerySettings {
    QuerySettings { parallelism: 2, bitmap_asks: 0, ..QuerySettings::default() }
}

fn engine_with(settings: QuerySettings) -> (Engine, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Engine::new(&settings, Arc::new(IndexCache::new(1 << 20)), dir.path().join("spill")).unwrap(), dir)
}

async fn rows(engine: &Engine, snapshot: &ReadSnapshot, sql: &str) -> Vec<RecordBatch> {
    let result = engine.query(snapshot, Question::sql(sql)).await;
    let result = result.unwrap_or_else(|e| panic!("{sql}: {e}"));
    result.collect().await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

async fn text(engine: &Engine, snapshot: &ReadSnapshot, sql: &str) -> String {
    pretty_format_batches(&rows(engine, snapshot, sql).await).unwrap().to_string()
}

/// The cells of a result, row by row, without the frame.
async fn cells(engine: &Engine, snapshot: &ReadSnapshot, sql: &str) -> Vec<String> {
    let table = text(engine, snapshot, sql).await;
    let lines = table.lines().skip(3).filter(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(",")).collect()
}

async fn failure(engine: &Engine, snapshot: &ReadSnapshot, sql: &str) -> crate::Error {
    match engine.query(snapshot, Question::sql(sql)).await {
        Err(e) => e,
        Ok(result) => result.collect().await.expect_err(sql),
    }
}

fn shop() -> Vec<Row> {
    use Level::{Record, Resource, Scope};
    vec![
        (
            0,
            vec![
                (Record, "http.route", Value::Text("/cart")),
                (Record, "code", Value::Int(200)),
                (Resource, "service.name", Value::Text("web")),
            ],
        ),
        (1, vec![(Record, "code", Value::Text("500")), (Resource, "service.name", Value::Text("web"))]),
        (
            2,
            vec![
                (Record, "http.route", Value::Text("/pay")),
                (Record, "code", Value::Double(404.5)),
                (Scope, "service.name", Value::Text("pay")),
            ],
        ),
        (
            3,
            vec![
                (Record, "service.name", Value::Text("own")),
                (Resource, "service.name", Value::Text("web")),
                (Record, "code", Value::Text("teapot")),
            ],
        ),
        (
            4,
            vec![
                (Record, "tags", Value::Json("[1,\"x\"]")),
                (Record, "ok", Value::Bool(true)),
                (Record, "ratio", Value::Double(0.5)),
            ],
        ),
        (
            5,
            vec![
                (Record, "ratio", Value::Int(2)),
                (Record, "raw", Value::Bytes(&[1, 2])),
                (Record, "code", Value::Int(7)),
            ],
        ),
    ]
}

/// The same events in the buffer, in one segment, and in three with different types.
async fn homes(rows: &[Row]) -> Vec<ReadSnapshot> {
    let third = rows.len().div_ceil(3).max(1);
    let parts: Vec<&[Row]> = rows.chunks(third).collect();
    vec![
        snapshot(&[], &[rows]).await,
        snapshot(&[], &parts).await,
        snapshot(&[rows], &[]).await,
        snapshot(&parts, &[]).await,
        snapshot(&parts[..parts.len() - 1], &parts[parts.len() - 1..]).await,
    ]
}

const STATEMENTS: &[&str] = &[
    "SELECT count(*), count(code), count(http.route) FROM events",
    "SELECT timestamp, service.name, code, ratio, ok, tags, raw FROM events ORDER BY timestamp",
    "SELECT resource.service.name, scope.service.name FROM events ORDER BY timestamp",
    "SELECT name FROM events WHERE code = 200 ORDER BY timestamp",
    "SELECT name FROM events WHERE code = '500' ORDER BY timestamp",
    "SELECT code FROM events WHERE code > 100 ORDER BY timestamp",
    "SELECT code FROM events WHERE code IN (7, 200) ORDER BY timestamp",
    "SELECT sum(code), avg(ratio), p50(code), p99(duration_ns) FROM events",
    "SELECT service.name, count(*) FROM events WHERE service.name IS NOT NULL GROUP BY 1 ORDER BY 1",
    "SELECT name FROM events WHERE service.name = 'web' ORDER BY timestamp",
    "SELECT attributes FROM events ORDER BY timestamp",
    "SELECT attributes['service.name'] FROM events WHERE http.route LIKE '/%' ORDER BY timestamp",
    "SELECT * FROM events ORDER BY timestamp DESC LIMIT 2",
    "SELECT timestamp FROM events WHERE ok ORDER BY timestamp",
    "SELECT timestamp FROM events WHERE ratio > 0.4 ORDER BY timestamp",
    "SELECT name, code FROM spans WHERE code IS NULL OR code <> 200 ORDER BY timestamp",
    "SELECT timestamp FROM events WHERE timestamp >= '2026-01-01T00:00:02Z' AND timestamp < '2026-01-01T00:00:04Z' ORDER BY 1",
    "SELECT name FROM events WHERE trace_id = '03030303030303030303030303030303'",
    "SELECT count(*) FROM events WHERE links IS NOT NULL",
    "SELECT a.name, b.code FROM spans a JOIN events b USING (trace_id) ORDER BY a.timestamp",
    "SELECT attributes['nope'] IS NULL, count(*) FROM events GROUP BY 1",
    "SELECT count(*) FROM spans WHERE service.name = 'web' AND NOT (code = 7 OR code IS NULL)",
    "SELECT service.name, name, count(*), count(code), count(*) FILTER (WHERE code > 100) FROM events GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT signal, sum(CASE WHEN code = '500' THEN 1 ELSE 0 END), sum(ratio) FROM events GROUP BY 1 ORDER BY 1",
    "SELECT date_trunc('second', timestamp), count(*) FROM events WHERE signal = 'span' GROUP BY 1 ORDER BY 1",
    "SELECT date_bin(interval '2 seconds', timestamp), ok, count(*) FROM events WHERE timestamp > '2026-01-01T00:00:00.5Z' GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT date_bin(interval '500 milliseconds', timestamp), count(*) FROM events GROUP BY 1 ORDER BY 1",
    "SELECT count(*), sum(duration_ns) FROM events WHERE service.name = 'nobody'",
    "SELECT upper(service.name), count(*) FROM events WHERE length(service.name) = 3 GROUP BY 1 ORDER BY 1",
    "SELECT DISTINCT service.name, ok FROM events ORDER BY 1, 2",
    "SELECT count(DISTINCT service.name) FROM events",
    "SELECT count(*) FROM events WHERE parent_span_id IS NULL AND duration_ns IS NOT NULL",
];

/// Predicates for which bitmaps, the Parquet reader and the buffer must find the same rows.
fn predicate() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("attributes['a'] = '2'"),
        Just("attributes['a'] > 0"),
        Just("attributes['a'] IS NULL"),
        Just("attributes['b'] IN ('x', '1', 'true')"),
        Just("attributes['b'] <> 'x'"),
        Just("attributes['name'] LIKE '%a%'"),
        Just("coalesce(attributes['b'], '') = ''"),
        Just("signal = 'span'"),
        Just("duration_ns IS NOT NULL"),
        Just("timestamp >= '2026-01-01T00:00:03Z'"),
        Just("timestamp < '2026-01-01T00:00:05.5Z'"),
        Just("attributes['a'] = attributes['b']"),
    ];
    leaf.prop_map(str::to_owned).prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

#[tokio::test]
async fn where_events_are_stored_does_not_matter() {
    let homes = homes(&shop()).await;
    for (engine, _dir) in [engine(), engine_that_decodes_after(u32::MAX)] {
        for sql in STATEMENTS {
            let expected = text(&engine, &homes[0], sql).await;
            for home in &homes[1..] {
                assert_eq!(text(&engine, home, sql).await, expected, "{sql} on {home:?}");
            }
        }
    }
}

/// Large enough for many batches; text with and without dictionary, numbers, nothing at all.
#[tokio::test]
async fn attributes_have_the_meaning_that_people_expect() {
    let (engine, _dir) = engine();
    for home in &homes(&shop()).await {
        let names = "SELECT service.name FROM events ORDER BY timestamp";
        assert_eq!(cells(&engine, home, names).await, ["web", "web", "pay", "own", "", ""]);
        assert_eq!(cells(&engine, home, "SELECT code FROM events WHERE code = 200").await, ["200"]);
        assert_eq!(
            cells(&engine, home, "SELECT code FROM events WHERE code > 300 ORDER BY 1").await,
            ["404.5", "500"]
        );
        assert_eq!(cells(&engine, home, "SELECT sum(code) FROM events").await, ["1111.5"]);
        assert_eq!(
            cells(&engine, home, "SELECT raw, tags FROM events WHERE raw IS NOT NULL").await,
            ["0102,"]
        );
        let map = "SELECT attributes FROM events WHERE code = 'teapot'";
        let expected = "{code: teapot, resource.service.name: web, service.name: own}";
        assert_eq!(cells(&engine, home, map).await, [expected]);
        let id = "SELECT name FROM events WHERE span_id = '0101010101010101'";
        assert_eq!(cells(&engine, home, id).await, ["GET /cart"]);
    }
}

#[tokio::test]
async fn a_filter_on_an_overflowing_key_returns_only_matching_rows() {
    let (engine, _dir) = engine();
    // One text among many integers: the text overflows.
    let mut data: Vec<Row> = (0..50).map(|i| (i, vec![(Level::Record, "k", Value::Int(i))])).collect();
    data[20].1[0].2 = Value::Text("odd");
    let home = snapshot(&[&data], &[]).await;
    let known = home.catalog.columns(&["k", "other"]).await;
    let segment = known.of(home.catalog.segments[0].id);
    assert!(segment.may_overflow("k") && !segment.may_overflow("other"));
    assert_eq!(cells(&engine, &home, "SELECT k FROM events WHERE k = 'odd'").await, ["odd"]);
    assert_eq!(cells(&engine, &home, "SELECT k FROM events WHERE k = '21'").await, ["21"]);
    assert_eq!(cells(&engine, &home, "SELECT count(*) FROM events WHERE k <> 'odd'").await, ["49"]);
}

#[tokio::test]
async fn attributes_in_an_overflow_that_is_too_large_to_list_are_found() {
    let (engine, _dir) = engine();
    // Each of these is in one row of 2,100, and their names are longer than a list may be.
    let name = |i: i64| -> &'static str { format!("an.attribute.with.a.long.name.{i:04}").leak() };
    let data: Vec<Row> = (0..2100)
        .map(|i| {
            let own = (Level::Record, name(i), Value::Int(i));
            let common = (Level::Record, "common", Value::Text(["a", "b"][i as usize % 2]));
            (i % 200, if i % 3 == 0 { vec![own, common] } else { vec![own] })
        })
        .collect();
    let (first, second) = data.split_at(1050);
    for home in [snapshot(&[&data], &[]).await, snapshot(&[first, second], &[]).await] {
        let count = async |filter: &str| {
            let sql = format!("SELECT count(*) FROM events WHERE {filter}");
            cells(&engine, &home, &sql).await.concat()
        };
        for i in [0, 1049, 1050, 2099] {
            assert_eq!(count(&format!("attributes['{}'] = {i}", name(i))).await, "1");
        }
        assert_eq!(count("common = 'a'").await, "350");
        assert_eq!(count("attributes['absent'] IS NULL").await, "2100");
    }
}

#[tokio::test]
async fn counting_everything_reads_nothing() {
    let (engine, _dir) = engine();
    let sql = "SELECT count(*), min(timestamp), max(timestamp) FROM events";
    let homes = homes(&shop()).await;
    let expected = ["6,2026-01-01T00:00:00Z,2026-01-01T00:00:05Z"];
    for home in &homes {
        assert_eq!(cells(&engine, home, sql).await, expected);
        let plan = text(&engine, home, &format!("EXPLAIN {sql}")).await;
        assert!(plan.contains("PlaceholderRowExec"), "{plan}");
        assert!(!plan.contains("EventsExec"), "{plan}");
        // Code that skips rows must evaluate them.
        for (sql, count) in [
            ("SELECT count(*) FROM events WHERE signal = 'span'", "3"),
            ("SELECT count(*) FROM events WHERE timestamp > '2026-01-01T00:00:03Z'", "2"),
            ("SELECT count(*) FROM (SELECT * FROM events LIMIT 4)", "4"),
            ("SELECT count(code) FROM events", "5"),
            ("SELECT count(*) FROM spans", "3"),
        ] {
            assert_eq!(cells(&engine, home, sql).await, [count], "{sql}");
        }
    }
    let empty = snapshot(&[], &[]).await;
    assert_eq!(cells(&engine, &empty, sql).await, ["0,,"]);
}

#[tokio::test]
async fn explain_shows_what_was_pruned_and_that_filters_are_in_the_scan() {
    let (engine, _dir) = engine();
    let data = shop();
    let home = snapshot(&[&data[..2], &data[2..4], &data[4..]], &[]).await;
    let plan =
        text(&engine, &home, "EXPLAIN SELECT name FROM events WHERE timestamp < '2026-01-01T00:00:02Z'")
            .await;
    assert!(plan.contains("segments=1/3, pruned_by_time=2, pruned_by_columns=0"), "{plan}");
    let plan =
        text(&engine, &home, "EXPLAIN SELECT name FROM spans WHERE ratio > 1 AND duration_ns > 3000").await;
    assert!(plan.contains("segments=1/3"), "{plan}");
    assert!(plan.contains("predicate="), "{plan}");
    assert!(!plan.contains("FilterExec"), "the filter must be in the scan: {plan}");
    let plan = text(
        &engine,
        &home,
        "EXPLAIN ANALYZE SELECT name FROM spans WHERE trace_id = '05050505050505050505050505050505'",
    )
    .await;
    assert!(plan.contains("pushdown_rows_pruned"), "{plan}");
    assert!(plan.contains("segments_considered=3"), "{plan}");
}

#[tokio::test]
async fn now_is_the_moment_at_which_the_statement_began() {
    let (engine, _dir) = engine();
    let home = snapshot(&[&shop()], &[]).await;
    let sql =
        "SELECT count(*) FROM events WHERE timestamp < now() AND timestamp > now() - interval '100 years'";
    assert_eq!(cells(&engine, &home, sql).await, ["6"]);
}

#[tokio::test]
async fn people_can_ask_what_there_is() {
    let (engine, _dir) = engine();
    let home = snapshot(&[&shop()], &[]).await;
    for sql in [
        "SHOW TABLES",
        "SHOW COLUMNS FROM spans",
        "DESCRIBE events",
        "DESCRIBE traces",
        "SHOW FUNCTIONS LIKE 'abs'",
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'logs'",
    ] {
        assert!(!rows(&engine, &home, sql).await.is_empty(), "{sql}");
    }
    let columns = cells(
        &engine,
        &home,
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'events'",
    )
    .await;
    assert!(columns.contains(&"attributes".to_owned()), "{columns:?}");
    assert!(!columns.iter().any(|c| c.contains("http.route")), "{columns:?}");
}

#[tokio::test]
async fn a_query_that_needs_too_much_memory_says_which_setting_limits_it() {
    let settings = QuerySettings { memory_bytes_max: 1 << 16, parallelism: 1, ..settings() };
    let (engine, _dir) = engine_with(settings);
    let home = snapshot(&[&shop()], &[]).await;
    let sql = "SELECT count(*) FROM generate_series(1, 500000) a(x) JOIN generate_series(1, 500000) b(y) ON a.x = b.y";
    let error = failure(&engine, &home, sql).await;
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(error.message().contains("`query-memory`"), "{error}");
}

#[tokio::test]
async fn newest_first_needs_no_sort() {
    let (engine, _dir) = engine();
    let data = shop();
    let home = snapshot(&[&data[..2], &data[2..4], &data[4..]], &[]).await;
    let plan =
        text(&engine, &home, "EXPLAIN SELECT timestamp FROM events ORDER BY timestamp DESC LIMIT 3").await;
    assert!(!plan.contains("SortExec"), "{plan}");
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let (engine, _dir) = engine();
    let home = snapshot(&[&shop()], &[]).await;
    let unknown = failure(&engine, &home, "SELECT htp.route FROM events").await;
    assert_eq!(unknown.kind(), ErrorKind::InvalidInput);
    assert!(unknown.message().contains("http.route"), "{unknown}");
    let function = failure(&engine, &home, "SELECT p98(duration_ns) FROM events").await;
    assert!(function.message().contains("p9"), "{function}");
    let types = failure(&engine, &home, "SELECT abs(http.route) FROM events").await;
    assert!(types.message().contains("http.route holds text"), "{types}");
    let id = failure(&engine, &home, "SELECT 1 FROM events WHERE trace_id = 'zz'").await;
    assert!(id.message().contains("32 hexadecimal digits"), "{id}");
    let zero =
        failure(&engine, &home, "SELECT name FROM events WHERE 10 / (duration_ns - duration_ns) > 1").await;
    assert_eq!(zero.kind(), ErrorKind::InvalidInput, "{zero}");
    assert!(zero.message().contains("division by zero"), "{zero}");
    let least = failure(&engine, &home, "SELECT min(attributes) FROM events").await;
    assert_eq!(least.kind(), ErrorKind::InvalidInput, "{least}");
    assert!(least.message().contains("have an order") && !least.message().contains("bug"), "{least}");
    let write = failure(&engine, &home, "DROP TABLE events").await;
    assert_eq!(write.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn embedders_see_events_views_and_functions() {
    let (engine, _dir) = engine();
    let home = snapshot(&[&shop()], &[]).await;
    let context = engine.session_context(&home);
    let frame =
        context.sql("SELECT count(*) FROM events WHERE trace_id = '03030303030303030303030303030303'").await;
    assert_eq!(pretty(&frame.unwrap().collect().await.unwrap()), ["1"]);
    let frame = context.sql("SELECT count(*) FROM spans WHERE attributes['code'] = '200'").await.unwrap();
    assert_eq!(pretty(&frame.collect().await.unwrap()), ["1"]);
    let tables = cells(
        &engine,
        &home,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
    )
    .await;
    assert!(tables.contains(&"events".to_owned()) && tables.contains(&"spans".to_owned()), "{tables:?}");
}

fn pretty(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    table
        .lines()
        .skip(3)
        .filter(|l| l.starts_with('|'))
        .map(|l| l.trim_matches('|').trim().to_owned())
        .collect()
}

fn value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        (-3_i64..3).prop_map(Value::Int),
        prop_oneof![Just(0.5), Just(2.0), Just(-1.5)].prop_map(Value::Double),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![Just("a"), Just("2"), Just("")].prop_map(Value::Text),
        Just(Value::Bytes(&[0, 255])),
        Just(Value::Json("[1]")),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<(Level, &'static str, Value<'static>)>> {
    let key = prop_oneof![Just("a"), Just("b"), Just("name"), Just("it's")];
    let level = prop_oneof![Just(Level::Record), Just(Level::Scope), Just(Level::Resource)];
    proptest::collection::vec((level, key, value()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn random_events_read_the_same_from_everywhere(
        attributes in proptest::collection::vec(attributes(), 1..12),
        predicates in proptest::collection::vec(predicate(), 4),
    ) {
        let data: Vec<Row> = attributes
            .into_iter()
            .enumerate()
            .map(|(i, mut attributes)| {
                // A producer sends a key once per level.
                let mut seen = std::collections::HashSet::new();
                attributes.retain(|(level, key, _)| seen.insert((*level, *key)));
                (i as i64, attributes)
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let engines = [engine(), engine_that_decodes_after(u32::MAX)];
            let homes = homes(&data).await;
            let found = predicates.iter().map(|p| format!("SELECT timestamp FROM events WHERE {p} ORDER BY 1"));
            let counted = predicates.iter().map(|p| {
                format!("SELECT attributes['a'], signal, count(*) FROM events WHERE {p} GROUP BY 1, 2 ORDER BY 1, 2")
            });
            let fixed = [
                "SELECT attributes['a'], attributes['b'], attributes['name'], attributes['it''s'] FROM events ORDER BY timestamp",
                "SELECT timestamp FROM events WHERE attributes['a'] = '2' OR attributes['b'] IS NULL ORDER BY timestamp",
                "SELECT timestamp FROM events WHERE attributes['a'] > 0 ORDER BY timestamp",
                "SELECT attributes FROM events ORDER BY timestamp",
            ];
            for sql in fixed.into_iter().map(str::to_owned).chain(found).chain(counted) {
                let mut answers = Vec::new();
                for (home, (engine, _)) in homes.iter().flat_map(|home| engines.iter().map(move |e| (home, e))) {
                    let answer = match engine.query(home, Question::sql(sql.clone())).await {
                        Ok(result) => result.collect().await.map(|b| pretty_format_batches(&b).unwrap().to_string()),
                        Err(e) => Err(e),
                    };
                    // Failure must not depend on the place; the message may.
                    answers.push(answer.map_err(|_| ()));
                }
                for answer in &answers[1..] {
                    assert_eq!(answer, &answers[0], "{sql}");
                }
            }
        });
    }
}

#[tokio::test]
async fn a_trace_comes_with_typed_attributes() {
    let (engine, _dir) = engine();
    let trace = |id: u8| Question::trace(TraceId::new([id; 16])).unwrap();
    for home in &homes(&shop()).await {
        let batches = engine.query(home, trace(5)).await.unwrap().collect().await.unwrap();
        let [batch] = batches.as_slice() else { panic!("expected one batch: {batches:?}") };
        let typed = batch.column_by_name("typed_attributes").unwrap();
        let typed = arrow::array::AsArray::as_string_view(typed).value(0);
        assert_eq!(typed, r#"{"ok":true,"ratio":0.5,"tags":[1,"x"]}"#);
        assert_eq!(crate::ingest::otlp::encode(&batches).unwrap().traces.resource_spans.len(), 1);
        // The tree prints as SQL, and that says the same.
        let sql = Question::sql(trace(5).ask.to_string());
        assert_eq!(engine.query(home, sql).await.unwrap().collect().await.unwrap(), batches);
        let limited = Question { row_limit: Some(0), ..trace(5) };
        let error = engine.query(home, limited).await.unwrap().collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        let none = engine.query(home, trace(99)).await.unwrap().collect().await.unwrap();
        assert_eq!(none.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    }
}

#[tokio::test]
async fn typed_attributes_go_through_views_but_not_into_star() {
    let (engine, _dir) = engine();
    for home in &homes(&shop()).await {
        let sql = "SELECT typed_attributes FROM (SELECT * FROM spans) x \
                   WHERE trace_id = '05050505050505050505050505050505'";
        let typed = r#"{"ok":true,"ratio":0.5,"tags":[1,"x"]}"#;
        assert_eq!(cells(&engine, home, sql).await, [typed]);
        let result = engine.query(home, Question::sql("SELECT * FROM spans")).await.unwrap();
        assert!(result.schema.field_with_name("typed_attributes").is_err());
    }
}

#[tokio::test]
async fn a_tree_is_resolved_like_text() {
    use super::language::build;
    let (engine, _dir) = engine();
    let home = snapshot(&[&shop()], &[]).await;
    let route = sqlparser::ast::SelectItem::UnnamedExpr(build::name("code"));
    let select = build::select(vec![route], build::table("spans"));
    let tree = Question::query(build::query_of(select)).unwrap();
    let text = Question::sql(tree.ask.to_string());
    let answers = [tree, text].map(async |question| {
        let batches = engine.query(&home, question).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    });
    let [of_tree, of_text] = answers;
    assert_eq!(of_tree.await, of_text.await);
    let select = build::select(vec![build::star()], build::table("spams"));
    let tree = Question::query(build::query_of(select)).unwrap();
    let error = engine.query(&home, tree).await.unwrap_err();
    assert_eq!(error.message(), "unknown table \"spams\": did you mean spans?");
}

#[tokio::test]
async fn integers_in_parameters_keep_their_digits() {
    let (engine, _dir) = engine();
    let home = snapshot(&[], &[]).await;
    for digits in
        ["9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616"]
    {
        let ask = async |sql: &str| {
            let params = vec![Parameter::read(digits).unwrap()];
            let question = Question { params, ..Question::sql(sql) };
            pretty(&engine.query(&home, question).await.unwrap().collect().await.unwrap())
        };
        assert_eq!(ask("SELECT $1 AS id").await, [digits]);
        let other = format!("SELECT $1 = {digits}::decimal(38, 0) AND $1 <> {digits}::decimal(38, 0) - 1");
        assert_eq!(ask(&other).await, ["true"], "{digits}");
        let column = format!(
            "SELECT count(*) FROM (VALUES (CAST('{digits}' AS decimal(38, 0))), (1)) AS t(id) WHERE id = $1"
        );
        assert_eq!(ask(&column).await, ["1"], "{digits}");
    }
}
