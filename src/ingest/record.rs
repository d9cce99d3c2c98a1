//! From the fields of one record to one event.
//!
//! Decoders of lines and tables give fields, one after the other, to an [`Assembler`]; it finds out what
//! they mean ([`super::fields`]), reads times, ids, levels and durations, and puts the rest into
//! attributes. What is written here once is the same for every such format:
//!
//! - A record with a span id and a duration (or a start and an end) is a `span`, any other a `log`, unless
//!   it says its `signal` or a person did.
//! - The duration is end − start where both are known, else what the record says.
//! - A field that cannot be read as what its name suggests stays an attribute. Two are refused: a time
//!   when the record has no other, and anything that a person mapped explicitly.
//! - Go's zero time is no time.
//! - A record without any time gets the time of import, and says so in `timestamp_origin`.
//! - Without a service, a Kubernetes pod of a Deployment names it: `cart-6cfdd55578-gfj6q` is `cart`.
//!
//! All texts of a record live in one string that is reused: assembling allocates nothing per record.

use std::ops::Range;

use hashbrown::HashMap;

use super::fields::{FieldMap, RANK_MAPPED, RANK_SET, Slot, Target};
use super::ids::{self, Id};
use super::levels;
use super::times::{self, Unit};
use crate::error::Result;
use crate::event::{
    AttributeKey, CoreEvent, EventBatch, EventBatchBuilder, KeyId, Level, Signal, SpanId, TraceId, Value,
};

/// A field's value; texts are ranges of the record's arena.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Int(i64),
    /// Beyond `i64`; becomes text unless it is an id.
    UInt(u64),
    Double(f64),
    Bool(bool),
    /// Nanoseconds since the epoch.
    Time(i64),
    /// Nanoseconds.
    Duration(i64),
    Text(Range<usize>),
    /// Typed JSON.
    Json(Range<usize>),
    /// In the arena of bytes.
    Bytes(Range<usize>),
}

/// A field of this assembler; cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FieldId(u32);

struct Field {
    name: Box<str>,
    target: Target,
    rank: u8,
    /// Where it goes when it is an attribute.
    key: KeyId,
}

/// What one chunk of a file gave.
#[derive(Debug)]
pub struct Decoded {
    /// The events, in the order of the input.
    pub batch: EventBatch,
    /// The records that did not become events.
    pub refused: Vec<Refused>,
    /// Remarks.
    pub hints: Hints,
}

/// A record that did not become an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which one: lines of the chunk before it, or records where there are no lines.
    pub position: u64,
    /// Its bytes in the chunk; empty where the format has no text to show.
    pub bytes: Range<usize>,
    /// What is wrong with it.
    pub reason: String,
}

/// What a person may want to know after an import, though nothing was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Events that had no time and got that of the import.
    pub without_time: u64,
    /// A field that looks like a duration and says no unit.
    pub duration_without_unit: Option<String>,
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
}

/// The fields of the record at hand.
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
        self.fields.push(Field { name: name.into(), target, rank, key });
        FieldId(self.fields.len() as u32 - 1)
    }

    /// The field of this name. Expected O(1).
    pub(super) fn field(&mut self, name: &str) -> FieldId {
        if let Some(id) = self.by_name.get(name) {
            return FieldId(*id);
        }
        let role = self.map.role(name);
        let id = self.add_field(name, role.target, role.rank);
        self.by_name.insert(name.into(), id.0);
        id
    }

    /// The part of the event's core that the field may go to.
    pub(super) fn slot(&self, field: FieldId) -> Option<Slot> {
        match self.fields[field.0 as usize].target {
            Target::Core(slot, _) => Some(slot),
            Target::Attribute(_) => None,
        }
    }

    /// Forgets the fields given so far: a new record begins.
    pub(super) fn begin(&mut self) {
        self.record.clear();
    }

    /// Adds a field whose value borrows nothing.
    pub(super) fn set(&mut self, field: FieldId, value: Scalar) {
        self.record.values.push((field, value));
    }

    pub(super) fn set_text(&mut self, field: FieldId, text: &str) {
        let start = self.record.text.len();
        self.record.text.push_str(text);
        self.record.values.push((field, Scalar::Text(start..self.record.text.len())));
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

    /// Makes an event of the fields since [`begin`](Self::begin); `Err` says why that is impossible.
    pub(super) fn commit(&mut self) -> Result<(), String> {
        for i in 0..self.constants.len() {
            let (field, value) = &self.constants[i];
            let start = self.record.text.len();
            self.record.text.push_str(value);
            self.record.values.push((*field, Scalar::Text(start..self.record.text.len())));
        }
        let mut read = Reading::of(&self.fields, &mut self.record)?;
        let timing = read.timing(&mut self.record, &self.fields, self.now_ns)?;
        if timing.origin == Some("received") {
            self.hints.without_time += 1;
        }
        if let Some(field) = read.unitless.filter(|_| timing.duration_ns.is_none()) {
            self.hints
                .duration_without_unit
                .get_or_insert_with(|| self.fields[field.0 as usize].name.to_string());
        }
        self.push(&read, &timing);
        Ok(())
    }

    fn push(&mut self, read: &Reading, timing: &Timing) {
        let record = &self.record;
        let text = |range: &Option<Range<usize>>| range.as_ref().map(|r| record.str(r));
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
            ..CoreEvent::default()
        });
        let service = text(&read.service).or_else(|| text(&read.pod).and_then(service_of_pod));
        if let Some(service) = service {
            self.builder.attribute(self.service, Value::Text(service));
        }
        if let Some(pod) = text(&read.pod) {
            self.builder.attribute(self.pod, Value::Text(pod));
        }
        for ((field, value), taken) in record.values.iter().zip(&record.taken) {
            if !taken {
                push_attribute(&mut self.builder, self.fields[field.0 as usize].key, value, record);
            }
        }
    }

    /// The events of all records committed.
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
        Scalar::Text(range) => builder.attribute(key, Value::Text(record.str(range))),
        Scalar::Json(range) => builder.attribute(key, Value::Json(record.str(range))),
        Scalar::Bytes(range) => builder.attribute(key, Value::Bytes(&record.bytes[range.clone()])),
    }
}

/// The name of the Deployment that a pod belongs to: what stands before the hash of the ReplicaSet and
/// the suffix of the pod. Kubernetes draws both from letters and digits that cannot spell words
/// (`k8s.io/apimachinery/pkg/util/rand`), so ordinary names are left alone.
pub(super) fn service_of_pod(pod: &str) -> Option<&str> {
    let drawn = |part: &str| part.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b));
    let (rest, suffix) = pod.rsplit_once('-')?;
    let (name, hash) = rest.rsplit_once('-')?;
    let ok = suffix.len() == 5 && drawn(suffix) && (6..=10).contains(&hash.len()) && drawn(hash);
    (ok && !name.is_empty()).then_some(name)
}

/// What the core fields of a record say.
#[derive(Default)]
struct Reading {
    best: [Option<(u8, usize)>; Slot::COUNT],
    time: Option<i64>,
    start: Option<i64>,
    end: Option<i64>,
    observed: Option<i64>,
    duration: Option<i64>,
    trace: Option<TraceId>,
    span: Option<SpanId>,
    parent: Option<SpanId>,
    name: Option<Range<usize>>,
    kind: Option<&'static str>,
    status: Option<&'static str>,
    status_message: Option<Range<usize>>,
    severity: Option<Range<usize>>,
    severity_number: Option<i64>,
    body: Option<Range<usize>>,
    signal: Option<Signal>,
    weight: Option<f64>,
    trace_state: Option<Range<usize>>,
    service: Option<Range<usize>>,
    pod: Option<Range<usize>>,
    /// A field that should be the time and could not be read.
    bad_time: Option<usize>,
    /// A duration whose unit nobody knows.
    unitless: Option<FieldId>,
}

/// What follows from the times, taken together.
struct Timing {
    timestamp_ns: i64,
    origin: Option<&'static str>,
    duration_ns: Option<i64>,
    signal: Signal,
}

impl Reading {
    /// Reads the core fields and marks which values they took.
    fn of(fields: &[Field], record: &mut Record) -> Result<Self, String> {
        let mut read = Self::default();
        for (i, (id, value)) in record.values.iter().enumerate() {
            let field = &fields[id.0 as usize];
            let Target::Core(slot, unit) = field.target else { continue };
            if read.best[slot as usize].is_some_and(|(rank, _)| rank <= field.rank) {
                continue;
            }
            if read.accept(slot, unit, value, record, field.rank) {
                read.best[slot as usize] = Some((field.rank, i));
            } else if slot == Slot::Duration
                && unit.is_none()
                && matches!(value, Scalar::Int(_) | Scalar::Double(_))
            {
                read.unitless = Some(*id);
            } else if field.rank <= RANK_MAPPED && !is_nothing(value) {
                return Err(format!(
                    "field {:?}: {} is not what it is mapped to",
                    field.name,
                    display(value, record)
                ));
            } else if slot == Slot::Time && !is_nothing(value) {
                read.bad_time = Some(i);
            }
        }
        record.taken.clear();
        record.taken.resize(record.values.len(), false);
        for (slot, best) in read.best.iter().enumerate() {
            // A sample rate is an attribute that the weight is taken from, as in OTLP.
            if let Some((_, i)) = best {
                let keep = slot == Slot::Weight as usize
                    && &*fields[record.values[*i].0.0 as usize].name != "sample_weight";
                record.taken[*i] = !keep;
            }
        }
        Ok(read)
    }

    /// Reads `value` as what `slot` needs; false when it is not that.
    fn accept(&mut self, slot: Slot, unit: Option<Unit>, value: &Scalar, record: &Record, rank: u8) -> bool {
        let text = match value {
            Scalar::Text(range) => Some(range.clone()),
            _ => None,
        };
        let word = text.as_ref().map(|range| record.str(range));
        match slot {
            Slot::Time => keep(&mut self.time, time(value, unit, record)),
            Slot::Start => keep(&mut self.start, time(value, unit, record)),
            Slot::End => keep(&mut self.end, time(value, unit, record)),
            Slot::Observed => keep(&mut self.observed, time(value, unit, record)),
            Slot::Duration => keep(&mut self.duration, duration(value, unit, record)),
            Slot::Trace => match value {
                Scalar::Int(v) => keep(&mut self.trace, u64::try_from(*v).ok().and_then(ids::trace_id_of)),
                Scalar::UInt(v) => keep(&mut self.trace, ids::trace_id_of(*v)),
                Scalar::Bytes(range) => {
                    keep(&mut self.trace, TraceId::from_slice(&record.bytes[range.clone()]))
                }
                _ => word.is_some_and(|word| keep_id(&mut self.trace, ids::trace_id(word))),
            },
            Slot::Span => span_id(&mut self.span, value, word, record),
            Slot::Parent => span_id(&mut self.parent, value, word, record),
            Slot::Name => keep(&mut self.name, text),
            Slot::StatusMessage => keep(&mut self.status_message, text),
            Slot::Body => keep(&mut self.body, text),
            Slot::TraceState => keep(&mut self.trace_state, text),
            Slot::Service => keep(&mut self.service, text.filter(|t| !t.is_empty())),
            Slot::Pod => keep(&mut self.pod, text.filter(|t| !t.is_empty())),
            Slot::Kind => keep(&mut self.kind, kind(value, word, rank)),
            Slot::Status => keep(&mut self.status, status(value, word, rank)),
            Slot::Severity => self.accept_severity(value, text.clone(), word, rank),
            Slot::SeverityNumber => match value {
                Scalar::Int(v) if (1..=24).contains(v) => keep(&mut self.severity_number, Some(*v)),
                _ => false,
            },
            Slot::Signal => {
                keep(&mut self.signal, word.and_then(|w| Signal::ALL.into_iter().find(|s| s.as_str() == w)))
            }
            Slot::Weight => {
                let weight = match value {
                    Scalar::Int(v) => *v as f64,
                    Scalar::Double(v) => *v,
                    _ => return false,
                };
                keep(&mut self.weight, (weight >= 1.0 && weight.is_finite()).then_some(weight))
            }
        }
    }

    fn accept_severity(
        &mut self,
        value: &Scalar,
        text: Option<Range<usize>>,
        word: Option<&str>,
        rank: u8,
    ) -> bool {
        let number = match value {
            Scalar::Int(level) => levels::number_of_level(*level),
            _ => word.and_then(levels::number_of_name),
        };
        // An unknown word is a level only where a person says so.
        if number.is_none() && (rank > RANK_MAPPED || text.is_none()) {
            return false;
        }
        // The producer's own number, if there is one, is the better one.
        if self.best[Slot::SeverityNumber as usize].is_none() {
            self.severity_number = number;
        }
        self.severity = text;
        true
    }

    /// Decides time, duration and signal, and marks what went into them.
    fn timing(&mut self, record: &mut Record, fields: &[Field], now_ns: i64) -> Result<Timing, String> {
        let untake = |slot: Slot, record: &mut Record| {
            if let Some((_, i)) = self.best[slot as usize] {
                record.taken[i] = false;
            }
        };
        let exact = |slot: Slot| self.best[slot as usize].is_some_and(|(rank, _)| rank < 20);
        let measured = self.start.or(self.time).zip(self.end).and_then(|(start, end)| end.checked_sub(start));
        let duration_ns = if exact(Slot::Duration) { self.duration } else { measured.or(self.duration) };
        if duration_ns != self.duration {
            untake(Slot::Duration, record);
        }
        if duration_ns != measured {
            untake(Slot::End, record);
        }
        let timed = duration_ns.is_some() || self.unitless.is_some();
        let signal =
            self.signal.unwrap_or(if self.span.is_some() && timed { Signal::Span } else { Signal::Log });
        let (time, unused) = match (signal, self.time, self.start) {
            (Signal::Span, time, Some(start)) => (Some(start), time.map(|t| (Slot::Time, t, start))),
            (_, Some(time), start) => (Some(time), start.map(|s| (Slot::Start, s, time))),
            (_, None, start) => (start, None),
        };
        // A second spelling of the same instant says nothing new.
        if let Some((slot, other, chosen)) = unused
            && other != chosen
        {
            untake(slot, record);
        }
        self.drop_repeated_time(record, fields, time);
        let from_end = || Some((self.end?.checked_sub(duration_ns?)?, None));
        let (timestamp_ns, origin) = if let Some(found) = time.map(|t| (t, None)).or_else(from_end) {
            found
        } else {
            if let Some(i) = self.bad_time {
                let (id, value) = &record.values[i];
                let name = &fields[id.0 as usize].name;
                return Err(format!(
                    "field {name:?}: {} is no time that is understood",
                    display(value, record)
                ));
            }
            self.observed.map_or((now_ns, Some("received")), |t| (t, Some("observed")))
        };
        Ok(Timing { timestamp_ns, origin, duration_ns, signal })
    }

    /// Takes further fields that say the same instant as `time` in another spelling.
    fn drop_repeated_time(&self, record: &mut Record, fields: &[Field], time_ns: Option<i64>) {
        if self.best[Slot::Time as usize].is_none() || time_ns.is_none() {
            return;
        }
        for i in 0..record.values.len() {
            let (id, value) = &record.values[i];
            if let Target::Core(Slot::Time, unit) = fields[id.0 as usize].target
                && !record.taken[i]
                && time(value, unit, record) == time_ns
            {
                record.taken[i] = true;
            }
        }
    }
}

fn keep<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let some = value.is_some();
    if some {
        *slot = value;
    }
    some
}

fn keep_id<T>(slot: &mut Option<T>, id: Id<T>) -> bool {
    match id {
        Id::Is(id) => *slot = Some(id),
        Id::Absent => *slot = None,
        Id::Unreadable => return false,
    }
    true
}

fn span_id(slot: &mut Option<SpanId>, value: &Scalar, word: Option<&str>, record: &Record) -> bool {
    match value {
        Scalar::Int(0) => keep_id(slot, Id::Absent),
        Scalar::Int(v) => keep(slot, u64::try_from(*v).ok().and_then(ids::span_id_of)),
        Scalar::UInt(v) => keep(slot, ids::span_id_of(*v)),
        Scalar::Bytes(range) => keep(slot, SpanId::from_slice(&record.bytes[range.clone()])),
        _ => word.is_some_and(|word| keep_id(slot, ids::span_id(word))),
    }
}

/// `time.Time{}.UnixNano()` of Go: what its programs write when they have no time.
const GO_ZERO_TIME: i64 = -6_795_364_578_871_345_152;

fn time(value: &Scalar, unit: Option<Unit>, record: &Record) -> Option<i64> {
    match value {
        Scalar::Int(GO_ZERO_TIME) => None,
        Scalar::Time(v) => Some(*v),
        Scalar::Int(v) => times::epoch_int(*v, unit),
        Scalar::Double(v) => times::epoch_double(*v, unit),
        Scalar::Text(range) => times::time(record.str(range), unit),
        _ => None,
    }
}

fn duration(value: &Scalar, unit: Option<Unit>, record: &Record) -> Option<i64> {
    match value {
        Scalar::Duration(v) => Some(*v),
        Scalar::Int(v) => times::duration_int(*v, unit?),
        Scalar::Double(v) => times::duration_double(*v, unit?),
        Scalar::Text(range) => times::duration(record.str(range), unit),
        _ => None,
    }
}

/// A span kind; OTLP's numbers count only where a person mapped the field.
fn kind(value: &Scalar, word: Option<&str>, rank: u8) -> Option<&'static str> {
    const KINDS: [&str; 5] = ["internal", "server", "client", "producer", "consumer"];
    if let Scalar::Int(number) = value {
        return KINDS
            .get(usize::try_from(number.checked_sub(1)?).ok()?)
            .copied()
            .filter(|_| rank <= RANK_MAPPED);
    }
    let word = word?;
    let word = word.strip_prefix("SPAN_KIND_").or_else(|| word.strip_prefix("SpanKind.")).unwrap_or(word);
    KINDS.into_iter().find(|kind| kind.eq_ignore_ascii_case(word))
}

/// A span status; OTLP's numbers count only where a person mapped the field, because most are HTTP's.
fn status(value: &Scalar, word: Option<&str>, rank: u8) -> Option<&'static str> {
    const STATUSES: [&str; 3] = ["unset", "ok", "error"];
    if let Scalar::Int(number) = value {
        return STATUSES.get(usize::try_from(*number).ok()?).copied().filter(|_| rank <= RANK_MAPPED);
    }
    let word = word?;
    let word = word.strip_prefix("STATUS_CODE_").unwrap_or(word);
    STATUSES.into_iter().find(|status| status.eq_ignore_ascii_case(word))
}

fn is_nothing(value: &Scalar) -> bool {
    matches!(value, Scalar::Text(range) if range.is_empty()) || *value == Scalar::Int(GO_ZERO_TIME)
}

fn display(value: &Scalar, record: &Record) -> String {
    match value {
        Scalar::Text(range) | Scalar::Json(range) => {
            let text = record.str(range);
            let short: String = text.chars().take(60).collect();
            format!("{short:?}{}", if short.len() < text.len() { "…" } else { "" })
        }
        Scalar::Int(v) | Scalar::Time(v) | Scalar::Duration(v) => v.to_string(),
        Scalar::UInt(v) => v.to_string(),
        Scalar::Double(v) => v.to_string(),
        Scalar::Bool(v) => v.to_string(),
        Scalar::Bytes(range) => format!("{} bytes", range.len()),
    }
}

/// What the tests of the decoders look at.
#[cfg(test)]
pub(super) mod testing {
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    use super::*;

    /// A core field as text; empty when there is none. Ids are hex.
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

    /// A file of `testdata`.
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
