//! Where the demo's events go and its questions are asked: a data directory, or a running server.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use prost::Message;

use crate::config::{Clock, SystemClock};
use crate::db::{Database, Importer};
use crate::demo::{DemoPayload, DemoRequest};
use crate::error::{Error, Result};
use crate::event::EventBatch;
use crate::ingest::otlp::{self, Encoding, RequestKind};
use crate::query::Question;

/// A server that does not answer is given up after this time.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// How often a server that says "come again" is asked again.
const ATTEMPTS_MAX: u32 = 60;

/// One of the two.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A database of this process.
    Local(Database),
    /// `http://host:port`.
    Remote(String),
}

impl Source {
    /// The answer to `sql`, whole.
    pub(super) async fn ask(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        match self {
            Self::Local(database) => {
                let result = database.query(Question::sql(sql)).await?;
                Ok((Arc::clone(&result.schema), result.collect().await?))
            }
            Self::Remote(url) => {
                let (url, sql) = (format!("{url}/v1/sql?format=arrow"), sql.to_owned());
                blocking(move || {
                    let answer = post(&url, "text/plain", sql.as_bytes())?;
                    let reader = StreamReader::try_new(std::io::Cursor::new(answer), None)?;
                    let schema = reader.schema();
                    Ok((schema, reader.collect::<std::result::Result<_, _>>()?))
                })
                .await
            }
        }
    }

    /// The single number that `sql` gives.
    pub(super) async fn count(&self, sql: &str) -> Result<i64> {
        use arrow::array::AsArray;
        use arrow::datatypes::Int64Type;
        let (_, batches) = self.ask(sql).await?;
        let first = batches.iter().find(|b| b.num_rows() > 0 && b.num_columns() > 0);
        let number = first.and_then(|b| b.column(0).as_primitive_opt::<Int64Type>()).map(|c| c.value(0));
        number.ok_or_else(|| Error::internal(format!("{sql:?} gives no number")))
    }

    /// Appends one request; durable when it returns.
    pub(super) async fn send(&self, request: DemoRequest) -> Result<()> {
        match self {
            Self::Local(database) => database.append(blocking(move || decode(&request)).await?).await,
            Self::Remote(url) => {
                let url = url.clone();
                blocking(move || export(&url, &request)).await
            }
        }
    }

    /// The way in for a whole corpus.
    pub(super) fn loader(&self) -> Result<Loader> {
        Ok(match self {
            Self::Local(database) => Loader::Import(database.importer()?),
            Self::Remote(_) => Loader::Send(self.clone()),
        })
    }
}

/// Takes a whole corpus: straight to segments, or over the network.
#[derive(Debug)]
pub(super) enum Loader {
    Import(Importer),
    Send(Source),
}

impl Loader {
    /// Takes one request.
    pub(super) async fn take(&mut self, request: DemoRequest) -> Result<()> {
        match self {
            Self::Import(importer) => importer.append(blocking(move || decode(&request)).await?).await,
            Self::Send(source) => source.send(request).await,
        }
    }

    /// Makes all that was taken durable and visible.
    pub(super) async fn finish(self) -> Result<()> {
        match self {
            Self::Import(mut importer) => importer.commit().await.map(|_| ()),
            Self::Send(_) => Ok(()),
        }
    }
}

/// What a collector would put on the wire.
fn encode(request: &DemoRequest) -> (RequestKind, Vec<u8>) {
    match &request.payload {
        DemoPayload::Traces(r) => (RequestKind::Traces, r.encode_to_vec()),
        DemoPayload::Logs(r) => (RequestKind::Logs, r.encode_to_vec()),
        DemoPayload::Metrics(r) => (RequestKind::Metrics, r.encode_to_vec()),
    }
}

/// The events of a request.
fn decode(request: &DemoRequest) -> Result<EventBatch> {
    let (kind, bytes) = encode(request);
    Ok(otlp::decode(kind, Encoding::Protobuf, &bytes, SystemClock.now_ns())?.batch)
}

/// Sends a request to a server.
fn export(url: &str, request: &DemoRequest) -> Result<()> {
    let (kind, bytes) = encode(request);
    let path = match kind {
        RequestKind::Traces => "traces",
        RequestKind::Logs => "logs",
        RequestKind::Metrics => "metrics",
    };
    post(&format!("{url}/v1/{path}"), "application/x-protobuf", &bytes).map(|_| ())
}

/// Runs `work` where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("a part of the demo failed").with_source(e))?
}

/// Posts `body`; waits as told when the server is busy.
fn post(url: &str, content_type: &str, body: &[u8]) -> Result<Vec<u8>> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_MAX))
        .http_status_as_error(false)
        .build()
        .into();
    for _ in 0..ATTEMPTS_MAX {
        let mut answer = agent.post(url).content_type(content_type).send(body).map_err(|e| {
            Error::new(crate::ErrorKind::Unavailable, format!("{url} does not answer")).with_source(e)
        })?;
        let status = answer.status().as_u16();
        if matches!(status, 429 | 503) {
            let wait = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
            std::thread::sleep(Duration::from_secs(wait.unwrap_or(1).min(10)));
            continue;
        }
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|e| {
            Error::new(crate::ErrorKind::Unavailable, format!("{url} broke off its answer")).with_source(e)
        })?;
        if status == 200 {
            return Ok(text);
        }
        return Err(Error::invalid(format!("{url} says {status}: {}", String::from_utf8_lossy(&text))));
    }
    Err(Error::new(
        crate::ErrorKind::Unavailable,
        format!("{url} is still busy after {ATTEMPTS_MAX} attempts"),
    ))
}
