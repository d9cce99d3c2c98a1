//! Does a request survive decoding and encoding?

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;

use super::super::encode::rows;
use super::super::{
    Encoded, Encoding, RequestKind, decode, encode, encode_batch, logs, metrics, traces, traces_json,
};
use super::generate::Generator;
use super::{NOW_NS, canonical};
use crate::event::EventBatch;
use crate::ingest::Ingested;

/// Converts to OTLP by way of the write-ahead log's encoding.
fn out(ingested: &Ingested) -> Encoded {
    assert_eq!(ingested.rejected.count(), 0, "{}", ingested.rejected.message());
    let bytes = ingested.batch.encode().unwrap();
    let encoded = encode_batch(&EventBatch::decode(&bytes).unwrap()).unwrap();
    assert_eq!(encoded.orphan_span_events, 0);
    encoded
}

fn from_json(kind: RequestKind, json: &str) -> Ingested {
    decode(kind, Encoding::Json, json.as_bytes(), NOW_NS).unwrap()
}

/// Rows of a batch, last first, in batches of two.
fn shuffled(batch: &EventBatch) -> Vec<RecordBatch> {
    let rows = rows(batch).unwrap();
    let last_first = UInt32Array::from_iter_values((0..rows.num_rows() as u32).rev());
    let rows = take_record_batch(&rows, &last_first).unwrap();
    (0..rows.num_rows()).step_by(2).map(|i| rows.slice(i, 2.min(rows.num_rows() - i))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn traces_round_trip(seed: u64) {
        let request = Generator::new(seed).traces();
        let expected = canonical::traces(&request);
        let ingested = traces(&request, NOW_NS).unwrap();
        canonical::assert_same(&canonical::traces(&encode(&shuffled(&ingested.batch)).unwrap().traces), &expected);
        let encoded = out(&ingested);
        canonical::assert_same(&canonical::traces(&encoded.traces), &expected);
        prop_assert_eq!(Encoded { traces: ExportTraceServiceRequest::default(), ..encoded }, Encoded::default());
    }

    #[test]
    fn logs_round_trip(seed: u64) {
        let request = Generator::new(seed).logs();
        let encoded = out(&logs(&request, NOW_NS).unwrap());
        canonical::assert_same(&canonical::logs(&encoded.logs), &canonical::logs(&request));
    }

    #[test]
    fn metrics_round_trip(seed: u64) {
        let request = Generator::new(seed).metrics();
        let ingested = metrics(&request, NOW_NS).unwrap();
        let expected = canonical::metrics(&request);
        canonical::assert_same(&canonical::metrics(&encode(&shuffled(&ingested.batch)).unwrap().metrics), &expected);
        canonical::assert_same(&canonical::metrics(&out(&ingested).metrics), &expected);
    }

    #[test]
    fn traces_round_trip_as_json(seed: u64) {
        let request = Generator::new(seed).traces();
        let encoded = out(&from_json(RequestKind::Traces, &traces_json(&request)));
        canonical::assert_same(&canonical::traces(&encoded.traces), &canonical::traces(&request));
    }

    /// JSON of other implementations decodes to the same request as their protobuf.
    #[test]
    fn json_of_the_generated_serializers_is_read(seed: u64) {
        let mut generator = Generator::finite(seed);
        let request = generator.traces();
        let read = out(&from_json(RequestKind::Traces, &serde_json::to_string(&request).unwrap()));
        canonical::assert_same(&canonical::traces(&read.traces), &canonical::traces(&request));
        let request = generator.logs();
        let read = out(&from_json(RequestKind::Logs, &serde_json::to_string(&request).unwrap()));
        canonical::assert_same(&canonical::logs(&read.logs), &canonical::logs(&request));
        let request = generator.metrics();
        let read = out(&from_json(RequestKind::Metrics, &serde_json::to_string(&request).unwrap()));
        canonical::assert_same(&canonical::metrics(&read.metrics), &canonical::metrics(&request));
    }
}

fn example(name: &str) -> String {
    std::fs::read_to_string(format!("{}/testdata/otlp/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_examples_of_the_protocol_round_trip() {
    let json = example("trace.json");
    let request: ExportTraceServiceRequest = serde_json::from_str(&json).unwrap();
    assert_eq!(canonical::traces(&request).len(), 1);
    let encoded = out(&from_json(RequestKind::Traces, &json));
    canonical::assert_same(&canonical::traces(&encoded.traces), &canonical::traces(&request));
    for name in ["logs.json", "events.json"] {
        let json = example(name);
        let request: ExportLogsServiceRequest = serde_json::from_str(&json).unwrap();
        assert_eq!(canonical::logs(&request).len(), 1);
        let encoded = out(&from_json(RequestKind::Logs, &json));
        canonical::assert_same(&canonical::logs(&encoded.logs), &canonical::logs(&request));
    }
    let json = example("metrics.json");
    let request: ExportMetricsServiceRequest = serde_json::from_str(&json).unwrap();
    assert_eq!(canonical::metrics(&request).len(), 4);
    let encoded = out(&from_json(RequestKind::Metrics, &json));
    canonical::assert_same(&canonical::metrics(&encoded.metrics), &canonical::metrics(&request));
}
