//! Which questions, as SQL over attributes, lead from the alarm to its cause?
//!
//! Each question takes the results of earlier answers as arguments: the start of the incident, a trace id. The SQL
//! does not depend on the corpus being generated; it would be the same for a real shop's telemetry.

use super::incident;

/// One step of the investigation: a question and the SQL statement that answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The question in one line.
    pub title: &'static str,
    /// SQL statement that answers it.
    pub sql: String,
}

/// Duration above which a checkout counts as slow, in nanoseconds.
pub const SLOW_NS: i64 = 2_000_000_000;

/// Asks for the latency of `POST /checkout` by minute: columns `minute`, `checkouts`, `p50_ms`, `p99_ms`.
pub fn is_anything_wrong() -> Question {
    Question {
        title: "Is anything wrong? How long POST /checkout takes, by minute",
        sql: format!(
            "select date_trunc('minute', timestamp) as minute, count(*) as checkouts,\n       \
             p50(duration_ns) / 1000000 as p50_ms, p99(duration_ns) / 1000000 as p99_ms\n\
             from spans\n\
             where http.request.method = 'POST' and http.route = '{}'\n\
             group by minute\n\
             order by minute",
            incident::ROUTE
        ),
    }
}

/// Asks for the same latency since `since` (RFC 3339), by the visitor's operating system and the region.
pub fn who_is_affected(since: &str) -> Question {
    Question {
        title: "Where? The bad minutes, sliced by the visitor's system and the region",
        sql: format!(
            "select os.name, os.version, cloud.region, count(*) as checkouts,\n       \
             p50(duration_ns) / 1000000 as p50_ms, p99(duration_ns) / 1000000 as p99_ms\n\
             from spans\n\
             where http.request.method = 'POST' and http.route = '{}' and timestamp >= '{since}'\n\
             group by os.name, os.version, cloud.region\n\
             order by p99_ms desc\n\
             limit 8",
            incident::ROUTE
        ),
    }
}

/// Asks for the own time, without children, of the spans of slow checkouts since `since`, by service, version and
/// operation.
pub fn which_service(since: &str) -> Question {
    Question {
        title: "Which service? Where the slow checkouts spend their time, without child spans",
        sql: format!(
            "with slow as (\n  \
               select span_id, parent_span_id, service.name as service, service.version as version, name, duration_ns\n  \
               from spans\n  \
               where timestamp >= '{since}' and trace_id in (\n    \
                 select trace_id from spans\n    \
                 where http.route = '{}' and duration_ns > {SLOW_NS} and timestamp >= '{since}')\n\
             ), children as (\n  \
               select parent_span_id as id, sum(duration_ns) as ns from slow group by parent_span_id\n\
             )\n\
             select service, version, name, count(*) as spans, sum(duration_ns - coalesce(ns, 0)) / 1000000 as own_ms\n\
             from slow left join children on children.id = slow.span_id\n\
             group by service, version, name\n\
             order by own_ms desc\n\
             limit 6",
            incident::ROUTE
        ),
    }
}

/// Asks for the slowest checkouts since `since`; the first column is `trace_id`.
pub fn slowest_checkouts(since: &str) -> Question {
    Question {
        title: "Why? The slowest checkouts",
        sql: format!(
            "select trace_id, timestamp, duration_ns / 1000000 as ms, user.id, device.model.name, os.version\n\
             from spans\n\
             where http.route = '{}' and timestamp >= '{since}'\n\
             order by duration_ns desc\n\
             limit 3",
            incident::ROUTE
        ),
    }
}

/// Asks for the spans of one trace that took over 20 ms, in order of start.
pub fn what_happened(trace_id: &str) -> Question {
    Question {
        title: "What happened in the slowest one? Its spans over 20 ms, in order of start",
        sql: format!(
            "select timestamp, service.name, service.version, kind, name, duration_ns / 1000000 as ms\n\
             from trace('{trace_id}')\n\
             where signal = 'span' and duration_ns > 20000000\n\
             order by timestamp"
        ),
    }
}

/// Asks for the logs of one trace, warnings and worse.
pub fn what_was_logged(trace_id: &str) -> Question {
    Question {
        title: "And what did the services say about it? Its warnings and errors",
        sql: format!(
            "select timestamp, service.name, severity, body\n\
             from logs\n\
             where trace_id = '{trace_id}' and severity_number >= 13\n\
             order by timestamp"
        ),
    }
}
