//! How does a route answer with the rows of one statement? As one JSON object, by column, with the statement itself.
//!
//! ```jsonc
//! {"columns": [{"name": "time", "type": "timestamp"}], "rows": {"count": 2, "data": [["…", "…"]]},
//!  "sql": "SELECT …", "snapshot": "41872", "cost": {"elapsed_ms": 12, …}, "warnings": []}
//! ```
//!
//! The rows are in memory, within the budget of such answers: statements of routes have a limit.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::answer::Problem;
use super::cost::cost;
use super::gate::{Caller, Protocol, QueryId, Reservation, memory_bytes};
use super::queries::set_query;
use crate::error::Error;
use crate::query::output::{columns, write_data};
use crate::query::{Progress, Question};

/// Rows of a statement.
#[derive(Debug)]
pub(super) struct Table {
    /// The rows.
    pub(super) rows: RecordBatch,
    id: QueryId,
    sql: String,
    snapshot: Option<u64>,
    cost: Value,
    warnings: Vec<String>,
    _reservation: Reservation,
}

impl Table {
    /// Runs `sql` to its end.
    pub(super) async fn read(caller: &Caller, sql: String) -> Result<Self, Problem> {
        let began = Instant::now();
        let mut reservation = caller.answer_reservation();
        let known: Arc<OnceLock<(SchemaRef, Progress)>> = Arc::default();
        let told = Arc::clone(&known);
        let question = Question::sql(sql.clone());
        let answer = caller.ask(Protocol::Sql, question, move |found| {
            // Fails only if it was set before.
            let _ = told.set((Arc::clone(&found.schema), found.progress));
            found.stream.map_err(Error::from)
        });
        let answer = answer.await?;
        let mut items = answer.items;
        let mut batches = Vec::new();
        while let Some(batch) = items.next().await.transpose()? {
            reservation.grow(memory_bytes(&batch))?;
            batches.push(batch);
        }
        let (schema, progress) =
            known.get().cloned().ok_or_else(|| Error::internal("a statement has ended without columns"))?;
        let rows = concat_batches(&schema, &batches).map_err(Error::from)?;
        let cost = cost(began.elapsed(), progress.read());
        let (id, warnings, snapshot) = (answer.id, answer.warnings, progress.snapshot());
        Ok(Self { rows, id, sql, snapshot, cost, warnings, _reservation: reservation })
    }

    /// The answer with the first `rows_max` rows; `is_cut` says whether there are more.
    pub(super) fn answer_first(mut self, rows_max: usize) -> Result<Response, Problem> {
        let is_cut = self.rows.num_rows() > rows_max;
        self.rows = self.rows.slice(0, self.rows.num_rows().min(rows_max));
        self.answer(Map::from_iter([("is_cut".to_owned(), json!(is_cut))]))
    }

    /// The answer, with `more` members.
    pub(super) fn answer(&self, more: Map<String, Value>) -> Result<Response, Problem> {
        let mut out = String::new();
        let count = self.rows.num_rows();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{{\"columns\":{},\"rows\":{{\"count\":{count},\"data\":",
            columns(&self.rows.schema())
        );
        write_data(&mut out, &self.rows)?;
        out.push('}');
        let mut rest = more;
        rest.insert("sql".to_owned(), json!(self.sql));
        rest.insert("snapshot".to_owned(), json!(self.snapshot.map(|version| version.to_string())));
        rest.insert("cost".to_owned(), self.cost.clone());
        rest.insert("warnings".to_owned(), json!(self.warnings));
        for (name, value) in rest {
            let _ = write!(out, ",{}:{value}", Value::from(name));
        }
        out.push('}');
        let mut response = Response::new(Body::from(out));
        set_query(&mut response, self.id);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    /// A value as JSON; null where there is no such column or row.
    pub(super) fn value(&self, column: &str, row: usize) -> Result<Value, Error> {
        let Some(at) = self.rows.schema().column_with_name(column).map(|(at, _)| at) else {
            return Ok(Value::Null);
        };
        if row >= self.rows.num_rows() {
            return Ok(Value::Null);
        }
        let one = self.rows.project(&[at])?.slice(row, 1);
        let mut out = String::new();
        write_data(&mut out, &one)?;
        let value: Value = serde_json::from_str(&out)
            .map_err(|e| Error::internal("a value cannot be read again").with_source(e))?;
        Ok(value[0][0].clone())
    }

    /// Takes a column out.
    pub(super) fn without(mut self, column: &str) -> Self {
        if let Some((at, _)) = self.rows.schema().column_with_name(column) {
            self.rows.remove_column(at);
        }
        self
    }
}
