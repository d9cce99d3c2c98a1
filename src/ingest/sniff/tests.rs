//! Are real files of every format recognised, and does trial decoding never pick the wrong signal?

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    metric, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::ingest::record::testing::read;

fn name(bytes: &[u8]) -> Option<&'static str> {
    sniff(bytes, true).ok().map(|layout| layout.name())
}

#[test]
fn real_files_are_told_apart() {
    for (file, format) in [
        ("otlp/trace.json", "OTLP JSON"),
        ("otlp/logs.json", "OTLP JSON"),
        ("otlp/metrics.json", "OTLP JSON"),
        ("otlp/events.json", "OTLP JSON"),
        ("jaeger/genaiTestTrace.json", "Jaeger JSON"),
        ("nginxplus/status.ndjson", "NDJSON"),
        ("nezha/trainticket-2023-01-30-trace.csv", "CSV"),
        ("nezha/onlineboutique-2022-08-22-log.csv", "CSV"),
    ] {
        let bytes = read(file);
        assert_eq!(name(&bytes), Some(format), "{file}");
        // A sample is enough.
        assert_eq!(sniff(&bytes[..bytes.len() * 2 / 3], false).unwrap().name(), format, "{file}");
    }
    for bytes in [
        &b""[..],
        b"hello\nworld\n",
        b"\x00\x01\x02",
        b"<html>",
        b"127.0.0.1 - - [30/Jan/2023:11:51:46 +0000] \"GET / HTTP/1.1\" 200 1\n",
    ] {
        assert_eq!(name(bytes), None, "{:?}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(name(b"PAR1...."), Some("Parquet"));
    assert_eq!(name(b"ARROW1\0\0"), Some("Arrow IPC"));
}

#[test]
fn lines_and_documents_are_told_apart() {
    for (text, framing) in [
        ("{\"a\":1}\n{\"a\":2}\n", Framing::Lines),
        ("{\"a\":1}", Framing::Lines),
        ("oops}\n{\"a\":1}\n{\"a\":2}\n{\"a\":3}", Framing::Lines),
        ("{\n \"a\": {},\n \"b\": 2\n}\n", Framing::JsonValues),
        ("[{\"a\":1},\n{\"a\":2}]", Framing::JsonValues),
    ] {
        assert_eq!(json_framing(text.as_bytes()), framing, "{text}");
    }
}

#[test]
fn a_file_that_begins_within_a_line_is_what_its_lines_are() {
    let otlp = "\"value\":{\"stringValue\":\"x\"}}]}]}\n{\"resourceLogs\":[]}\n{}\n";
    for (text, layout) in [
        (otlp.to_owned(), Layout::OtlpJson { framing: Framing::Lines }),
        // The cut may leave an object.
        (format!("{{\"traceId\":\"\"}},{otlp}"), Layout::OtlpJson { framing: Framing::Lines }),
        ("{}\n{\"resourceSpans\":[]}\n".to_owned(), Layout::OtlpJson { framing: Framing::Lines }),
        ("ge\":\"x\"}\n{\"time\":1}\n".to_owned(), Layout::Ndjson { framing: Framing::Lines }),
        (
            "\"y\":1}]}\n{\"traceID\":\"a\",\"spans\":[]}\n".to_owned(),
            Layout::Jaeger { framing: Framing::Lines },
        ),
        ("\u{feff}\n{\"resourceSpans\":[]}\n".to_owned(), Layout::OtlpJson { framing: Framing::Lines }),
        ("\0\0{\"time\":1}\n".to_owned(), Layout::Ndjson { framing: Framing::Lines }),
        ("[\n{\"time\":1}\n]".to_owned(), Layout::Ndjson { framing: Framing::JsonValues }),
    ] {
        assert_eq!(sniff(text.as_bytes(), true).ok(), Some(layout), "{text}");
    }
    assert_eq!(name(b"some words\nand {\"json\": 1} in them\n{\"a\":1}\n"), None);
}

#[test]
fn envelopes_and_cut_files_say_when_by_their_records() {
    for (text, when) in [
        ("{\"Records\":[{\"eventTime\":1}]}", true),
        ("{\"owner\":\"x\",\"logEvents\":[{\"timestamp\":1}]}", true),
        ("{\"items\":[{\"sku\":1}]}", false),
        ("\"start\":1}\n{\"time\":1}\n", true),
        ("\"time\":1}\n{\"a\":1}\n", false),
    ] {
        let layout = sniff(text.as_bytes(), true).unwrap();
        assert_eq!(says_when(&layout, text.as_bytes(), &FieldMap::default()), when, "{text}");
    }
}

#[test]
fn names_say_signals() {
    assert_eq!(kind_of_name("2024-traces.pb.gz"), Some(RequestKind::Traces));
    assert_eq!(kind_of_name("otlp_logs_1.bin"), Some(RequestKind::Logs));
    assert_eq!(kind_of_name("metrics.pb"), Some(RequestKind::Metrics));
    assert_eq!(kind_of_name("logs-and-traces.pb"), None);
    assert_eq!(kind_of_name("catalogs.pb"), None);
}

/// Checks that a message is recognised as `kind` in every framing.
fn check(message: &[u8], kind: RequestKind) {
    assert_eq!(otlp_kind(message), Some(kind), "{message:?}");
    let varint = {
        let mut bytes = Vec::new();
        prost::encode_length_delimiter(message.len(), &mut bytes).unwrap();
        [&bytes[..], message, &bytes[..], message].concat()
    };
    let fixed = [&(message.len() as u32).to_be_bytes()[..], message].concat();
    for (bytes, framing) in [
        (message, Framing::ProtobufFields),
        (&varint, Framing::VarintDelimited),
        (&fixed, Framing::Be32Delimited),
    ] {
        assert_eq!(sniff(bytes, true).unwrap(), Layout::Otlp { framing });
    }
    // A part of the message may be undecided, but never another kind.
    for end in 0..message.len() {
        assert!(
            matches!(otlp_kind(&message[..end]), None | Some(_) if otlp_kind(&message[..end]).is_none_or(|k| k == kind)),
            "{end}"
        );
    }
}

#[test]
fn real_requests_are_told_by_trial() {
    let json = |file: &str| read(file);
    let traces: ExportTraceServiceRequest = serde_json::from_slice(&json("otlp/trace.json")).unwrap();
    check(&traces.encode_to_vec(), RequestKind::Traces);
    for file in ["otlp/logs.json", "otlp/events.json"] {
        let logs: ExportLogsServiceRequest = serde_json::from_slice(&json(file)).unwrap();
        check(&logs.encode_to_vec(), RequestKind::Logs);
    }
    let metrics: ExportMetricsServiceRequest = serde_json::from_slice(&json("otlp/metrics.json")).unwrap();
    check(&metrics.encode_to_vec(), RequestKind::Metrics);
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let value = prop_oneof![
        any::<i64>().prop_map(any_value::Value::IntValue),
        ".{0,12}".prop_map(any_value::Value::StringValue),
        any::<f64>().prop_map(any_value::Value::DoubleValue),
    ];
    let entry = (".{0,10}", value).prop_map(|(key, value)| KeyValue {
        key,
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    });
    proptest::collection::vec(entry, 0..4)
}

const TIMES: std::ops::Range<u64> = 1_400_000_000_000_000_000..2_000_000_000_000_000_000;

fn id(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    // Ids that are valid text are the hard ones.
    prop_oneof![proptest::collection::vec(1_u8..255, bytes), proptest::collection::vec(b'a'..=b'z', bytes)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn generated_spans_are_traces(trace in id(16), span_id in id(8), parent in prop_oneof![Just(vec![]), id(8)], name in ".{0,20}",
                                  start in TIMES, took in 0..1_u64 << 40, kind in 0..6_i32, attributes in attributes(), event in any::<bool>(), state in ".{0,8}") {
        let events = event.then(|| span::Event { time_unix_nano: start, name: name.clone(), ..span::Event::default() });
        let span = Span { trace_id: trace, span_id, parent_span_id: parent, name, trace_state: state, kind, start_time_unix_nano: start,
                          end_time_unix_nano: start + took, attributes, events: events.into_iter().collect(), ..Span::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }], ..ResourceSpans::default() }] };
        check(&request.encode_to_vec(), RequestKind::Traces);
    }

    #[test]
    fn generated_logs_are_logs(time in prop_oneof![Just(0), TIMES], observed in TIMES, severity in 0..25_i32, text in ".{0,20}", body in ".{0,30}",
                               attributes in attributes(), trace in prop_oneof![Just(vec![]), id(16)]) {
        let record = LogRecord { time_unix_nano: time, observed_time_unix_nano: observed, severity_number: severity, severity_text: text, trace_id: trace,
                                 body: Some(AnyValue { value: Some(any_value::Value::StringValue(body)) }), attributes, ..LogRecord::default() };
        let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }], ..ResourceLogs::default() }] };
        check(&request.encode_to_vec(), RequestKind::Logs);
    }

    #[test]
    fn generated_metrics_are_metrics(name in "[a-z._ ]{1,20}", long in "[a-z]{16}", use_long in any::<bool>(), description in ".{0,8}", unit in ".{0,8}",
                                     time in TIMES, value in any::<f64>(), attributes in attributes(), kind in 0..3_u8) {
        let point = NumberDataPoint { time_unix_nano: time, start_time_unix_nano: time, attributes: attributes.clone(), value: Some(number_data_point::Value::AsDouble(value)), ..NumberDataPoint::default() };
        let data = match kind {
            0 => metric::Data::Gauge(Gauge { data_points: vec![point] }),
            1 => metric::Data::Sum(Sum { data_points: vec![point], aggregation_temporality: 2, is_monotonic: true }),
            _ => metric::Data::Histogram(Histogram { data_points: vec![HistogramDataPoint { time_unix_nano: time, count: 1, attributes, ..HistogramDataPoint::default() }], aggregation_temporality: 1 }),
        };
        let metric = Metric { name: if use_long { long } else { name }, description, unit, data: Some(data), ..Metric::default() };
        let request = ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { scope_metrics: vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }], ..ResourceMetrics::default() }] };
        check(&request.encode_to_vec(), RequestKind::Metrics);
    }

    #[test]
    fn any_bytes_are_sniffed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = sniff(&bytes, false);
        for format in [Format::Otlp, Format::OtlpJson, Format::Ndjson, Format::Csv, Format::Parquet, Format::Arrow, Format::Jaeger] {
            let _ = layout_of(format, &bytes, true);
        }
    }
}
