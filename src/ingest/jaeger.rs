//! How do traces in the JSON of Jaeger's UI and query API become events?
//!
//! ```text
//! {"data":[trace …]} | [trace …] | trace
//! trace   = {"traceID", "spans":[span …], "processes":{"p1":process …}}
//! span    = {"traceID","spanID","operationName","references","startTime" µs,"duration" µs,
//!            "tags":[tag …],"logs":[{"timestamp" µs,"fields":[tag …]}],"processID" | "process","flags"}
//! process = {"serviceName","tags":[tag …]}
//! tag     = {"key","type": string|bool|int64|float64|binary,"value"}
//! ```
//! A span becomes a `span`, each of its logs a `span_event` with the ids of the span. The first `CHILD_OF`
//! reference within the trace is the parent; every other reference becomes a link with its kind in
//! `opentracing.ref_type`, following OpenTelemetry's compatibility specification. Jaeger translates some OTLP
//! fields into tags (`span.kind`, `otel.status_code`, `otel.scope.name`, …); they are translated back.
//! Deliberately not read: `warnings`, which Jaeger computes.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ids::{self, Id};
use super::ndjson::{line_of, trimmed};
use super::record::{Decoded, Hints, Refused};
use super::{repeated_bytes_max, surrogates, times};
use crate::error::{Error, Result};
use crate::event::{CoreEvent, EventBatchBuilder, Level, Link, Signal, SpanId, TraceId, Value, typed_json};

#[derive(Deserialize)]
struct Export<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Trace<'a> {
    #[serde(borrow)]
    spans: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    processes: HashMap<Cow<'a, str>, Process<'a>>,
}

#[derive(Deserialize)]
struct Process<'a> {
    #[serde(default, rename = "serviceName", borrow)]
    service_name: Cow<'a, str>,
    #[serde(default, borrow)]
    tags: Option<Vec<Tag<'a>>>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are Jaeger's")]
struct Span<'a> {
    #[serde(rename = "traceID", borrow)]
    trace_id: Cow<'a, str>,
    #[serde(rename = "spanID", borrow)]
    span_id: Cow<'a, str>,
    #[serde(default, rename = "parentSpanID", borrow)]
    parent_span_id: Option<Cow<'a, str>>,
    #[serde(default, rename = "operationName", borrow)]
    operation_name: Cow<'a, str>,
    #[serde(default, borrow)]
    references: Option<Vec<Reference<'a>>>,
    #[serde(rename = "startTime")]
    start_us: i64,
    #[serde(default, rename = "duration")]
    duration_us: i64,
    #[serde(default, borrow)]
    tags: Option<Vec<Tag<'a>>>,
    #[serde(default, borrow)]
    logs: Option<Vec<Log<'a>>>,
    #[serde(default, rename = "processID", borrow)]
    process_id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    process: Option<Process<'a>>,
    #[serde(default)]
    flags: Option<u32>,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(default, rename = "refType", borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "traceID", borrow)]
    trace_id: Cow<'a, str>,
    #[serde(rename = "spanID", borrow)]
    span_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Log<'a> {
    #[serde(rename = "timestamp")]
    timestamp_us: i64,
    #[serde(default, borrow)]
    fields: Option<Vec<Tag<'a>>>,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(default, rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// Value of a tag; owned if its text had to be unescaped.
enum TagValue<'a> {
    Int(i64),
    Double(f64),
    Bool(bool),
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
    Json(String),
}

impl<'a> Tag<'a> {
    /// Reads the value by its declared type. A value that does not fit is read by its JSON type.
    fn value(&self) -> TagValue<'a> {
        let raw: &'a str = self.value.get();
        let text = unquoted(raw);
        // Jaeger puts numbers of more than 53 bits in quotes.
        let bare = text.as_deref().unwrap_or(raw);
        let typed = match &*self.kind {
            "int64" => bare.parse().ok().map(TagValue::Int),
            "float64" => bare.parse().ok().map(TagValue::Double),
            "bool" => bare.parse().ok().map(TagValue::Bool),
            "binary" => base64::engine::general_purpose::STANDARD.decode(bare).ok().map(TagValue::Bytes),
            _ => None,
        };
        if let Some(value) = typed {
            return value;
        }
        if let Some(text) = text {
            return TagValue::Text(text);
        }
        // The parser turns JSON into typed JSON.
        match raw {
            "true" => TagValue::Bool(true),
            "false" => TagValue::Bool(false),
            _ => {
                raw.parse().map(TagValue::Int).or_else(|_| raw.parse().map(TagValue::Double)).unwrap_or_else(
                    |_| match super::ndjson::typed_json_of(raw) {
                        Ok(json) => TagValue::Json(json),
                        Err(_) => TagValue::Text(Cow::Borrowed(raw)),
                    },
                )
            }
        }
    }
}

/// Text of a JSON string; `None` if it is not a string.
fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    raw.starts_with('"').then(|| serde_json::from_str::<Text<'_>>(raw).ok()).flatten().map(|text| text.0)
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl TagValue<'_> {
    fn borrow(&self) -> Value<'_> {
        match self {
            Self::Int(v) => Value::Int(*v),
            Self::Double(v) => Value::Double(*v),
            Self::Bool(v) => Value::Bool(*v),
            Self::Text(v) => Value::Text(v),
            Self::Bytes(v) => Value::Bytes(v),
            Self::Json(v) => Value::Json(v),
        }
    }
}

/// Decodes one document. [`Refused::position`] counts lines.
///
/// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the document is not a Jaeger export.
pub fn decode(document: &[u8]) -> Result<Decoded> {
    // Half an emoji is replaced without moving other bytes.
    let repaired = surrogates::repaired(document);
    let document = repaired.as_deref().unwrap_or(document);
    let text =
        std::str::from_utf8(document).map_err(|e| Error::invalid(format!("Jaeger JSON: not UTF-8: {e}")))?;
    let mut out = EventBatchBuilder::new();
    let mut refused = Vec::new();
    let mut hints = Hints::default();
    let mut room = repeated_bytes_max(document.len());
    for raw in traces(text)? {
        let trace: Trace<'_> = match serde_json::from_str(raw) {
            Ok(trace) => trace,
            Err(e) => {
                refused.push(refusal(document, raw, &format!("not a Jaeger trace: {e}")));
                continue;
            }
        };
        for raw in trace.spans {
            let pushed = serde_json::from_str::<Span<'_>>(raw.get())
                .map_err(|e| format!("not a Jaeger span: {e}"))
                .and_then(|span| {
                    let process = span.process_of(&trace.processes);
                    if let (None, Some(id)) = (process, &span.process_id) {
                        hints.without_process += 1;
                        hints.missing_process.get_or_insert_with(|| id.to_string());
                    }
                    reserve(&mut room, &span, process)?;
                    push(&mut out, &span, process)
                });
            if let Err(reason) = pushed {
                refused.push(refusal(document, raw.get(), &reason));
            }
        }
    }
    Ok(Decoded { batch: out.finish()?, refused, hints })
}

/// Lists the traces of a document, each as text.
fn traces(text: &str) -> Result<Vec<&str>> {
    let bad = |e: serde_json::Error| Error::invalid(format!("not a Jaeger export: {e}"));
    let text = &text[trimmed(text.as_bytes(), 0..text.len())];
    if text.starts_with('[') {
        let traces: Vec<&RawValue> = serde_json::from_str(text).map_err(bad)?;
        return Ok(traces.into_iter().map(RawValue::get).collect());
    }
    match serde_json::from_str::<Export<'_>>(text) {
        Ok(export) => Ok(export.data.into_iter().map(RawValue::get).collect()),
        Err(e) if e.is_data() => Ok(vec![text]),
        Err(e) => Err(bad(e)),
    }
}

/// Refuses `part`, a slice of `document`.
fn refusal(document: &[u8], part: &str, reason: &str) -> Refused {
    let start = (part.as_ptr() as usize).saturating_sub(document.as_ptr() as usize).min(document.len());
    let bytes = start..(start + part.len()).min(document.len());
    Refused::text(document, bytes.clone(), line_of(document, &bytes), reason)
}

/// Values of tags for which OTLP has fields.
#[derive(Default)]
struct Known<'a> {
    kind: Option<&'static str>,
    status: Option<&'static str>,
    status_message: Cow<'a, str>,
    scope_name: Cow<'a, str>,
    scope_version: Cow<'a, str>,
    trace_state: Cow<'a, str>,
}

impl<'a> Known<'a> {
    /// Takes the tag if OTLP has a field for it; otherwise returns its value.
    fn take(&mut self, key: &str, value: TagValue<'a>) -> Option<TagValue<'a>> {
        let TagValue::Text(text) = value else { return Some(value) };
        match key {
            "span.kind" => {
                let kinds = ["internal", "server", "client", "producer", "consumer"];
                match kinds.into_iter().find(|kind| text.eq_ignore_ascii_case(kind)) {
                    Some(kind) => self.kind = Some(kind),
                    // An unknown kind stays a tag.
                    None => return Some(TagValue::Text(text)),
                }
            }
            "otel.status_code" => {
                match ["ok", "error", "unset"].into_iter().find(|s| text.eq_ignore_ascii_case(s)) {
                    Some("unset") => {}
                    Some(status) => self.status = Some(status),
                    None => return Some(TagValue::Text(text)),
                }
            }
            "otel.status_description" => self.status_message = text,
            "otel.scope.name" | "otel.library.name" => self.scope_name = text,
            "otel.scope.version" | "otel.library.version" => self.scope_version = text,
            "w3c.tracestate" => self.trace_state = text,
            _ => return Some(TagValue::Text(text)),
        }
        None
    }
}

impl<'a> Span<'a> {
    /// Process of the span: its own, or one that several spans share.
    fn process_of<'b>(
        &'b self,
        processes: &'b HashMap<Cow<'a, str>, Process<'a>>,
    ) -> Option<&'b Process<'a>> {
        self.process.as_ref().or_else(|| processes.get(self.process_id.as_deref()?))
    }
}

impl Process<'_> {
    /// Approximate size in bytes of its attributes on an event.
    fn bytes(&self) -> usize {
        let tags = self.tags.iter().flatten().map(|tag| tag.value.get().len() + 20);
        self.service_name.len() + 20 + tags.sum::<usize>()
    }
}

/// Subtracts from `room` the copies of the process on the span and on each of its logs.
fn reserve(room: &mut usize, span: &Span<'_>, process: Option<&Process<'_>>) -> Result<(), String> {
    let events = 1 + span.logs.as_ref().map_or(0, Vec::len);
    let bytes = process.map_or(0, Process::bytes).saturating_mul(events);
    *room = room.checked_sub(bytes).ok_or_else(|| {
        format!(
            "span {}: too large with a copy of its process's tags on each span and log; split the file",
            span.span_id
        )
    })?;
    Ok(())
}

fn push(out: &mut EventBatchBuilder, span: &Span<'_>, process: Option<&Process<'_>>) -> Result<(), String> {
    let (Id::Is(trace_id), Id::Is(span_id)) =
        (ids::trace_id(&padded(&span.trace_id)), ids::span_id(&padded(&span.span_id)))
    else {
        return Err(format!("trace id {:?} or span id {:?} is not a valid id", span.trace_id, span.span_id));
    };
    let too_far = |what: &str| {
        format!(
            "span {}: its {what} is out of range: times from {} can be stored",
            span.span_id,
            times::RANGE
        )
    };
    let timestamp_ns = span.start_us.checked_mul(1_000).ok_or_else(|| too_far("startTime"))?;
    let duration_ns = span.duration_us.checked_mul(1_000).ok_or_else(|| too_far("duration"))?;
    let mut known = Known::default();
    let mut tags = Vec::new();
    for tag in span.tags.iter().flatten() {
        if let Some(value) = known.take(&tag.key, tag.value()) {
            tags.push((&*tag.key, value));
        }
    }
    let failed = tags.iter().any(|(key, value)| {
        *key == "error"
            && (matches!(value, TagValue::Bool(true))
                || matches!(value, TagValue::Text(text) if text == "true"))
    });
    let (parent_span_id, links) = references(span, trace_id);
    let event = CoreEvent {
        timestamp_ns,
        signal: Signal::Span,
        trace_id: Some(trace_id),
        span_id: Some(span_id),
        parent_span_id,
        name: Some(&span.operation_name),
        kind: known.kind,
        status: known.status.or(failed.then_some("error")),
        status_message: &known.status_message,
        duration_ns: Some(duration_ns),
        scope_name: &known.scope_name,
        scope_version: &known.scope_version,
        trace_state: &known.trace_state,
        flags: span.flags.unwrap_or(0),
        links: &links
            .iter()
            .map(|(trace_id, span_id, attributes)| Link {
                trace_id: *trace_id,
                span_id: *span_id,
                attributes,
                ..Link::default()
            })
            .collect::<Vec<_>>(),
        ..CoreEvent::default()
    };
    out.push(&event);
    push_process(out, process);
    for (key, value) in &tags {
        let key = out.key(Level::Record, key);
        out.attribute(key, value.borrow());
    }
    for log in span.logs.iter().flatten() {
        push_log(out, &event, log, process)?;
    }
    Ok(())
}

/// Restores leading zeros, which Jaeger drops, up to 16 digits.
fn padded(id: &str) -> Cow<'_, str> {
    if id.len() < 16 && !id.is_empty() { Cow::Owned(format!("{id:0>16}")) } else { Cow::Borrowed(id) }
}

type OwnedLink = (Option<TraceId>, Option<SpanId>, String);

fn references(span: &Span<'_>, trace: TraceId) -> (Option<SpanId>, Vec<OwnedLink>) {
    let some = |id| if let Id::Is(id) = id { Some(id) } else { None };
    let mut parent = span.parent_span_id.as_ref().and_then(|id| some(ids::span_id(&padded(id))));
    let mut links = Vec::new();
    for reference in span.references.iter().flatten() {
        let trace_id = match ids::trace_id(&padded(&reference.trace_id)) {
            Id::Is(id) => Some(id),
            _ => None,
        };
        let span_id = some(ids::span_id(&padded(&reference.span_id)));
        let child = reference.kind == "CHILD_OF";
        if child && trace_id == Some(trace) && (parent.is_none() || parent == span_id) {
            parent = span_id;
            continue;
        }
        let mut attributes = String::new();
        attributes.push('{');
        typed_json::write_key(&mut attributes, "opentracing.ref_type");
        typed_json::write(&mut attributes, &Value::Text(if child { "child_of" } else { "follows_from" }));
        attributes.push('}');
        links.push((trace_id, span_id, attributes));
    }
    (parent, links)
}

fn push_process(out: &mut EventBatchBuilder, process: Option<&Process<'_>>) {
    let Some(process) = process else { return };
    if !process.service_name.is_empty() {
        let key = out.key(Level::Resource, "service.name");
        out.attribute(key, Value::Text(&process.service_name));
    }
    for tag in process.tags.iter().flatten() {
        let key = out.key(Level::Resource, &tag.key);
        out.attribute(key, tag.value().borrow());
    }
}

fn push_log(
    out: &mut EventBatchBuilder,
    span: &CoreEvent<'_>,
    log: &Log<'_>,
    process: Option<&Process<'_>>,
) -> Result<(), String> {
    let timestamp_ns = log.timestamp_us.checked_mul(1_000).ok_or_else(|| {
        format!("the time of a log is out of range: times from {} can be stored", times::RANGE)
    })?;
    let fields: Vec<_> = log.fields.iter().flatten().map(|tag| (&*tag.key, tag.value())).collect();
    // The field with the event's name; OpenTelemetry's exporters write it, OpenTracing requires it.
    let name = fields.iter().position(|(key, value)| *key == "event" && matches!(value, TagValue::Text(_)));
    out.push(&CoreEvent {
        timestamp_ns,
        signal: Signal::SpanEvent,
        trace_id: span.trace_id,
        span_id: span.span_id,
        name: name.and_then(|i| match &fields[i].1 {
            TagValue::Text(text) => Some(&**text),
            _ => None,
        }),
        scope_name: span.scope_name,
        scope_version: span.scope_version,
        ..CoreEvent::default()
    });
    push_process(out, process);
    for (i, (key, value)) in fields.iter().enumerate() {
        if Some(i) != name {
            let key = out.key(Level::Record, key);
            out.attribute(key, value.borrow());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::record::testing::{core, read, shown};

    #[test]
    fn a_real_trace_goes_in_whole() {
        let text = read("jaeger/genaiTestTrace.json");
        let decoded = decode(&text).unwrap();
        assert_eq!(decoded.refused, []);
        let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let spans = document["spans"].as_array().unwrap();
        let logs: usize = spans.iter().map(|s| s["logs"].as_array().unwrap().len()).sum();
        let b = &decoded.batch;
        assert_eq!(b.rows(), spans.len() + logs);
        assert_eq!(core(b, 0, "trace_id"), "4a1b2c3d4e5f60718293a4b5c6d7e8f9");
        assert_eq!(core(b, 0, "timestamp"), "2026-02-02T02:40:00.001Z");
        assert_eq!(core(b, 0, "duration_ns"), "44000000000");
        assert_eq!(core(b, 0, "kind"), "server");
        assert_eq!(core(b, 1, "parent_span_id"), "0000000000000001");
        assert!(shown(b, 0).contains(&"http.response.status_code = Int(200)".to_owned()));
    }

    #[test]
    fn tags_references_and_logs_find_their_place() {
        let text = r#"{"data":[{"traceID":"a1","spans":[{"traceID":"a1","spanID":"b2","operationName":"op \"q\"","references":[
            {"refType":"CHILD_OF","traceID":"a1","spanID":"c3"},{"refType":"FOLLOWS_FROM","traceID":"ff","spanID":"dd"}],
            "startTime":1,"duration":2,"processID":"p1","flags":1,
            "tags":[{"key":"n","type":"int64","value":"9007199254740993"},{"key":"d","type":"float64","value":3},{"key":"error","type":"bool","value":true},
                    {"key":"otel.scope.name","type":"string","value":"lib"},{"key":"b","type":"binary","value":"AAE="},{"key":"l","type":"string","value":[1]}],
            "logs":[{"timestamp":2,"fields":[{"key":"event","type":"string","value":"exception"},{"key":"exception.type","type":"string","value":"E"}]}]},
            {"traceID":"nope"}],
            "processes":{"p1":{"serviceName":"shop","tags":[{"key":"host","type":"string","value":"h"}]}}}]}"#;
        let decoded = decode(text.as_bytes()).unwrap();
        let b = &decoded.batch;
        assert_eq!(b.rows(), 2);
        assert_eq!(decoded.refused.len(), 1);
        assert_eq!(
            (decoded.refused[0].position, &text[decoded.refused[0].bytes.clone()]),
            (6, "{\"traceID\":\"nope\"}")
        );
        assert_eq!(core(b, 0, "name"), "op \"q\"");
        assert_eq!(core(b, 0, "trace_id"), format!("{:0>32}", "a1"));
        assert_eq!(core(b, 0, "parent_span_id"), format!("{:0>16}", "c3"));
        assert_eq!(core(b, 0, "status"), "error");
        assert_eq!(core(b, 0, "scope.name"), "lib");
        assert!(core(b, 0, "links").contains("follows_from"), "{}", core(b, 0, "links"));
        assert_eq!(
            shown(b, 0),
            [
                "b = Bytes([0, 1])",
                "d = Double(3.0)",
                "error = Bool(true)",
                "l = Json(\"[1]\")",
                "n = Int(9007199254740993)",
                "resource.host = Text(\"h\")",
                "resource.service.name = Text(\"shop\")",
            ]
        );
        assert_eq!(core(b, 1, "signal"), "span_event");
        assert_eq!(core(b, 1, "name"), "exception");
        assert_eq!(core(b, 1, "span_id"), core(b, 0, "span_id"));
        assert_eq!(shown(b, 1)[0], "exception.type = Text(\"E\")");
    }

    #[test]
    fn what_cannot_be_kept_or_is_not_there_is_told() {
        let span = |id: &str, more: &str| {
            format!(
                "{{\"traceID\":\"a1\",\"spanID\":\"{id}\",\"operationName\":\"x\\ud83d\",\"duration\":1,{more}}}"
            )
        };
        let text = format!(
            "\u{feff}{{\"data\":[{{\"traceID\":\"a1\",\"spans\":[\n{},\n{},\n{},\n{}]}}]}}",
            span("b1", "\"startTime\":253402300799000000"),
            span("b2", "\"startTime\":1,\"processID\":\"p9\""),
            span(
                "b3",
                "\"startTime\":1,\"tags\":[{\"key\":\"span.kind\",\"type\":\"string\",\"value\":\"odd\"}]"
            ),
            span("b4", "\"startTime\":\"soon\""),
        );
        let decoded = decode(text.as_bytes()).unwrap();
        assert_eq!(decoded.batch.rows(), 2);
        let reasons: Vec<_> = decoded.refused.iter().map(|r| (r.position, r.reason.as_str())).collect();
        assert_eq!(
            reasons[0],
            (1, "span b1: its startTime is out of range: times from 1677 to 2262 can be stored")
        );
        assert_eq!((reasons[1].0, decoded.refused[1].column), (4, Some(87)));
        assert!(!reasons[1].1.contains("line"), "{}", reasons[1].1);
        assert_eq!(core(&decoded.batch, 0, "name"), "x\u{fffd}");
        assert_eq!(shown(&decoded.batch, 1), ["span.kind = Text(\"odd\")"]);
        assert_eq!(
            (decoded.hints.without_process, decoded.hints.missing_process.as_deref()),
            (1, Some("p9"))
        );
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_refused(at in 0.0..1.0_f64, flip in any::<u8>()) {
            let mut text = read("jaeger/genaiTestTrace.json");
            let at = (text.len() as f64 * at) as usize;
            text[at] = flip;
            let _ = decode(&text);
            let _ = decode(&text[..at]);
        }
    }
}
