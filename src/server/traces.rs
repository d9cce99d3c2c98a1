//! `GET /v1/traces/{id}`: one trace as OTLP/JSON, exactly as its spans were sent.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::state::ServerState;
use crate::error::{Error, ErrorKind};
use crate::event::TraceId;
use crate::ingest::otlp;

/// Spans and span events of one trace that are answered at most, since the answer is made in memory;
/// what is larger is for `/v1/sql`.
const ROWS_MAX: usize = 500_000;

/// `GET /v1/traces/{id}`, where id is 32 hex digits in any case. 404 when there are no spans of it.
pub(super) async fn get(
    State(state): State<ServerState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    read(&state, &id).await.inspect_err(|problem| problem.log("trace"))
}

async fn read(state: &ServerState, id: &str) -> Result<Response, Problem> {
    let id: TraceId = id.parse()?;
    let batches = state.database.trace(id, ROWS_MAX).await?;
    let encoding = tokio::task::spawn_blocking(move || -> Result<Option<String>, Error> {
        let encoded = otlp::encode(&batches)?;
        let is_found = !encoded.traces.resource_spans.is_empty();
        Ok(is_found.then(|| otlp::traces_json(&encoded.traces)))
    });
    let encoded = encoding.await.map_err(|e| Error::internal("encoding a trace failed").with_source(e))??;
    match encoded {
        Some(json) => Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response()),
        None => Err(Error::new(ErrorKind::NotFound, format!("there are no spans of the trace {id}")).into()),
    }
}
