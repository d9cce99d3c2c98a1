//! What does each step of ingestion cost per event, on a slice of the demo corpus?
//!
//! `cargo bench --bench ingest` (or `-- decode` for one group). All throughputs are in events, so the steps can be
//! compared: the times per event add up to a lower bound for the whole.

#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::hint::black_box;
use std::sync::Arc;

use broadloom::demo::{DemoPayload, DemoSettings, Generator};
use broadloom::event::EventBatch;
use broadloom::ingest::otlp::{self, Encoding, RequestKind};
use broadloom::segment::{self, SegmentId, Unobserved};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;

/// Events in the slice: a few requests of each signal.
const EVENTS: u64 = 20_000;
const NOW_NS: i64 = DemoSettings::START_NS;

struct Request {
    kind: RequestKind,
    bytes: Vec<u8>,
    events: u64,
}

fn requests() -> Vec<Request> {
    let encode = |payload: &DemoPayload| match payload {
        DemoPayload::Traces(r) => (RequestKind::Traces, r.encode_to_vec()),
        DemoPayload::Logs(r) => (RequestKind::Logs, r.encode_to_vec()),
        DemoPayload::Metrics(r) => (RequestKind::Metrics, r.encode_to_vec()),
    };
    Generator::new(DemoSettings::new(1, EVENTS))
        .map(|request| {
            let (kind, bytes) = encode(&request.payload);
            Request { kind, bytes, events: request.events }
        })
        .collect()
}

fn decode(request: &Request) -> EventBatch {
    otlp::decode(request.kind, Encoding::Protobuf, &request.bytes, NOW_NS).expect("the corpus is valid").batch
}

fn generate(c: &mut Criterion) {
    let mut group = c.benchmark_group("generate");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("corpus", |b| {
        b.iter(|| Generator::new(DemoSettings::new(1, EVENTS)).map(|r| r.events).sum::<u64>());
    });
}

fn ingest(c: &mut Criterion) {
    let requests = requests();
    for kind in RequestKind::ALL {
        let of_kind: Vec<&Request> = requests.iter().filter(|r| r.kind == kind).collect();
        let mut group = c.benchmark_group("decode");
        group.throughput(Throughput::Elements(of_kind.iter().map(|r| r.events).sum()));
        group.bench_function(format!("{kind:?}").to_lowercase(), |b| {
            b.iter(|| of_kind.iter().map(|r| black_box(decode(r)).rows()).sum::<usize>());
        });
    }
}

fn batch(c: &mut Criterion) {
    let batches: Vec<EventBatch> = requests().iter().map(decode).collect();
    let encoded: Vec<Vec<u8>> = batches.iter().map(|b| b.encode().expect("a batch encodes")).collect();
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(batches.iter().map(|b| b.rows() as u64).sum()));
    group.bench_function("encode", |b| {
        b.iter(|| batches.iter().map(|b| b.encode().map_or(0, |bytes| bytes.len())).sum::<usize>());
    });
    group.bench_function("decode", |b| {
        b.iter(|| {
            encoded.iter().map(|bytes| EventBatch::decode(bytes).map_or(0, |b| b.rows())).sum::<usize>()
        });
    });
}

fn segment_write(c: &mut Criterion) {
    let batches: Vec<Arc<EventBatch>> = requests().iter().map(decode).map(Arc::new).collect();
    let mut group = c.benchmark_group("segment");
    group.throughput(Throughput::Elements(batches.iter().map(|b| b.rows() as u64).sum()));
    group.bench_function("build", |b| {
        b.iter(|| {
            segment::build(SegmentId::new(NOW_NS), &batches, &Unobserved)
                .map_or(0, |built| built.object.len())
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = generate, ingest, batch, segment_write
}
criterion_main!(benches);
