//! One event as lines of a terminal: a log record, a span, a span event or a metric point.

use std::fmt::Write as _;

use nu_ansi_term::Color;

use super::draw::row::Row;
use super::draw::text::{left, line, right};
use super::draw::units::{count, human_duration};
use super::draw::{Screen, style_of_name, style_of_severity};

/// Columns of a service's name.
const SERVICE: usize = 16;
/// Most lines of a body, and most characters of a line.
const LINES_MAX: usize = 30;
const CHARS_MAX: usize = 4_000;

/// Columns of a statement whose rows can be drawn: those of log records.
pub(super) const LOG_COLUMNS: &str = "timestamp, severity, severity_number, \
     attributes['service.name'] AS \"service.name\", name, body, trace_id, span_id";

/// The same of any events.
pub(super) const COLUMNS: &str = "timestamp, signal, severity, severity_number, status, duration_ns, \
     attributes['service.name'] AS \"service.name\", name, body, value, trace_id, span_id";

/// Draws an event: time, severity or duration, service, and what it says. With `has_ids` its trace follows.
pub(super) fn draw(row: Row<'_>, screen: &Screen, has_ids: bool) -> String {
    let at = row.integer("timestamp").map_or_else(String::new, |ns| screen.zone.time(ns));
    let signal = row.raw("signal");
    let kind = if signal == "span" { span_kind(row, screen) } else { record_kind(row, screen, &signal) };
    let service = row.text("service.name");
    let service = screen.paint(style_of_name(&service), &left(&service, SERVICE));
    let name = row.text("name");
    let mut words = vec![name];
    let body = row.raw("body");
    let mut lines = body.trim_end().lines();
    words.extend(lines.next().map(shortened));
    words.extend(row.number("value").map(count));
    words.retain(|word| !word.is_empty());
    let mut text = format!("{} {kind} {service} {}", screen.weak(&at), words.join(" "));
    let trace = row.raw("trace_id");
    if has_ids && !trace.is_empty() {
        text += &screen.weak(&format!(" [{trace}]"));
    }
    text.push('\n');
    for more in lines.by_ref().take(LINES_MAX) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {}", shortened(more));
    }
    let hidden = lines.count();
    if hidden > 0 {
        let _ = writeln!(text, "    … {hidden} more lines: --format ndjson has them");
    }
    text
}

fn shortened(text: &str) -> String {
    let mut shown = line(&text.chars().take(CHARS_MAX).collect::<String>());
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// The level of a log record, or the kind of another event; as wide as the duration of a span if there may be spans.
fn record_kind(row: Row<'_>, screen: &Screen, signal: &str) -> String {
    let columns = if signal.is_empty() { 6 } else { 10 };
    let severity = row.text("severity");
    if severity.is_empty() && !["", "log"].contains(&signal) {
        return screen.weak(&left(signal.strip_prefix("span_").unwrap_or(signal), columns));
    }
    screen.paint(style_of_severity(row.integer("severity_number").unwrap_or(0)), &left(&severity, columns))
}

/// The duration of a span, red if it failed.
fn span_kind(row: Row<'_>, screen: &Screen) -> String {
    let duration = row.number("duration_ns").map_or_else(|| "?".to_owned(), human_duration);
    let failed = row.raw("status") == "error";
    let text = format!("{}{}", right(&duration, 8), if failed { " ✗" } else { "  " });
    if failed { screen.paint(Color::Red.normal(), &text) } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampNanosecondArray};

    use super::super::draw::row::rows_of;
    use super::*;

    #[test]
    fn a_record_is_a_line_and_its_body_may_have_more() {
        let text = |value: &str| Arc::new(StringViewArray::from(vec![value])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([
            ("timestamp", Arc::new(TimestampNanosecondArray::from(vec![1_500_000_000])) as ArrayRef),
            ("severity", text("WARN")),
            ("severity_number", Arc::new(Int64Array::from(vec![13])) as ArrayRef),
            ("service.name", text("cart")),
            ("body", text("no\u{1b}[2J index\n  at line 7\n")),
            ("trace_id", text("abc")),
        ]);
        let batch = batch.unwrap();
        let screen = Screen { width: 80, height: 24, has_colours: false, zone: "UTC".parse().unwrap() };
        let drawn = draw(rows_of(&batch).next().unwrap(), &screen, true);
        assert_eq!(
            drawn,
            "1970-01-01 00:00:01.500 WARN   cart             no\u{fffd}[2J index [abc]\n      at line 7\n"
        );
    }
}
