//! How does a page follow a statement? `/v1/sql?format=stream`: one JSON value a line.
//!
//! ```jsonc
//! {"started": {"query": "q-5f0c9a1e77b2d310", "snapshot": "41872", "segments": 18, "segments_total": 240, "warnings": []}}
//! {"progress": {"segments": 18, "segments_total": 240, "rows_read": 402113, "bytes_read": 33554432, "elapsed_ms": 250}}
//! {"columns": [{"name": "os.version", "type": "text"}, {"name": "p99_ns", "type": "double"}]}
//! {"rows": {"count": 2, "data": [["iOS 17", "iOS 16"], [4.21e9, 1.87e8]]}}
//! {"done": {"rows": 2, "cost": {"elapsed_ms": 412, "segments": 18, …}}}
//! ```
//!
//! `progress` comes every 250 ms while no rows do. `columns` comes before the first `rows`, once, also when there are
//! none. The last line is `done`, or `problem` with the members of a problem when the statement fails after it was
//! planned; without either the answer is cut off. Lines are not packed, since packing holds small chunks back.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use arrow::array::RecordBatch;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::answer::Problem;
use super::cost::cost;
use super::gate::{Caller, Protocol, QueryId};
use super::queries::set_query;
use crate::error::{Error, Result};
use crate::query::output::{columns, write_data};
use crate::query::{Progress, QueryResult, Question};

/// Value of `format`.
pub(super) const FORMAT: &str = "stream";

/// Media type of the answer: lines of JSON that are not to be packed.
pub(super) const MEDIA_TYPE: &str = "application/x-ndjson; profile=stream";

/// Time between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Batches that are found before their lines are made.
const BATCHES_AHEAD: usize = 1;

/// Answers `question` with lines of the rows that `limit` leaves.
pub(super) async fn answer(
    caller: &Caller,
    question: Question,
    limit: impl FnOnce(QueryResult) -> QueryResult + Send + 'static,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let encode = move |id, found: QueryResult| lines(id, limit(found), began);
    let answer = caller.watch(Protocol::Sql, question, encode).await?;
    let mut response = Response::new(with_problem(answer.items));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    set_query(&mut response, answer.id);
    Ok(response)
}

/// A body of `lines`; an error is its last line, so that a failure in mid-stream has words.
pub(super) fn with_problem(lines: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Body {
    Body::from_stream(lines.map(|item| {
        Ok::<_, Infallible>(
            item.unwrap_or_else(|error| line(&json!({ "problem": Problem::from(error).body() }))),
        )
    }))
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

/// State of an answer.
enum Step {
    Started(QueryResult),
    Rows(Box<Running>),
    End,
}

/// A statement whose rows are being found.
struct Running {
    columns: Option<Value>,
    rows: mpsc::Receiver<Result<RecordBatch>>,
    /// Finds the rows, so that the time of a progress line does not depend on how long a batch takes.
    finding: JoinSet<()>,
    ticks: Interval,
    progress: Progress,
    began: Instant,
    count: usize,
}

fn lines(
    id: QueryId,
    found: QueryResult,
    began: Instant,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    futures::stream::unfold(Step::Started(found), move |step| async move {
        match step {
            Step::Started(found) => {
                let read = found.progress.read();
                let started = json!({ "started": {
                    "query": id.to_string(), "snapshot": found.progress.snapshot().map(|version| version.to_string()),
                    "segments": read.segments, "segments_total": read.segments_total, "warnings": found.warnings,
                }});
                Some((Ok(line(&started)), Step::Rows(Box::new(Running::new(found, began)))))
            }
            Step::Rows(running) => Some(running.next().await),
            Step::End => None,
        }
    })
}

impl Running {
    fn new(found: QueryResult, began: Instant) -> Self {
        let QueryResult { schema, mut stream, progress, .. } = found;
        let (to, rows) = mpsc::channel(BATCHES_AHEAD);
        let mut finding = JoinSet::new();
        finding.spawn(async move {
            while let Some(batch) = stream.next().await {
                if to.send(batch.map_err(Into::into)).await.is_err() {
                    break;
                }
            }
        });
        let mut ticks = tokio::time::interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let columns = Some(columns(&schema));
        Self { columns, rows, finding, ticks, progress, began, count: 0 }
    }

    async fn next(mut self: Box<Self>) -> (Result<Bytes>, Step) {
        let batch = tokio::select! {
            biased;
            batch = self.rows.recv() => batch,
            _ = self.ticks.tick() => {
                let line = line(&json!({ "progress": self.cost() }));
                return (Ok(line), Step::Rows(self));
            }
        };
        self.ticks.reset();
        let mut out = String::new();
        if let Some(columns) = self.columns.take().filter(|_| !matches!(batch, Some(Err(_)))) {
            out = format!("{}\n", json!({ "columns": columns }));
        }
        match batch {
            Some(Ok(batch)) => {
                self.count += batch.num_rows();
                let written = write_rows(&mut out, &batch);
                (written.map(|()| out.into()), Step::Rows(self))
            }
            Some(Err(error)) => (Err(error), Step::End),
            None if self.has_panicked().await => {
                // The panic itself is on stderr, with its place.
                let error = Error::internal("the statement hit a defect of the server; its log says which");
                (Err(error), Step::End)
            }
            None => {
                // Writing to a String cannot fail.
                let done = json!({ "done": { "rows": self.count, "cost": self.cost() } });
                let _ = writeln!(out, "{done}");
                (Ok(out.into()), Step::End)
            }
        }
    }

    /// Did the task that finds the rows end other than with the last of them?
    async fn has_panicked(&mut self) -> bool {
        matches!(self.finding.join_next().await, Some(Err(_)))
    }

    fn cost(&self) -> Value {
        cost(self.began.elapsed(), self.progress.read())
    }
}

fn write_rows(out: &mut String, batch: &RecordBatch) -> Result<()> {
    // Writing to a String cannot fail.
    let _ = write!(out, "{{\"rows\":{{\"count\":{},\"data\":", batch.num_rows());
    write_data(out, batch)?;
    out.push_str("}}\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::TryStreamExt;

    use super::*;
    use crate::error::ErrorKind;

    fn id() -> QueryId {
        "q-00000000000007f3".parse().unwrap()
    }

    /// The lines of a statement whose rows are `rows`.
    async fn lines_of(
        rows: impl Stream<Item = datafusion::error::Result<RecordBatch>> + Send + 'static,
    ) -> Result<Vec<Value>> {
        let schema = Arc::new(Schema::empty());
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows));
        let found = QueryResult { schema, stream, warnings: Vec::new(), progress: Progress::default() };
        let lines: Vec<Bytes> = lines(id(), found, Instant::now()).try_collect().await?;
        Ok(lines
            .concat()
            .split(|b| *b == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    #[tokio::test]
    async fn a_defect_in_mid_stream_does_not_look_like_the_end() {
        let rows = futures::stream::poll_fn(|_| panic!("a defect"));
        assert_eq!(lines_of(rows).await.unwrap_err().kind(), ErrorKind::Internal);
        let none = lines_of(futures::stream::empty()).await.unwrap();
        assert!(none[0]["started"].is_object() && none[1]["columns"].is_array(), "{none:?}");
        assert_eq!(none[2]["done"]["rows"], 0);
    }

    #[tokio::test]
    async fn progress_is_told_while_no_rows_come() {
        let schema = Arc::new(Schema::empty());
        let rows = futures::stream::pending();
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows));
        let found = QueryResult { schema, stream, warnings: Vec::new(), progress: Progress::default() };
        let told: Vec<Bytes> = lines(id(), found, Instant::now()).take(3).try_collect().await.unwrap();
        for line in &told[1..] {
            let line: Value = serde_json::from_slice(line).unwrap();
            assert!(line["progress"]["elapsed_ms"].as_u64() >= Some(250), "{line}");
        }
    }
}
