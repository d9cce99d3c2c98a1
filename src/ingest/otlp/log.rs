//! How does a log record (`opentelemetry.proto.logs.v1`) become a row?
//!
//! | OTLP | column |
//! |---|---|
//! | `time_unix_nano`, otherwise `observed_time_unix_nano`, otherwise the time of receipt | `timestamp`; `timestamp_origin` names the source, and is null for the first |
//! | `body` that is text | `body` |
//! | any other `body` | `body` as typed JSON, its type in `body_type`; the entries of a key-value list are also attributes `body.<key>`, nested ones with dots |
//! | `event_name` | `name` |
//! | `severity_number`, `severity_text` | `severity_number`, `severity` and `severity_text`; a missing one follows from the other ([`severity`](crate::event::severity)) |
//!
//! A record with an invalid id is stored without the id and with a remark, as OTLP asks: it belongs to no trace.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message as _;

use super::attributes::{AnyRef, Attribute};
use super::record::{Defect, Doubts, Position, Sink, optional_span_id, optional_trace_id};
use super::weight::sample_weight;
use super::wire::{Message, merge};
use crate::event::{CoreEvent, Level, Signal, typed_json};

/// Value of `timestamp_origin`: the record has no time; the timestamp is the time of observation.
pub(super) const OBSERVED: &str = "observed";

/// Value of `timestamp_origin`: the record has no time at all; the timestamp is the time of receipt.
pub(super) const RECEIVED: &str = "received";

/// Longest key of a body entry that becomes an attribute, in bytes, dots included. Entries with longer keys are only
/// in the body.
const BODY_KEY_BYTES_MAX: usize = 1024;

/// Most entries of one body that become attributes.
const BODY_ENTRIES_MAX: usize = 1024;

/// Takes the `LogRecord` message in `bytes`; a defect is counted in the sink.
pub(super) fn record(sink: &mut Sink, bytes: &[u8], at: Position) {
    let mut arena = String::new();
    let taken = Record::read(bytes, &mut arena).and_then(|record| record.push(sink, &arena, at));
    if let Err(defect) = taken {
        sink.rejected.add(at, defect);
    }
}

/// A `LogRecord` message.
#[derive(Default)]
struct Record<'a> {
    time_ns: u64,
    observed_ns: u64,
    severity_number: i32,
    severity: &'a str,
    /// An `AnyValue` message.
    body: Cow<'a, [u8]>,
    attributes: Vec<Attribute<'a>>,
    dropped_attributes_count: u32,
    flags: u32,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    event_name: &'a str,
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8], arena: &mut String) -> Result<Self, Defect> {
        let mut record = Self::default();
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => record.time_ns = field.fixed64()?,
                2 => record.severity_number = field.varint()? as i32,
                3 => record.severity = field.text()?,
                5 => merge(&mut record.body, field.bytes()?),
                6 => record.attributes.push(Attribute::read(field, arena)?),
                7 => record.dropped_attributes_count = field.varint()? as u32,
                8 => record.flags = field.fixed32()?,
                9 => record.trace_id = field.bytes()?,
                10 => record.span_id = field.bytes()?,
                11 => record.observed_ns = field.fixed64()?,
                12 => record.event_name = field.text()?,
                _ => {}
            }
        }
        Ok(record)
    }

    fn push(&self, sink: &mut Sink, arena: &str, at: Position) -> Result<(), Defect> {
        let body = Body::read(&self.body)?;
        let mut doubts = Doubts::default();
        let observed_ns = doubts.time("observed_time_unix_nano", self.observed_ns);
        let (timestamp_ns, timestamp_origin) =
            match (doubts.time("time_unix_nano", self.time_ns), observed_ns) {
                (Some(time), _) => (time, None),
                (None, Some(observed)) => (observed, Some(OBSERVED)),
                (None, None) => (sink.now_ns, Some(RECEIVED)),
            };
        let trace_id = optional_trace_id("trace_id", self.trace_id);
        let span_id = optional_span_id("span_id", self.span_id);
        sink.reserve(1, body.entries.iter().map(|(key, _)| key.len()).sum())?;
        let event = CoreEvent {
            timestamp_ns,
            signal: Signal::Log,
            trace_id: trace_id.as_ref().ok().copied().flatten(),
            span_id: span_id.as_ref().ok().copied().flatten(),
            name: Some(self.event_name).filter(|name| !name.is_empty()),
            severity_number: Some(i64::from(self.severity_number)).filter(|n| *n != 0),
            severity: self.severity,
            body: body.text.as_deref(),
            body_type: body.ty,
            sample_weight: sample_weight("", &self.attributes),
            observed_timestamp_ns: observed_ns,
            timestamp_origin,
            flags: self.flags,
            dropped_attributes_count: self.dropped_attributes_count,
            ..CoreEvent::default()
        };
        sink.push(&event, &self.attributes, arena);
        let mut arena = String::new();
        for (key, value) in &body.entries {
            arena.clear();
            let value = AnyRef::of(Some(value), &mut arena);
            sink.attribute(Level::Body, key, value.value(&arena));
        }
        for defect in [trace_id.err(), span_id.err()].into_iter().flatten() {
            doubts.add(defect);
        }
        doubts.remark(sink, at);
        Ok(())
    }
}

/// The body of a record.
#[derive(Default)]
struct Body {
    text: Option<String>,
    /// Type of a body that is not text.
    ty: Option<&'static str>,
    /// Entries of a key-value list; nested ones have dotted keys.
    entries: Vec<(String, AnyValue)>,
}

impl Body {
    fn read(bytes: &[u8]) -> Result<Self, Defect> {
        use any_value::Value as V;
        let any = AnyValue::decode(bytes)?;
        let ty = match &any.value {
            None | Some(V::StringValueStrindex(_)) => return Ok(Self::default()),
            Some(V::StringValue(_)) => {
                let Some(V::StringValue(text)) = any.value else { return Ok(Self::default()) };
                return Ok(Self { text: Some(text), ..Self::default() });
            }
            Some(V::BoolValue(_)) => "bool",
            Some(V::IntValue(_)) => "int",
            Some(V::DoubleValue(_)) => "double",
            Some(V::BytesValue(_)) => "bytes",
            Some(V::ArrayValue(_)) => "array",
            Some(V::KvlistValue(_)) => "kvlist",
        };
        let mut text = String::new();
        typed_json::write_any(&mut text, Some(&any));
        let mut entries = Vec::new();
        if let Some(V::KvlistValue(list)) = any.value {
            shred("", list.values, &mut entries);
        }
        Ok(Self { text: Some(text), ty: Some(ty), entries })
    }
}

/// Flattens nested lists into dotted keys. Leaves out entries without a value, with a key that is too long, or beyond
/// [`BODY_ENTRIES_MAX`]; the body still has them.
fn shred(prefix: &str, list: Vec<KeyValue>, entries: &mut Vec<(String, AnyValue)>) {
    for KeyValue { key, value, .. } in list {
        if prefix.len() + key.len() + 1 > BODY_KEY_BYTES_MAX || entries.len() >= BODY_ENTRIES_MAX {
            continue;
        }
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value.and_then(|v| v.value) {
            None => {}
            Some(any_value::Value::KvlistValue(list)) if !list.values.is_empty() => {
                shred(&key, list.values, entries);
            }
            value => entries.push((key, AnyValue { value })),
        }
    }
}
