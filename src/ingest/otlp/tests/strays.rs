//! Is nothing lost silently that was sent to the wrong path, under old names, in pieces, or next to a bad record?

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::super::{Encoding, RequestKind, decode};
use super::NOW_NS;
use super::decode::{attribute, records, span, spans, texts};
use crate::error::Result;
use crate::event::Level;
use crate::event::schema::column as c;
use crate::ingest::Ingested;

fn read(kind: RequestKind, encoding: Encoding, bytes: &[u8]) -> Result<Ingested> {
    decode(kind, encoding, bytes, NOW_NS)
}

fn json(kind: RequestKind, text: &str) -> Result<Ingested> {
    read(kind, Encoding::Json, text.as_bytes())
}

/// A field of bytes.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut out);
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

fn attribute_message(key: &str, value: &[u8]) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, value)].concat()
}

/// An `AnyValue` of text.
fn any(text: &str) -> Vec<u8> {
    field(1, text.as_bytes())
}

fn one_span() -> Vec<u8> {
    Span { name: "it".into(), ..span(1) }.encode_to_vec()
}

const SPAN: &str =
    r#"{"traceId": "01010101010101010101010101010101", "spanId": "0101010101010101", "name": "it"}"#;

#[test]
fn json_of_another_signal_is_refused_with_its_path() {
    for (kind, text, message) in [
        (
            RequestKind::Traces,
            r#"{"resourceLogs": [{}]}"#,
            "resourceLogs belongs to /v1/logs; /v1/traces takes resourceSpans",
        ),
        (RequestKind::Metrics, r#"{"resource_spans": []}"#, "resource_spans belongs to /v1/traces"),
        (RequestKind::Logs, r#"{"x": 1, "resourceMetrics": []}"#, "resourceMetrics belongs to /v1/metrics"),
        (RequestKind::Logs, r#"{"logs": [1]}"#, r#"has no resourceLogs, but an unknown field "logs""#),
    ] {
        let error = json(kind, text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    for nothing in
        ["{}", r#"{"resourceLogs": null}"#, r#"{"resourceSpans": []}"#, r#"{"resourceSpans": [{}], "x": 1}"#]
    {
        assert!(json(RequestKind::Traces, nothing).unwrap().rejected.is_empty(), "{nothing}");
    }
    let both = format!(
        r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{SPAN}]}}]}}], "resourceLogs": [{{}}]}}"#
    );
    let ingested = json(RequestKind::Traces, &both).unwrap();
    assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (1, 1));
    assert_eq!(ingested.rejected.message(), "resourceLogs: belongs to /v1/logs and was not stored");
}

#[test]
fn protobuf_of_another_signal_is_refused_with_its_path() {
    let log = LogRecord {
        time_unix_nano: 1_750_000_000_000_000_000,
        severity_text: "x".into(),
        ..LogRecord::default()
    };
    let logs = records(vec![log]).encode_to_vec();
    let start_time_unix_nano = 1_750_000_000_000_000_000;
    let traces = spans(vec![Span { start_time_unix_nano, end_time_unix_nano: 0, ..span(1) }]).encode_to_vec();
    for (kind, bytes, message) in [
        (RequestKind::Traces, &logs, "it holds log records, which belong to /v1/logs"),
        (RequestKind::Metrics, &logs, "it holds log records, which belong to /v1/logs"),
        (RequestKind::Logs, &traces, "it holds spans, which belong to /v1/traces"),
    ] {
        let error = read(kind, Encoding::Protobuf, bytes).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_group_in_which_nothing_is_known_is_told() {
    let text = format!(
        r#"{{"resourceSpans": [{{"scopeLogs": [{{}}]}}, {{"scopeSpans": [{{"logRecords": [1]}}, {{"spans": [{SPAN}]}}]}}]}}"#
    );
    let ingested = json(RequestKind::Traces, &text).unwrap();
    assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (1, 2));
    assert_eq!(
        ingested.rejected.message(),
        "resource 0: has no scopeSpans, but an unknown field \"scopeLogs\"; \
         resource 1, scope 0: has no spans, but an unknown field \"logRecords\""
    );
    let text =
        format!(r#"{{"resourceSpans": [{{"scopeLogs": [{{}}], "scopeSpans": [{{"spans": [{SPAN}]}}]}}]}}"#);
    let ingested = json(RequestKind::Traces, &text).unwrap();
    assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (1, 1));
    assert!(ingested.rejected.message().contains("\"scopeLogs\" belongs to another signal"));
    let unknown = field(9, b"x");
    for bytes in [unknown.clone(), field(1, &unknown), field(1, &field(2, &unknown))] {
        let error = read(RequestKind::Logs, Encoding::Protobuf, &bytes).unwrap_err().to_string();
        assert!(error.contains("an unknown field 9"), "{error}");
    }
}

#[test]
fn scopes_under_their_old_name_are_taken() {
    let (span, scope) = (SPAN, r#"{"name": "lib", "version": "0.9"}"#);
    for (group, owner) in [
        ("instrumentationLibrarySpans", "instrumentationLibrary"),
        ("instrumentation_library_spans", "instrumentation_library"),
    ] {
        let text =
            format!(r#"{{"resourceSpans": [{{"{group}": [{{"{owner}": {scope}, "spans": [{span}]}}]}}]}}"#);
        let batch = json(RequestKind::Traces, &text).unwrap().batch;
        assert_eq!(
            (texts(&batch, c::NAME), texts(&batch, c::SCOPE_NAME)),
            (vec!["it".into()], vec!["lib".into()])
        );
    }
    for (kind, group, record) in [
        (RequestKind::Logs, "Logs", r#""logRecords": [{"body": {"stringValue": "x"}}]"#),
        (RequestKind::Logs, "Logs", r#""logs": [{"body": {"stringValue": "x"}}]"#),
        (
            RequestKind::Metrics,
            "Metrics",
            r#""metrics": [{"name": "m", "gauge": {"dataPoints": [{"asInt": 1}]}}]"#,
        ),
    ] {
        let text = format!(r#"{{"resource{group}": [{{"instrumentationLibrary{group}": [{{{record}}}]}}]}}"#);
        assert_eq!(json(kind, &text).unwrap().batch.rows(), 1, "{text}");
    }
    let scope_group = [field(1, &field(1, b"lib")), field(2, &one_span())].concat();
    let bytes = field(1, &field(1000, &scope_group));
    let batch = read(RequestKind::Traces, Encoding::Protobuf, &bytes).unwrap().batch;
    assert_eq!(
        (texts(&batch, c::NAME), texts(&batch, c::SCOPE_NAME)),
        (vec!["it".into()], vec!["lib".into()])
    );
}

#[test]
fn pieces_of_a_message_are_merged_at_every_level() {
    let resource = |key: &str| field(1, &field(1, &attribute_message(key, &any("v"))));
    let scope = |number, text: &str| field(1, &field(number, text.as_bytes()));
    // A list in two pieces: the values of both.
    let list = |text: &str| field(5, &field(1, &any(text)));
    let twice = [field(1, b"list"), field(2, &list("a")), field(2, &list("b"))].concat();
    // For scalars, the last that is set counts.
    let last = [field(1, b"last"), field(2, &any("a")), field(2, &any("b")), field(2, &[])].concat();
    let other = [field(1, b"other"), field(2, &list("a")), field(2, &any("b"))].concat();
    let status = [field(15, &field(2, b"why")), field(15, &[0x18, 2])].concat();
    let span = [one_span(), field(9, &twice), field(9, &last), field(9, &other), status].concat();
    let scope_group = [scope(1, "lib"), field(2, &span), scope(2, "0.9")].concat();
    let bytes = field(1, &[resource("a"), field(2, &scope_group), resource("b")].concat());
    let ingested = read(RequestKind::Traces, Encoding::Protobuf, &bytes).unwrap();
    assert!(ingested.rejected.is_empty(), "{}", ingested.rejected.message());
    let batch = ingested.batch;
    for key in ["a", "b"] {
        assert_eq!(attribute(&batch, Level::Resource, key), [(0, r#"Text("v")"#.to_owned())]);
    }
    let scope = (texts(&batch, c::SCOPE_NAME), texts(&batch, c::SCOPE_VERSION));
    assert_eq!(scope, (vec!["lib".to_owned()], vec!["0.9".to_owned()]));
    let status = (texts(&batch, c::STATUS), texts(&batch, c::STATUS_MESSAGE));
    assert_eq!(status, (vec!["error".to_owned()], vec!["why".to_owned()]));
    for (key, value) in
        [("list", r#"Json("[\"a\",\"b\"]")"#), ("last", r#"Text("b")"#), ("other", r#"Text("b")"#)]
    {
        assert_eq!(attribute(&batch, Level::Record, key), [(0, value.to_owned())], "{key}");
    }
    let body = [field(5, &list("a")), field(5, &list("b"))].concat();
    let logs = field(1, &field(2, &field(2, &body)));
    let batch = read(RequestKind::Logs, Encoding::Protobuf, &logs).unwrap().batch;
    assert_eq!(texts(&batch, c::BODY), [r#"["a","b"]"#]);
}

#[test]
fn a_name_given_twice_in_json_loses_nothing() {
    let group = format!(r#"[{{"scopeSpans": [{{"spans": [{SPAN}]}}]}}]"#);
    for second in ["resourceSpans", "resource_spans"] {
        let text = format!(r#"{{"resourceSpans": {group}, "{second}": {group}}}"#);
        assert_eq!(json(RequestKind::Traces, &text).unwrap().batch.rows(), 2, "{text}");
    }
}

#[test]
fn a_group_that_cannot_be_read_costs_its_own_records() {
    let group = |resource: &str| {
        format!(r#"{{"resource": {resource}, "scopeSpans": [{{"spans": [{SPAN}, {SPAN}]}}]}}"#)
    };
    let (good, bad) = (group("{}"), group(r#"{"attributes": [{"key": 5}]}"#));
    let ingested = json(RequestKind::Traces, &format!(r#"{{"resourceSpans": [{bad}, {good}]}}"#)).unwrap();
    assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (2, 2));
    assert_eq!(ingested.rejected.message(), "resource 0: attributes: key: expected text, found 5");
    assert!(
        json(RequestKind::Traces, &format!(r#"{{"resourceSpans": [{bad}]}}"#)).is_err(),
        "nothing is left"
    );

    let scope_group = field(2, &[field(2, &one_span()), field(2, &one_span())].concat());
    let good = field(1, &scope_group);
    let bad = field(1, &[field(1, &field(1, &field(1, &[0xff]))), scope_group].concat());
    let ingested = read(RequestKind::Traces, Encoding::Protobuf, &[bad.clone(), good].concat()).unwrap();
    assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (2, 2));
    assert!(read(RequestKind::Traces, Encoding::Protobuf, &bad).is_err());
}

#[test]
fn half_an_emoji_costs_nothing() {
    let record = |text: &str| format!(r#"{{"body": {{"stringValue": "{text}"}}}}"#);
    let texts_in =
        [record("good"), record(r"cut \ud83d"), record(r"\ud83d\ude00"), record(r"\\ud83d")].join(",");
    let text =
        format!("\u{feff}{{\"resourceLogs\": [{{\"scopeLogs\": [{{\"logRecords\": [{texts_in}]}}]}}]}}");
    let ingested = json(RequestKind::Logs, &text).unwrap();
    assert!(ingested.rejected.is_empty());
    assert_eq!(texts(&ingested.batch, c::BODY), ["good", "cut \u{fffd}", "\u{1f600}", "\\ud83d"]);
}

#[test]
fn a_metric_of_a_kind_that_is_not_known_is_told() {
    // `int_gauge` of OTLP before 0.9.
    let metric = [field(1, b"m"), field(4, &field(1, &[]))].concat();
    let bytes = field(1, &field(2, &[field(2, &metric), field(2, &field(1, b"empty"))].concat()));
    let ingested = read(RequestKind::Metrics, Encoding::Protobuf, &bytes).unwrap();
    assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (0, 1));
    assert!(ingested.rejected.message().contains("(protobuf field 4) is of an unknown kind"));
    let text = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "intGauge": {"dataPoints": []}}, {"name": "empty"}]}]}]}"#;
    let ingested = json(RequestKind::Metrics, text).unwrap();
    assert_eq!((ingested.batch.rows(), ingested.rejected.count()), (0, 1));
    assert!(ingested.rejected.message().contains("\"intGauge\" is not a known kind of metric data"));
}
