//! How do records of all signals get the attributes of their resource and scope?
//!
//! A [`Sink`] enters a resource and a scope, then takes their records one by one. The attributes of resource
//! and scope are interned once and copied to every record, because an event must be complete by itself.

use std::fmt;

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, KeyValue, KeyValueList, any_value,
};
use prost::Message as _;

use super::attributes::{Attribute, OwnedValue};
use super::wire::{Message, WireError};
use crate::error::{Error, Result};
use crate::event::{CoreEvent, EventBatchBuilder, KeyId, Level, SpanId, TraceId, Value, typed_json};
use crate::ingest::{Ingested, Rejected, repeated_bytes_max};

/// Memory per distinct key, estimated: columns of its types, doubled because their list grows by doubling, and the
/// resulting arrays.
const KEY_BYTES: usize = 1024;
/// Memory per value without its text, estimated.
const VALUE_BYTES: usize = 24;
/// Memory per event without its attributes, estimated.
const EVENT_BYTES: usize = 128;
/// Smallest amount of memory reserved in one step.
const ROOM_STEP_BYTES: usize = 256 << 10;
/// Memory of the events of a usual message, as a multiple of the size of the message.
const USUAL_GROWTH: usize = 3;
/// Memory that is not worth a reservation.
const SMALL_BYTES: usize = 1 << 20;

/// Callback that reserves memory, in bytes, before it is used. Its error stops decoding.
pub type Room<'a> = dyn FnMut(usize) -> Result<()> + 'a;

/// Defect of one record or group, in words for its producer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Defect(String);

impl Defect {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<WireError> for Defect {
    fn from(e: WireError) -> Self {
        Self(e.to_string())
    }
}

impl From<prost::DecodeError> for Defect {
    fn from(e: prost::DecodeError) -> Self {
        Self(e.to_string())
    }
}

/// Position of a record in its request, counted from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) resource: usize,
    pub(super) scope: usize,
    /// The protocol's name for the record: `span`, `log record`, `metric`.
    pub(super) what: &'static str,
    pub(super) record: usize,
    /// Data point of a metric.
    pub(super) point: Option<usize>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, scope, what, record, point } = self;
        write!(f, "resource {resource}, scope {scope}, {what} {record}")?;
        point.map_or(Ok(()), |point| write!(f, ", point {point}"))
    }
}

/// Values that a resource adds to every record under it.
#[derive(Debug, Default)]
struct Resource {
    attributes: Vec<(KeyId, OwnedValue)>,
    schema_url: String,
    dropped_attributes_count: u32,
    entity_refs: String,
    bytes: usize,
}

/// Values that a scope adds to every record under it.
#[derive(Debug, Default)]
struct Scope {
    attributes: Vec<(KeyId, OwnedValue)>,
    name: String,
    version: String,
    schema_url: String,
    dropped_attributes_count: u32,
    bytes: usize,
}

/// Collects the events of one request.
pub(super) struct Sink<'a> {
    /// Time of receipt of the request, nanoseconds since the epoch.
    pub(super) now_ns: i64,
    /// Refused records and remarks so far.
    pub(super) rejected: Rejected,
    builder: EventBatchBuilder,
    resource: Resource,
    scope: Scope,
    repeated_bytes: usize,
    /// Most bytes of repeated resource and scope attributes and of shredded bodies.
    repeated_bytes_max: usize,
    room: &'a mut Room<'a>,
    /// Memory that may be used.
    granted_bytes: usize,
    /// Estimated memory of events and values so far, without keys.
    taken_bytes: usize,
    /// Error of `room`; after it, nothing more is taken.
    refused: Option<Error>,
}

impl<'a> Sink<'a> {
    /// Creates a sink for a message of `bytes` bytes that arrived at `now_ns`. `room` reserves memory beyond
    /// [`USUAL_GROWTH`].
    pub(super) fn new(now_ns: i64, bytes: usize, room: &'a mut Room<'a>) -> Self {
        Self {
            room,
            granted_bytes: bytes.saturating_mul(USUAL_GROWTH).saturating_add(SMALL_BYTES),
            taken_bytes: 0,
            refused: None,
            now_ns,
            rejected: Rejected::default(),
            builder: EventBatchBuilder::new(),
            resource: Resource::default(),
            scope: Scope::default(),
            repeated_bytes: 0,
            repeated_bytes_max: repeated_bytes_max(bytes),
        }
    }

    /// Enters the `Resource` message in `bytes`: the following records belong to it.
    pub(super) fn enter_resource(&mut self, bytes: &[u8], schema_url: &str) -> Result<(), Defect> {
        let mut resource = Resource { schema_url: schema_url.to_owned(), ..Resource::default() };
        let mut entities = Vec::new();
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => {
                    let mut arena = String::new();
                    let attribute = Attribute::read(field, &mut arena)?;
                    resource.attributes.extend(self.own(Level::Resource, attribute, &arena));
                }
                2 => resource.dropped_attributes_count = field.varint()? as u32,
                3 => entities.push(EntityRef::decode(field.bytes()?)?),
                _ => {}
            }
        }
        resource.entity_refs = entity_refs(entities);
        resource.bytes = resource.attributes.iter().map(|(_, value)| value.bytes()).sum::<usize>()
            + schema_url.len()
            + resource.entity_refs.len();
        self.resource = resource;
        Ok(())
    }

    /// Enters the `InstrumentationScope` message in `bytes`: the following records belong to it.
    pub(super) fn enter_scope(&mut self, bytes: &[u8], schema_url: &str) -> Result<(), Defect> {
        let mut scope = Scope { schema_url: schema_url.to_owned(), ..Scope::default() };
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => field.text()?.clone_into(&mut scope.name),
                2 => field.text()?.clone_into(&mut scope.version),
                3 => {
                    let mut arena = String::new();
                    let attribute = Attribute::read(field, &mut arena)?;
                    scope.attributes.extend(self.own(Level::Scope, attribute, &arena));
                }
                4 => scope.dropped_attributes_count = field.varint()? as u32,
                _ => {}
            }
        }
        scope.bytes = scope.attributes.iter().map(|(_, value)| value.bytes()).sum::<usize>()
            + scope.name.len()
            + scope.version.len()
            + schema_url.len();
        self.scope = scope;
        Ok(())
    }

    /// True if there is memory for more. Once false, it stays false, and [`finish`](Self::finish) will fail.
    pub(super) fn has_room(&mut self) -> bool {
        let bytes = self.taken_bytes + self.builder.keys() * KEY_BYTES;
        if self.refused.is_some() || bytes <= self.granted_bytes {
            return self.refused.is_none();
        }
        let more = (bytes - self.granted_bytes).max(ROOM_STEP_BYTES);
        match (self.room)(more) {
            Ok(()) => self.granted_bytes += more,
            Err(error) => self.refused = Some(error),
        }
        self.refused.is_none()
    }

    /// Interns an attribute of a resource or scope; `None` if it has no value.
    fn own(&mut self, level: Level, attribute: Attribute<'_>, arena: &str) -> Option<(KeyId, OwnedValue)> {
        let value = attribute.value.value(arena);
        (!value.is_null()).then(|| (self.builder.key(level, attribute.key), OwnedValue::new(value)))
    }

    /// Reserves `rows` more copies of the current resource and scope, and `extra` bytes of other repeated values.
    /// Fails if the request would exceed its limit on repeated bytes.
    pub(super) fn reserve(&mut self, rows: usize, extra: usize) -> Result<(), Defect> {
        let bytes = rows.saturating_mul(self.resource.bytes + self.scope.bytes).saturating_add(extra);
        let total = self.repeated_bytes.saturating_add(bytes);
        if total > self.repeated_bytes_max {
            return Err(Defect::new(format!(
                "copies of its resource's and scope's attributes on each record would make the request larger \
                 than {} bytes: send smaller requests",
                self.repeated_bytes_max
            )));
        }
        self.repeated_bytes = total;
        Ok(())
    }

    /// Adds an event of the current resource and scope.
    pub(super) fn push(&mut self, event: &CoreEvent<'_>, attributes: &[Attribute<'_>], arena: &str) {
        let text = [event.name, event.body].into_iter().flatten().map(str::len).sum::<usize>();
        let repeated = self.resource.attributes.len() + self.scope.attributes.len();
        self.taken_bytes += EVENT_BYTES + text + repeated * VALUE_BYTES;
        let (resource, scope) = (&self.resource, &self.scope);
        self.builder.push(&CoreEvent {
            scope_name: &scope.name,
            scope_version: &scope.version,
            scope_schema_url: &scope.schema_url,
            scope_dropped_attributes_count: scope.dropped_attributes_count,
            resource_schema_url: &resource.schema_url,
            resource_dropped_attributes_count: resource.dropped_attributes_count,
            resource_entity_refs: &resource.entity_refs,
            ..*event
        });
        for attribute in attributes {
            if !self.has_room() {
                return;
            }
            let value = attribute.value.value(arena);
            if value.is_null() {
                continue;
            }
            self.taken_bytes += VALUE_BYTES + text_bytes(value);
            let key = self.builder.key(Level::Record, attribute.key);
            self.builder.attribute(key, value);
        }
        let (resource, scope) = (&self.resource, &self.scope);
        for (key, value) in resource.attributes.iter().chain(&scope.attributes) {
            self.builder.attribute(*key, value.value());
        }
    }

    /// Adds an attribute to the last pushed event.
    pub(super) fn attribute(&mut self, level: Level, key: &str, value: Value<'_>) {
        if !self.has_room() {
            return;
        }
        self.taken_bytes += VALUE_BYTES + text_bytes(value);
        let key = self.builder.key(level, key);
        self.builder.attribute(key, value);
    }

    /// Number of events taken.
    pub(super) fn rows(&self) -> usize {
        self.builder.rows()
    }

    /// Returns the events and refused records. Fails with the error of `room` if there was one.
    pub(super) fn finish(self) -> Result<Ingested> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        Ok(Ingested { batch: self.builder.finish()?, rejected: self.rejected })
    }
}

fn text_bytes(value: Value<'_>) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Int(_) | Value::Double(_) | Value::Bool(_) => 0,
    }
}

/// Converts entities to a typed JSON array; empty if there are none.
fn entity_refs(entities: Vec<EntityRef>) -> String {
    let text = |text| AnyValue { value: Some(any_value::Value::StringValue(text)) };
    let entry = |key: &str, value| KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() };
    let texts = |list: Vec<String>| AnyValue {
        value: Some(any_value::Value::ArrayValue(ArrayValue {
            values: list.into_iter().map(text).collect(),
        })),
    };
    if entities.is_empty() {
        return String::new();
    }
    let values = entities.into_iter().map(|entity| AnyValue {
        value: Some(any_value::Value::KvlistValue(KeyValueList {
            values: vec![
                entry("schema_url", text(entity.schema_url)),
                entry("type", text(entity.r#type)),
                entry("id_keys", texts(entity.id_keys)),
                entry("description_keys", texts(entity.description_keys)),
            ],
        })),
    });
    let array =
        AnyValue { value: Some(any_value::Value::ArrayValue(ArrayValue { values: values.collect() })) };
    let mut json = String::new();
    typed_json::write_any(&mut json, Some(&array));
    json
}

/// Impossible values of a record. The record is stored without them, and each is reported to its producer.
#[derive(Debug, Default)]
pub(super) struct Doubts(Vec<String>);

impl Doubts {
    /// Reads nanoseconds since the epoch; `None` for zero, which means unknown. A time beyond the range of timestamps,
    /// in 2262 or later, is also unknown, with a remark: producers write all ones for "never" and "not yet".
    pub(super) fn time(&mut self, what: &str, ns: u64) -> Option<i64> {
        match i64::try_from(ns) {
            Ok(0) => None,
            Ok(ns) if ns < i64::MAX => Some(ns),
            _ => {
                self.add(format_args!("{what} is {ns}, out of range: times end in 2262"));
                None
            }
        }
    }

    pub(super) fn add(&mut self, what: impl fmt::Display) {
        self.0.push(what.to_string());
    }

    /// Adds the remarks to the sink.
    pub(super) fn remark(self, sink: &mut Sink, at: Position) {
        for doubt in self.0 {
            sink.rejected.remark(at, format_args!("{doubt}; stored without it"));
        }
    }
}

/// Reads the trace id of a span, which must be present.
pub(super) fn trace_id(bytes: &[u8]) -> Result<TraceId, Defect> {
    TraceId::from_slice(bytes).ok_or_else(|| bad_id("trace_id", bytes, TraceId::BYTES))
}

/// Reads the span id of a span, which must be present.
pub(super) fn span_id(bytes: &[u8]) -> Result<SpanId, Defect> {
    SpanId::from_slice(bytes).ok_or_else(|| bad_id("span_id", bytes, SpanId::BYTES))
}

/// Reads a trace id that may be absent: empty or all zeroes.
pub(super) fn optional_trace_id(what: &str, bytes: &[u8]) -> Result<Option<TraceId>, Defect> {
    match bytes.len() {
        0 | TraceId::BYTES => Ok(TraceId::from_slice(bytes)),
        _ => Err(bad_id(what, bytes, TraceId::BYTES)),
    }
}

/// Reads a span id that may be absent: empty or all zeroes.
pub(super) fn optional_span_id(what: &str, bytes: &[u8]) -> Result<Option<SpanId>, Defect> {
    match bytes.len() {
        0 | SpanId::BYTES => Ok(SpanId::from_slice(bytes)),
        _ => Err(bad_id(what, bytes, SpanId::BYTES)),
    }
}

fn bad_id(what: &str, bytes: &[u8], expected: usize) -> Defect {
    Defect::new(match bytes.len() {
        0 => format!("{what} is missing"),
        n if n == expected => format!("{what} is all zeroes"),
        n => format!("{what} has {n} bytes, expected {expected}"),
    })
}

/// Name of an enum's number; the number itself, as text, if this version knows no name.
pub(super) fn enum_name<'a>(names: &[&'static str], number: i32, scratch: &'a mut String) -> &'a str {
    let named = usize::try_from(number).ok().and_then(|i| names.get(i));
    if let Some(name) = named {
        return name;
    }
    *scratch = number.to_string();
    scratch
}

/// Reverses [`enum_name`]; 0 for other text.
pub(super) fn enum_number(names: &[&str], name: &str) -> i32 {
    match names.iter().position(|n| *n == name) {
        Some(i) => i as i32,
        None => name.parse().unwrap_or(0),
    }
}
