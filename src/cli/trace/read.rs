//! Spans, records and facts of a trace, as its statements return them.

use super::super::draw::row::Row;

/// Facts about a trace.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) service: String,
    pub(super) name: String,
    /// Earliest start of a span, in nanoseconds since 1970.
    pub(super) start_ns: i64,
    /// To the latest end; none if it is not known.
    pub(super) duration_ns: Option<i64>,
    pub(super) spans: u64,
    pub(super) errors: u64,
    pub(super) services: u64,
    pub(super) notes: String,
}

impl Head {
    pub(super) fn read(row: Row<'_>) -> Self {
        let count = |name| row.integer(name).unwrap_or(0).unsigned_abs();
        Self {
            id: row.text("trace_id"),
            service: row.text("root_service"),
            name: row.text("root_name"),
            start_ns: row.integer("start").unwrap_or(0),
            duration_ns: row.integer("duration_ns"),
            spans: count("spans"),
            errors: count("errors"),
            services: count("services"),
            notes: row.text("notes"),
        }
    }
}

/// A span, with its place in the tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Span {
    /// Its number; those below it follow it.
    pub(super) row: u64,
    pub(super) depth: usize,
    /// Number of spans below it.
    pub(super) below: u64,
    pub(super) id: String,
    pub(super) service: String,
    pub(super) name: String,
    pub(super) is_error: bool,
    /// True if no span below it failed.
    pub(super) is_origin: bool,
    pub(super) start_ns: i64,
    pub(super) duration_ns: Option<i64>,
    pub(super) notes: String,
}

impl Span {
    pub(super) fn read(row: Row<'_>) -> Self {
        let count = |name| row.integer(name).unwrap_or(0).unsigned_abs();
        Self {
            row: count("row"),
            depth: usize::try_from(count("depth")).unwrap_or(usize::MAX),
            below: count("spans_below"),
            id: row.text("span_id"),
            service: row.text("service.name"),
            name: row.text("name"),
            is_error: row.raw("status") == "error",
            is_origin: row.is("error_origin"),
            start_ns: row.integer("timestamp").unwrap_or(0),
            duration_ns: row.integer("duration_ns"),
            notes: row.text("notes"),
        }
    }
}

/// A log record or span event.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub(super) at_ns: i64,
    /// Id of its span; empty without one.
    pub(super) span_id: String,
    /// Its level, else its kind.
    pub(super) level: String,
    /// 0 if it is not known.
    pub(super) severity_number: i64,
    pub(super) text: String,
}

impl Record {
    pub(super) fn read(row: Row<'_>) -> Self {
        let parts = ["name", "body", "exception_type", "exception_message"].map(|name| row.text(name));
        let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let severity = row.text("severity");
        let kind = if row.raw("signal") == "log" { "log" } else { "event" };
        Self {
            at_ns: row.integer("timestamp").unwrap_or(0),
            span_id: row.text("span_id"),
            level: if severity.is_empty() { kind.to_owned() } else { severity },
            severity_number: row.integer("severity_number").unwrap_or(0),
            text: parts.join(" "),
        }
    }
}

/// Spans of one name on the critical path.
#[derive(Debug, Clone, Default)]
pub(super) struct PathStep {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) duration_ns: i64,
    pub(super) share: f64,
    pub(super) spans: i64,
}

impl PathStep {
    pub(super) fn read(row: Row<'_>) -> Self {
        Self {
            service: row.text("service.name"),
            name: row.text("name"),
            duration_ns: row.integer("duration_ns").unwrap_or(0),
            share: row.number("share").unwrap_or(0.0),
            spans: row.integer("spans").unwrap_or(0),
        }
    }
}
