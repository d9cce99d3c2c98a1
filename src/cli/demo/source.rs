//! Where do the demo's events go, and where do its queries run? In a data directory, or on a running server.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use prost::Message;

use super::super::remote::{Server, read_rows};
use crate::config::{Clock, SystemClock};
use crate::db::{Database, Importer};
use crate::demo::{DemoPayload, DemoRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventBatch;
use crate::ingest::otlp::{self, Encoding, RequestKind};
use crate::query::Question;

/// Time limit for one answer of a server.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// Most attempts while a server answers that it is busy (429, 503).
const ATTEMPTS_MAX: u32 = 60;

/// Database that receives the demo's events and answers its queries.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A database of this process.
    Local(Database),
    /// A server.
    Remote(Server),
}

impl Source {
    /// Runs `sql` and returns the complete result.
    pub(super) async fn ask(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        match self {
            Self::Local(database) => {
                let result = database.query(Question::sql(sql)).await?;
                Ok((Arc::clone(&result.schema), result.collect().await?))
            }
            Self::Remote(server) => {
                read_rows(&post(server, "/v1/sql?format=arrow", "text/plain", sql.as_bytes()).await?)
            }
        }
    }

    /// Runs `sql` and returns its first value, a number.
    pub(super) async fn count(&self, sql: &str) -> Result<i64> {
        use arrow::array::AsArray;
        use arrow::datatypes::Int64Type;
        let (_, batches) = self.ask(sql).await?;
        let first = batches.iter().find(|b| b.num_rows() > 0 && b.num_columns() > 0);
        let number = first.and_then(|b| b.column(0).as_primitive_opt::<Int64Type>()).map(|c| c.value(0));
        number.ok_or_else(|| Error::internal(format!("{sql:?} does not return a number")))
    }

    /// Appends one request; its events are durable when this returns.
    pub(super) async fn send(&self, request: DemoRequest) -> Result<()> {
        match self {
            Self::Local(database) => database.append(blocking(move || decode(&request)).await?).await,
            Self::Remote(server) => export(server, request).await,
        }
    }

    /// Returns a loader for a whole corpus.
    pub(super) fn loader(&self) -> Result<Loader> {
        Ok(match self {
            Self::Local(database) => Loader::Import(database.importer()?),
            Self::Remote(_) => Loader::Send(self.clone()),
        })
    }
}

/// Loads a whole corpus: directly into segments, or over the network.
#[derive(Debug)]
pub(super) enum Loader {
    Import(Importer),
    Send(Source),
}

impl Loader {
    /// Loads one request.
    pub(super) async fn take(&mut self, request: DemoRequest) -> Result<()> {
        match self {
            Self::Import(importer) => importer.append(blocking(move || decode(&request)).await?).await,
            Self::Send(source) => source.send(request).await,
        }
    }

    /// Makes all loaded events durable and visible.
    pub(super) async fn finish(self) -> Result<()> {
        match self {
            Self::Import(mut importer) => importer.commit().await.map(|_| ()),
            Self::Send(_) => Ok(()),
        }
    }
}

/// Encodes a request in Protobuf, as a collector sends it.
fn encode(request: &DemoRequest) -> (RequestKind, Vec<u8>) {
    match &request.payload {
        DemoPayload::Traces(r) => (RequestKind::Traces, r.encode_to_vec()),
        DemoPayload::Logs(r) => (RequestKind::Logs, r.encode_to_vec()),
        DemoPayload::Metrics(r) => (RequestKind::Metrics, r.encode_to_vec()),
    }
}

/// Converts a request to events, by way of its encoding.
fn decode(request: &DemoRequest) -> Result<EventBatch> {
    let (kind, bytes) = encode(request);
    Ok(otlp::decode(kind, Encoding::Protobuf, &bytes, SystemClock.now_ns())?.batch)
}

/// Sends a request to a server, over OTLP/HTTP.
async fn export(server: &Server, request: DemoRequest) -> Result<()> {
    let (kind, bytes) = blocking(move || Ok(encode(&request))).await?;
    let path = match kind {
        RequestKind::Traces => "/v1/traces",
        RequestKind::Logs => "/v1/logs",
        RequestKind::Metrics => "/v1/metrics",
    };
    post(server, path, "application/x-protobuf", &bytes).await.map(|_| ())
}

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("a thread of the demo failed").with_source(e))?
}

/// Posts `body`. While the server is busy, retries after the pause that it requests, at most 10 s.
async fn post(server: &Server, path: &str, content_type: &str, body: &[u8]) -> Result<Bytes> {
    let url = format!("{}{path}", server.url());
    for _ in 0..ATTEMPTS_MAX {
        let answer = server.post(path, content_type, body.to_vec(), Some(ANSWER_MAX)).await?;
        let status = answer.status().as_u16();
        if matches!(status, 429 | 503) {
            let wait = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
            tokio::time::sleep(Duration::from_secs(wait.unwrap_or(1).min(10))).await;
            continue;
        }
        let text = answer.bytes().await.map_err(|e| {
            Error::new(ErrorKind::Unavailable, format!("{url} ended its answer early")).with_source(e)
        })?;
        if status == 200 {
            return Ok(text);
        }
        return Err(Error::invalid(format!(
            "{url} answered with HTTP {status}: {}",
            String::from_utf8_lossy(&text)
        )));
    }
    Err(Error::new(ErrorKind::Unavailable, format!("{url} is still busy after {ATTEMPTS_MAX} attempts")))
}
