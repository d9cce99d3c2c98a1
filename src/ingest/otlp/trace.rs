//! How does a span (`opentelemetry.proto.trace.v1`) become rows?
//!
//! A span is one row. Each of its events is a separate row with the ids of the span, so that it reads like a log
//! line. Links stay with the span.
//!
//! | OTLP | column |
//! |---|---|
//! | `start_time_unix_nano` | `timestamp`; if unknown, the end, otherwise the time of receipt; `timestamp_origin` names it |
//! | `end_time_unix_nano` − start | `duration_ns`; null if either is unknown, negative if the end is before the start |
//! | `kind`, `status.code` | their names in lower case; numbers without a name stay numbers |
//! | an all-zero or empty `parent_span_id` | null |
//!
//! A span is stored with all its events or not at all. Times are never made up. A time is unknown if it is zero or
//! out of range, or if start and end are years apart and it is the one farther from now.

use opentelemetry_proto::tonic::trace::v1::span::Link as LinkMessage;
use prost::Message as _;

use super::attributes::{Attribute, object};
use super::log::RECEIVED;
use super::record::{
    Defect, Doubts, Position, Sink, enum_name, optional_span_id, optional_trace_id, span_id, trace_id,
};
use super::weight::sample_weight;
use super::wire::{Field, Message};
use crate::event::{CoreEvent, Link, Signal};

/// Names of `SpanKind` by number; 0 means unspecified and is stored as null.
pub(super) const KINDS: [&str; 6] = ["", "internal", "server", "client", "producer", "consumer"];

/// Names of `StatusCode` by number.
pub(super) const STATUSES: [&str; 3] = ["unset", "ok", "error"];

/// Value of `timestamp_origin`: the span event has no time; the timestamp is that of its span.
pub(super) const FROM_SPAN: &str = "span";

/// Value of `timestamp_origin`: the start of the span is unknown; the timestamp is its end.
pub(super) const FROM_END: &str = "end";

/// Longest plausible duration, ten years. If start and end are further apart, one of them is wrong: a counter of
/// another clock, or a date that means "never".
const DURATION_NS_MAX: u64 = 10 * 366 * 86_400 * 1_000_000_000;

/// Takes the `Span` message in `bytes`; a defect is counted in the sink.
pub(super) fn span(sink: &mut Sink, bytes: &[u8], at: Position) {
    let mut arena = String::new();
    let taken = Span::read(bytes, &mut arena).and_then(|span| span.push(sink, &arena, at));
    if let Err(defect) = taken {
        sink.rejected.add(at, defect);
    }
}

/// A `Span` message.
#[derive(Default)]
#[expect(clippy::struct_field_names, reason = "the protocol's names")]
struct Span<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
    trace_state: &'a str,
    flags: u32,
    name: &'a str,
    kind: i32,
    start_ns: u64,
    end_ns: u64,
    attributes: Vec<Attribute<'a>>,
    dropped_attributes_count: u32,
    events: Vec<Event<'a>>,
    dropped_events_count: u32,
    links: Vec<LinkMessage>,
    dropped_links_count: u32,
    status_message: &'a str,
    status_code: i32,
}

/// A `Span.Event` message.
#[derive(Default)]
struct Event<'a> {
    time_ns: u64,
    name: &'a str,
    attributes: Vec<Attribute<'a>>,
    dropped_attributes_count: u32,
}

impl<'a> Span<'a> {
    fn read(bytes: &'a [u8], arena: &mut String) -> Result<Self, Defect> {
        let mut span = Self::default();
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => span.trace_id = field.bytes()?,
                2 => span.span_id = field.bytes()?,
                3 => span.trace_state = field.text()?,
                4 => span.parent_span_id = field.bytes()?,
                5 => span.name = field.text()?,
                6 => span.kind = field.varint()? as i32,
                7 => span.start_ns = field.fixed64()?,
                8 => span.end_ns = field.fixed64()?,
                9 => span.attributes.push(Attribute::read(field, arena)?),
                10 => span.dropped_attributes_count = field.varint()? as u32,
                11 => span.events.push(Event::read(field, arena)?),
                12 => span.dropped_events_count = field.varint()? as u32,
                13 => span.links.push(LinkMessage::decode(field.bytes()?)?),
                14 => span.dropped_links_count = field.varint()? as u32,
                15 => read_status(field, &mut span.status_code, &mut span.status_message)?,
                16 => span.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(span)
    }

    fn push(&self, sink: &mut Sink, arena: &str, at: Position) -> Result<(), Defect> {
        let mut doubts = Doubts::default();
        let timing = self.timing(sink.now_ns, &mut doubts);
        let link_attributes: Vec<_> = self.links.iter().map(|link| object(&link.attributes)).collect();
        let links: Vec<_> = self
            .links
            .iter()
            .zip(&link_attributes)
            .map(|(link, attributes)| to_link(link, attributes))
            .collect::<Result<_, _>>()?;
        let (mut kind, mut status) = (String::new(), String::new());
        let weight = sample_weight(self.trace_state, &self.attributes);
        let span = CoreEvent {
            timestamp_ns: timing.timestamp_ns,
            timestamp_origin: timing.origin,
            signal: Signal::Span,
            trace_id: Some(trace_id(self.trace_id)?),
            span_id: Some(span_id(self.span_id)?),
            parent_span_id: optional_span_id("parent_span_id", self.parent_span_id)?,
            name: Some(self.name),
            kind: Some(enum_name(&KINDS, self.kind, &mut kind)).filter(|k| !k.is_empty()),
            status: Some(enum_name(&STATUSES, self.status_code, &mut status)),
            status_message: self.status_message,
            duration_ns: timing.duration_ns,
            sample_weight: weight,
            trace_state: self.trace_state,
            flags: self.flags,
            dropped_attributes_count: self.dropped_attributes_count,
            dropped_events_count: self.dropped_events_count,
            dropped_links_count: self.dropped_links_count,
            links: &links,
            ..CoreEvent::default()
        };
        let events: Vec<_> = self.events.iter().map(|e| e.to_core(&span, &mut doubts)).collect();
        sink.reserve(1 + events.len(), 0)?;
        sink.push(&span, &self.attributes, arena);
        for (event, core) in self.events.iter().zip(&events) {
            sink.push(core, &event.attributes, arena);
        }
        doubts.remark(sink, at);
        Ok(())
    }

    /// Decides the time and duration of the span; impossible times become doubts.
    fn timing(&self, now_ns: i64, doubts: &mut Doubts) -> Timing {
        let mut start = doubts.time("start_time_unix_nano", self.start_ns);
        let mut end = doubts.time("end_time_unix_nano", self.end_ns);
        if let (Some(start_ns), Some(end_ns)) = (start, end)
            && start_ns.abs_diff(end_ns) > DURATION_NS_MAX
        {
            // The time nearer to now is more likely to be right.
            if start_ns.abs_diff(now_ns) > end_ns.abs_diff(now_ns) {
                doubts.add(format_args!("start_time_unix_nano is {start_ns}, over ten years from the end"));
                start = None;
            } else {
                doubts.add(format_args!("end_time_unix_nano is {end_ns}, over ten years from the start"));
                end = None;
            }
        }
        match (start, end) {
            (Some(start), end) => {
                Timing { timestamp_ns: start, origin: None, duration_ns: end.map(|end| end - start) }
            }
            (None, Some(end)) => Timing { timestamp_ns: end, origin: Some(FROM_END), duration_ns: None },
            (None, None) => Timing { timestamp_ns: now_ns, origin: Some(RECEIVED), duration_ns: None },
        }
    }
}

/// Time and duration of a span.
struct Timing {
    timestamp_ns: i64,
    /// Source of the timestamp if it is not the start.
    origin: Option<&'static str>,
    duration_ns: Option<i64>,
}

/// Reads a `Status`, or a piece of one.
fn read_status<'a>(field: Field<'a>, code: &mut i32, text: &mut &'a str) -> Result<(), Defect> {
    let mut message = Message::new(field.bytes()?);
    while let Some(field) = message.next_field()? {
        match field.number {
            2 => *text = field.text()?,
            3 => *code = field.varint()? as i32,
            _ => {}
        }
    }
    Ok(())
}

fn to_link<'a>(link: &'a LinkMessage, attributes: &'a str) -> Result<Link<'a>, Defect> {
    Ok(Link {
        trace_id: optional_trace_id("trace_id of a link", &link.trace_id)?,
        span_id: optional_span_id("span_id of a link", &link.span_id)?,
        trace_state: &link.trace_state,
        attributes,
        dropped_attributes_count: link.dropped_attributes_count,
        flags: link.flags,
    })
}

impl<'a> Event<'a> {
    fn read(field: Field<'a>, arena: &mut String) -> Result<Self, Defect> {
        let mut event = Self::default();
        let mut message = Message::new(field.bytes()?);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => event.time_ns = field.fixed64()?,
                2 => event.name = field.text()?,
                3 => event.attributes.push(Attribute::read(field, arena)?),
                4 => event.dropped_attributes_count = field.varint()? as u32,
                _ => {}
            }
        }
        Ok(event)
    }

    fn to_core<'e>(&'e self, span: &CoreEvent<'e>, doubts: &mut Doubts) -> CoreEvent<'e> {
        let time = doubts.time("time_unix_nano of a span event", self.time_ns);
        CoreEvent {
            timestamp_ns: time.unwrap_or(span.timestamp_ns),
            timestamp_origin: time.is_none().then_some(FROM_SPAN),
            signal: Signal::SpanEvent,
            trace_id: span.trace_id,
            span_id: span.span_id,
            name: Some(self.name),
            sample_weight: span.sample_weight,
            dropped_attributes_count: self.dropped_attributes_count,
            ..CoreEvent::default()
        }
    }
}
