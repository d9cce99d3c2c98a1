//! Serialization of traces as OTLP/JSON text.
//!
//! The text is made span by span: the tree of a whole trace would take many times the memory of its spans.
//!
//! Written by hand because the generated serializers write NaN as `null` and include every unset field. The
//! specification requires ids in lower-case hex, 64-bit integers as text, enums as numbers, bytes in base64 and
//! lowerCamelCase names. Unset fields are left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, EntityRef, InstrumentationScope, KeyValue, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde_json::{Map, Value, json};

/// Writes the request as OTLP/JSON; `{"resourceSpans":[]}` if it is empty.
pub fn traces_json(request: &ExportTraceServiceRequest) -> String {
    traces_json_pieces(request.clone()).collect()
}

/// Like [`traces_json`] in pieces, one to each span about, which free the spans that are written.
pub fn traces_json_pieces(request: ExportTraceServiceRequest) -> impl Iterator<Item = String> + Send {
    let resources = request.resource_spans.into_iter().enumerate().flat_map(|(i, mut group)| {
        let scopes = std::mem::take(&mut group.scope_spans).into_iter().enumerate();
        let start = open(i, &resource_spans(&group), "scopeSpans");
        around(start, scopes.flat_map(|(i, group)| scope_pieces(i, group)), "]}")
    });
    around("{\"resourceSpans\":[".to_owned(), resources, "]}")
}

fn scope_pieces(index: usize, mut group: ScopeSpans) -> impl Iterator<Item = String> + Send {
    let spans = std::mem::take(&mut group.spans).into_iter().enumerate();
    let start = open(index, &scope_spans(&group), "spans");
    around(start, spans.map(|(i, item)| format!("{}{}", comma(i), span(&item))), "]}")
}

fn around(
    start: String,
    pieces: impl Iterator<Item = String> + Send,
    end: &str,
) -> impl Iterator<Item = String> + Send {
    std::iter::once(start).chain(pieces).chain(std::iter::once(end.to_owned()))
}

/// The item of a list that `object` is, as far as its own list `name`, which is written last.
fn open(index: usize, object: &Value, name: &str) -> String {
    let mut text = format!("{}{object}", comma(index));
    // The brace that ends the object.
    text.pop();
    if !text.ends_with('{') {
        text.push(',');
    }
    text.extend(["\"", name, "\":["]);
    text
}

/// The sign before the item of that index in a list.
fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

/// An object under construction; default values (null, zero, empty text or list) are left out.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn with(mut self, name: &str, value: Value) -> Self {
        let unset = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Number(number) => number.as_u64() == Some(0),
            Value::Array(list) => list.is_empty(),
            Value::Bool(_) | Value::Object(_) => false,
        };
        if !unset {
            self.0.insert(name.to_owned(), value);
        }
        self
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

fn list<T>(items: &[T], write: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(write).collect())
}

/// The group without its scopes.
fn resource_spans(group: &ResourceSpans) -> Value {
    Object::default()
        .with("resource", group.resource.as_ref().map_or(Value::Null, resource))
        .with("schemaUrl", json!(group.schema_url))
        .done()
}

fn resource(resource: &Resource) -> Value {
    Object::default()
        .with("attributes", list(&resource.attributes, key_value))
        .with("droppedAttributesCount", json!(resource.dropped_attributes_count))
        .with("entityRefs", list(&resource.entity_refs, entity_ref))
        .done()
}

fn entity_ref(entity: &EntityRef) -> Value {
    Object::default()
        .with("schemaUrl", json!(entity.schema_url))
        .with("type", json!(entity.r#type))
        .with("idKeys", json!(entity.id_keys))
        .with("descriptionKeys", json!(entity.description_keys))
        .done()
}

/// The group without its spans.
fn scope_spans(group: &ScopeSpans) -> Value {
    Object::default()
        .with("scope", group.scope.as_ref().map_or(Value::Null, scope))
        .with("schemaUrl", json!(group.schema_url))
        .done()
}

fn scope(scope: &InstrumentationScope) -> Value {
    Object::default()
        .with("name", json!(scope.name))
        .with("version", json!(scope.version))
        .with("attributes", list(&scope.attributes, key_value))
        .with("droppedAttributesCount", json!(scope.dropped_attributes_count))
        .done()
}

fn span(span: &Span) -> Value {
    Object::default()
        .with("traceId", json!(hex::encode(&span.trace_id)))
        .with("spanId", json!(hex::encode(&span.span_id)))
        .with("traceState", json!(span.trace_state))
        .with("parentSpanId", json!(hex::encode(&span.parent_span_id)))
        .with("flags", json!(span.flags))
        .with("name", json!(span.name))
        .with("kind", json!(span.kind))
        .with("startTimeUnixNano", json!(span.start_time_unix_nano.to_string()))
        .with("endTimeUnixNano", json!(span.end_time_unix_nano.to_string()))
        .with("attributes", list(&span.attributes, key_value))
        .with("droppedAttributesCount", json!(span.dropped_attributes_count))
        .with("events", list(&span.events, event))
        .with("droppedEventsCount", json!(span.dropped_events_count))
        .with("links", list(&span.links, link))
        .with("droppedLinksCount", json!(span.dropped_links_count))
        .with("status", span.status.as_ref().map_or_else(|| json!({}), status))
        .done()
}

fn status(status: &Status) -> Value {
    Object::default().with("message", json!(status.message)).with("code", json!(status.code)).done()
}

fn event(event: &Event) -> Value {
    Object::default()
        .with("timeUnixNano", json!(event.time_unix_nano.to_string()))
        .with("name", json!(event.name))
        .with("attributes", list(&event.attributes, key_value))
        .with("droppedAttributesCount", json!(event.dropped_attributes_count))
        .done()
}

fn link(link: &Link) -> Value {
    Object::default()
        .with("traceId", json!(hex::encode(&link.trace_id)))
        .with("spanId", json!(hex::encode(&link.span_id)))
        .with("traceState", json!(link.trace_state))
        .with("attributes", list(&link.attributes, key_value))
        .with("droppedAttributesCount", json!(link.dropped_attributes_count))
        .with("flags", json!(link.flags))
        .done()
}

fn key_value(entry: &KeyValue) -> Value {
    json!({ "key": entry.key, "value": entry.value.as_ref().map_or_else(|| json!({}), any_value) })
}

fn any_value(any: &AnyValue) -> Value {
    use any_value::Value as V;
    match &any.value {
        None | Some(V::StringValueStrindex(_)) => json!({}),
        Some(V::StringValue(text)) => json!({ "stringValue": text }),
        Some(V::BoolValue(b)) => json!({ "boolValue": b }),
        Some(V::IntValue(i)) => json!({ "intValue": i.to_string() }),
        Some(V::DoubleValue(d)) => json!({ "doubleValue": double(*d) }),
        Some(V::BytesValue(bytes)) => json!({ "bytesValue": BASE64.encode(bytes) }),
        Some(V::ArrayValue(array)) => json!({ "arrayValue": { "values": list(&array.values, any_value) } }),
        Some(V::KvlistValue(entries)) => {
            json!({ "kvlistValue": { "values": list(&entries.values, key_value) } })
        }
    }
}

fn double(d: f64) -> Value {
    match d {
        d if d.is_finite() => json!(d),
        d if d.is_nan() => json!("NaN"),
        d if d > 0.0 => json!("Infinity"),
        _ => json!("-Infinity"),
    }
}
