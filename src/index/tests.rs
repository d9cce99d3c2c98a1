//! Lookups through side-cars and runs, against a scan of the same events.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::AsArray;
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::run::{Run, RunInput, merge};
use super::words::WORDS_OF_BODY;
use super::*;
use crate::ErrorKind;
use crate::config::IndexSettings;
use crate::event::{CoreEvent, EventBatch, EventBatchBuilder, Level, TraceId, Value};
use crate::segment::{self, SegmentId, SegmentMeta};

fn store() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn trace(n: u128) -> TraceId {
    // No trace has the id 0.
    TraceId::from_slice(&(n + 1).to_be_bytes()).unwrap()
}

fn trace_hash(n: u128) -> ValueHash {
    ValueHash::of_bytes(&(n + 1).to_be_bytes())
}

/// Five rows of each trace, far enough apart to be in two pages now and then; every tenth row has no trace.
fn events(rows: usize, first_trace: u128) -> EventBatch {
    let mut builder = EventBatchBuilder::new();
    let user = builder.key(Level::Record, "user.id");
    let pod = builder.key(Level::Resource, "pod");
    let order = builder.key(Level::Record, "order");
    let rare = builder.key(Level::Resource, "rare");
    for i in 0..rows {
        builder.push(&CoreEvent {
            timestamp_ns: (rows - i) as i64,
            trace_id: (i % 10 != 0).then(|| trace(first_trace + (i / 5 + i % 3 * 1000) as u128)),
            ..CoreEvent::default()
        });
        // Users come and go: each is active for two thousand rows.
        builder.attribute(user, Value::Text(&format!("user {}", i / 1000 * 100 + i % 200)));
        builder.attribute(pod, Value::Text(&format!("pod {}", i % 300)));
        match i % 100 {
            7 => builder.attribute(order, Value::Text("none")),
            _ => builder.attribute(order, Value::Int(i as i64 / 3)),
        }
        if i == 10_000 || i == 20_000 {
            builder.attribute(rare, Value::Text(&format!("rare {i}")));
        }
    }
    builder.finish().unwrap()
}

/// Stores a segment of these events with its index.
async fn stored(store: &Arc<dyn ObjectStore>, events: EventBatch, pinned: &[&str]) -> SegmentMeta {
    let lookup_keys = pinned.iter().map(ToString::to_string).collect();
    let builder = IndexBuilder::new(&IndexSettings { lookup_keys, ..IndexSettings::default() });
    let built = segment::build(SegmentId::new(1), &[Arc::new(events)], &builder).unwrap();
    let index = builder.finish(&built).unwrap();
    let mut meta = built.segment.meta;
    meta.index = Some(index.bytes());
    store.put(&Path::from(meta.index_path()), index.object).await.unwrap();
    store.put(&Path::from(meta.path()), built.object.into()).await.unwrap();
    meta
}

async fn open(store: &Arc<dyn ObjectStore>, meta: &SegmentMeta) -> Arc<SegmentIndex> {
    SegmentIndex::open(store, meta).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_trace_is_found_in_exactly_the_pages_that_have_it() {
    let store = store();
    let meta = stored(&store, events(30_000, 0), &[]).await;
    let index = open(&store, &meta).await;
    assert_eq!(index.page_rows(), 8192);
    let object = store.get(&Path::from(meta.path())).await.unwrap().bytes().await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(object).unwrap().with_batch_size(8192);
    let mut pages: std::collections::BTreeMap<u128, BTreeSet<u32>> = std::collections::BTreeMap::new();
    for (page, batch) in reader.build().unwrap().enumerate() {
        let batch = batch.unwrap();
        let ids = batch.column_by_name("trace_id").unwrap().as_fixed_size_binary();
        for id in ids.iter().flatten() {
            pages.entry(u128::from_be_bytes(id.try_into().unwrap()) - 1).or_default().insert(page as u32);
        }
    }
    assert!(pages.len() > 5000 && pages.values().any(|pages| pages.len() > 1));
    for (id, pages) in &pages {
        let found = index.lookup("trace_id", trace_hash(*id)).await.unwrap();
        assert_eq!(found, Some(pages.iter().copied().collect()), "trace {id}");
    }
    assert_eq!(index.lookup("trace_id", trace_hash(999_999)).await.unwrap(), Some(vec![]));
    assert_eq!(index.lookup("span_id", trace_hash(1)).await.unwrap(), None);
}

#[tokio::test]
async fn text_that_looks_like_an_id_is_indexed_by_itself() {
    let store = store();
    let meta = stored(&store, events(100_000, 0), &[]).await;
    let index = open(&store, &meta).await;
    assert_eq!(
        index.lookup_columns().collect::<Vec<_>>(),
        [WORDS_OF_BODY, "trace_id", "user.id"],
        "pods are in every page"
    );
    let found = index.lookup("user.id", ValueHash::of_text("user 150")).await.unwrap();
    assert_eq!(found, Some(vec![0]));
}

#[tokio::test]
async fn a_pinned_key_is_found_wherever_its_values_are() {
    let store = store();
    let meta = stored(&store, events(30_000, 0), &["order", "rare", "nowhere", "span_id"]).await;
    let index = open(&store, &meta).await;
    let lookup = |column, hash| {
        let index = Arc::clone(&index);
        async move { index.lookup(column, hash).await.unwrap() }
    };
    assert_eq!(lookup("order", ValueHash::of_int(4000)).await, Some(vec![1]), "integers own the column");
    assert_eq!(lookup("order", ValueHash::of_text("4000")).await, Some(vec![1]), "and are found as text");
    assert_eq!(lookup("order", ValueHash::of_text("none")).await, Some(vec![0, 1, 2, 3]), "text overflows");
    assert_eq!(lookup("resource.rare", ValueHash::of_text("rare 20000")).await, Some(vec![2]));
    assert_eq!(lookup("rare", ValueHash::of_text("rare 20000")).await, Some(vec![]), "not on the record");
    assert_eq!(lookup("nowhere", ValueHash::of_int(1)).await, Some(vec![]));
    assert_eq!(lookup("span_id", ValueHash::of_bytes(&[1; 8])).await, Some(vec![]));
}

#[tokio::test]
async fn a_pinned_key_with_values_that_are_not_looked_up_has_no_section() {
    let store = store();
    let mut builder = EventBatchBuilder::new();
    let (double, mixed) = (builder.key(Level::Record, "double"), builder.key(Level::Record, "mixed"));
    for i in 0..10 {
        builder.push(&CoreEvent { timestamp_ns: i, ..CoreEvent::default() });
        builder.attribute(double, Value::Double(0.5));
        builder.attribute(mixed, if i == 3 { Value::Bool(true) } else { Value::Int(i) });
    }
    let meta = stored(&store, builder.finish().unwrap(), &["double", "mixed"]).await;
    let index = open(&store, &meta).await;
    assert_eq!(index.lookup("double", ValueHash::of_text("0.5")).await.unwrap(), None);
    assert_eq!(index.lookup("mixed", ValueHash::of_int(1)).await.unwrap(), None);
}

#[tokio::test]
async fn the_index_of_another_segment_is_refused() {
    let store = store();
    let one = stored(&store, events(100, 0), &[]).await;
    let two = stored(&store, events(100, 0), &[]).await;
    let object = store.get(&Path::from(one.index_path())).await.unwrap().bytes().await.unwrap();
    store.put(&Path::from(two.index_path()), object.into()).await.unwrap();
    let error = SegmentIndex::open(&store, &two).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let none = SegmentMeta { index: None, ..one.clone() };
    assert!(SegmentIndex::open(&store, &none).await.unwrap().is_none());
    let cache = IndexCache::new(1 << 20);
    assert!(cache.segment(&store, &two).await.is_none(), "a damaged index is as none");
    assert!(cache.segment(&store, &one).await.is_some());
}

#[tokio::test]
async fn a_damaged_index_gives_right_answers_or_none() {
    let store = store();
    let meta = stored(&store, events(3000, 0), &["order"]).await;
    let whole = store.get(&Path::from(meta.index_path())).await.unwrap().bytes().await.unwrap();
    let expected = open(&store, &meta).await.lookup("trace_id", trace_hash(77)).await.unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for i in 0..2000 {
        let mut damaged = whole.to_vec();
        if i % 2 == 0 {
            let at = random.random_range(0..damaged.len());
            damaged[at] ^= 1 << random.random_range(0..8);
        } else {
            damaged.truncate(random.random_range(0..damaged.len()));
        }
        let meta = SegmentMeta { index: Some(damaged.len() as u64), ..meta.clone() };
        store.put(&Path::from(meta.index_path()), damaged.into()).await.unwrap();
        let Ok(Some(index)) = SegmentIndex::open(&store, &meta).await else { continue };
        let found = index.lookup("trace_id", trace_hash(77)).await;
        assert!(found.as_ref().is_err() || found.as_ref().unwrap() == &expected, "{found:?}");
    }
}

/// Stores `count` segments of 300 traces each; neighbours share a hundred of them.
async fn segments(store: &Arc<dyn ObjectStore>, count: usize) -> Vec<SegmentMeta> {
    let mut metas = Vec::new();
    for i in 0..count {
        let mut builder = EventBatchBuilder::new();
        for n in 0..300 {
            let trace_id = Some(trace((i * 200 + n) as u128));
            builder.push(&CoreEvent { timestamp_ns: n as i64, trace_id, ..CoreEvent::default() });
        }
        let pinned: &[&str] = if i % 2 == 0 { &["user.id"] } else { &[] };
        metas.push(stored(store, builder.finish().unwrap(), pinned).await);
    }
    metas
}

async fn run_of(store: &Arc<dyn ObjectStore>, inputs: &[RunInput]) -> Arc<RunMeta> {
    let built = merge(RunId::new(1), inputs).await.unwrap();
    store.put(&Path::from(built.meta.path()), built.object.object).await.unwrap();
    Arc::new(built.meta)
}

async fn inputs(store: &Arc<dyn ObjectStore>, metas: &[SegmentMeta]) -> Vec<RunInput> {
    let mut inputs = Vec::new();
    for meta in metas {
        inputs.push(RunInput::Segment(meta.id, Some(open(store, meta).await)));
    }
    inputs
}

#[tokio::test]
async fn runs_and_runs_of_runs_name_exactly_the_segments_that_have_a_trace() {
    let store = store();
    let metas = segments(&store, 6).await;
    let first = run_of(&store, &inputs(&store, &metas[..3]).await).await;
    let second = run_of(&store, &inputs(&store, &metas[3..5]).await).await;
    let runs = [
        Arc::new(Run::open(&store, &first).await.unwrap()),
        Arc::new(Run::open(&store, &second).await.unwrap()),
    ];
    // The second segment is gone.
    let taken = [vec![metas[0].id, metas[2].id], second.segments.clone()];
    let inputs: Vec<_> = runs.into_iter().zip(taken).map(|(run, taken)| RunInput::Run(run, taken)).collect();
    let merged = run_of(&store, &inputs).await;
    assert_eq!(merged.segments, [metas[0].id, metas[2].id, metas[3].id, metas[4].id]);

    let cache = IndexCache::new(1 << 20);
    for (runs, known) in [(vec![first, second], &[0, 1, 2, 3, 4][..]), (vec![merged], &[0, 2, 3, 4])] {
        let set = RunSet::new(runs);
        for n in (0..1400).step_by(7) {
            let answer = set.segments(&store, &cache, "trace_id", trace_hash(n as u128)).await;
            for (i, meta) in metas.iter().enumerate() {
                let has = (i * 200..i * 200 + 300).contains(&n);
                assert_eq!(answer.has(meta.id), known.contains(&i).then_some(has), "trace {n}, segment {i}");
                assert_eq!(answer.may_have(meta.id), has || !known.contains(&i));
            }
            let holders: BTreeSet<_> = answer.holders().collect();
            let expected = known.iter().filter(|i| (**i * 200..**i * 200 + 300).contains(&n));
            assert_eq!(holders, expected.map(|i| metas[*i].id).collect());
        }
        let answer = set.segments(&store, &cache, "user.id", ValueHash::of_int(1)).await;
        assert_eq!(answer.has(metas[0].id), Some(false), "an empty section covers the segment");
        assert_eq!(answer.has(metas[3].id), None, "no section, so it has to be asked");
    }
}

#[tokio::test]
async fn a_segment_whose_index_cannot_be_read_is_not_covered() {
    let store = store();
    let metas = segments(&store, 2).await;
    let mut inputs = inputs(&store, &metas).await;
    inputs[1] = RunInput::Segment(metas[1].id, None);
    let set = RunSet::new(vec![run_of(&store, &inputs).await]);
    let cache = IndexCache::new(1 << 20);
    let answer = set.segments(&store, &cache, "trace_id", trace_hash(1)).await;
    assert_eq!((answer.has(metas[0].id), answer.has(metas[1].id)), (Some(true), None));
    assert!(set.contains(metas[1].id));
}

#[tokio::test]
async fn a_damaged_or_missing_run_knows_nothing_and_is_never_wrong() {
    let store = store();
    let metas = segments(&store, 3).await;
    let run = run_of(&store, &inputs(&store, &metas).await).await;
    let whole = store.get(&Path::from(run.path())).await.unwrap().bytes().await.unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let set = RunSet::new(vec![Arc::clone(&run)]);
    for _ in 0..500 {
        let mut damaged = whole.to_vec();
        let at = random.random_range(0..damaged.len());
        damaged[at] ^= 1 << random.random_range(0..8);
        store.put(&Path::from(run.path()), Bytes::from(damaged).into()).await.unwrap();
        let answer = set.segments(&store, &IndexCache::new(0), "trace_id", trace_hash(250)).await;
        for (meta, has) in metas.iter().zip([true, true, false]) {
            assert!(answer.has(meta.id).is_none_or(|found| found == has));
        }
    }
    store.delete(&Path::from(run.path())).await.unwrap();
    let cache = IndexCache::new(0);
    let answer = set.segments(&store, &cache, "trace_id", trace_hash(250)).await;
    assert!(metas.iter().all(|meta| answer.has(meta.id).is_none()));
}

#[tokio::test]
async fn the_cache_keeps_what_was_used_last_within_its_limit() {
    let store = store();
    let metas = segments(&store, 5).await;
    let one = open(&store, &metas[0]).await.memory_bytes();
    let cache = IndexCache::new(3 * one + 2000);
    for meta in metas.iter().chain(&metas) {
        assert!(cache.segment(&store, meta).await.is_some());
        assert!(cache.segment(&store, &metas[0]).await.is_some());
    }
    assert!(cache.memory_bytes() <= 3 * one + 2000);
    for meta in &metas {
        store.delete(&Path::from(meta.index_path())).await.unwrap();
    }
    assert!(cache.segment(&store, &metas[0]).await.is_some(), "used all the time, so it is open");
    assert!(cache.segment(&store, &metas[1]).await.is_none(), "not used for long, so it was closed");
}

#[tokio::test]
async fn a_word_of_a_body_is_found_in_exactly_the_pages_that_have_it() {
    let store = store();
    let mut builder = EventBatchBuilder::new();
    let rows = 30_000;
    for i in 0..rows {
        let body = format!("Order {} paid by card-{}", i / 100, if i == 20_000 { "Amex" } else { "visa" });
        builder.push(&CoreEvent {
            timestamp_ns: i64::from(rows - i),
            body: (i % 3 != 1).then_some(&body),
            ..CoreEvent::default()
        });
    }
    let meta = stored(&store, builder.finish().unwrap(), &[]).await;
    let index = open(&store, &meta).await;
    let pages = |word: &'static str| {
        let index = Arc::clone(&index);
        async move { index.lookup(WORDS_OF_BODY, ValueHash::of_text(word)).await.unwrap() }
    };
    assert_eq!(pages("amex").await, Some(vec![2]));
    assert_eq!(pages("visa").await, Some(vec![0, 1, 2, 3]));
    assert_eq!(pages("100").await, Some(vec![1]));
    assert_eq!(pages("Amex").await, Some(vec![]), "words are in lower case");
    assert_eq!(pages("car").await, Some(vec![]), "a part of a word is none");
    assert_eq!(index.lookup("body", ValueHash::of_text("amex")).await.unwrap(), None);
}

#[tokio::test]
async fn bodies_that_are_mostly_ids_have_no_index_of_words() {
    let store = store();
    let mut builder = EventBatchBuilder::new();
    for i in 0..20_000_i64 {
        let body = format!("{i} {} {}", i + 1_000_000, i + 2_000_000);
        builder.push(&CoreEvent { timestamp_ns: i, body: Some(&body), ..CoreEvent::default() });
    }
    let meta = stored(&store, builder.finish().unwrap(), &[]).await;
    let index = open(&store, &meta).await;
    assert_eq!(index.lookup(WORDS_OF_BODY, ValueHash::of_text("7")).await.unwrap(), None);
}
