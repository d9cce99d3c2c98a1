//! Are missing values, times, measurements and severities left missing, not made up?

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;

use super::super::encode::rows;
use super::super::{Encoding, RequestKind, decode, encode, encode_batch, logs, traces};
use super::NOW_NS;
use super::decode::{attribute, records, span, spans, texts};
use crate::event::schema::column as c;
use crate::event::{EventBatch, Level};
use crate::ingest::Ingested;

const NOW: u64 = NOW_NS as u64;

fn json(kind: RequestKind, json: &str) -> Ingested {
    decode(kind, Encoding::Json, json.as_bytes(), NOW_NS).unwrap()
}

fn ints(batch: &EventBatch, name: &str) -> Vec<Option<i64>> {
    let Some(array) = batch.core().column_by_name(name) else { return vec![None; batch.rows()] };
    array.as_primitive::<Int64Type>().iter().collect()
}

fn times(batch: &EventBatch) -> Vec<i64> {
    let array = batch.core().column_by_name(c::TIMESTAMP).unwrap();
    array.as_primitive::<TimestampNanosecondType>().values().to_vec()
}

#[test]
fn an_attribute_without_a_value_is_none_and_leaves_the_type_of_its_key() {
    let text = r#"{"resourceLogs": [{
        "resource": {"attributes": [{"key": "r", "value": {}}, {"key": "kept", "value": {"stringValue": ""}}]},
        "scopeLogs": [{"scope": {"attributes": [{"key": "s"}]}, "logRecords": [
            {"attributes": [{"key": "n", "value": {"intValue": 5}}, {"key": "n2", "value": null}]},
            {"attributes": [{"key": "n", "value": {}}, {"key": "list", "value": {"arrayValue": {"values": [{"intValue": 1}, {}, null]}}},
                {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k"}]}}}],
             "body": {"kvlistValue": {"values": [{"key": "gone", "value": {}}]}}}
        ]}]}]}"#;
    let ingested = json(RequestKind::Logs, text);
    assert!(ingested.rejected.is_empty());
    let batch = ingested.batch;
    let stored: Vec<_> = batch.attributes().iter().map(|c| c.key().physical_name()).collect();
    assert_eq!(stored, ["list", "map", "n", "resource.kept"]);
    assert_eq!(attribute(&batch, Level::Record, "n"), [(0, "Int(5)".to_owned())]);
    assert_eq!(attribute(&batch, Level::Record, "list"), [(1, r#"Json("[1,null,null]")"#.to_owned())]);
    assert_eq!(attribute(&batch, Level::Record, "map"), [(1, r#"Json("{\"k\":null}")"#.to_owned())]);
    let request = records(vec![LogRecord {
        attributes: vec![
            KeyValue { key: "a".into(), ..KeyValue::default() },
            KeyValue { key: "b".into(), value: Some(AnyValue::default()), ..KeyValue::default() },
            KeyValue {
                key: "c".into(),
                value: Some(AnyValue { value: Some(any_value::Value::StringValueStrindex(3)) }),
                ..KeyValue::default()
            },
        ],
        ..LogRecord::default()
    }]);
    assert!(logs(&request, NOW_NS).unwrap().batch.attributes().is_empty());
}

#[test]
fn a_span_without_start_or_end_has_no_duration_and_is_not_in_1970() {
    let of = |start_time_unix_nano, end_time_unix_nano| Span {
        start_time_unix_nano,
        end_time_unix_nano,
        ..span(1)
    };
    let start = NOW - 1_000_000_000;
    let request = spans(vec![
        of(0, start),
        of(0, 0),
        of(start, 0),
        of(start, start + 7),
        of(start, start - 7),
        of(start, u64::MAX),
        of(start, i64::MAX as u64),
        of(start, 4_102_444_800_000_000_000),
        of(u64::MAX, start),
        of(12_345, start),
    ]);
    let ingested = traces(&request, NOW_NS).unwrap();
    let batch = &ingested.batch;
    let at = start as i64;
    assert_eq!(times(batch), [at, NOW_NS, at, at, at, at, at, at, at, at]);
    let origins = ["end", "received", "", "", "", "", "", "", "end", "end"];
    assert_eq!(texts(batch, c::TIMESTAMP_ORIGIN), origins);
    let none = None;
    let durations = [none, none, none, Some(7), Some(-7), none, none, none, none, none];
    assert_eq!(ints(batch, c::DURATION_NS), durations);
    let reasons: Vec<_> = ingested.rejected.reasons().iter().map(ToString::to_string).collect();
    assert_eq!(ingested.rejected.count(), 0);
    assert_eq!(reasons.len(), 5, "{reasons:?}");
    let of = "resource 0, scope 0, span";
    for (reason, expected) in reasons.iter().zip([
        "5: end_time_unix_nano is 18446744073709551615, out of range: times end in 2262; stored without it",
        "6: end_time_unix_nano is 9223372036854775807, out of range: times end in 2262; stored without it",
        "7: end_time_unix_nano is 4102444800000000000, over ten years from the start; stored without it",
        "8: start_time_unix_nano is 18446744073709551615, out of range: times end in 2262; stored without it",
        "9: start_time_unix_nano is 12345, over ten years from the end; stored without it",
    ]) {
        assert_eq!(reason, &format!("{of} {expected}"));
    }
    let sent: Vec<_> = encode_batch(batch).unwrap().traces.resource_spans[0].scope_spans[0]
        .spans
        .iter()
        .map(|span| (span.start_time_unix_nano, span.end_time_unix_nano))
        .collect();
    assert_eq!(sent[..5], [(0, start), (0, 0), (start, 0), (start, start + 7), (start, start - 7)]);
    assert_eq!(sent[5..], [(start, 0), (start, 0), (start, 0), (0, start), (0, start)]);
}

#[test]
fn events_of_a_span_have_its_time_where_theirs_is_unknown() {
    let event = |time_unix_nano| Event { time_unix_nano, ..Event::default() };
    let events = vec![event(0), event(u64::MAX), event(1100)];
    let ingested = traces(&spans(vec![Span { events, ..span(1) }]), NOW_NS).unwrap();
    assert_eq!(times(&ingested.batch), [1000, 1000, 1000, 1100]);
    assert_eq!(texts(&ingested.batch, c::TIMESTAMP_ORIGIN), ["", "span", "span", ""]);
    assert!(ingested.rejected.message().contains("time_unix_nano of a span event is 18446744073709551615"));
}

#[test]
fn a_log_time_that_cannot_be_is_unknown() {
    let at = |time_unix_nano, observed_time_unix_nano| LogRecord {
        time_unix_nano,
        observed_time_unix_nano,
        ..LogRecord::default()
    };
    let request = records(vec![at(u64::MAX, 9), at(1 << 63, u64::MAX), at(5, i64::MAX as u64)]);
    let ingested = logs(&request, NOW_NS).unwrap();
    assert_eq!(times(&ingested.batch), [9, NOW_NS, 5]);
    assert_eq!(texts(&ingested.batch, c::TIMESTAMP_ORIGIN), ["observed", "received", ""]);
    assert_eq!((ingested.rejected.count(), ingested.rejected.reasons().len()), (0, 4));
}

/// One point of every kind with the flag "no recorded value", with values nevertheless.
const GAPS: &str = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [
    {"name": "gauge", "gauge": {"dataPoints": [{"timeUnixNano": "5", "asDouble": 1.5, "flags": 1}]}},
    {"name": "sum", "sum": {"isMonotonic": true, "aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": "5", "asInt": "0", "flags": 3}]}},
    {"name": "histogram", "histogram": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": "5", "count": "2", "sum": 1, "min": 0, "max": 1, "bucketCounts": ["1", "1"], "explicitBounds": [1], "flags": 1}]}},
    {"name": "exponential", "exponentialHistogram": {"dataPoints": [{"timeUnixNano": "5", "count": "2", "sum": 1, "scale": 3, "zeroCount": "1", "zeroThreshold": 0.5, "positive": {"offset": 1, "bucketCounts": ["1"]}, "negative": {"offset": 1, "bucketCounts": ["1"]}, "min": 0, "max": 1, "flags": 1}]}},
    {"name": "summary", "summary": {"dataPoints": [{"timeUnixNano": "5", "count": "2", "sum": 1, "quantileValues": [{"quantile": 0.5, "value": 1}], "flags": 1}]}}
]}]}]}"#;

#[test]
fn a_point_that_says_that_nothing_was_recorded_has_no_values() {
    let ingested = json(RequestKind::Metrics, GAPS);
    assert!(ingested.rejected.is_empty());
    let batch = ingested.batch;
    assert_eq!(texts(&batch, c::NAME), ["gauge", "sum", "histogram", "exponential", "summary"]);
    let columns: Vec<_> = batch.core().schema_ref().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(
        columns,
        [
            "timestamp",
            "signal",
            "name",
            "sample_weight",
            "flags",
            "metric.type",
            "metric.temporality",
            "metric.monotonic"
        ]
    );
    assert_eq!(batch.core().column_by_name(c::FLAGS).unwrap().null_count(), 0);
    let sent = encode_batch(&batch).unwrap().metrics;
    let again = super::super::metrics(&sent, NOW_NS).unwrap().batch;
    assert_eq!(again.core(), batch.core());
}

#[test]
fn an_exemplar_without_a_time_has_none() {
    let text = r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [
        {"asInt": 1, "startTimeUnixNano": "18446744073709551615", "exemplars": [{"asInt": 1}, {"asInt": 1, "timeUnixNano": "7"}]}
    ]}}]}]}]}"#;
    let ingested = json(RequestKind::Metrics, text);
    assert_eq!(ingested.rejected.count(), 0);
    assert!(ingested.rejected.message().contains("point 0: start_time_unix_nano is"));
    assert!(ingested.batch.core().column_by_name(c::START_TIMESTAMP).is_none());
    let exemplars = ingested.batch.core().column_by_name(c::EXEMPLARS).unwrap().as_list::<i32>().value(0);
    let times = exemplars.as_struct().column_by_name("timestamp").unwrap();
    assert_eq!(times.as_primitive::<TimestampNanosecondType>().iter().collect::<Vec<_>>(), [None, Some(7)]);
}

#[test]
fn severity_is_one_whether_number_or_text_was_sent_and_goes_out_as_it_came() {
    let sent = [
        (17, "ERROR"),
        (17, ""),
        (0, "ERROR"),
        (17, "50"),
        (0, "err"),
        (19, ""),
        (0, ""),
        (99, "odd"),
        (0, "odd"),
        (99, ""),
    ];
    let record = |(severity_number, text): (i32, &str)| LogRecord {
        severity_number,
        severity_text: text.to_owned(),
        ..LogRecord::default()
    };
    let batch = logs(&records(sent.into_iter().map(record).collect()), NOW_NS).unwrap().batch;
    let names = ["ERROR", "ERROR", "ERROR", "ERROR", "ERROR", "ERROR", "", "odd", "odd", ""];
    assert_eq!(texts(&batch, c::SEVERITY), names);
    assert_eq!(texts(&batch, c::SEVERITY_TEXT), sent.map(|(_, text)| text));
    let numbers = [17, 17, 17, 17, 17, 19].map(Some);
    let rest = [None, Some(99), None, Some(99)];
    assert_eq!(ints(&batch, c::SEVERITY_NUMBER), [&numbers[..], &rest].concat());
    let out = encode_batch(&batch).unwrap().logs;
    let out: Vec<_> = out.resource_logs[0].scope_logs[0]
        .log_records
        .iter()
        .map(|record| (record.severity_number, record.severity_text.as_str()))
        .collect();
    assert_eq!(out, sent);
}

#[test]
fn rows_of_earlier_versions_have_the_word_that_was_sent_in_severity() {
    let sent = LogRecord { severity_number: 13, severity_text: "WARN".to_owned(), ..LogRecord::default() };
    let rows = rows(&logs(&records(vec![sent.clone()]), NOW_NS).unwrap().batch).unwrap();
    let later = [c::SEVERITY_TEXT, c::SEVERITY_ORIGIN];
    let earlier: Vec<_> = (0..rows.num_columns())
        .filter(|i| !later.contains(&rows.schema_ref().field(*i).name().as_str()))
        .collect();
    let out = encode(&[rows.project(&earlier).unwrap()]).unwrap().logs;
    assert_eq!(out.resource_logs[0].scope_logs[0].log_records, [sent]);
}
