//! Do decoded columns have the right values, and are the right records refused?

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::super::record::Sink;
use super::super::{Encoding, RequestKind, decode, decode_within, encode_batch, logs, traces};
use super::NOW_NS;
use crate::event::schema::column as c;
use crate::event::{AttributeKey, EventBatch, Level, Value};
use crate::{Error, ErrorKind};

pub(super) fn span(i: u8) -> Span {
    Span {
        trace_id: vec![i; 16],
        span_id: vec![i; 8],
        start_time_unix_nano: 1000,
        end_time_unix_nano: 1500,
        ..Span::default()
    }
}

pub(super) fn spans(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let text = |text: &str| Some(AnyValue { value: Some(any_value::Value::StringValue(text.into())) });
    let attribute = |key: &str| KeyValue { key: key.into(), value: text("v"), ..KeyValue::default() };
    let resource = Some(Resource { attributes: vec![attribute("r")], ..Resource::default() });
    let scope = Some(InstrumentationScope {
        name: "lib".into(),
        attributes: vec![attribute("s")],
        ..InstrumentationScope::default()
    });
    let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

pub(super) fn records(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

/// Values of a text column; empty text for null.
pub(super) fn texts(batch: &EventBatch, name: &str) -> Vec<String> {
    let Some(array) = batch.core().column_by_name(name) else { return vec![String::new(); batch.rows()] };
    array.as_string_view().iter().map(|text| text.unwrap_or_default().to_owned()).collect()
}

pub(super) fn attribute(batch: &EventBatch, level: Level, key: &str) -> Vec<(u32, String)> {
    let columns = batch.attribute(&AttributeKey::new(level, key)).iter();
    columns
        .flat_map(|c| c.rows().iter().enumerate().map(|(i, row)| (*row, format!("{:?}", c.value(i)))))
        .collect()
}

#[test]
fn a_span_and_its_events_are_rows_with_the_attributes_of_resource_and_scope() {
    let event = Event { time_unix_nano: 1200, name: "exception".into(), ..Event::default() };
    let timeless = Event { name: "timeless".into(), ..Event::default() };
    let kind = 2;
    let request = spans(vec![Span { kind, events: vec![event, timeless], ..span(1) }]);
    let batch = traces(&request, NOW_NS).unwrap().batch;
    assert_eq!(texts(&batch, c::SIGNAL), ["span", "span_event", "span_event"]);
    assert_eq!(texts(&batch, c::NAME), ["", "exception", "timeless"]);
    assert_eq!(texts(&batch, c::KIND), ["server", "", ""]);
    assert_eq!(texts(&batch, c::STATUS), ["unset", "", ""]);
    assert_eq!(texts(&batch, c::SCOPE_NAME), ["lib"; 3]);
    let times = batch.core().column_by_name(c::TIMESTAMP).unwrap().as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.values(), &[1000, 1200, 1000]);
    let durations = batch.core().column_by_name(c::DURATION_NS).unwrap().as_primitive::<Int64Type>();
    assert_eq!(durations.iter().collect::<Vec<_>>(), [Some(500), None, None]);
    let ids = batch.core().column_by_name(c::TRACE_ID).unwrap().as_fixed_size_binary();
    assert!((0..3).all(|i| ids.value(i) == [1; 16]));
    for (level, key) in [(Level::Resource, "r"), (Level::Scope, "s")] {
        let all: Vec<_> = (0..3).map(|row| (row, "Text(\"v\")".to_owned())).collect();
        assert_eq!(attribute(&batch, level, key), all);
    }
}

#[test]
fn a_record_with_a_defect_is_named_and_costs_no_other() {
    let link = Link { span_id: vec![1; 7], ..Link::default() };
    let bad = [
        (Span { trace_id: vec![1; 15], ..span(1) }, "trace_id has 15 bytes, expected 16"),
        (Span { trace_id: Vec::new(), ..span(1) }, "trace_id is missing"),
        (Span { span_id: vec![0; 8], ..span(1) }, "span_id is all zeroes"),
        (Span { parent_span_id: vec![1; 16], ..span(1) }, "parent_span_id has 16 bytes, expected 8"),
        (Span { links: vec![link], ..span(1) }, "span_id of a link has 7 bytes, expected 8"),
    ];
    for (bad, reason) in bad {
        let ingested = traces(&spans(vec![span(2), bad, span(3)]), NOW_NS).unwrap();
        assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (2, 1), "{reason}");
        let message = ingested.rejected.message();
        assert!(message.starts_with(&format!("resource 0, scope 0, span 1: {reason}")), "{message}");
    }
}

#[test]
fn text_that_is_not_utf_8_costs_its_record_only() {
    let mut bytes = spans(vec![Span { name: "@@@".into(), ..span(1) }, span(2)]).encode_to_vec();
    let at = bytes.windows(3).position(|w| w == b"@@@").unwrap();
    bytes[at] = 0xff;
    let ingested = decode(RequestKind::Traces, Encoding::Protobuf, &bytes, NOW_NS).unwrap();
    assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (1, 1));
    assert!(ingested.rejected.message().contains("span 0: protobuf field 5 is not UTF-8"));
}

#[test]
fn what_is_no_request_is_an_error() {
    for (encoding, bytes) in
        [(Encoding::Protobuf, &b"\x0a\x05x"[..]), (Encoding::Json, b"{"), (Encoding::Json, b"[]")]
    {
        let error = decode(RequestKind::Traces, encoding, bytes, NOW_NS).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    for (encoding, nothing) in [(Encoding::Protobuf, &b""[..]), (Encoding::Json, b"{}")] {
        assert_eq!(decode(RequestKind::Traces, encoding, nothing, NOW_NS).unwrap().batch.rows(), 0);
    }
}

#[test]
fn a_log_record_without_a_time_has_that_of_its_observation_or_receipt() {
    let at = |time, observed| LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: observed,
        ..LogRecord::default()
    };
    let batch = logs(&records(vec![at(5, 9), at(0, 9), at(0, 0)]), NOW_NS).unwrap().batch;
    let times = batch.core().column_by_name(c::TIMESTAMP).unwrap().as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.values(), &[5, 9, NOW_NS]);
    assert_eq!(texts(&batch, c::TIMESTAMP_ORIGIN), ["", "observed", "received"]);
}

#[test]
fn a_log_record_with_a_bad_id_goes_in_without_it() {
    let bad = LogRecord { trace_id: vec![1; 3], span_id: vec![1; 8], ..LogRecord::default() };
    let ingested = logs(&records(vec![bad]), NOW_NS).unwrap();
    assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (1, 0));
    assert!(ingested.batch.core().column_by_name(c::TRACE_ID).is_none());
    assert!(ingested.batch.core().column_by_name(c::SPAN_ID).is_some());
    assert_eq!(
        ingested.rejected.message(),
        "resource 0, scope 0, log record 0: trace_id has 3 bytes, expected 16; stored without it"
    );
}

#[test]
fn a_structured_body_is_kept_whole_and_in_pieces() {
    let entry = |key: &str, value| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let list = |values| any_value::Value::KvlistValue(KeyValueList { values });
    let long = "k".repeat(2000);
    let body = list(vec![
        entry("user", list(vec![entry("id", any_value::Value::IntValue(7)), entry("empty", list(vec![]))])),
        entry("ok", any_value::Value::BoolValue(true)),
        entry(&long, any_value::Value::BoolValue(true)),
    ]);
    let record = LogRecord { body: Some(AnyValue { value: Some(body) }), ..LogRecord::default() };
    let batch = logs(&records(vec![record]), NOW_NS).unwrap().batch;
    assert_eq!(
        texts(&batch, c::BODY),
        [format!(r#"{{"user":{{"id":7,"empty":{{}}}},"ok":true,"{long}":true}}"#)]
    );
    assert_eq!(texts(&batch, c::BODY_TYPE), ["kvlist"]);
    assert_eq!(attribute(&batch, Level::Body, "user.id"), [(0, format!("{:?}", Value::Int(7)))]);
    assert_eq!(attribute(&batch, Level::Body, "user.empty"), [(0, format!("{:?}", Value::Json("{}")))]);
    assert_eq!(attribute(&batch, Level::Body, "ok"), [(0, format!("{:?}", Value::Bool(true)))]);
    assert_eq!(batch.attributes().len(), 3, "too long a key stays in the body");
}

#[test]
fn sample_weights_come_from_trace_state_or_attribute() {
    let rate = KeyValue {
        key: "SampleRate".into(),
        value: Some(AnyValue { value: Some(any_value::Value::IntValue(20)) }),
        ..KeyValue::default()
    };
    let sampled = Span { trace_state: "ot=th:8".into(), events: vec![Event::default()], ..span(1) };
    let request = spans(vec![sampled, Span { attributes: vec![rate], ..span(2) }, span(3)]);
    let batch = traces(&request, NOW_NS).unwrap().batch;
    let weights = batch.core().column_by_name(c::SAMPLE_WEIGHT).unwrap().as_primitive::<Float64Type>();
    assert_eq!(weights.values(), &[2.0, 2.0, 20.0, 1.0]);
}

/// JSON in forms that producers write and the specification allows or once allowed.
const SLOPPY_JSON: &str = r#"{"unknown": 1, "resourceSpans": [{"scopeSpans": null}, {
  "resource": {"attributes": [{"key": "n", "value": {"intValue": 5}}, {"key": "e", "value": {"arrayValue": {}}},
    {"key": "none"}, {"key": "d", "value": {"doubleValue": "NaN"}}, {"key": "b", "value": {"bytesValue": "_w"}}]},
  "scope_spans": [{"scope": {"name": "s", "new": {}}, "spans": [
    {"traceId": "0102030405060708090A0B0C0D0E0F10", "spanId": "0102030405060708", "parentSpanId": "", "kind": "SPAN_KIND_CLIENT",
     "startTimeUnixNano": 1544712660000000001, "end_time_unix_nano": "1544712661000000001", "attributes": null, "flags": "257",
     "status": {"code": "STATUS_CODE_ERROR"}, "traceState": null},
    {"traceId": "AQIDBAUGBwgJCgsMDQ4PEA==", "spanId": "0102030405060708"},
    {"traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0000000000000000"},
    7
  ]}]}]}"#;

#[test]
fn sloppy_json_is_read_and_its_defects_are_named() {
    let ingested = decode(RequestKind::Traces, Encoding::Json, SLOPPY_JSON.as_bytes(), NOW_NS).unwrap();
    let reasons: Vec<_> = ingested.rejected.reasons().iter().map(ToString::to_string).collect();
    assert_eq!(
        reasons,
        [
            "resource 1, scope 0, span 1: traceId: expected an id in hex, found \"AQIDBAUGBwgJCgsMDQ4PEA==\"",
            "resource 1, scope 0, span 2: span_id is all zeroes",
            "resource 1, scope 0, span 3: expected an object, found 7",
        ]
    );
    let traces = encode_batch(&ingested.batch).unwrap().traces;
    let span = &traces.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.kind, span.status.as_ref().unwrap().code, span.flags), (3, 2, 257));
    assert_eq!(span.start_time_unix_nano, 1_544_712_660_000_000_001);
    assert_eq!(span.end_time_unix_nano, 1_544_712_661_000_000_001);
    assert_eq!(span.trace_id, (1..=16).collect::<Vec<u8>>());
    let resource = attribute(&ingested.batch, Level::Resource, "e");
    assert_eq!(resource, [(0, format!("{:?}", Value::Json("[]")))]);
    assert_eq!(attribute(&ingested.batch, Level::Resource, "none"), []);
    assert_eq!(attribute(&ingested.batch, Level::Resource, "d"), [(0, "Double(NaN)".to_owned())]);
    assert_eq!(
        attribute(&ingested.batch, Level::Resource, "b"),
        [(0, format!("{:?}", Value::Bytes(&[255])))]
    );
    assert_eq!(attribute(&ingested.batch, Level::Resource, "n"), [(0, format!("{:?}", Value::Int(5)))]);
}

#[test]
fn a_resource_cannot_be_repeated_into_gigabytes() {
    let attribute = KeyValue {
        key: "large".into(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue("x".repeat(1 << 20))) }),
        ..KeyValue::default()
    };
    let resource = Resource { attributes: vec![attribute], ..Resource::default() };
    let mut room = |_| Ok(());
    let mut sink = Sink::new(NOW_NS, usize::MAX, &mut room);
    sink.enter_resource(&resource.encode_to_vec(), "").unwrap();
    sink.reserve(1000, 0).unwrap();
    assert!(sink.reserve(1000, 0).unwrap_err().to_string().contains("send smaller requests"));
    sink.enter_resource(&[], "").unwrap();
    sink.reserve(1000, 0).unwrap();
}

#[test]
fn ids_are_null_where_there_are_none() {
    let batch = logs(&records(vec![LogRecord { span_id: vec![0; 8], ..LogRecord::default() }]), NOW_NS)
        .unwrap()
        .batch;
    let null = |name| batch.core().column_by_name(name).is_none_or(|array| array.null_count() == 1);
    assert!(null(c::TRACE_ID) && null(c::SPAN_ID) && null(c::BODY) && null(c::SEVERITY_NUMBER));
}

/// A request of `spans` spans with `keys` attributes each. If `distinct`, all keys of the request differ.
fn request_of_keys(spans: usize, keys: usize, distinct: bool) -> Vec<u8> {
    let attribute = |key: String| KeyValue {
        key,
        value: Some(AnyValue { value: Some(any_value::Value::IntValue(1)) }),
        ..KeyValue::default()
    };
    let span = |i: usize| Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        attributes: (0..keys)
            .map(|key| attribute(format!("key.{}", if distinct { i * keys + key } else { key })))
            .collect(),
        ..Span::default()
    };
    let scope_spans = ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() };
    let resource_spans = ResourceSpans { scope_spans: vec![scope_spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}

#[test]
fn room_is_asked_for_what_becomes_unusually_large_and_nothing_is_taken_without() {
    let asked = |bytes: &[u8], room_bytes: usize| {
        let mut asked = 0;
        let decoded = decode_within(RequestKind::Traces, Encoding::Protobuf, bytes, NOW_NS, &mut |more| {
            asked += more;
            if asked <= room_bytes { Ok(()) } else { Err(Error::new(ErrorKind::Unavailable, "no room")) }
        });
        (asked, decoded.map(|ingested| ingested.batch.rows()))
    };
    // Usual: few keys, many spans.
    let (more, decoded) = asked(&request_of_keys(10_000, 20, false), 0);
    assert_eq!((more, decoded.unwrap()), (0, 10_000));
    // In one span or in many.
    for (spans, keys) in [(1, 50_000), (5_000, 10)] {
        let message = request_of_keys(spans, keys, true);
        let (more, decoded) = asked(&message, usize::MAX);
        assert_eq!(decoded.unwrap(), spans);
        assert!(more > 40 << 20, "{more} bytes for a message of {}", message.len());
        let (more, decoded) = asked(&message, 10 << 20);
        assert_eq!(decoded.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(more < 11 << 20, "it stops when there is no room: {more}");
    }
}
