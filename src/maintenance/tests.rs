//! Do merges and sweeps keep every event, in order, within the limits of segments?

mod failures;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::util::display::array_value_to_string;
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::buffer::Buffer;
use crate::catalog::{Catalog, Change};
use crate::config::SegmentLimits;
use crate::config::SystemClock;
use crate::event::{
    CoreEvent, EventBatch, EventBatchBuilder, Exemplar, KeyDictionary, Level, Link, NumberValue, Signal,
    SpanId, TraceId, Value, typed_json,
};
use crate::ingest::fields::FieldMap;
use crate::ingest::table;
use crate::segment::{ROWS_MAX, SegmentId, SegmentMeta};
use crate::wal::{FileLog, Replay, SequenceNumber, Wal, WalOptions};

/// One made-up event.
#[derive(Debug, Clone)]
struct Made {
    timestamp_ns: i64,
    core: u8,
    attributes: Vec<(usize, usize, u8)>,
}

/// Keys of every kind: common ones, ones that collide with core columns, and ones too long for a column.
fn key(i: usize) -> (Level, String) {
    let level = Level::ALL[i % 4];
    let key = match i / 4 {
        0 => "http.route".to_owned(),
        1 => "name".to_owned(),
        2 => "$dollar \"quoted\"".to_owned(),
        3 => "k".repeat(300),
        4 => String::new(),
        n => format!("key.{n}"),
    };
    (level, key)
}

fn value(kind: usize, n: u8) -> (i64, String, [u8; 3]) {
    (i64::from(n) - 100, format!("{{\"$bytes\": {kind} {n}"), [n, 0, 255])
}

fn batch(events: &[Made]) -> Arc<EventBatch> {
    let mut builder = EventBatchBuilder::new();
    for made in events {
        let n = made.core;
        let id = TraceId::new([n | 1; 16]);
        let links = [Link { trace_id: Some(id), attributes: "{\"a\":1}", flags: 1, ..Link::default() }];
        let exemplars = [Exemplar {
            span_id: Some(SpanId::new([n | 1; 8])),
            value: Some(NumberValue::Int(7)),
            ..Exemplar::default()
        }];
        let text = format!("text number {n} of some length");
        builder.push(&CoreEvent {
            timestamp_ns: made.timestamp_ns,
            signal: Signal::ALL[usize::from(n % 4)],
            trace_id: (n % 3 > 0).then_some(id),
            span_id: (n % 5 > 0).then_some(SpanId::new([n | 1; 8])),
            name: (n % 4 < 2).then_some(&text),
            body: (n % 7 == 0).then_some(r#"{"user.id":"u"}"#),
            duration_ns: (n % 2 == 0).then_some(i64::from(n)),
            value: (n % 11 == 0).then_some(NumberValue::Double(f64::from(n) / 3.0)),
            flags: u32::from(n),
            links: if n % 13 == 0 { &links } else { &[] },
            exemplars: if n % 17 == 0 { &exemplars } else { &[] },
            bucket_counts: (n % 19 == 0).then_some(&[1, 2, u64::MAX]),
            quantiles: (n % 23 == 0).then_some(&[(0.5, 2.0)]),
            ..CoreEvent::default()
        });
        for (k, kind, n) in &made.attributes {
            let (level, name) = key(*k);
            let id = builder.key(level, &name);
            let (int, text, bytes) = value(*kind, *n);
            builder.attribute(
                id,
                match kind % 8 {
                    0 => Value::Int(int),
                    1 => Value::Double(int as f64),
                    2 => Value::Bool(n % 2 == 0),
                    3 => Value::Text(&text),
                    4 => Value::Bytes(&bytes),
                    5 => Value::Json(r#"{"$$bytes":"AA==","x":[1,2.0,null]}"#),
                    6 => Value::Double(if n % 2 == 0 { f64::NAN } else { f64::NEG_INFINITY }),
                    _ => Value::Json("null"),
                },
            );
        }
    }
    Arc::new(builder.finish().unwrap())
}

fn made() -> impl Strategy<Value = Made> {
    let attributes = proptest::collection::vec((0_usize..28, 0_usize..8, any::<u8>()), 0..8);
    (0_i64..50, any::<u8>(), attributes).prop_map(|(timestamp_ns, core, attributes)| Made {
        timestamp_ns,
        core,
        attributes,
    })
}

/// Describes every event as text: core values, and attributes with their types.
fn described(batch: &EventBatch) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = vec![Vec::new(); batch.rows()];
    for (field, column) in batch.core().schema_ref().fields().iter().zip(batch.core().columns()) {
        for (row, described) in rows.iter_mut().enumerate().filter(|(row, _)| column.is_valid(*row)) {
            described.push(format!("{}={}", field.name(), array_value_to_string(column, row).unwrap()));
        }
    }
    for column in batch.attributes() {
        for (i, row) in column.rows().iter().enumerate() {
            let mut json = String::new();
            typed_json::write(&mut json, &column.value(i));
            rows[*row as usize].push(format!("{:?}={json}", column.key()));
        }
    }
    for row in &mut rows {
        row.sort();
    }
    rows.into_iter().map(|row| row.join(" ")).collect()
}

/// A database without a log: a store, its catalog, and a compactor.
struct Bench {
    store: Arc<dyn ObjectStore>,
    catalog: Arc<Catalog>,
    live: Arc<Live>,
    ground: Ground,
    sweeper: Sweeper,
    compactor: Compactor,
}

impl Bench {
    async fn open(store: Arc<dyn ObjectStore>) -> Self {
        let clock: Arc<dyn crate::config::Clock> = Arc::new(SystemClock);
        let catalog = Arc::new(Catalog::load(Arc::clone(&store), Arc::clone(&clock)).await.unwrap());
        let live = Live::new(catalog.snapshot(), Buffer::default(), Arc::new(KeyDictionary::new()));
        let live = Arc::new(live);
        let (known, objects) = (Arc::clone(&catalog), Arc::clone(&store));
        let ground = Ground::new(Arc::clone(&live), known, objects, clock, Arc::default());
        let sweeper = Sweeper::new(ground.clone());
        let compactor = Compactor::new(ground.clone(), crate::config::IndexSettings::default());
        Self { store, catalog, live, ground, sweeper, compactor }
    }

    async fn add(&self, events: &[Made]) {
        self.add_batch(batch(events)).await;
    }

    async fn add_batch(&self, batch: Arc<EventBatch>) {
        let (batches, index) = (vec![batch], crate::config::IndexSettings::default());
        let id = SegmentId::new(1_700_000_000_000_000_000);
        let segment = store_segment(&self.store, id, batches, &index).await.unwrap();
        let change = Change { add: vec![segment], ..Change::default() };
        self.live.committed(&self.catalog.commit(change).await.unwrap());
    }

    async fn compact(&self, segment_rows: usize) -> crate::error::Result<CompactionReport> {
        self.compact_to(SegmentLimits::of_rows(segment_rows)).await
    }

    async fn compact_to(&self, segment: SegmentLimits) -> crate::error::Result<CompactionReport> {
        self.compactor.run(segment, |_| {}).await
    }

    /// Reads all segments with their events, in each segment's order.
    async fn segments(&self) -> Vec<(Arc<SegmentMeta>, Vec<String>)> {
        let mut segments = Vec::new();
        for segment in &self.catalog.snapshot().segments {
            let object = self.store.get(&Path::from(segment.path())).await.unwrap().bytes().await.unwrap();
            segments.push((Arc::clone(segment), read(object)));
        }
        segments
    }

    async fn events(&self) -> Vec<String> {
        let mut events: Vec<_> = self.segments().await.into_iter().flat_map(|(_, events)| events).collect();
        events.sort();
        events
    }

    async fn objects(&self) -> usize {
        let folder = Path::from("segments");
        self.store.list(Some(&folder)).try_collect::<Vec<_>>().await.unwrap().len()
    }
}

/// Reads a segment with the code of imports, which is independent of merges.
fn read(object: Bytes) -> Vec<String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(object).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader.build().unwrap().collect::<Result<_, _>>().unwrap();
    let batch = concat_batches(&schema, &batches).unwrap();
    described(&table::decode(&batch, &FieldMap::default(), 0).unwrap().batch)
}

fn timestamp(event: &str) -> i64 {
    let at = event.split("timestamp=").nth(1).unwrap().split(' ').next().unwrap();
    chrono::DateTime::parse_from_rfc3339(at).unwrap().timestamp_nanos_opt().unwrap()
}

fn all(parts: &[Vec<Made>]) -> Vec<String> {
    let mut events: Vec<_> = parts.iter().flat_map(|part| described(&batch(part))).collect();
    events.sort();
    events
}

/// Events with many or few values of some keys, so that merges add and drop columns.
fn uneven(rows: Range<usize>) -> Vec<Made> {
    rows.map(|i| {
        let mut attributes = vec![(0, if i % 3000 == 0 { 3 } else { 0 }, i as u8)];
        if i % 2500 == 7 {
            attributes.extend([(20, 3, 1), (21, 0, 2)]);
        }
        if i < 2 {
            attributes.extend([(22, 1, 3), (23, 4, 3), (24, 5, 3), (0, 1, 1)]);
        }
        Made { timestamp_ns: (i * 7919 % 20_011) as i64, core: (i % 251) as u8, attributes }
    })
    .collect()
}

#[tokio::test]
async fn columns_come_and_go_and_values_stay() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    let parts = [uneven(0..50), uneven(50..9000), uneven(9000..9100), uneven(7..8)];
    for part in &parts {
        bench.add(part).await;
    }
    let report = bench.compact(ROWS_MAX).await.unwrap();
    assert_eq!((report.before.segments, report.after.segments, report.after.rows), (4, 1, 9101));
    assert_eq!(bench.events().await, all(&parts));
    let object = &bench.catalog.snapshot().segments[0].path();
    let object = bench.store.get(&Path::from(object.as_str())).await.unwrap().bytes().await.unwrap();
    let footer = ParquetRecordBatchReaderBuilder::try_new(object).unwrap();
    let columns: Vec<_> = footer.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert!(columns.contains(&"http.route".to_owned()), "{columns:?}");
    assert!(!columns.contains(&"resource.key.5".to_owned()), "too few now: {columns:?}");
    let listed = footer.metadata().file_metadata().key_value_metadata().unwrap();
    let listed = listed.iter().find(|kv| kv.key == "broadloom.overflow").unwrap().value.clone().unwrap();
    assert!(listed.contains("http.route") && listed.contains("key.5"), "{listed}");
}

#[tokio::test]
async fn outputs_are_of_equal_size_in_order_and_do_not_overlap() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    let parts = [uneven(0..900), uneven(900..1300), uneven(1300..1400)];
    for part in &parts {
        bench.add(part).await;
    }
    bench.compact(400).await.unwrap();
    let segments = bench.segments().await;
    assert_eq!(segments.iter().map(|(meta, _)| meta.rows).collect::<Vec<_>>(), [350; 4]);
    for (_, events) in &segments {
        assert!(events.windows(2).all(|pair| timestamp(&pair[0]) >= timestamp(&pair[1])));
    }
    assert!(segments.windows(2).all(|pair| pair[0].0.time.min_ns > pair[1].0.time.max_ns));
    assert_eq!(bench.events().await, all(&parts));
    let version = bench.catalog.snapshot().version;
    let again = bench.compact(400).await.unwrap();
    assert_eq!((again.rewritten_rows, bench.catalog.snapshot().version), (0, version), "nothing to do");
}

#[tokio::test]
async fn events_of_one_instant_stay_in_the_order_in_which_they_came() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    let part = |from: u8| (from..from + 30).map(|n| Made { timestamp_ns: 5, core: n, attributes: vec![] });
    let parts: Vec<Vec<Made>> = [0, 30, 60].map(|from| part(from).collect()).into();
    for part in &parts {
        bench.add(part).await;
    }
    bench.compact(1000).await.unwrap();
    let expected: Vec<_> = parts.iter().flat_map(|part| described(&batch(part))).collect();
    let segments = bench.segments().await;
    // Ids of the same millisecond do not order the segments; events of one segment are in order.
    let place = |event: &String| segments[0].1.iter().position(|e| e == event).unwrap();
    for part in expected.chunks(30) {
        let places: Vec<_> = part.iter().map(place).collect();
        assert!(places.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{places:?}");
    }
    bench.compact(1000).await.unwrap();
    assert_eq!(bench.segments().await.len(), 1);
}

#[tokio::test]
async fn more_events_of_one_instant_than_a_segment_holds_are_split() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    let part = |from: u8| (from..from + 30).map(|n| Made { timestamp_ns: 5, core: n, attributes: vec![] });
    let mut parts: Vec<Vec<Made>> = [0, 30, 60].map(|from| part(from).collect()).into();
    parts[1][0].timestamp_ns = 9;
    parts[2][3].timestamp_ns = 1;
    for part in &parts {
        bench.add(part).await;
    }
    bench.compact(40).await.unwrap();
    assert_eq!(bench.events().await, all(&parts));
    assert!(bench.segments().await.iter().all(|(meta, _)| meta.rows <= 40));
    let version = bench.catalog.snapshot().version;
    bench.compact(40).await.unwrap();
    assert_eq!(bench.catalog.snapshot().version, version, "a shared instant is no reason to go on for ever");
}

#[tokio::test]
async fn objects_outlive_their_segments_by_the_grace_period() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    for i in 0..3 {
        bench.add(&uneven(i * 10..i * 10 + 10)).await;
    }
    bench.compact(1000).await.unwrap();
    assert_eq!(bench.objects().await, 4 * 2, "each with its index");
    let removed = bench.sweeper.remove_orphans(GRACE).await.unwrap();
    assert_eq!((removed, bench.objects().await), (0, 8), "a look in between deletes nothing too early");

    bench.sweeper.remove_retired(Duration::ZERO).await.unwrap();
    assert_eq!(bench.objects().await, 2);

    bench.add(&uneven(0..10)).await;
    bench.compact(1000).await.unwrap();
    let removed = bench.sweeper.remove_orphans(Duration::ZERO).await.unwrap();
    assert_eq!((removed, bench.objects().await), (4, 2), "a start after the grace period deletes them");
}

#[tokio::test]
async fn what_a_query_reads_is_deleted_when_it_has_ended() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    for i in 0..3 {
        bench.add(&uneven(i * 10..i * 10 + 10)).await;
    }
    let (query, _) = bench.live.view();
    let one = Arc::clone(&query.segments[1]);
    bench.compact(1000).await.unwrap();
    assert_eq!(bench.sweeper.remove_retired(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(bench.sweeper.remove_orphans(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(bench.objects().await, 4 * 2, "a query holds the old segments");
    drop(query);
    assert_eq!(bench.sweeper.remove_retired(Duration::ZERO).await.unwrap(), 2);
    assert_eq!(bench.objects().await, 2 * 2, "now it reads the last of them");
    drop(one);
    assert_eq!(bench.sweeper.remove_retired(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(bench.objects().await, 2);
    assert_eq!(bench.sweeper.remove_retired(Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test]
async fn what_somebody_is_making_is_no_orphan() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    bench.add(&uneven(0..10)).await;
    let (id, birth) = bench.live.births().segment(1_700_000_000_000_000_000);
    let index = crate::config::IndexSettings::default();
    let stored = store_segment(&bench.store, id, vec![batch(&uneven(0..5))], &index).await.unwrap();
    assert_eq!(bench.sweeper.remove_orphans(Duration::ZERO).await.unwrap(), 0);
    bench.catalog.commit(Change { add: vec![stored], ..Change::default() }).await.unwrap();
    drop(birth);
    assert_eq!(bench.sweeper.remove_orphans(Duration::ZERO).await.unwrap(), 0);

    let (id, birth) = bench.live.births().segment(1_700_000_000_000_000_000);
    store_segment(&bench.store, id, vec![batch(&uneven(0..5))], &index).await.unwrap();
    drop(birth);
    assert_eq!(bench.sweeper.remove_orphans(Duration::ZERO).await.unwrap(), 2, "its maker gave up");
    assert_eq!(bench.objects().await, 2 * 2);
}

/// Merges step by step until nothing is due; returns the number of steps.
async fn settle(bench: &Bench, limits: SegmentLimits) -> usize {
    let stop = CancellationToken::new();
    let mut steps = 0;
    while bench.compactor.merge_step(limits, &stop).await.unwrap() {
        steps += 1;
    }
    steps
}

#[tokio::test]
async fn steps_in_the_background_keep_every_event_and_wait_for_company() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    let parts: Vec<Vec<Made>> = (0..30).map(|i| uneven(i * 40..i * 40 + 40)).collect();
    let mut steps = Vec::new();
    for part in &parts {
        bench.add(part).await;
        steps.push(settle(&bench, SegmentLimits::of_rows(1000)).await);
    }
    assert_eq!(steps[..16], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert!(
        (2..=4).contains(&steps[24..].iter().sum::<usize>()),
        "a full one, and what overlaps it: {steps:?}"
    );
    assert_eq!(bench.events().await, all(&parts));
    assert!(bench.segments().await.len() <= 4);
}

#[tokio::test]
async fn a_step_whose_inputs_have_gone_changes_nothing_and_leaves_nothing() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    let parts: Vec<Vec<Made>> = (0..8).map(|i| uneven(i * 10..i * 10 + 10)).collect();
    for part in &parts {
        bench.add(part).await;
    }
    let stop = CancellationToken::new();
    let gone = bench.catalog.snapshot().segments[3].id;
    let step = bench.compactor.merge_step(SegmentLimits::of_rows(1000), &stop);
    let remove = async {
        let remove = Change { remove: vec![gone], ..Change::default() };
        bench.catalog.commit(remove).await.unwrap();
    };
    let (step, ()) = tokio::join!(step, remove);
    assert_eq!(step.unwrap_err().kind(), crate::ErrorKind::Conflict);
    assert_eq!(bench.objects().await, 8 * 2, "what was made for nothing is deleted");
    assert_eq!(bench.segments().await.len(), 7);

    stop.cancel();
    bench.add(&parts[0]).await;
    assert!(!bench.compactor.merge_step(SegmentLimits::of_rows(1000), &stop).await.unwrap(), "told to stop");
    assert_eq!(bench.objects().await, 9 * 2);
}

/// Events with an incompressible text of a kilobyte each.
fn noise(range: std::ops::Range<i64>) -> Arc<EventBatch> {
    let mut builder = EventBatchBuilder::new();
    for i in range {
        builder.push(&CoreEvent { timestamp_ns: i, ..CoreEvent::default() });
        let word = |n: u64| (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_mul((i as u64) ^ n);
        let words: Vec<_> = (1..=128).map(|n| format!("{:016x}", word(n).rotate_left(n as u32))).collect();
        let key = builder.key(Level::Record, "text");
        builder.attribute(key, Value::Text(&words.concat()));
    }
    Arc::new(builder.finish().unwrap())
}

#[tokio::test]
async fn segments_are_full_when_they_have_enough_bytes() {
    let limits = SegmentLimits { bytes: 600_000, ..SegmentLimits::default() };
    for in_steps in [false, true] {
        let bench = Bench::open(Arc::new(InMemory::new())).await;
        for part in 0..40 {
            bench.add_batch(noise(part * 100..part * 100 + 100)).await;
            if in_steps {
                settle(&bench, limits).await;
            }
        }
        if !in_steps {
            bench.compact_to(limits).await.unwrap();
            let again = bench.compact_to(limits).await.unwrap();
            assert_eq!((again.rewritten_rows, again.before), (0, again.after), "there is nothing left to do");
        }
        let segments = bench.catalog.snapshot().segments.clone();
        assert!(segments.iter().all(|segment| segment.bytes < 700_000), "{segments:?}");
        // By their number they would all fit into one segment.
        let full = segments.iter().filter(|segment| segment.bytes >= 300_000).count();
        assert!(full >= 4, "{full}");
        assert_eq!(segments.iter().map(|segment| segment.rows).sum::<u64>(), 4000);
    }
}

#[tokio::test]
async fn segments_are_full_when_a_column_would_take_too_much_memory() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    let text = |i: i64| format!("{}{i}", "the same again and again ".repeat(200));
    for part in 0..4 {
        let mut builder = EventBatchBuilder::new();
        for i in part * 1000..part * 1000 + 1000 {
            builder.push(&CoreEvent { timestamp_ns: i, body: Some(&text(i)), ..CoreEvent::default() });
        }
        bench.add_batch(Arc::new(builder.finish().unwrap())).await;
    }
    let limits = SegmentLimits { bytes: 4 << 20, ..SegmentLimits::default() };
    let segments = bench.catalog.snapshot().segments.clone();
    assert!(segments.iter().all(|segment| segment.bytes < limits.bytes / 8), "{segments:?}");
    bench.compact_to(limits).await.unwrap();
    let segments = bench.catalog.snapshot().segments.clone();
    assert!((2..=4).contains(&segments.len()), "{segments:?}");
    assert!(segments.iter().all(|segment| segment.column_bytes <= 2 * limits.bytes), "{segments:?}");
}

#[tokio::test]
async fn an_event_that_is_larger_than_a_segment_may_be_has_one_of_its_own() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    for _ in 0..3 {
        bench.add_batch(noise(0..3)).await;
    }
    let report = bench.compact_to(SegmentLimits { bytes: 1000, ..SegmentLimits::default() }).await.unwrap();
    assert_eq!((report.after.segments, report.after.rows), (9, 9));
}

#[tokio::test]
async fn impossible_sizes_are_refused() {
    let bench = Bench::open(Arc::new(InMemory::new())).await;
    for rows in [0, ROWS_MAX + 1] {
        assert_eq!(bench.compact(rows).await.unwrap_err().kind(), crate::ErrorKind::InvalidInput);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_the_events_compaction_keeps_them(
        parts in proptest::collection::vec(proptest::collection::vec(made(), 1..30), 1..8),
        rows in 1_usize..60,
        bytes in prop_oneof![Just(128 << 20), 1_u64..60_000],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (events, lost) = runtime.block_on(async {
            let bench = Bench::open(Arc::new(InMemory::new())).await;
            for part in &parts {
                bench.add(part).await;
            }
            bench.compact_to(SegmentLimits { rows, bytes }).await.unwrap();
            let reloaded = Bench::open(Arc::clone(&bench.store)).await;
            let lost = reloaded.segments().await.iter().any(|(meta, events)| meta.rows != events.len() as u64);
            (reloaded.events().await, lost)
        });
        prop_assert!(!lost, "the catalog counts the events of each segment");
        prop_assert_eq!(events, all(&parts));
    }
}
