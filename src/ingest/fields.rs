//! What does a field of a record mean, judging by its name?
//!
//! Records of lines and tables have no common names for their fields. The tables here list the known spellings
//! ([`SPELLINGS`], [`TIMES`], [`DURATIONS`]); any other field becomes an attribute under its own name. Names are
//! compared in lower case without `_`, `-`, `.`, `@`, spaces and slashes, so that `trace_id`, `TraceID`,
//! `trace.id` and `traceId` are one spelling.
//!
//! Times and durations carry their unit in the name: `latency_us`, `StartTimeUnixNano`, `duration.ms`.
//! If several fields have the same meaning, the one with the best rank whose value can be read wins; the others
//! stay attributes. The user's mappings (`--map time=when,duration_us=cost`) override every spelling, and the
//! user's constants (`--set service.name=shop`) override the record.
//!
//! The names of attributes are read as physical names: the prefix in `resource.x`, `scope.x` and
//! `attributes.x` is their level (see [`crate::event::key`]).

use super::times::Unit;
use crate::error::{Error, Result};
use crate::event::{AttributeKey, Level};

/// Core field of an event that a record's field can fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Slot {
    /// Time of the event.
    Time,
    /// Start; the time of a span.
    Start,
    /// End; with a start or time, gives the duration.
    End,
    /// Time of observation.
    Observed,
    /// Duration.
    Duration,
    /// Trace id.
    Trace,
    /// Span id.
    Span,
    /// Span id of the parent.
    Parent,
    /// Name of the operation or event.
    Name,
    /// Span kind.
    Kind,
    /// Span status.
    Status,
    /// Message of the span status.
    StatusMessage,
    /// Severity, as text or a logger's number.
    Severity,
    /// Severity as OpenTelemetry's number.
    SeverityNumber,
    /// Severity as syslog's number, 0 to 7.
    Priority,
    /// Message of a log.
    Body,
    /// `span`, `log`, `span_event` or `metric`.
    Signal,
    /// Number of events that this one stands for.
    Weight,
    /// W3C trace state.
    TraceState,
    /// Service name; the resource attribute `service.name`.
    Service,
    /// Kubernetes pod; the resource attribute `k8s.pod.name`.
    Pod,
}

impl Slot {
    /// Number of slots.
    pub const COUNT: usize = Self::Pod as usize + 1;
}

/// Destination of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A core field of the event; a number has this unit.
    Core(Slot, Option<Unit>),
    /// An attribute.
    Attribute(AttributeKey),
}

/// A field's target and its rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Destination of the field.
    pub target: Target,
    /// Rank among the fields with the same target: the lowest wins.
    pub rank: u8,
}

/// Rank of a constant that the user set.
pub const RANK_SET: u8 = 0;
/// Rank of a field that the user mapped. At this rank and below, a value that cannot be read refuses the record.
pub const RANK_MAPPED: u8 = 1;

/// Spellings by slot, best first.
const SPELLINGS: &[(Slot, &[&str])] = &[
    (
        Slot::Trace,
        &[
            "traceid",
            "tracetraceid",
            "contexttraceid",
            "spancontexttraceid",
            "ddtraceid",
            "oteltraceid",
            "xb3traceid",
        ],
    ),
    (
        Slot::Span,
        &[
            "spanid",
            "tracespanid",
            "contextspanid",
            "spancontextspanid",
            "ddspanid",
            "otelspanid",
            "xb3spanid",
        ],
    ),
    (Slot::Parent, &["parentspanid", "traceparentid", "parentid", "ddparentid", "parentspan"]),
    (Slot::Name, &["spanname", "operationname", "name", "eventname", "operation", "transactionname"]),
    (Slot::Kind, &["spankind", "kind"]),
    (Slot::Status, &["otelstatuscode", "spanstatus", "status", "statuscode", "statusstatuscode"]),
    (Slot::StatusMessage, &["statusmessage", "statusdescription", "otelstatusdescription"]),
    (Slot::Severity, &["severity", "severitytext", "level", "loglevel", "levelname", "lvl"]),
    (Slot::SeverityNumber, &["severitynumber"]),
    (Slot::Body, &["message", "msg", "body", "logmessage", "shortmessage", "log"]),
    (Slot::Signal, &["signal"]),
    (Slot::Weight, &["sampleweight", "samplerate"]),
    (Slot::TraceState, &["tracestate", "contexttracestate", "spancontexttracestate"]),
    (Slot::Service, &["resourceservicename", "servicename", "service", "svc"]),
    (Slot::Pod, &["k8spodname", "kubernetespodname", "podname", "pod"]),
];

/// Stems of times, best first; a unit may follow.
const TIMES: &[(Slot, &[&str])] = &[
    (Slot::Observed, &["observedtimestamp", "observedtime"]),
    (Slot::Start, &["starttime", "starttimestamp", "start", "startedat"]),
    (Slot::End, &["endtime", "endtimestamp", "end", "endedat", "finishtime", "stoptime"]),
    (
        Slot::Time,
        &[
            "timestamp",
            "time",
            "ts",
            "eventtime",
            "eventtimestamp",
            "datetime",
            "timelocal",
            "asctime",
            "timegenerated",
            "date",
            "createdat",
            "t",
        ],
    ),
];

/// Stems of durations, best first; a unit may follow. Not listed here: nginx's `request_time`, in seconds, and
/// `event.duration` of the Elastic Common Schema, in nanoseconds.
const DURATIONS: &[&str] = &[
    "duration",
    "elapsed",
    "elapsedtime",
    "latency",
    "timetaken",
    "took",
    "dur",
    "responsetime",
    "requestduration",
    "processingtime",
];

/// Prefixes of attributes in exported tables, and our prefixes for them.
const LEVEL_ALIASES: &[(&str, &str)] = &[
    ("SpanAttributes.", ""),
    ("LogAttributes.", ""),
    ("ResourceAttributes.", "resource."),
    ("ScopeAttributes.", "scope."),
];

/// Key of the attribute for a field named `name` that is not a core field.
pub fn attribute_key(name: &str) -> AttributeKey {
    for (alias, ours) in LEVEL_ALIASES {
        if let Some(rest) = name.strip_prefix(alias) {
            return attribute_key(&format!("{ours}{rest}"));
        }
    }
    match AttributeKey::from_physical_name(name) {
        // The entries of a body exist only together with the body.
        Some(key) if key.level != Level::Body => key,
        _ => AttributeKey::new(Level::Record, name),
    }
}

/// Role of a field by its name alone, without the user's mappings.
pub fn role_of(name: &str) -> Role {
    let attribute = || Role { target: Target::Attribute(attribute_key(name)), rank: u8::MAX };
    // No known spelling is longer.
    if name.len() > 48 {
        return attribute();
    }
    if let Some(role) = foreign_role(name) {
        return role;
    }
    let plain = plain(name);
    for (slot, spellings) in SPELLINGS {
        if let Some(i) = spellings.iter().position(|s| *s == plain) {
            return Role { target: Target::Core(*slot, None), rank: 10 + i as u8 };
        }
    }
    if let Some(role) = time_role(name, &plain).or_else(|| duration_role(name, &plain)) {
        return role;
    }
    attribute()
}

fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-' | '.' | '@' | ' ' | '/'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Role of a name that a single program uses: journald's fields, and MongoDB's extended JSON, in which a time is
/// an object (`{"t":{"$date":…}}`).
fn foreign_role(name: &str) -> Option<Role> {
    let core = |slot, unit, rank| Some(Role { target: Target::Core(slot, unit), rank });
    match name {
        "__REALTIME_TIMESTAMP" => return core(Slot::Time, Some(Unit::Microseconds), 30),
        "PRIORITY" => return core(Slot::Priority, None, 10),
        _ => {}
    }
    let stem = name.strip_suffix(".$numberLong").unwrap_or(name).strip_suffix(".$date")?;
    let Role { target: Target::Core(slot, _), rank } = time_role(stem, &plain(stem))? else { return None };
    core(slot, Some(Unit::Milliseconds), rank)
}

fn time_role(name: &str, plain: &str) -> Option<Role> {
    for (slot, stems) in TIMES {
        for (i, stem) in stems.iter().enumerate() {
            let Some(rest) = plain.strip_prefix(stem) else { continue };
            let rest = rest.strip_prefix("unix").or_else(|| rest.strip_prefix("epoch")).unwrap_or(rest);
            let Some(unit) = unit_suffix(name, rest) else { continue };
            // Nanoseconds are more precise than a text with the same time.
            let rank = if unit == Some(Unit::Nanoseconds) { 10 } else { 20 } + i as u8;
            return Some(Role { target: Target::Core(*slot, unit), rank });
        }
    }
    None
}

fn duration_role(name: &str, plain: &str) -> Option<Role> {
    let role = |unit, rank| Some(Role { target: Target::Core(Slot::Duration, unit), rank });
    match plain {
        "eventduration" => return role(Some(Unit::Nanoseconds), 10),
        "requesttime" => return role(Some(Unit::Seconds), 60),
        _ => {}
    }
    for (i, stem) in DURATIONS.iter().enumerate() {
        let Some(unit) = plain.strip_prefix(stem).and_then(|rest| unit_suffix(name, rest)) else { continue };
        let rank = match unit {
            Some(Unit::Nanoseconds) => 10,
            Some(_) => 20,
            None => 40,
        };
        return role(unit, rank + i as u8);
    }
    None
}

/// Unit that the rest of a name spells: `Some(None)` if the rest is empty, `None` if it is not a unit.
/// A lone `s` counts only if it is set apart in the name: `duration_s`, not `durations`.
#[expect(clippy::option_option, reason = "no unit, no suffix and a unit are three cases")]
fn unit_suffix(name: &str, rest: &str) -> Option<Option<Unit>> {
    if rest.is_empty() {
        return Some(None);
    }
    let apart = || {
        name.ends_with('S')
            || name.len() > 1
                && name.is_char_boundary(name.len() - 2)
                && name[name.len() - 2..].starts_with(['_', '-', '.', ' '])
    };
    if rest == "s" && !apart() {
        return None;
    }
    Unit::from_name(rest).map(Some)
}

/// The user's mappings and constants (`--map`, `--set`).
#[derive(Debug, Clone, Default)]
pub struct FieldMap {
    mapped: Vec<(String, Target)>,
    constants: Vec<(String, String)>,
}

impl FieldMap {
    /// Reads `TARGET=FIELD` mappings (one string may hold several, separated by commas) and `KEY=VALUE`
    /// constants. A target is a core field in a spelling of this module, with a unit if it needs one
    /// (`time_ms`, `duration_us`), or the name of an attribute.
    ///
    /// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if an entry does not have this form.
    pub fn parse<S: AsRef<str>>(maps: &[S], constants: &[S]) -> Result<Self> {
        let mut map = Self::default();
        for entry in maps.iter().flat_map(|m| m.as_ref().split(',')) {
            let (target, field) =
                entry.split_once('=').filter(|(t, f)| !t.is_empty() && !f.is_empty()).ok_or_else(|| {
                    Error::invalid(format!(
                        "{entry:?} is not a mapping: expected TARGET=FIELD, for example time=StartTime"
                    ))
                })?;
            let mut target = role_of(target.trim()).target;
            // The unit may be in the target or in the name of the field.
            if let (Target::Core(slot, unit @ None), Target::Core(same, theirs)) =
                (&mut target, role_of(field).target)
                && *slot == same
            {
                *unit = theirs;
            }
            map.mapped.push((field.to_owned(), target));
        }
        for entry in constants {
            let (key, value) =
                entry.as_ref().split_once('=').filter(|(k, _)| !k.is_empty()).ok_or_else(|| {
                    Error::invalid(format!(
                        "{:?} is not a constant: expected KEY=VALUE, for example service.name=shop",
                        entry.as_ref()
                    ))
                })?;
            map.constants.push((key.to_owned(), value.to_owned()));
        }
        Ok(map)
    }

    /// Names and values of the constants.
    pub fn constants(&self) -> &[(String, String)] {
        &self.constants
    }

    /// True if there are neither mappings nor constants.
    pub fn is_empty(&self) -> bool {
        self.mapped.is_empty() && self.constants.is_empty()
    }

    /// Role of a field: the user's mapping if there is one, otherwise by its name.
    pub fn role(&self, name: &str) -> Role {
        match self.mapped.iter().find(|(field, _)| field == name) {
            Some((_, target)) => Role { target: target.clone(), rank: RANK_MAPPED },
            None => role_of(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(name: &str) -> Option<(Slot, Option<Unit>)> {
        match role_of(name).target {
            Target::Core(slot, unit) => Some((slot, unit)),
            Target::Attribute(_) => None,
        }
    }

    #[test]
    fn usual_spellings_are_recognised() {
        for (name, slot, unit) in [
            ("@timestamp", Slot::Time, None),
            ("TimeUnixNano", Slot::Time, Some(Unit::Nanoseconds)),
            ("time_ms", Slot::Time, Some(Unit::Milliseconds)),
            ("StartTimeUnixNano", Slot::Start, Some(Unit::Nanoseconds)),
            ("EndTimeUnixNano", Slot::End, Some(Unit::Nanoseconds)),
            ("startTimeMillis", Slot::Start, Some(Unit::Milliseconds)),
            ("observedTimestamp", Slot::Observed, None),
            ("duration_ms", Slot::Duration, Some(Unit::Milliseconds)),
            ("latency_us", Slot::Duration, Some(Unit::Microseconds)),
            ("duration_ns", Slot::Duration, Some(Unit::Nanoseconds)),
            ("duration_s", Slot::Duration, Some(Unit::Seconds)),
            ("durationMs", Slot::Duration, Some(Unit::Milliseconds)),
            ("elapsed", Slot::Duration, None),
            ("Duration", Slot::Duration, None),
            ("TraceID", Slot::Trace, None),
            ("trace.trace_id", Slot::Trace, None),
            ("parentSpanId", Slot::Parent, None),
            ("ParentID", Slot::Parent, None),
            ("OperationName", Slot::Name, None),
            ("log.level", Slot::Severity, None),
            ("levelname", Slot::Severity, None),
            ("msg", Slot::Body, None),
            ("Log", Slot::Body, None),
            ("service.name", Slot::Service, None),
            ("resource.service.name", Slot::Service, None),
            ("PodName", Slot::Pod, None),
            ("eventTime", Slot::Time, None),
            ("__REALTIME_TIMESTAMP", Slot::Time, Some(Unit::Microseconds)),
            ("PRIORITY", Slot::Priority, None),
            ("MESSAGE", Slot::Body, None),
            ("t.$date", Slot::Time, Some(Unit::Milliseconds)),
            ("start_time.$date.$numberLong", Slot::Start, Some(Unit::Milliseconds)),
            ("context.trace_id", Slot::Trace, None),
            ("SpanContext.SpanID", Slot::Span, None),
            ("status.status_code", Slot::Status, None),
            ("status.description", Slot::StatusMessage, None),
        ] {
            assert_eq!(core(name), Some((slot, unit)), "{name}");
        }
    }

    #[test]
    fn everything_else_is_an_attribute_under_its_own_name() {
        for name in [
            "durations",
            "starts",
            "user.name",
            "http.status_code",
            "load_timestamp",
            "times",
            "",
            "latencies",
            "naïve",
            "endé",
            "priority",
            "_SYSTEMD_UNIT",
            "SYSLOG_IDENTIFIER",
            "__MONOTONIC_TIMESTAMP",
            "price.$date",
        ] {
            assert_eq!(
                role_of(name).target,
                Target::Attribute(AttributeKey::new(Level::Record, name)),
                "{name}"
            );
        }
        assert_eq!(attribute_key("resource.host.name"), AttributeKey::new(Level::Resource, "host.name"));
        assert_eq!(
            attribute_key("ResourceAttributes.host.name"),
            AttributeKey::new(Level::Resource, "host.name")
        );
        assert_eq!(
            attribute_key("SpanAttributes.http.route"),
            AttributeKey::new(Level::Record, "http.route")
        );
        assert_eq!(attribute_key("attributes.http.route"), AttributeKey::new(Level::Record, "http.route"));
        assert_eq!(attribute_key("links"), AttributeKey::new(Level::Record, "links"));
    }

    #[test]
    fn nanoseconds_outrank_text() {
        assert!(role_of("TimeUnixNano").rank < role_of("Timestamp").rank);
        assert!(role_of("duration_ms").rank < role_of("duration").rank);
    }

    #[test]
    fn a_person_has_the_last_word() {
        let map = FieldMap::parse(
            &["duration_us=Duration,time=when", "http.route=Path", "time=end_ms"],
            &["signal=span"],
        )
        .unwrap();
        let target = |name| map.role(name).target;
        assert_eq!(target("Duration"), Target::Core(Slot::Duration, Some(Unit::Microseconds)));
        assert_eq!(target("when"), Target::Core(Slot::Time, None));
        assert_eq!(target("Path"), Target::Attribute(AttributeKey::new(Level::Record, "http.route")));
        assert_eq!(map.role("when").rank, RANK_MAPPED);
        assert_eq!(map.constants(), [("signal".to_owned(), "span".to_owned())]);
        for bad in ["time", "=x", "time="] {
            assert!(FieldMap::parse(&[bad], &[]).is_err(), "{bad}");
        }
        assert!(FieldMap::parse(&[], &["novalue"]).is_err());
    }
}
