//! How long does it take to build and to query an index, and how large is it, on a slice of the demo corpus?
//!
//! `cargo bench --bench index` (or `-- lookup` for one group). First it prints the bytes per event of each section in
//! a segment's index; `BROADLOOM_INDEX_EVENTS` sets the number of events in the segment.

#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::AsArray;
use broadloom::config::IndexSettings;
use broadloom::demo::{DemoPayload, DemoSettings, Generator};
use broadloom::event::EventBatch;
use broadloom::index::run::{BuiltRun, Run, RunInput, merge};
use broadloom::index::{IndexBuilder, IndexCache, RunId, RunSet, SegmentIndex, ValueHash};
use broadloom::ingest::otlp::{self, Encoding, RequestKind};
use broadloom::segment::{self, SegmentId, SegmentMeta, Unobserved};
use broadloom::store::DurableFileSystem;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use prost::Message;

/// Events in the segment whose sections are measured.
const EVENTS: u64 = 200_000;
/// Events in each of the segments whose indexes are merged into a run.
const SMALL_EVENTS: u64 = 5_000;
const SEGMENTS: u64 = 16;
const NOW_NS: i64 = DemoSettings::START_NS;

fn batches(seed: u64, events: u64) -> Vec<Arc<EventBatch>> {
    let decode = |kind, bytes: Vec<u8>| {
        let decoded = otlp::decode(kind, Encoding::Protobuf, &bytes, NOW_NS);
        Arc::new(decoded.expect("the corpus is valid").batch)
    };
    Generator::new(DemoSettings::new(seed, events))
        .map(|request| match &request.payload {
            DemoPayload::Traces(r) => decode(RequestKind::Traces, r.encode_to_vec()),
            DemoPayload::Logs(r) => decode(RequestKind::Logs, r.encode_to_vec()),
            DemoPayload::Metrics(r) => decode(RequestKind::Metrics, r.encode_to_vec()),
        })
        .collect()
}

/// Hashes of the trace ids in `batches`.
fn traces(batches: &[Arc<EventBatch>]) -> Vec<ValueHash> {
    let columns = batches.iter().filter_map(|batch| batch.core().column_by_name("trace_id"));
    let ids = columns.flat_map(|column| column.as_fixed_size_binary().iter().flatten());
    ids.map(ValueHash::of_bytes).collect()
}

/// Object store in a directory, as in a database.
struct Fixture {
    runtime: tokio::runtime::Runtime,
    store: Arc<dyn ObjectStore>,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the bench");
        let store = DurableFileSystem::new(directory.path()).expect("it is there");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        Self { runtime, store: Arc::new(store), _directory: directory }
    }

    /// Stores the index of a segment with these events, without the segment itself.
    fn index(&self, batches: &[Arc<EventBatch>]) -> SegmentMeta {
        let builder = IndexBuilder::new(&IndexSettings::default());
        let built = segment::build(SegmentId::new(NOW_NS), batches, &builder).expect("it can be built");
        let index = builder.finish(&built).expect("its footer can be split");
        let mut meta = built.segment.meta;
        meta.index = Some(index.bytes());
        self.put(&meta.index_path(), index.object);
        meta
    }

    fn put(&self, path: &str, object: object_store::PutPayload) {
        self.runtime.block_on(self.store.put(&Path::from(path), object)).expect("the disk has room");
    }

    fn open(&self, meta: &SegmentMeta) -> Arc<SegmentIndex> {
        let opened = self.runtime.block_on(SegmentIndex::open(&self.store, meta));
        opened.expect("it was just written").expect("it has an index")
    }
}

fn build(c: &mut Criterion) {
    let batches = batches(1, SMALL_EVENTS * 4);
    let rows = batches.iter().map(|batch| batch.rows() as u64).sum();
    let mut group = c.benchmark_group("build");
    group.throughput(Throughput::Elements(rows));
    let id = SegmentId::new(NOW_NS);
    group.bench_function("segment alone", |b| {
        b.iter(|| segment::build(id, &batches, &Unobserved).map_or(0, |built| built.object.len()));
    });
    group.bench_function("segment and index", |b| {
        b.iter(|| {
            let builder = IndexBuilder::new(&IndexSettings::default());
            segment::build(id, &batches, &builder)
                .and_then(|built| builder.finish(&built))
                .map_or(0, |index| index.bytes())
        });
    });
}

fn lookup(c: &mut Criterion) {
    let events = std::env::var("BROADLOOM_INDEX_EVENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(EVENTS);
    let batches = batches(1, events);
    let traces = traces(&batches);
    let fixture = Fixture::new();
    let meta = fixture.index(&batches);
    let index = fixture.open(&meta);
    println!("{} events, {:.1} bytes each in the segment", meta.rows, meta.bytes as f64 / meta.rows as f64);
    for name in index.sidecar().names() {
        let bytes = index.sidecar().length(name).unwrap_or_default();
        println!("{bytes:>10} bytes {:>8.3} per event  {name}", bytes as f64 / meta.rows as f64);
    }
    println!("{:>10} bytes in memory while open", index.memory_bytes());

    let mut group = c.benchmark_group("lookup");
    let mut next = traces.iter().cycle().step_by(7919);
    group.bench_function("open", |b| b.iter(|| fixture.open(&meta)));
    group.bench_function("trace", |b| {
        b.iter(|| {
            let hash = *next.next().expect("it goes round");
            black_box(fixture.runtime.block_on(index.lookup("trace_id", hash))).expect("the index is sound")
        });
    });
}

fn run(c: &mut Criterion) {
    let fixture = Fixture::new();
    let corpora: Vec<_> = (0..SEGMENTS).map(|seed| batches(seed, SMALL_EVENTS)).collect();
    let metas: Vec<_> = corpora.iter().map(|batches| fixture.index(batches)).collect();
    let inputs = || -> Vec<RunInput> {
        metas.iter().map(|meta| RunInput::Segment(meta.id, Some(fixture.open(meta)))).collect()
    };
    let merged = |inputs: Vec<RunInput>| -> BuiltRun {
        fixture.runtime.block_on(merge(RunId::new(NOW_NS), &inputs)).expect("the indexes are sound")
    };
    let BuiltRun { meta, object } = merged(inputs());
    println!("{} entries, {:.2} bytes each in a run", meta.entries, meta.bytes as f64 / meta.entries as f64);
    fixture.put(&meta.path(), object.object);
    let meta = Arc::new(meta);

    let mut group = c.benchmark_group("run");
    group.throughput(Throughput::Elements(meta.entries));
    group.bench_function("merge", |b| {
        b.iter_batched(inputs, |inputs| merged(inputs).meta.bytes, BatchSize::LargeInput);
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("open", |b| {
        b.iter(|| fixture.runtime.block_on(Run::open(&fixture.store, &meta)).map(|run| run.memory_bytes()));
    });
    let (set, cache) = (RunSet::new(vec![Arc::clone(&meta)]), IndexCache::new(1 << 20));
    let traces = traces(&corpora[3]);
    let mut next = traces.iter().cycle().step_by(7919);
    group.bench_function("lookup", |b| {
        b.iter(|| {
            let hash = *next.next().expect("it goes round");
            let asked = set.segments(&fixture.store, &cache, "trace_id", hash);
            fixture.runtime.block_on(asked).may_have(metas[3].id)
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = build, lookup, run
}
criterion_main!(benches);
