//! How are the events and links that a span's record lists read?
//!
//! ```text
//! "events": [{"name":"cache.miss","timestamp":…,"attributes":{…}} …]
//! "links":  [{"context":{"trace_id":…,"span_id":…},"attributes":{…}} …]
//! ```
//! The console exporters of OpenTelemetry's SDKs write this form. Names may have any spelling of [`super::fields`].
//! A list with an entry that is not an event or a link stays an attribute.

use serde_json::value::RawValue;

use super::super::fields::{Slot, Target, role_of};
use super::super::ids::{self, Id};
use super::super::times;
use crate::event::{AttributeType, Link, SpanId, TraceId, Value, typed_json};

/// Events and links of one span.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) events: Vec<PartEvent>,
    pub(super) links: Vec<PartLink>,
}

/// An event of a span.
#[derive(Debug, PartialEq)]
pub(super) struct PartEvent {
    pub(super) timestamp_ns: i64,
    pub(super) name: String,
    pub(super) attributes: Vec<(String, PartValue)>,
}

/// A link to another span.
#[derive(Debug, PartialEq)]
pub(super) struct PartLink {
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    /// Typed JSON; empty if there are none.
    attributes: String,
}

impl PartLink {
    pub(super) fn borrow(&self) -> Link<'_> {
        Link {
            trace_id: self.trace_id,
            span_id: self.span_id,
            attributes: &self.attributes,
            ..Link::default()
        }
    }
}

/// Owned value of an attribute.
#[derive(Debug, PartialEq)]
pub(super) enum PartValue {
    Int(i64),
    Double(f64),
    Bool(bool),
    Text(String),
    Json(String),
}

impl PartValue {
    pub(super) fn borrow(&self) -> Value<'_> {
        match self {
            Self::Int(v) => Value::Int(*v),
            Self::Double(v) => Value::Double(*v),
            Self::Bool(v) => Value::Bool(*v),
            Self::Text(v) => Value::Text(v),
            Self::Json(v) => Value::Json(v),
        }
    }

    /// Reads typed JSON; `None` for null.
    fn of(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        let json = || Self::Json(text.to_owned());
        Some(match typed_json::type_of(raw) {
            _ if text == "null" => return None,
            AttributeType::Bool => Self::Bool(text == "true"),
            AttributeType::Int => text.parse().map_or_else(|_| json(), Self::Int),
            AttributeType::Double => text.parse().map_or_else(|_| json(), Self::Double),
            AttributeType::Text => serde_json::from_str(text).map_or_else(|_| json(), Self::Text),
            AttributeType::Bytes | AttributeType::Json => json(),
        })
    }
}

type Entries<'a> = Vec<(String, &'a RawValue)>;

/// Entries of each object of a list in typed JSON; `None` if the list has anything but objects.
fn objects(json: &str) -> Option<Vec<Entries<'_>>> {
    let list: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    list.into_iter().map(|raw| typed_json::parse_object(raw.get()).ok()).collect()
}

/// Events of a list in typed JSON; `None` if an entry is not an event.
pub(super) fn events(json: &str) -> Option<Vec<PartEvent>> {
    objects(json)?.into_iter().map(event).collect()
}

fn event(entries: Entries<'_>) -> Option<PartEvent> {
    let (mut timestamp_ns, mut name, mut attributes) = (None, None, Vec::new());
    for (key, raw) in entries {
        match role_of(&key).target {
            Target::Core(Slot::Time, unit) if timestamp_ns.is_none() => {
                let text = match PartValue::of(raw)? {
                    PartValue::Text(text) => text,
                    _ => raw.get().to_owned(),
                };
                timestamp_ns = Some(times::time(&text, unit).ok()?);
            }
            Target::Core(Slot::Name, _) if name.is_none() => match PartValue::of(raw)? {
                PartValue::Text(text) => name = Some(text),
                _ => return None,
            },
            _ if key.eq_ignore_ascii_case("attributes") && raw.get().starts_with('{') => {
                for (key, raw) in typed_json::parse_object(raw.get()).ok()? {
                    let value = PartValue::of(raw);
                    attributes.extend(value.map(|v| (typed_json::unescape_key(&key).to_owned(), v)));
                }
            }
            _ => {
                let value = PartValue::of(raw);
                attributes.extend(value.map(|v| (typed_json::unescape_key(&key).to_owned(), v)));
            }
        }
    }
    Some(PartEvent { timestamp_ns: timestamp_ns?, name: name?, attributes })
}

/// Links of a list in typed JSON; `None` if an entry is not a link.
pub(super) fn links(json: &str) -> Option<Vec<PartLink>> {
    objects(json)?.into_iter().map(link).collect()
}

fn link(entries: Entries<'_>) -> Option<PartLink> {
    let mut link = PartLink { trace_id: None, span_id: None, attributes: String::new() };
    let mut fields = Vec::new();
    for (key, raw) in entries {
        if ["context", "spancontext"].iter().any(|name| key.eq_ignore_ascii_case(name)) {
            fields.extend(typed_json::parse_object(raw.get()).ok()?);
        } else {
            fields.push((key, raw));
        }
    }
    for (key, raw) in fields {
        let text = || serde_json::from_str::<String>(raw.get()).ok();
        match role_of(&key).target {
            Target::Core(Slot::Trace, _) => match ids::trace_id(&text()?) {
                Id::Is(id) => link.trace_id = Some(id),
                _ => return None,
            },
            Target::Core(Slot::Span, _) => match ids::span_id(&text()?) {
                Id::Is(id) => link.span_id = Some(id),
                _ => return None,
            },
            // An empty trace state and nulls carry nothing.
            Target::Core(Slot::TraceState, _) if matches!(text().as_deref(), Some("" | "[]")) => {}
            _ if raw.get() == "null" => {}
            _ if key.eq_ignore_ascii_case("attributes") => {
                let object = typed_json::parse_object(raw.get()).ok()?;
                if !object.is_empty() {
                    raw.get().clone_into(&mut link.attributes);
                }
            }
            // A link has no place for other fields.
            _ => return None,
        }
    }
    (link.trace_id.is_some() && link.span_id.is_some()).then_some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_links_of_console_exporters_are_read() {
        let found = events(
            r#"[{"name":"cache.miss","timestamp":"2025-01-09T14:21:04.801Z","attributes":{"key":"k1","n":2,"d":0.5,"ok":true,"l":[1],"gone":null}},
                {"Name":"x","Time":1736432464801}]"#,
        )
        .unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].timestamp_ns, &*found[0].name), (1_736_432_464_801_000_000, "cache.miss"));
        assert_eq!(
            found[0].attributes,
            [
                ("key".to_owned(), PartValue::Text("k1".to_owned())),
                ("n".to_owned(), PartValue::Int(2)),
                ("d".to_owned(), PartValue::Double(0.5)),
                ("ok".to_owned(), PartValue::Bool(true)),
                ("l".to_owned(), PartValue::Json("[1]".to_owned())),
            ]
        );
        assert_eq!(found[1].timestamp_ns, found[0].timestamp_ns);
        let found = links(
            r#"[{"context":{"trace_id":"0x01944b70b37abc48df7d103455bc404f","span_id":"0xf875ae17bca0f574","trace_state":"[]"},"attributes":{"a":1}}]"#,
        )
        .unwrap();
        assert_eq!(found[0].attributes, "{\"a\":1}");
        assert!(found[0].trace_id.is_some() && found[0].span_id.is_some());
        assert_eq!((events("[]"), links("[]")), (Some(Vec::new()), Some(Vec::new())));
    }

    #[test]
    fn what_is_neither_is_left_alone() {
        for json in
            ["[1]", "{}", "[{\"name\":\"no time\"}]", "[{\"timestamp\":1}]", "[{\"name\":1,\"timestamp\":1}]"]
        {
            assert_eq!(events(json), None, "{json}");
        }
        for json in ["[\"x\"]", "[{}]", "[{\"trace_id\":\"0xff\",\"span_id\":\"\"}]"] {
            assert_eq!(links(json), None, "{json}");
        }
    }
}
