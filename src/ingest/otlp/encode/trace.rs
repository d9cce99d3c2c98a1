//! Encoding of spans with their events.

use std::collections::HashMap;

use arrow::array::Array;
use arrow::datatypes::UInt32Type;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::super::log::RECEIVED;
use super::super::record::enum_number;
use super::super::trace::{FROM_END, FROM_SPAN, KINDS, STATUSES};
use super::columns::{Row, field_id, field_number, field_text, object};
use super::group::{Groups, ScopeIndex};
use crate::error::Result;
use crate::event::schema::column as c;

/// Trace id and span id.
type SpanKey = (Vec<u8>, Vec<u8>);

/// Spans and span events so far.
#[derive(Default)]
pub(super) struct Traces {
    groups: Groups<Span>,
    /// Spans by trace id and span id; several if a producer reuses an id.
    spans: HashMap<SpanKey, Vec<(ScopeIndex, usize)>>,
    events: Vec<PendingEvent>,
}

/// A span event that waits for its span.
struct PendingEvent {
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    scope: ScopeIndex,
    /// Sort key: the time of the event, or of its span if the event has none.
    order_ns: u64,
    event: Event,
}

impl Traces {
    pub(super) fn span(&mut self, row: &Row<'_>) -> Result<()> {
        let (scope, attributes) = self.groups.enter(row)?;
        let (start_time_unix_nano, end_time_unix_nano) = start_and_end(row);
        let span = Span {
            trace_id: row.id(c::TRACE_ID),
            span_id: row.id(c::SPAN_ID),
            trace_state: row.string(c::TRACE_STATE),
            parent_span_id: row.id(c::PARENT_SPAN_ID),
            flags: row.count32(c::FLAGS),
            name: row.string(c::NAME),
            kind: row.text(c::KIND).map_or(0, |name| enum_number(&KINDS, name)),
            start_time_unix_nano,
            end_time_unix_nano,
            attributes,
            dropped_attributes_count: row.count32(c::DROPPED_ATTRIBUTES_COUNT),
            events: Vec::new(),
            dropped_events_count: row.count32(c::DROPPED_EVENTS_COUNT),
            links: links(row)?,
            dropped_links_count: row.count32(c::DROPPED_LINKS_COUNT),
            status: status(row),
        };
        let key = (span.trace_id.clone(), span.span_id.clone());
        let records = self.groups.records(scope);
        self.spans.entry(key).or_default().push((scope, records.len()));
        records.push(span);
        Ok(())
    }

    pub(super) fn event(&mut self, row: &Row<'_>) -> Result<()> {
        let (scope, attributes) = self.groups.enter(row)?;
        let time = row.time(c::TIMESTAMP).unwrap_or(0);
        let event = Event {
            time_unix_nano: if row.text(c::TIMESTAMP_ORIGIN) == Some(FROM_SPAN) { 0 } else { time },
            name: row.string(c::NAME),
            attributes,
            dropped_attributes_count: row.count32(c::DROPPED_ATTRIBUTES_COUNT),
        };
        let (trace_id, span_id) = (row.id(c::TRACE_ID), row.id(c::SPAN_ID));
        self.events.push(PendingEvent { trace_id, span_id, scope, order_ns: time, event });
        Ok(())
    }

    /// Returns the request and the number of events without a span.
    pub(super) fn finish(mut self) -> (ExportTraceServiceRequest, usize) {
        self.events.sort_by_key(|e| e.order_ns);
        let mut orphans = 0;
        for PendingEvent { trace_id, span_id, scope, event, .. } in self.events {
            let spans = self.spans.get(&(trace_id, span_id)).map(Vec::as_slice).unwrap_or_default();
            let same_scope = spans.iter().find(|(of, _)| *of == scope);
            match same_scope.or(spans.first()) {
                Some((scope, i)) => self.groups.records(*scope)[*i].events.push(event),
                None => orphans += 1,
            }
        }
        let resource_spans = self.groups.into_resources().into_iter().filter_map(|group| {
            let scope_spans: Vec<_> = group
                .scopes
                .into_iter()
                .filter(|scope| !scope.records.is_empty())
                .map(|scope| ScopeSpans {
                    scope: Some(scope.scope),
                    spans: scope.records,
                    schema_url: scope.schema_url,
                })
                .collect();
            let (resource, schema_url) = (Some(group.resource), group.schema_url);
            (!scope_spans.is_empty()).then_some(ResourceSpans { resource, scope_spans, schema_url })
        });
        (ExportTraceServiceRequest { resource_spans: resource_spans.collect() }, orphans)
    }
}

/// Start and end of a span; zero if unknown.
fn start_and_end(row: &Row<'_>) -> (u64, u64) {
    let time = row.time(c::TIMESTAMP).unwrap_or(0);
    match (row.text(c::TIMESTAMP_ORIGIN), row.int(c::DURATION_NS)) {
        // OTLP can express a duration only by start and end.
        (_, Some(duration)) => (time, time.saturating_add_signed(duration)),
        (Some(FROM_END), None) => (0, time),
        (Some(RECEIVED), None) => (0, 0),
        (_, None) => (time, 0),
    }
}

fn status(row: &Row<'_>) -> Option<Status> {
    let status = Status {
        message: row.string(c::STATUS_MESSAGE),
        code: row.text(c::STATUS).map_or(0, |name| enum_number(&STATUSES, name)),
    };
    (status != Status::default()).then_some(status)
}

fn links(row: &Row<'_>) -> Result<Vec<Link>> {
    let Some(items) = row.structs(c::LINKS) else { return Ok(Vec::new()) };
    let link = |i| {
        Ok(Link {
            trace_id: field_id(&items, "trace_id", i)?,
            span_id: field_id(&items, "span_id", i)?,
            trace_state: field_text(&items, "trace_state", i)?.to_owned(),
            attributes: object(field_text(&items, "attributes", i)?)?,
            dropped_attributes_count: field_number::<UInt32Type>(&items, "dropped_attributes_count", i)?
                .unwrap_or(0),
            flags: field_number::<UInt32Type>(&items, "flags", i)?.unwrap_or(0),
        })
    };
    (0..items.len()).map(link).collect()
}
