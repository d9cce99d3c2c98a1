//! `GET /v1/traces/{id}/rows?span=00f067aa0ba902b7`: the spans of a trace in tree order, by column, in lines of JSON.
//!
//! ```jsonc
//! {"trace_id": "4bf9…", "start": "2026-11-29T14:00:00Z", "duration_ns": 2841000000, "spans": 41, "errors": 1,
//!  "services": 8, "logs": 3, "root_service": "frontend", "root_name": "POST /checkout", "complete": true, "notes": [],
//!  "strings": ["frontend", …], "critical": [[row, from, to], …], "at": 12, "sql": "select …"}
//! {"records": {"row": […], "at": […], "kind": ["log", "event"], "level": ["WARN", ""], "text": […]}}
//! {"rows": {"from": 0, "depth": […], "start": […], "duration": […], "service": […], "name": […], "status": […],
//!  "kind": […], "marks": […]}}
//! {"done": {"spans": 41}}
//! ```
//!
//! `start`, `at`, `from` and `to` of records and rows are nanoseconds after the start of the trace, `duration` is null
//! where the end is unknown. `service` and `name` are places in `strings`, `status` and `kind` the codes of OTLP,
//! `marks` the sum of those of [`tree`](crate::query::trees::tree). `at` of the head is the row of the span that was
//! asked for. A problem after the head is the last line, in place of `done`.

use std::collections::HashMap;
use std::fmt::Write as _;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use axum::extract::Path;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::read::{self, span_id, text};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{SpanId, TraceId};
use crate::query::Question;
use crate::query::trees::spans::Spans;
use crate::query::trees::tree::{self, Critical, EARLY, LINKS, ORPHAN, Row};
use crate::server::answer::Problem;
use crate::server::gate::{Caller, Protocol, Reservation, memory_bytes};
use crate::server::sql_stream::with_problem;

/// Rows in a line.
const CHUNK_ROWS: usize = 5_000;

/// Logs and span events that are told of; what a page can show is far below it.
const RECORDS_MAX: usize = 10_000;

/// Characters of the text of a record; the span itself has all of it.
const TEXT_CHARS_MAX: usize = 300;

/// Memory that a span takes while its place is found, in bytes: its columns, its row, and lists of children.
const SPAN_BYTES: usize = 160;

/// `GET /v1/traces/{id}/rows`, where id is 32 hex digits in any case. 404 when there are no spans of it.
pub(in crate::server) async fn get(
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id: TraceId = id.parse()?;
    let wanted = wanted_span(uri.query().unwrap_or_default())?;
    let trace = Trace::read(&caller, id).await?;
    let records = trace.read_records(&caller, id).await?;
    let at = wanted.and_then(|span| trace.row_of(span));
    let head = trace.head(id, records.logs, at);
    let first = format!("{head}\n{}\n", json!({ "records": records.columns }));
    let chunks = (0..trace.rows.len().div_ceil(CHUNK_ROWS)).map(move |chunk| Ok(trace.chunk(chunk)));
    let lines = futures::stream::iter(std::iter::once(Ok(Bytes::from(first))).chain(chunks));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], with_problem(lines)).into_response())
}

fn wanted_span(query: &str) -> Result<Option<u64>, Error> {
    let mut wanted = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "span" => wanted = Some(u64::from_be_bytes(*value.parse::<SpanId>()?.as_bytes())),
            other => return Err(Error::invalid(format!("there is no option {other:?}; there is span"))),
        }
    }
    Ok(wanted)
}

/// A trace in tree order.
#[derive(Debug)]
pub(super) struct Trace {
    /// Its spans.
    pub(super) spans: Spans,
    /// Its rows.
    pub(super) rows: Vec<Row>,
    critical: Vec<Critical>,
    start_ns: i64,
    end_ns: i64,
    sql: String,
    _reservation: Reservation,
}

impl Trace {
    /// Reads a trace; [`ErrorKind::NotFound`] when it has no spans.
    pub(super) async fn read(caller: &Caller, id: TraceId) -> Result<Self, Problem> {
        let sql = read::statement(id);
        let mut reservation = caller.answer_reservation();
        let mut spans = Spans::default();
        let question = Question::sql(sql.clone());
        let answer = caller.ask(Protocol::Trace, question, |found| found.stream.map_err(Error::from)).await?;
        let mut batches = answer.items;
        while let Some(batch) = batches.next().await {
            let batch: RecordBatch = batch?;
            reservation.grow(batch.num_rows() * SPAN_BYTES)?;
            spans.read(&batch).map_err(Error::from)?;
        }
        if spans.all.is_empty() {
            return Err(
                Error::new(ErrorKind::NotFound, format!("there are no spans of the trace {id}")).into()
            );
        }
        // A million spans take a second.
        let placed = tokio::task::spawn_blocking(move || {
            let rows = tree::rows(&spans.all);
            let critical = tree::critical_path(&spans.all, &rows);
            let start_ns = spans.all.iter().map(|span| span.start_ns).min().unwrap_or_default();
            let end_ns = spans.all.iter().map(tree::Span::end_ns).max().unwrap_or_default();
            Self { spans, rows, critical, start_ns, end_ns, sql, _reservation: reservation }
        });
        Ok(placed.await.map_err(|e| Error::internal("putting a trace in order failed").with_source(e))?)
    }

    /// The row of the span with this id.
    pub(super) fn row_of(&self, span: u64) -> Option<usize> {
        self.rows.iter().position(|row| self.spans.all[row.span as usize].id == span)
    }

    fn head(&self, id: TraceId, logs: usize, at: Option<usize>) -> Value {
        let first = self.rows.first().map_or(0, |row| row.span as usize);
        let string = |number: u32| self.spans.string(number);
        let mut services = self.spans.services.clone();
        services.sort_unstable();
        services.dedup();
        let notes = self.notes();
        json!({
            "trace_id": id.to_string(),
            "start": chrono::DateTime::from_timestamp_nanos(self.start_ns)
                .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            "duration_ns": self.end_ns.saturating_sub(self.start_ns),
            "spans": self.rows.len(),
            "errors": self.spans.errors(),
            "services": services.len(),
            "logs": logs,
            "root_service": string(self.spans.services[first]),
            "root_name": string(self.spans.names[first]),
            "complete": notes.is_empty(),
            "notes": notes,
            "strings": self.spans.strings,
            "critical": self.critical.iter()
                .map(|part| json!([part.row, self.offset(part.from_ns), self.offset(part.to_ns)]))
                .collect::<Value>(),
            "at": at,
            "sql": self.sql,
        })
    }

    fn offset(&self, time_ns: i64) -> i64 {
        time_ns.saturating_sub(self.start_ns)
    }

    /// Reasons why the trace is not whole, or not as it happened.
    fn notes(&self) -> Vec<String> {
        let count = |mark: u8| self.rows.iter().filter(|row| row.marks & mark != 0).count();
        let roots = self.spans.all.iter().filter(|span| span.parent.is_none()).count();
        let endless = self.spans.all.iter().filter(|span| span.duration_ns.is_none()).count();
        let of = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let notes = [
            (roots == 0).then(|| "the root span is missing".to_owned()),
            (roots > 1).then(|| format!("{roots} spans have no parent")),
            of(count(ORPHAN), "span names a parent that is missing", "spans name parents that are missing"),
            of(
                count(EARLY),
                "span starts before its parent: clocks differ",
                "spans start before their parents: clocks differ",
            ),
            of(count(tree::CYCLE), "circle of parents", "circles of parents"),
            of(endless, "span has no known end", "spans have no known end"),
        ];
        notes.into_iter().flatten().collect()
    }

    /// The line of the rows from `chunk` × [`CHUNK_ROWS`] on; after the last also that of the end.
    fn chunk(&self, chunk: usize) -> Bytes {
        let from = chunk * CHUNK_ROWS;
        let rows = &self.rows[from..self.rows.len().min(from + CHUNK_ROWS)];
        let of = |row: &Row| row.span as usize;
        let mut out = format!("{{\"rows\":{{\"from\":{from}");
        write_column(&mut out, "depth", rows, |row| Some(row.depth.into()));
        write_column(&mut out, "start", rows, |row| Some(self.offset(self.spans.all[of(row)].start_ns)));
        write_column(&mut out, "duration", rows, |row| self.spans.all[of(row)].duration_ns);
        write_column(&mut out, "service", rows, |row| Some(self.spans.services[of(row)].into()));
        write_column(&mut out, "name", rows, |row| Some(self.spans.names[of(row)].into()));
        write_column(&mut out, "status", rows, |row| Some(self.spans.statuses[of(row)].into()));
        write_column(&mut out, "kind", rows, |row| Some(self.spans.all[of(row)].kind.into()));
        let marks = |row: &Row| row.marks | if self.spans.links[of(row)] > 0 { LINKS } else { 0 };
        write_column(&mut out, "marks", rows, |row| Some(marks(row).into()));
        out.push_str("}}\n");
        if from + rows.len() == self.rows.len() {
            let _ = writeln!(out, "{}", json!({ "done": { "spans": self.rows.len() } }));
        }
        out.into()
    }

    /// Logs and span events that name a span of the trace.
    async fn read_records(&self, caller: &Caller, id: TraceId) -> Result<Records, Problem> {
        let mut rows_of_ids = HashMap::with_capacity(self.rows.len());
        for (row, place) in self.rows.iter().enumerate() {
            rows_of_ids.entry(self.spans.all[place.span as usize].id).or_insert(row);
        }
        let question = Question::sql(records_statement(id));
        let answer = caller.ask(Protocol::Trace, question, |found| found.stream.map_err(Error::from)).await?;
        let mut batches = answer.items;
        let mut reservation = caller.answer_reservation();
        let mut records = Vec::new();
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            reservation.grow(memory_bytes(&batch))?;
            add_records(&mut records, &batch, &rows_of_ids);
        }
        // Those of a row stand together, in the order of their times.
        records.sort_by_key(|record| (record.row, record.time_ns));
        Ok(self.records_columns(&records))
    }

    fn records_columns(&self, records: &[Record]) -> Records {
        let of = |value: fn(&Record) -> Value| records.iter().map(value).collect::<Value>();
        let columns = json!({
            "row": of(|record| record.row.into()),
            "at": records.iter().map(|record| self.offset(record.time_ns)).collect::<Value>(),
            "kind": of(|record| record.kind.into()),
            "level": of(|record| record.level.as_str().into()),
            "text": of(|record| record.text.as_str().into()),
        });
        Records { logs: records.iter().filter(|record| record.kind == LOG).count(), columns }
    }
}

/// Appends `,"name":[…]`.
fn write_column(out: &mut String, name: &str, rows: &[Row], value: impl Fn(&Row) -> Option<i64>) {
    // Writing to a String cannot fail.
    let _ = write!(out, ",\"{name}\":[");
    for (i, row) in rows.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = match value(row) {
            Some(value) => write!(out, "{comma}{value}"),
            None => write!(out, "{comma}null"),
        };
    }
    out.push(']');
}

/// Kind of a log record.
const LOG: &str = "log";

/// A log record or span event.
struct Record {
    row: usize,
    time_ns: i64,
    kind: &'static str,
    level: String,
    text: String,
}

struct Records {
    logs: usize,
    columns: Value,
}

fn records_statement(id: TraceId) -> String {
    format!(
        "select timestamp, span_id, signal, severity, \
         left(case when signal = 'log' then body else concat_ws(' ', name, attributes['exception.message']) end, \
         {TEXT_CHARS_MAX}) as text from events \
         where trace_id = '{id}' and signal in ('log', 'span_event') and span_id is not null \
         order by timestamp limit {RECORDS_MAX}"
    )
}

fn add_records(records: &mut Vec<Record>, batch: &RecordBatch, rows: &HashMap<u64, usize>) {
    let [times, ids, signals, severities, texts] = batch.columns() else { return };
    let times = times.as_primitive::<TimestampNanosecondType>();
    for i in 0..batch.num_rows() {
        let Some(row) = span_id(ids, i).and_then(|id| rows.get(&id)) else { continue };
        records.push(Record {
            row: *row,
            time_ns: times.value(i),
            kind: if text(signals, i) == LOG { LOG } else { "event" },
            level: text(severities, i).to_owned(),
            text: text(texts, i).to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_asked_for_by_its_id() {
        assert_eq!(wanted_span("").unwrap(), None);
        assert_eq!(wanted_span("span=00F067AA0ba902b7").unwrap(), Some(0x00f0_67aa_0ba9_02b7));
        assert!(wanted_span("span=7").is_err());
        assert!(wanted_span("spann=00f067aa0ba902b7").unwrap_err().message().contains("spann"));
    }
}
