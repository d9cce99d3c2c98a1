//! `GET /v1/traces/{id}/rows/{row}`: one span with its events and logs, by its row in the tree or its id.
//!
//! ```jsonc
//! {"row": 12, "span_id": "00f067aa0ba902b7", "parent_span_id": null,
//!  "columns": [{"name": "signal", "type": "text"}, …], "data": [["span", "log"], …], "sql": "select …"}
//! ```
//!
//! The first of the rows is the span. Rows are numbered anew when more spans arrive; ids stay.

use std::fmt::Write as _;

use arrow::array::RecordBatch;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::rows::Trace;
use crate::error::{Error, ErrorKind};
use crate::event::{SpanId, TraceId};
use crate::query::Question;
use crate::query::output::{columns, write_data};
use crate::server::answer::Problem;
use crate::server::gate::{Caller, Protocol, memory_bytes};

/// Logs and events of a span that are answered at most.
const ROWS_MAX: usize = 1_000;

/// `GET /v1/traces/{id}/rows/{row}`. 404 when the trace or the row is not there.
pub(in crate::server) async fn get(
    caller: Caller,
    Path((id, row)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id: TraceId = id.parse()?;
    let trace = Trace::read(&caller, id).await?;
    let place = place_of(&trace, &row)?;
    let span = trace.spans.all[trace.rows[place].span as usize];
    let hex = |id: u64| SpanId::new(id.to_be_bytes()).to_string();
    let sql = statement(id, &hex(span.id));

    let answer =
        caller.ask(Protocol::Trace, Question::sql(sql.clone()), |found| found.stream.map_err(Error::from));
    let mut batches = answer.await?.items;
    let mut reservation = caller.answer_reservation();
    let mut found: Vec<RecordBatch> = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        reservation.grow(memory_bytes(&batch))?;
        found.push(batch);
    }
    let Some(schema) = found.first().map(RecordBatch::schema) else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("the trace {id} has no span in row {row} any more"),
        )
        .into());
    };
    let all = arrow::compute::concat_batches(&schema, &found)
        .map_err(|e| Error::internal("the rows of a span do not fit together").with_source(e))?;
    let mut data = String::new();
    write_data(&mut data, &all)?;
    let head = json!({
        "row": place, "span_id": hex(span.id), "parent_span_id": span.parent.map(hex), "columns": columns(&schema),
        "sql": sql,
    });
    let mut body = head.to_string();
    body.pop();
    // Writing to a String cannot fail.
    let _ = write!(body, ",\"data\":{data}}}");
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The row that `text` names: 16 hex digits are an id, and others a number.
fn place_of(trace: &Trace, text: &str) -> Result<usize, Error> {
    let place = if let Ok(span) = text.parse::<SpanId>() {
        trace.row_of(u64::from_be_bytes(*span.as_bytes()))
    } else {
        let row: usize = text.parse().map_err(|_| {
            Error::invalid(format!("{text:?} is neither the number of a row nor 16 hex digits of a span"))
        })?;
        (row < trace.rows.len()).then_some(row)
    };
    place.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("the trace has no span {text}")))
}

fn statement(id: TraceId, span: &str) -> String {
    format!(
        "select signal, timestamp, name, kind, status, status_message, duration_ns, severity, body, trace_state, \
         scope.name as scope, scope.version as scope_version, sample_weight, links, attributes\n\
         from trace('{id}')\n\
         where span_id = '{span}' and signal in ('span', 'span_event', 'log')\n\
         order by case when signal = 'span' then 0 else 1 end, timestamp\n\
         limit {ROWS_MAX}"
    )
}
