//! How do the fields of one record become one event?
//!
//! Decoders of lines and tables pass fields, one after the other, to an [`Assembler`]. It looks up their
//! meaning ([`super::fields`]), reads times, ids, levels and durations, and puts the rest into attributes.
//! These rules hold for every such format:
//!
//! - A record with a span id and a duration (or a start and an end) is a `span`, any other a `log`, unless
//!   the record or the user sets `signal`.
//! - The duration is end − start if both are known, otherwise the record's own duration.
//! - A field whose value does not fit the meaning of its name stays an attribute. In two cases the record is
//!   refused: the field is its only time, or the user mapped the field explicitly.
//! - Go's zero time counts as absent. Seconds and nanoseconds in separate fields form one time.
//! - A span's `events` and `links` become span events and links ([`parts`]).
//! - A record without any time gets the time of import; `timestamp_origin` says so.
//! - If there is no service, the name of a Deployment's Kubernetes pod supplies it: `cart-6cfdd55578-gfj6q`
//!   gives `cart`.
//!
//! All texts of a record live in one reused string, so assembling allocates nothing per record.

mod reading;
mod parts;

use std::ops::Range;

use hashbrown::HashMap;

use self::parts::Parts;
use self::reading::{Reading, Timing};
use super::fields::{FieldMap, RANK_SET, Slot, Target};
use super::place::located;
use crate::error::Result;
use crate::event::{AttributeKey, CoreEvent, EventBatch, EventBatchBuilder, KeyId, Level, Signal, Value};

/// A field's value. Text is a range of the record's string.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Int(i64),
    /// Too large for `i64`; becomes text unless it is an id.
    UInt(u64),
    Double(f64),
    Bool(bool),
    /// Nanoseconds since the epoch.
    Time(i64),
    /// A time outside the range of [`Self::Time`], as text.
    FarTime(Range<usize>),
    /// Nanoseconds.
    Duration(i64),
    Text(Range<usize>),
    /// Typed JSON.
    Json(Range<usize>),
    /// Range of the record's `bytes`.
    Bytes(Range<usize>),
}

/// A field of this assembler; cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FieldId(u32);

struct Field {
    name: Box<str>,
    target: Target,
    rank: u8,
    /// Attribute that receives the value if the core does not take it.
    key: KeyId,
    level: Level,
}

/// Result of decoding one chunk of a file.
#[derive(Debug)]
pub struct Decoded {
    /// The events, in the order of the input.
    pub batch: EventBatch,
    /// The records that did not become events.
    pub refused: Vec<Refused>,
    /// Remarks on records that became events.
    pub hints: Hints,
}

/// A record that did not become an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Number of lines in the chunk before the fault, or of records if the format has no lines.
    pub position: u64,
    /// Column in that line, counted from 1, if the decoder reports it.
    pub column: Option<u64>,
    /// Byte range of the record in the chunk; empty if the format has no text to show.
    pub bytes: Range<usize>,
    /// Description of the fault.
    pub reason: String,
}

impl Refused {
    /// Refuses the record that is `bytes` of `chunk` and begins in line `position`. A line and column at the end
    /// of `reason` count from the start of the record; they are converted to count from the start of the chunk.
    pub(super) fn text(chunk: &[u8], bytes: Range<usize>, position: u64, reason: &str) -> Self {
        let (reason, place) = located(reason);
        let before = chunk.get(..bytes.start).unwrap_or_default();
        let indent = before.iter().rev().take_while(|b| **b != b'\n').count() as u64;
        let (lines, column) = match place {
            Some((1, column)) => (0, Some(indent + column)),
            Some((line, column)) => (line - 1, Some(column)),
            None => (0, None),
        };
        Self { position: position + lines, column, bytes, reason: reason.to_owned() }
    }
}

/// Remarks to show after an import, on records that were not refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Events without a time, which got the time of import.
    pub without_time: u64,
    /// Name of a field that looks like a duration but has no unit.
    pub duration_without_unit: Option<String>,
    /// Rows of delimited text with fewer cells than the header; the missing cells are empty.
    pub short_rows: u64,
    /// Number of spans whose process is missing from their file.
    pub without_process: u64,
    /// Name of one missing process.
    pub missing_process: Option<String>,
}

impl Hints {
    /// Adds the hints of another part of the same input.
    pub fn merge(&mut self, other: Self) {
        self.without_time += other.without_time;
        self.short_rows += other.short_rows;
        self.without_process += other.without_process;
        self.duration_without_unit = self.duration_without_unit.take().or(other.duration_without_unit);
        self.missing_process = self.missing_process.take().or(other.missing_process);
    }
}

/// Builds events from fields.
pub(super) struct Assembler {
    map: FieldMap,
    now_ns: i64,
    builder: EventBatchBuilder,
    fields: Vec<Field>,
    by_name: HashMap<Box<str>, u32>,
    constants: Vec<(FieldId, String)>,
    service: KeyId,
    pod: KeyId,
    record: Record,
    hints: Hints,
    /// Remaining part of [`ROOM_BYTES`].
    room: usize,
}

/// Most bytes of resource and scope attributes that one chunk may copy to span events; a few megabytes are usual.
/// A list of events that would exceed it stays an attribute.
const ROOM_BYTES: usize = 64 << 20;

/// Fields of the current record.
#[derive(Default)]
pub(super) struct Record {
    values: Vec<(FieldId, Scalar)>,
    taken: Vec<bool>,
    pub(super) text: String,
    bytes: Vec<u8>,
}

impl Record {
    fn clear(&mut self) {
        self.values.clear();
        self.text.clear();
        self.bytes.clear();
    }

    fn str(&self, range: &Range<usize>) -> &str {
        &self.text[range.clone()]
    }
}

impl Assembler {
    pub(super) fn new(map: &FieldMap, now_ns: i64) -> Self {
        let mut builder = EventBatchBuilder::new();
        let service = builder.key(Level::Resource, "service.name");
        let pod = builder.key(Level::Resource, "k8s.pod.name");
        let mut assembler = Self {
            map: map.clone(),
            now_ns,
            builder,
            fields: Vec::new(),
            by_name: HashMap::new(),
            constants: Vec::new(),
            service,
            pod,
            record: Record::default(),
            hints: Hints::default(),
            room: ROOM_BYTES,
        };
        for (name, value) in map.constants() {
            let id = assembler.add_field(name, super::fields::role_of(name).target, RANK_SET);
            assembler.constants.push((id, value.clone()));
        }
        assembler
    }

    fn add_field(&mut self, name: &str, target: Target, rank: u8) -> FieldId {
        let AttributeKey { level, key } = match &target {
            Target::Attribute(key) => key.clone(),
            Target::Core(..) => super::fields::attribute_key(name),
        };
        let key = self.builder.key(level, &key);
        self.fields.push(Field { name: name.into(), target, rank, key, level });
        FieldId(self.fields.len() as u32 - 1)
    }

    /// Returns the field with this name, and adds it if it is new. Expected O(1).
    pub(super) fn field(&mut self, name: &str) -> FieldId {
        if let Some(id) = self.by_name.get(name) {
            return FieldId(*id);
        }
        let role = self.map.role(name);
        let id = self.add_field(name, role.target, role.rank);
        self.by_name.insert(name.into(), id.0);
        id
    }

    /// Returns the core slot of the field; `None` if it is an attribute.
    pub(super) fn slot(&self, field: FieldId) -> Option<Slot> {
        match self.fields[field.0 as usize].target {
            Target::Core(slot, _) => Some(slot),
            Target::Attribute(_) => None,
        }
    }

    /// Starts a new record: drops the fields set so far.
    pub(super) fn begin(&mut self) {
        self.record.clear();
    }

    /// Adds a field whose value refers to no text or bytes of the record.
    pub(super) fn set(&mut self, field: FieldId, value: Scalar) {
        self.record.values.push((field, value));
    }

    pub(super) fn set_text(&mut self, field: FieldId, text: &str) {
        let start = self.record.text.len();
        self.record.text.push_str(text);
        self.record.values.push((field, Scalar::Text(start..self.record.text.len())));
    }

    /// Adds a time that is out of range, as text.
    pub(super) fn set_far_time(&mut self, field: FieldId, text: &str) {
        let start = self.record.text.len();
        self.record.text.push_str(text);
        self.record.values.push((field, Scalar::FarTime(start..self.record.text.len())));
    }

    pub(super) fn set_bytes(&mut self, field: FieldId, bytes: &[u8]) {
        let start = self.record.bytes.len();
        self.record.bytes.extend_from_slice(bytes);
        self.record.values.push((field, Scalar::Bytes(start..self.record.bytes.len())));
    }

    /// Adds typed JSON that `write` appends to the string.
    pub(super) fn set_json<E>(
        &mut self,
        field: FieldId,
        write: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.record.text.len();
        write(&mut self.record.text)?;
        self.record.values.push((field, Scalar::Json(start..self.record.text.len())));
        Ok(())
    }

    /// True if a field is a list of objects.
    pub(super) fn has_list_of_objects(&self) -> bool {
        let of_objects =
            |value: &Scalar| matches!(value, Scalar::Json(range) if self.record.str(range).starts_with("[{"));
        self.record.values.iter().any(|(_, value)| of_objects(value))
    }

    /// Counts a row with fewer cells than its header.
    pub(super) fn note_short_row(&mut self) {
        self.hints.short_rows += 1;
    }

    /// Builds the event, and its span events, from the fields set since [`begin`](Self::begin). `Err` is the reason
    /// for refusing the record.
    pub(super) fn commit(&mut self) -> Result<(), String> {
        for i in 0..self.constants.len() {
            let (field, value) = &self.constants[i];
            let start = self.record.text.len();
            self.record.text.push_str(value);
            self.record.values.push((*field, Scalar::Text(start..self.record.text.len())));
        }
        let mut read = Reading::of(&self.fields, &mut self.record)?;
        let timing = read.timing(&mut self.record, &self.fields, self.now_ns)?;
        let parts = self.parts(&timing);
        if timing.origin == Some("received") {
            self.hints.without_time += 1;
        }
        if let Some(field) = read.unitless.filter(|_| timing.duration_ns.is_none()) {
            self.hints
                .duration_without_unit
                .get_or_insert_with(|| self.fields[field.0 as usize].name.to_string());
        }
        let record = std::mem::take(&mut self.record);
        self.push(&record, &read, &timing, &parts);
        for part in &parts.events {
            self.push_event(&record, &read, part);
        }
        self.record = record;
        Ok(())
    }

    /// Reads a span's lists of events and links, and marks those fields as taken.
    fn parts(&mut self, timing: &Timing) -> Parts {
        let mut parts = Parts::default();
        if timing.signal != Signal::Span {
            return parts;
        }
        let Record { values, taken, text, .. } = &mut self.record;
        // Approximate size of the attributes that each event of the span repeats.
        let repeated: usize = values
            .iter()
            .filter(|(id, _)| self.fields[id.0 as usize].level != Level::Record)
            .map(|(id, value)| {
                self.fields[id.0 as usize].name.len()
                    + if let Scalar::Text(range) | Scalar::Json(range) | Scalar::Bytes(range) = value {
                        range.len()
                    } else {
                        8
                    }
            })
            .sum();
        for (i, (id, value)) in values.iter().enumerate() {
            let Scalar::Json(range) = value else { continue };
            let json = &text[range.clone()];
            let name = &*self.fields[id.0 as usize].name;
            taken[i] |= if name.eq_ignore_ascii_case("events") && parts.events.is_empty() {
                let room = &mut self.room;
                parts::events(json)
                    .filter(|events| {
                        let rest = room.checked_sub(repeated.saturating_mul(events.len()));
                        rest.map(|rest| *room = rest).is_some()
                    })
                    .map(|events| parts.events = events)
                    .is_some()
            } else if name.eq_ignore_ascii_case("links") && parts.links.is_empty() {
                parts::links(json).map(|links| parts.links = links).is_some()
            } else {
                false
            };
        }
        parts
    }

    fn push(&mut self, record: &Record, read: &Reading, timing: &Timing, parts: &Parts) {
        let text = |range: &Option<Range<usize>>| range.as_ref().map(|r| record.str(r));
        let links: Vec<_> = parts.links.iter().map(parts::PartLink::borrow).collect();
        self.builder.push(&CoreEvent {
            timestamp_ns: timing.timestamp_ns,
            timestamp_origin: timing.origin,
            observed_timestamp_ns: read.observed,
            duration_ns: timing.duration_ns,
            signal: timing.signal,
            trace_id: read.trace,
            span_id: read.span,
            parent_span_id: read.parent,
            name: text(&read.name),
            kind: read.kind,
            status: read.status,
            status_message: text(&read.status_message).unwrap_or(""),
            severity: text(&read.severity).unwrap_or(""),
            severity_number: read.severity_number,
            body: text(&read.body),
            sample_weight: read.weight.unwrap_or(1.0),
            trace_state: text(&read.trace_state).unwrap_or(""),
            links: &links,
            ..CoreEvent::default()
        });
        self.push_owner(record, read);
        for ((field, value), taken) in record.values.iter().zip(&record.taken) {
            if !taken {
                push_attribute(&mut self.builder, self.fields[field.0 as usize].key, value, record);
            }
        }
    }

    /// Adds the service and the pod.
    fn push_owner(&mut self, record: &Record, read: &Reading) {
        let text = |range: &Option<Range<usize>>| range.as_ref().map(|r| record.str(r));
        let service = text(&read.service).or_else(|| text(&read.pod).and_then(service_of_pod));
        if let Some(service) = service {
            self.builder.attribute(self.service, Value::Text(service));
        }
        if let Some(pod) = text(&read.pod) {
            self.builder.attribute(self.pod, Value::Text(pod));
        }
    }

    /// Adds a span event with the resource and scope of its span.
    fn push_event(&mut self, record: &Record, read: &Reading, part: &parts::PartEvent) {
        self.builder.push(&CoreEvent {
            timestamp_ns: part.timestamp_ns,
            signal: Signal::SpanEvent,
            trace_id: read.trace,
            span_id: read.span,
            name: Some(&part.name),
            ..CoreEvent::default()
        });
        self.push_owner(record, read);
        for ((id, value), taken) in record.values.iter().zip(&record.taken) {
            let field = &self.fields[id.0 as usize];
            if !taken && field.level != Level::Record {
                push_attribute(&mut self.builder, field.key, value, record);
            }
        }
        for (key, value) in &part.attributes {
            let key = self.builder.key(Level::Record, key);
            self.builder.attribute(key, value.borrow());
        }
    }

    /// Returns the events of all committed records.
    pub(super) fn finish(self) -> Result<(EventBatch, Hints)> {
        Ok((self.builder.finish()?, self.hints))
    }
}

fn push_attribute(builder: &mut EventBatchBuilder, key: KeyId, value: &Scalar, record: &Record) {
    match value {
        Scalar::Int(v) | Scalar::Duration(v) => builder.attribute(key, Value::Int(*v)),
        Scalar::UInt(v) => builder.attribute(key, Value::Text(&v.to_string())),
        Scalar::Double(v) => builder.attribute(key, Value::Double(*v)),
        Scalar::Bool(v) => builder.attribute(key, Value::Bool(*v)),
        Scalar::Time(v) => {
            let time = chrono::DateTime::from_timestamp_nanos(*v);
            builder.attribute(key, Value::Text(&time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)));
        }
        Scalar::Text(range) | Scalar::FarTime(range) => {
            builder.attribute(key, Value::Text(record.str(range)));
        }
        Scalar::Json(range) => builder.attribute(key, Value::Json(record.str(range))),
        Scalar::Bytes(range) => builder.attribute(key, Value::Bytes(&record.bytes[range.clone()])),
    }
}

/// Name of the Deployment that a pod belongs to: the part before the ReplicaSet's hash and the pod's suffix.
/// Kubernetes draws both from letters and digits that cannot spell words
/// (`k8s.io/apimachinery/pkg/util/rand`), so ordinary names do not match.
pub(super) fn service_of_pod(pod: &str) -> Option<&str> {
    let drawn = |part: &str| part.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b));
    let (rest, suffix) = pod.rsplit_once('-')?;
    let (name, hash) = rest.rsplit_once('-')?;
    let ok = suffix.len() == 5 && drawn(suffix) && (6..=10).contains(&hash.len()) && drawn(hash);
    (ok && !name.is_empty()).then_some(name)
}

/// Helpers for the tests of the decoders.
#[cfg(test)]
pub(super) mod testing {
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    use super::*;

    /// A core field as text; empty if the column is absent or null. Ids are hex.
    pub(in crate::ingest) fn core(batch: &EventBatch, row: usize, column: &str) -> String {
        let Some(array) = batch.core().column_by_name(column) else { return String::new() };
        let options =
            FormatOptions::default().with_null("").with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));
        ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string()
    }

    /// The attributes of a row, in the order of their levels and keys.
    pub(in crate::ingest) fn shown(batch: &EventBatch, row: u32) -> Vec<String> {
        let columns = batch.attributes().iter();
        columns
            .filter_map(|c| {
                let i = c.rows().binary_search(&row).ok()?;
                Some(format!("{} = {:?}", c.key().physical_name(), c.value(i)))
            })
            .collect()
    }

    /// Contents of a file of `testdata`.
    pub(in crate::ingest) fn read(name: &str) -> Vec<u8> {
        std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_a_deployment_names_its_service() {
        for (pod, service) in [
            ("recommendationservice-6cfdd55578-gfj6q", Some("recommendationservice")),
            ("ts-station-food-service-dc4d75dd-k65k2", Some("ts-station-food-service")),
            ("web-0", None),
            ("api-server-main", None),
            ("-6cfdd55578-gfj6q", None),
            ("gfj6q", None),
        ] {
            assert_eq!(service_of_pod(pod), service, "{pod}");
        }
    }
}
