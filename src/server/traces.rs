//! How is one trace returned as it was sent? `GET /v1/traces/{id}`: its spans as OTLP/JSON.
//!
//! A trace is built in memory, since its spans can be grouped only when all rows are known. So its rows are counted
//! against the budget of such answers. Its text is made in chunks while it is sent.

use axum::body::Body;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::answer::Problem;
use super::gate::{Caller, Protocol, Reservation, memory_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::event::TraceId;
use crate::ingest::otlp;
use crate::query::{QueryResult, Question};

/// Most spans and span events of one trace in an answer; use `/v1/sql` for larger traces.
const ROWS_MAX: usize = 500_000;

/// Memory of a span of OTLP besides its texts: the struct, and the structs of a dozen attributes.
const SPAN_BYTES: usize = 1 << 10;

/// Memory of a span's texts, as a multiple of its row: the row itself, and each attribute in its own allocation.
const TEXT_FACTOR: usize = 4;

/// Approximate bytes of a chunk of text.
const CHUNK_BYTES: usize = 64 << 10;

/// `GET /v1/traces/{id}`, where id is 32 hex digits in any case. 404 if the trace has no spans.
pub(super) async fn get(caller: Caller, Path(id): Path<String>) -> Result<Response, Problem> {
    let id: TraceId = id.parse()?;
    let reservation = caller.answer_reservation();
    let encode = move |found| futures::stream::once(encode(id, found, reservation)).try_flatten();
    let answer = caller.ask(Protocol::Trace, Question::trace(id)?, encode).await?;
    let body = Body::from_stream(answer.items);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Encodes a trace as chunks. The stream holds the reservation.
async fn encode(
    id: TraceId,
    mut found: QueryResult,
    mut reservation: Reservation,
) -> Result<impl Stream<Item = Result<Bytes>> + Send> {
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = found.stream.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        if rows > ROWS_MAX {
            let message = format!(
                "the trace {id} has more than {ROWS_MAX} spans and span events; query some of them with /v1/sql"
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let texts = memory_bytes(&batch).saturating_mul(TEXT_FACTOR);
        reservation.grow(texts.saturating_add(batch.num_rows().saturating_mul(SPAN_BYTES)))?;
        batches.push(batch);
    }
    // The task takes the reservation: it runs to its end even if this future is dropped.
    let encoding = tokio::task::spawn_blocking(move || Ok((otlp::encode(&batches)?.traces, reservation)));
    let encoded: Result<_> =
        encoding.await.map_err(|e| Error::internal("encoding a trace failed").with_source(e))?;
    let (traces, reservation) = encoded?;
    if traces.resource_spans.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("no spans of the trace {id} are stored")));
    }
    Ok(futures::stream::iter(chunks(traces).map(move |chunk| {
        let _held_until_all_is_sent = &reservation;
        Ok(chunk)
    })))
}

/// Text of `traces` in chunks of about [`CHUNK_BYTES`].
fn chunks(traces: ExportTraceServiceRequest) -> impl Iterator<Item = Bytes> + Send {
    let mut pieces = otlp::traces_json_pieces(traces);
    std::iter::from_fn(move || {
        let mut chunk = String::new();
        for piece in pieces.by_ref() {
            chunk.push_str(&piece);
            if chunk.len() >= CHUNK_BYTES {
                break;
            }
        }
        (!chunk.is_empty()).then(|| Bytes::from(chunk))
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

    use super::*;
    use crate::config::Settings;
    use crate::db::Database;
    use crate::query::Progress;

    const ID: [u8; 16] = [7; 16];

    fn spans(count: u64) -> ExportTraceServiceRequest {
        let span = |i: u64| Span {
            trace_id: ID.to_vec(),
            span_id: (i + 1).to_be_bytes().to_vec(),
            name: format!("{i:>1000}"),
            start_time_unix_nano: 1_700_000_000_000_000_000 + i,
            end_time_unix_nano: 1_700_000_000_000_000_500 + i,
            status: Some(Status::default()),
            ..Span::default()
        };
        let scope = ScopeSpans { spans: (0..count).map(span).collect(), ..ScopeSpans::default() };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource] }
    }

    /// Chunks of a stored trace, built within `bytes_max` bytes.
    async fn chunks_within(bytes_max: usize, count: u64) -> Result<Vec<Bytes>> {
        let data = tempfile::tempdir().unwrap();
        let database = Database::open(Settings::new(data.path())).await.unwrap();
        database.append(otlp::traces(&spans(count), 0).unwrap().batch).await.unwrap();
        let id = TraceId::new(ID);
        let found = database.query(Question::trace(id).unwrap()).await.unwrap();
        encode(id, found, Reservation::within(bytes_max)).await?.try_collect().await
    }

    #[tokio::test]
    async fn a_trace_is_sent_in_pieces_that_make_one_text() {
        let chunks = chunks_within(64 << 20, 300).await.unwrap();
        assert!(chunks.len() > 3, "{}", chunks.len());
        let back: ExportTraceServiceRequest = serde_json::from_slice(&chunks.concat()).unwrap();
        let mut found = back.resource_spans[0].scope_spans[0].spans.clone();
        found.sort_by(|a, b| a.span_id.cmp(&b.span_id));
        assert_eq!(found, spans(300).resource_spans[0].scope_spans[0].spans);
    }

    #[tokio::test]
    async fn a_trace_that_needs_more_memory_than_there_is_is_refused_before_it_is_made() {
        let error = chunks_within(100_000, 300).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.message().contains("/v1/sql"), "{error}");
        assert!(chunks_within(100_000, 5).await.is_ok());
    }
}
