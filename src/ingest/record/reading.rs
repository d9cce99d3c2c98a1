//! How do the fields of a record become the core of its event?

use std::ops::Range;

use super::super::fields::{RANK_MAPPED, Slot, Target};
use super::super::ids::{self, Id};
use super::super::levels;
use super::super::times::{self, NoTime, Unit};
use super::{Field, FieldId, Record, Scalar};
use crate::event::{Signal, SpanId, TraceId};

/// Values of the core fields of a record.
#[derive(Default)]
pub(super) struct Reading {
    best: [Option<(u8, usize)>; Slot::COUNT],
    time: Option<i64>,
    start: Option<i64>,
    end: Option<i64>,
    pub(super) observed: Option<i64>,
    duration: Option<i64>,
    pub(super) trace: Option<TraceId>,
    pub(super) span: Option<SpanId>,
    pub(super) parent: Option<SpanId>,
    pub(super) name: Option<Range<usize>>,
    pub(super) kind: Option<&'static str>,
    pub(super) status: Option<&'static str>,
    pub(super) status_message: Option<Range<usize>>,
    pub(super) severity: Option<Range<usize>>,
    pub(super) severity_number: Option<i64>,
    pub(super) body: Option<Range<usize>>,
    signal: Option<Signal>,
    pub(super) weight: Option<f64>,
    pub(super) trace_state: Option<Range<usize>>,
    pub(super) service: Option<Range<usize>>,
    pub(super) pod: Option<Range<usize>>,
    /// Index of a time field whose value is not a valid time, and the reason.
    bad_time: Option<(usize, NoTime)>,
    /// A duration without a unit.
    pub(super) unitless: Option<FieldId>,
}

/// Core field that a field of the record is for.
#[derive(Clone, Copy)]
struct CoreField {
    slot: Slot,
    /// Unit of a number.
    unit: Option<Unit>,
    /// Rank of the record's field among those for this slot.
    rank: u8,
}

/// Time, duration and signal, decided from all times of the record.
pub(super) struct Timing {
    pub(super) timestamp_ns: i64,
    pub(super) origin: Option<&'static str>,
    pub(super) duration_ns: Option<i64>,
    pub(super) signal: Signal,
}

impl Reading {
    /// Reads the core fields and marks the values they use as taken. `Err` if a field that the user mapped or set has
    /// a value that does not fit.
    pub(super) fn of(fields: &[Field], record: &mut Record) -> Result<Self, String> {
        let mut read = Self::default();
        for (i, (id, value)) in record.values.iter().enumerate() {
            let field = &fields[id.0 as usize];
            let Target::Core(slot, unit) = field.target else { continue };
            if read.best[slot as usize].is_some_and(|(rank, _)| rank <= field.rank) {
                continue;
            }
            let core = CoreField { slot, unit, rank: field.rank };
            if read.accept(core, value, record) {
                read.best[slot as usize] = Some((field.rank, i));
            } else if slot == Slot::Duration
                && unit.is_none()
                && matches!(value, Scalar::Int(_) | Scalar::Double(_))
            {
                read.unitless = Some(*id);
            } else if field.rank <= RANK_MAPPED && !is_nothing(value) {
                let shown = display(value, record);
                return Err(if is_time(slot) && time(value, unit, record) == Err(NoTime::OutOfRange) {
                    out_of_range(&field.name, &shown)
                } else {
                    format!(
                        "field {:?}: {shown} does not fit the target that the field is mapped to",
                        field.name
                    )
                });
            } else if is_time(slot) && !is_nothing(value) {
                read.note_bad_time(slot, i, time(value, unit, record));
            }
        }
        record.taken.clear();
        record.taken.resize(record.values.len(), false);
        for (slot, best) in read.best.iter().enumerate() {
            // A sample rate gives the weight and stays an attribute, as in OTLP.
            if let Some((_, i)) = best {
                let keep = slot == Slot::Weight as usize
                    && &*fields[record.values[*i].0.0 as usize].name != "sample_weight";
                record.taken[*i] = !keep;
            }
        }
        read.join_nanoseconds(fields, record);
        Ok(read)
    }

    /// Remembers an unreadable time field: a record without another time may be refused because of it.
    fn note_bad_time(&mut self, slot: Slot, i: usize, read: Result<i64, NoTime>) {
        let Err(why) = read else { return };
        if slot == Slot::Time {
            self.bad_time = Some((i, why));
        } else if slot == Slot::Start || why == NoTime::OutOfRange {
            self.bad_time.get_or_insert((i, why));
        }
    }

    /// Joins a time that is in two fields, seconds and the nanoseconds after them, as protobuf's and Google's loggers
    /// write it.
    fn join_nanoseconds(&mut self, fields: &[Field], record: &mut Record) {
        let slots = [
            (Slot::Time, &mut self.time),
            (Slot::Start, &mut self.start),
            (Slot::End, &mut self.end),
            (Slot::Observed, &mut self.observed),
        ];
        for (slot, time) in slots {
            let Some((_, best)) = self.best[slot as usize] else { continue };
            let target = |id: FieldId| &fields[id.0 as usize].target;
            if *target(record.values[best].0) != Target::Core(slot, Some(Unit::Nanoseconds)) {
                continue;
            }
            let Some(nanoseconds) = time.filter(|ns| (0..1_000_000_000).contains(ns)) else { continue };
            let seconds = record.values.iter().enumerate().find_map(|(i, (id, value))| {
                let seconds = *target(*id) == Target::Core(slot, Some(Unit::Seconds));
                let whole = self::time(value, Some(Unit::Seconds), record).ok().filter(|_| seconds)?;
                Some((i, whole.checked_add(nanoseconds)?))
            });
            if let Some((i, joined)) = seconds {
                *time = Some(joined);
                record.taken[i] = true;
            }
        }
    }

    /// Reads `value` into `core`; false if it does not fit.
    fn accept(&mut self, core: CoreField, value: &Scalar, record: &Record) -> bool {
        let CoreField { slot, unit, rank } = core;
        let text = match value {
            Scalar::Text(range) => Some(range.clone()),
            _ => None,
        };
        let word = text.as_ref().map(|range| record.str(range));
        match slot {
            Slot::Time => keep(&mut self.time, time(value, unit, record).ok()),
            Slot::Start => keep(&mut self.start, time(value, unit, record).ok()),
            Slot::End => keep(&mut self.end, time(value, unit, record).ok()),
            Slot::Observed => keep(&mut self.observed, time(value, unit, record).ok()),
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
            // Python writes an empty trace state as an empty list.
            Slot::TraceState if word == Some("[]") => true,
            Slot::TraceState => keep(&mut self.trace_state, text),
            Slot::Service => keep(&mut self.service, text.filter(|t| !t.is_empty())),
            Slot::Pod => keep(&mut self.pod, text.filter(|t| !t.is_empty())),
            Slot::Kind => keep(&mut self.kind, kind(value, word, rank)),
            Slot::Status => keep(&mut self.status, status(value, word, rank)),
            Slot::Severity => self.accept_severity(value, text.clone(), word, rank),
            Slot::SeverityNumber => match value {
                Scalar::Int(v) if (1..=24).contains(v) => keep(&mut self.severity_number, Some(*v)),
                _ => keep(&mut self.severity_number, word.and_then(levels::number_of_text)),
            },
            Slot::Priority => {
                let priority = match value {
                    Scalar::Int(priority) => Some(*priority),
                    _ => word.and_then(|word| word.parse().ok()),
                };
                let number = priority.and_then(levels::number_of_priority);
                self.severity_number = self.severity_number.or(number);
                number.is_some()
            }
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
        // An unknown word is a level only if the user mapped the field.
        if number.is_none() && (rank > RANK_MAPPED || text.is_none()) {
            return false;
        }
        // The producer's own number takes precedence.
        if self.best[Slot::SeverityNumber as usize].is_none() {
            self.severity_number = number;
        }
        self.severity = text;
        true
    }

    /// Decides time, duration and signal, and marks the fields they use as taken. `Err` if the record's only time
    /// cannot be read.
    pub(super) fn timing(
        &mut self,
        record: &mut Record,
        fields: &[Field],
        now_ns: i64,
    ) -> Result<Timing, String> {
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
        // A second field with the same instant is redundant.
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
            if let Some((i, why)) = self.bad_time {
                let (id, value) = &record.values[i];
                let Field { name, target, .. } = &fields[id.0 as usize];
                let shown = display(value, record);
                let far = why == NoTime::OutOfRange;
                // An end, or a start that cannot be read, is the record's time only if it has a span id.
                let is_its_time = match target {
                    Target::Core(Slot::Time, _) => true,
                    Target::Core(Slot::Start | Slot::Observed, _) if far => true,
                    _ => self.span.is_some(),
                };
                if is_its_time {
                    return Err(if far {
                        out_of_range(name, &shown)
                    } else {
                        format!("field {name:?}: {shown} is not a time in a known format")
                    });
                }
            }
            self.observed.map_or((now_ns, Some("received")), |t| (t, Some("observed")))
        };
        Ok(Timing { timestamp_ns, origin, duration_ns, signal })
    }

    /// Marks further time fields with the same instant as `time_ns` as taken.
    fn drop_repeated_time(&self, record: &mut Record, fields: &[Field], time_ns: Option<i64>) {
        if self.best[Slot::Time as usize].is_none() || time_ns.is_none() {
            return;
        }
        for i in 0..record.values.len() {
            let (id, value) = &record.values[i];
            if let Target::Core(Slot::Time, unit) = fields[id.0 as usize].target
                && !record.taken[i]
                && time(value, unit, record).ok() == time_ns
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

/// Go's `time.Time{}.UnixNano()`: Go programs write it for a missing time.
const GO_ZERO_TIME: i64 = -6_795_364_578_871_345_152;

fn time(value: &Scalar, unit: Option<Unit>, record: &Record) -> Result<i64, NoTime> {
    match value {
        Scalar::Int(GO_ZERO_TIME) => Err(NoTime::Unreadable),
        Scalar::Time(v) => Ok(*v),
        Scalar::Int(v) => times::epoch_int(*v, unit),
        Scalar::UInt(_) | Scalar::FarTime(_) => Err(NoTime::OutOfRange),
        Scalar::Double(v) => times::epoch_double(*v, unit),
        Scalar::Text(range) => times::time(record.str(range), unit),
        _ => Err(NoTime::Unreadable),
    }
}

fn is_time(slot: Slot) -> bool {
    matches!(slot, Slot::Time | Slot::Start | Slot::End | Slot::Observed)
}

fn out_of_range(field: &str, shown: &str) -> String {
    format!("field {field:?}: {shown} is out of range: times from {} can be stored", times::RANGE)
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

/// Reads a span kind. OTLP's numbers count only if the user mapped the field.
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

/// Reads a span status. OTLP's numbers count only if the user mapped the field, because most are HTTP's.
fn status(value: &Scalar, word: Option<&str>, rank: u8) -> Option<&'static str> {
    const STATUSES: [&str; 3] = ["unset", "ok", "error"];
    if let Scalar::Int(number) = value {
        return STATUSES.get(usize::try_from(*number).ok()?).copied().filter(|_| rank <= RANK_MAPPED);
    }
    let word = word?;
    let word = word.strip_prefix("STATUS_CODE_").or_else(|| word.strip_prefix("StatusCode.")).unwrap_or(word);
    STATUSES.into_iter().find(|status| status.eq_ignore_ascii_case(word))
}

fn is_nothing(value: &Scalar) -> bool {
    matches!(value, Scalar::Text(range) if range.is_empty()) || *value == Scalar::Int(GO_ZERO_TIME)
}

fn display(value: &Scalar, record: &Record) -> String {
    match value {
        Scalar::Text(range) | Scalar::FarTime(range) | Scalar::Json(range) => {
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
