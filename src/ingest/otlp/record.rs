//! Records under their resource and scope: what all signals share.
//!
//! A [`Sink`] is told which resource and scope it is in and then takes records one by one. The attributes
//! of resource and scope are interned once and repeated on every record, because an event stands for
//! itself.

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

/// What a key takes that a request has once: the columns of its types, twice as the list of them grows, and
/// the arrays that become of it.
const KEY_BYTES: usize = 1024;
/// What a value takes besides its text.
const VALUE_BYTES: usize = 24;
/// What an event takes besides its attributes.
const EVENT_BYTES: usize = 128;
/// So much is asked for at once.
const ROOM_STEP_BYTES: usize = 256 << 10;
/// What the events of a usual message take, to the size of the message.
const USUAL_GROWTH: usize = 3;
/// Too little to ask for.
const SMALL_BYTES: usize = 1 << 20;

/// Asked for memory, in bytes, before it is taken.
pub type Room<'a> = dyn FnMut(usize) -> Result<()> + 'a;

/// What is wrong with one record; the others go in.
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

/// Where a record is in its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) resource: usize,
    pub(super) scope: usize,
    /// What the protocol calls the record: `span`, `log record`, `metric`.
    pub(super) what: &'static str,
    pub(super) record: usize,
    /// The data point, of metrics.
    pub(super) point: Option<usize>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, scope, what, record, point } = self;
        write!(f, "resource {resource}, scope {scope}, {what} {record}")?;
        point.map_or(Ok(()), |point| write!(f, ", point {point}"))
    }
}

/// What a resource puts on every record under it.
#[derive(Debug, Default)]
struct Resource {
    attributes: Vec<(KeyId, OwnedValue)>,
    schema_url: String,
    dropped_attributes_count: u32,
    entity_refs: String,
    bytes: usize,
}

/// What a scope puts on every record under it.
#[derive(Debug, Default)]
struct Scope {
    attributes: Vec<(KeyId, OwnedValue)>,
    name: String,
    version: String,
    schema_url: String,
    dropped_attributes_count: u32,
    bytes: usize,
}

/// Takes the records of one request.
pub(super) struct Sink<'a> {
    /// When the request arrived.
    pub(super) now_ns: i64,
    /// What was refused so far.
    pub(super) rejected: Rejected,
    builder: EventBatchBuilder,
    resource: Resource,
    scope: Scope,
    repeated_bytes: usize,
    /// Most bytes of repeated resource and scope attributes and of shredded bodies.
    repeated_bytes_max: usize,
    room: &'a mut Room<'a>,
    /// Memory that may be taken.
    granted_bytes: usize,
    /// Memory of events and values so far, about.
    taken_bytes: usize,
    /// Why no more is taken.
    refused: Option<Error>,
}

impl<'a> Sink<'a> {
    /// For a message of `bytes` bytes that arrived at `now_ns`; `room` is asked for what becomes of it beyond the usual.
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

    /// Records that follow belong to the `Resource` message in `bytes`.
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

    /// Records that follow belong to the `InstrumentationScope` message in `bytes`.
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

    /// Whether there is room for more. Once there is not, whatever is taken is of no use.
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

    /// An attribute of resource or scope, if it has a value.
    fn own(&mut self, level: Level, attribute: Attribute<'_>, arena: &str) -> Option<(KeyId, OwnedValue)> {
        let value = attribute.value.value(arena);
        (!value.is_null()).then(|| (self.builder.key(level, attribute.key), OwnedValue::new(value)))
    }

    /// Reserves room for `rows` more events of the current resource and scope, and `extra` bytes that
    /// they repeat.
    pub(super) fn reserve(&mut self, rows: usize, extra: usize) -> Result<(), Defect> {
        let bytes = rows.saturating_mul(self.resource.bytes + self.scope.bytes).saturating_add(extra);
        let total = self.repeated_bytes.saturating_add(bytes);
        if total > self.repeated_bytes_max {
            return Err(Defect::new(format!(
                "repeating the attributes of its resource and scope would make the request larger than \
                 {} bytes: send smaller requests",
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

    /// Adds an attribute of the event that was pushed last.
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

    /// Fails when there was no room.
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

/// Entities as a typed JSON array; empty when there is none.
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

/// What a record says that cannot be so. The record goes in without it, and its producer is told.
#[derive(Debug, Default)]
pub(super) struct Doubts(Vec<String>);

impl Doubts {
    /// Nanoseconds since the epoch; zero means that nobody knows. So does a time that timestamps of events do
    /// not reach, 2262 and later: producers write all ones for "never" and "not yet".
    pub(super) fn time(&mut self, what: &str, ns: u64) -> Option<i64> {
        match i64::try_from(ns) {
            Ok(0) => None,
            Ok(ns) if ns < i64::MAX => Some(ns),
            _ => {
                self.add(format_args!("{what} is {ns}, beyond what events hold"));
                None
            }
        }
    }

    pub(super) fn add(&mut self, what: impl fmt::Display) {
        self.0.push(what.to_string());
    }

    /// Tells the producer.
    pub(super) fn remark(self, sink: &mut Sink, at: Position) {
        for doubt in self.0 {
            sink.rejected.remark(at, format_args!("{doubt}; kept without it"));
        }
    }
}

/// An id of a span that must be there.
pub(super) fn trace_id(bytes: &[u8]) -> Result<TraceId, Defect> {
    TraceId::from_slice(bytes).ok_or_else(|| bad_id("trace_id", bytes, TraceId::BYTES))
}

/// As [`trace_id`].
pub(super) fn span_id(bytes: &[u8]) -> Result<SpanId, Defect> {
    SpanId::from_slice(bytes).ok_or_else(|| bad_id("span_id", bytes, SpanId::BYTES))
}

/// An id that may be missing; all zeroes mean that too.
pub(super) fn optional_trace_id(what: &str, bytes: &[u8]) -> Result<Option<TraceId>, Defect> {
    match bytes.len() {
        0 | TraceId::BYTES => Ok(TraceId::from_slice(bytes)),
        _ => Err(bad_id(what, bytes, TraceId::BYTES)),
    }
}

/// As [`optional_trace_id`].
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

/// Text of an enum's number that the protocol had no name for when this was written: the number itself.
pub(super) fn enum_name<'a>(names: &[&'static str], number: i32, scratch: &'a mut String) -> &'a str {
    let named = usize::try_from(number).ok().and_then(|i| names.get(i));
    if let Some(name) = named {
        return name;
    }
    *scratch = number.to_string();
    scratch
}

/// Number of an enum's text, as [`enum_name`] wrote it.
pub(super) fn enum_number(names: &[&str], name: &str) -> i32 {
    match names.iter().position(|n| *n == name) {
        Some(i) => i as i32,
        None => name.parse().unwrap_or(0),
    }
}
