//! OTLP/HTTP: `POST /v1/traces`, `/v1/logs`, `/v1/metrics`.
//!
//! Source: the OpenTelemetry protocol specification, section "OTLP/HTTP". The answer is written as the
//! request was, protobuf or JSON:
//!
//! | outcome | status | body |
//! |---|---|---|
//! | all taken | 200 | an empty response message |
//! | some records refused | 200 | `partial_success` with their number and the reasons |
//! | not OTLP, damaged, of another path | 400 | `google.rpc.Status`; the sender must not send it again |
//! | too large | 413 | `google.rpc.Status` |
//! | unknown Content-Type or Content-Encoding | 415 | `google.rpc.Status` |
//! | no room, a limit | 503, 429 | `google.rpc.Status` and `Retry-After`: the sender waits and sends it again |

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::content::{Compression, broken_off, otlp_encoding, too_large};
use super::otlp_answer::{self, Refusals};
use super::problem::{Problem, RETRY_AFTER_SECONDS, is_retryable};
use super::receive::{Delivery, Protocol, receive, refuse};
use super::state::ServerState;
use crate::ingest::otlp::{Encoding, RequestKind};

/// `POST /v1/traces`.
pub(super) async fn traces(State(state): State<ServerState>, headers: HeaderMap, body: Body) -> Response {
    export(state, RequestKind::Traces, &headers, body).await
}

/// `POST /v1/logs`.
pub(super) async fn logs(State(state): State<ServerState>, headers: HeaderMap, body: Body) -> Response {
    export(state, RequestKind::Logs, &headers, body).await
}

/// `POST /v1/metrics`.
pub(super) async fn metrics(State(state): State<ServerState>, headers: HeaderMap, body: Body) -> Response {
    export(state, RequestKind::Metrics, &headers, body).await
}

async fn export(state: ServerState, kind: RequestKind, headers: &HeaderMap, body: Body) -> Response {
    let encoding = otlp_encoding(headers);
    let answer_in = *encoding.as_ref().unwrap_or(&Encoding::Json);
    let delivery = match encoding {
        Ok(encoding) => read(&state, kind, encoding, headers, body).await,
        Err(problem) => Err(problem),
    };
    let outcome = match delivery {
        Ok(delivery) => receive(&state, delivery).await,
        Err(problem) => {
            refuse(&state, Protocol::Http, kind, &problem);
            Err(problem)
        }
    };
    match outcome {
        Ok(rejected) => success(kind, answer_in, &Refusals::of(&rejected)),
        Err(problem) => failure(answer_in, &problem),
    }
}

/// Reads a body whole, within the limit of a message and the budget of all. Memory is taken as bytes arrive: a
/// length that is only announced takes none.
async fn read(
    state: &ServerState,
    kind: RequestKind,
    encoding: Encoding,
    headers: &HeaderMap,
    body: Body,
) -> Result<Delivery, Problem> {
    let compression = Compression::of(headers)?;
    let bytes_max = state.limits.message_bytes_max;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let mut reservation = state.budget.reservation();
    let mut whole = BytesMut::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(broken_off)?;
        if whole.len() + chunk.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        reservation.grow(chunk.len())?;
        whole.extend_from_slice(&chunk);
    }
    Ok(Delivery { protocol: Protocol::Http, kind, encoding, compression, body: whole.freeze(), reservation })
}

fn success(kind: RequestKind, encoding: Encoding, refusals: &Refusals) -> Response {
    let body = match encoding {
        Encoding::Protobuf => Bytes::from(otlp_answer::protobuf(kind, refusals)),
        Encoding::Json => Bytes::from(otlp_answer::json(kind, refusals).to_string()),
    };
    respond(StatusCode::OK, encoding, body)
}

/// The problem as `google.rpc.Status`.
fn failure(encoding: Encoding, problem: &Problem) -> Response {
    let body = match encoding {
        Encoding::Protobuf => Bytes::copy_from_slice(otlp_answer::status(problem).details()),
        Encoding::Json => Bytes::from(otlp_answer::status_json(problem).to_string()),
    };
    let mut response = respond(problem.status(), encoding, body);
    if is_retryable(problem.status()) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    }
    if problem.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        response
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, identity"));
    }
    response
}

fn respond(status: StatusCode, encoding: Encoding, body: Bytes) -> Response {
    let media_type = match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
