//! What do services log: access logs, business events, warnings, errors, most of them in a trace?
//!
//! Services in Rust and Node log structured bodies, the others text. Loggers copy the visitor's baggage
//! into their records, as OpenTelemetry's loggers can be configured to do.

use std::fmt::Write as _;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use super::Stage;
use super::attributes::{attribute, boolean, double, int, map, text, text_array};
use super::dice::Dice;
use super::exceptions::Exception;
use super::incident;
use super::outbox::Emitted;
use super::shop::{Language, SERVICES, Subject};
use super::trace::{Frame, Journey};
use super::world::{Protocol, Target};

/// Share of requests at the gateway that are logged.
const ACCESS_LOG: f64 = 0.8;
/// Share of requests at other services that are logged.
const INNER_LOG: f64 = 0.35;
/// Share of background records with the trace id of a trace that was not kept.
const UNSAMPLED: f64 = 0.02;

/// Content of a record.
struct Line {
    severity: SeverityNumber,
    logger: &'static str,
    event: &'static str,
    body: Value,
    extra: Vec<KeyValue>,
}

/// Place and time of a record.
struct Context<'a> {
    pod: usize,
    /// Time by the true clock.
    time_ns: i64,
    /// Empty outside of any trace, like the id of the span.
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    /// Baggage of the visitor.
    baggage: &'a [KeyValue],
}

/// Logs a served request.
pub(super) fn served(
    journey: &mut Journey<'_, '_>,
    target: &Target,
    frame: &Frame,
    status: i64,
    took_ns: i64,
) {
    let service = &SERVICES[target.service];
    let gateway = service.name == "gateway";
    if !journey.stage.dice.chance(if gateway { ACCESS_LOG } else { INNER_LOG }) {
        return;
    }
    let severity = match status {
        500.. => SeverityNumber::Error,
        400..=499 => SeverityNumber::Warn,
        _ if gateway || target.protocol == Protocol::Timer => SeverityNumber::Info,
        _ => SeverityNumber::Debug,
    };
    let took_us = took_ns / 1000;
    let body = match service.language {
        Language::Rust | Language::Node => structured(journey, target, status, took_us),
        _ => {
            let mut line = String::with_capacity(96);
            let _ = write!(
                line,
                "{} {} {status} {}.{:03} ms",
                target.method,
                target.route,
                took_us / 1000,
                took_us % 1000
            );
            Value::StringValue(line)
        }
    };
    let extra = vec![
        text("http.route", target.route),
        int("http.response.status_code", status),
        int("duration_us", took_us),
    ];
    let line = Line { severity, logger: "access", event: "", body, extra };
    write_line(journey, frame, frame.span_id, frame.now_ns, line);
}

fn structured(journey: &mut Journey<'_, '_>, target: &Target, status: i64, took_us: i64) -> Value {
    let mut entries = vec![
        text("message", "request served"),
        text("operation", target.operation.name.as_str()),
        int("status", status),
        double("took_ms", took_us as f64 / 1000.0),
        attribute("tags", text_array(&["http", SERVICES[target.service].team])),
    ];
    if matches!(target.subject, Subject::Cart | Subject::Order) {
        let basket = &journey.basket;
        entries.push(map(
            "cart",
            vec![
                int("items", basket.items as i64),
                double("total", basket.cents as f64 / 100.0),
                boolean("gift", basket.id.is_multiple_of(8)),
            ],
        ));
    }
    Value::KvlistValue(KeyValueList { values: entries })
}

/// Logs the business event of a sent message.
pub(super) fn published(journey: &mut Journey<'_, '_>, frame: &Frame, span_id: [u8; 8], topic: usize) {
    let topic = journey.stage.shared.world.topics[topic].name;
    let basket = &journey.basket;
    let order = basket.order();
    let total = basket.cents as f64 / 100.0;
    let body = match topic {
        "orders.placed" => format!(
            "order {order} placed: {} items, {total:.2} {} 🧵",
            basket.items, journey.visitor.currency
        ),
        "payments.authorized" => {
            format!("payment of {total:.2} {} for {order} authorized", journey.visitor.currency)
        }
        _ => format!("cart changed: {} items", basket.items),
    };
    let extra = vec![
        text("order.id", order),
        double("order.total", total),
        text("messaging.destination.name", topic),
    ];
    let body = Value::StringValue(body);
    let line = Line { severity: SeverityNumber::Info, logger: "business", event: topic, body, extra };
    write_line(journey, frame, span_id, frame.now_ns, line);
}

/// Logs the exception of a failed step.
pub(super) fn failed(
    journey: &mut Journey<'_, '_>,
    frame: &Frame,
    span_id: &[u8],
    end_ns: i64,
    exception: &Exception,
) {
    let body = Value::StringValue(format!("request failed: {}: {}", exception.kind, exception.message));
    let extra = exception.attributes.clone();
    let line = Line { severity: SeverityNumber::Error, logger: "errors", event: "", body, extra };
    let span_id = span_id.try_into().unwrap_or(frame.span_id);
    write_line(journey, frame, span_id, end_ns, line);
}

/// Logs a query that was slow by chance.
pub(super) fn slow_query(
    journey: &mut Journey<'_, '_>,
    frame: &Frame,
    span_id: [u8; 8],
    took_ns: i64,
    name: &str,
) {
    let body = Value::StringValue(format!("slow query: {name} took {} ms", took_ns / 1_000_000));
    let extra = vec![text("db.query.summary", name), int("db.query.duration_ms", took_ns / 1_000_000)];
    let line = Line { severity: SeverityNumber::Warn, logger: "store", event: "", body, extra };
    write_line(journey, frame, span_id, frame.now_ns, line);
}

/// Logs the cause of the incident: the missing index.
pub(super) fn missing_index(journey: &mut Journey<'_, '_>, frame: &Frame, span_id: [u8; 8], took_ns: i64) {
    let body = Value::StringValue(format!(
        "slow query: SELECT {} took {} ms: sequential scan of {} rows, index {} does not exist",
        incident::TABLE,
        took_ns / 1_000_000,
        incident::TABLE_ROWS,
        incident::MISSING_INDEX
    ));
    let extra = vec![
        text("db.query.summary", "SELECT payment_methods"),
        int("db.query.duration_ms", took_ns / 1_000_000),
        int("db.query.rows_examined", incident::TABLE_ROWS as i64),
        text("db.query.plan", "Seq Scan"),
        text("db.index.missing", incident::MISSING_INDEX),
    ];
    let line = Line { severity: SeverityNumber::Warn, logger: "store", event: "", body, extra };
    write_line(journey, frame, span_id, frame.now_ns, line);
}

fn write_line(journey: &mut Journey<'_, '_>, frame: &Frame, span_id: [u8; 8], time_ns: i64, line: Line) {
    let context = Context {
        pod: frame.pod,
        time_ns,
        trace_id: journey.trace_id.to_vec(),
        span_id: span_id.to_vec(),
        baggage: &journey.visitor.attributes,
    };
    write(journey.stage, context, line);
}

/// Logs a record of a random pod outside of any request, or with the trace id of a trace that was not kept.
pub(super) fn background(stage: &mut Stage<'_>, at_ns: i64) {
    let pod = stage.dice.below(stage.shared.fleet.pods.len() as u64) as usize;
    if !stage.shared.fleet.pods[pod].runs_ns.contains(&at_ns) {
        return;
    }
    let dice = &mut *stage.dice;
    let (severity, logger, body) = match dice.below(7) {
        0 => (
            SeverityNumber::Debug,
            "runtime",
            format!("gc: paused {} µs, heap {} MiB", dice.between(80, 9000), dice.between(90, 1900)),
        ),
        1 => (
            SeverityNumber::Info,
            "pool",
            format!("connections: {} in use, {} idle", dice.below(30), dice.below(12)),
        ),
        2 => (SeverityNumber::Info, "config", "configuration reloaded, 0 changes".to_owned()),
        3 => (
            SeverityNumber::Warn,
            "kafka",
            format!("consumer lag {} on partition {}", dice.below(5000), dice.below(6)),
        ),
        4 => (SeverityNumber::Info, "health", "ready ✓".to_owned()),
        5 => (
            SeverityNumber::Warn,
            "cache",
            format!("evicted {} keys, memory at {} %", dice.below(9000), dice.between(85, 99)),
        ),
        _ => (SeverityNumber::Trace, "flags", "feature flags refreshed".to_owned()),
    };
    let extra = vec![int("log.sequence", dice.below(1 << 40) as i64)];
    let (trace_id, span_id) = if dice.chance(UNSAMPLED) {
        (dice.bytes_16().to_vec(), dice.span_id().to_vec())
    } else {
        (Vec::new(), Vec::new())
    };
    let line = Line { severity, logger, event: "", body: Value::StringValue(body), extra };
    write(stage, Context { pod, time_ns: at_ns, trace_id, span_id, baggage: &[] }, line);
}

/// Writes a record in `context`.
fn write(stage: &mut Stage<'_>, context: Context<'_>, line: Line) {
    let Context { pod, time_ns: at_ns, .. } = context;
    let item = record(stage, context, line);
    stage.outbox.log(stage.dice, &stage.shared.fleet, Emitted { pod, at_ns, item });
}

fn record(stage: &mut Stage<'_>, context: Context<'_>, line: Line) -> LogRecord {
    let Context { pod, time_ns, trace_id, span_id, baggage } = context;
    let pod = &stage.shared.fleet.pods[pod];
    let language = SERVICES[pod.service].language;
    let mut attributes = line.extra;
    attributes.reserve(baggage.len() + 4);
    attributes.push(text("logger.name", line.logger));
    attributes
        .push(text("log.iostream", if line.severity >= SeverityNumber::Error { "stderr" } else { "stdout" }));
    attributes.push(int("thread.id", 1 + stage.dice.below(64) as i64));
    attributes.extend_from_slice(baggage);
    LogRecord {
        time_unix_nano: (time_ns + pod.skew_ns) as u64,
        observed_time_unix_nano: (time_ns + observe_delay(stage.dice)) as u64,
        severity_number: line.severity as i32,
        severity_text: severity_text(language, line.severity).to_owned(),
        body: Some(AnyValue { value: Some(line.body) }),
        attributes,
        dropped_attributes_count: 0,
        flags: u32::from(!trace_id.is_empty()),
        trace_id,
        span_id,
        event_name: line.event.to_owned(),
    }
}

fn observe_delay(dice: &mut Dice) -> i64 {
    dice.time(1_000_000, 40_000_000)
}

fn severity_text(language: Language, severity: SeverityNumber) -> &'static str {
    let (lower, python) = (language == Language::Node, language == Language::Python);
    match severity {
        SeverityNumber::Trace if lower => "trace",
        SeverityNumber::Trace => "TRACE",
        SeverityNumber::Debug if lower => "debug",
        SeverityNumber::Debug => "DEBUG",
        SeverityNumber::Warn if lower => "warn",
        SeverityNumber::Warn if python => "WARNING",
        SeverityNumber::Warn => "WARN",
        SeverityNumber::Error if lower => "error",
        SeverityNumber::Error => "ERROR",
        _ if lower => "info",
        _ => "INFO",
    }
}
