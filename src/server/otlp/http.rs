//! How does OTLP/HTTP reach the gate? `POST /v1/traces`, `/v1/logs`, `/v1/metrics`.
//!
//! Source: the OpenTelemetry protocol specification, section "OTLP/HTTP". The response has the encoding of the
//! request, protobuf or JSON:
//!
//! | outcome | status | body |
//! |---|---|---|
//! | all records accepted | 200 | an empty response message |
//! | some records refused | 200 | `partial_success` with their number and the reasons |
//! | not OTLP, damaged, of another path | 400 | `google.rpc.Status`; the sender must not retry |
//! | too large | 413 | `google.rpc.Status` |
//! | unknown Content-Type or Content-Encoding | 415 | `google.rpc.Status` |
//! | no room for now | 503 | `google.rpc.Status` and `Retry-After`: the sender waits and retries |

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::answer::{self, PartialSuccess};
use crate::ingest::otlp::{Encoding, RequestKind};
use crate::server::answer::{Problem, grpc};
use crate::server::content::{broken_off, compression, otlp_encoding};
use crate::server::gate::{Caller, Delivery, Protocol};

/// `POST /v1/traces`.
pub(in crate::server) async fn traces(caller: Caller, headers: HeaderMap, body: Body) -> Response {
    export(&caller, RequestKind::Traces, &headers, body).await
}

/// `POST /v1/logs`.
pub(in crate::server) async fn logs(caller: Caller, headers: HeaderMap, body: Body) -> Response {
    export(&caller, RequestKind::Logs, &headers, body).await
}

/// `POST /v1/metrics`.
pub(in crate::server) async fn metrics(caller: Caller, headers: HeaderMap, body: Body) -> Response {
    export(&caller, RequestKind::Metrics, &headers, body).await
}

async fn export(caller: &Caller, kind: RequestKind, headers: &HeaderMap, body: Body) -> Response {
    let encoding = otlp_encoding(headers);
    let answer_in = *encoding.as_ref().unwrap_or(&Encoding::Json);
    let delivery = match encoding {
        Ok(encoding) => read(caller, kind, encoding, headers, body).await,
        Err(problem) => Err(problem),
    };
    let outcome = match delivery {
        Ok(delivery) => caller.receive(delivery).await.map_err(Problem::from),
        Err(problem) => {
            caller.refuse(Protocol::OtlpHttp, kind, problem.refusal());
            Err(problem)
        }
    };
    match outcome {
        Ok(rejected) => success(kind, answer_in, &PartialSuccess::of(&rejected)),
        Err(problem) => failure(answer_in, &problem),
    }
}

/// Reads a whole body, within the limit of a message and the budget of all messages. Memory is taken as bytes
/// arrive: a length that is only announced takes none.
async fn read(
    caller: &Caller,
    kind: RequestKind,
    encoding: Encoding,
    headers: &HeaderMap,
    body: Body,
) -> Result<Delivery, Problem> {
    let compression = compression(headers)?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    caller.check_message_size(announced.unwrap_or(0))?;
    let mut reservation = caller.message_reservation();
    let mut whole = BytesMut::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(broken_off)?;
        caller.check_message_size(whole.len() + chunk.len())?;
        reservation.grow(chunk.len())?;
        whole.extend_from_slice(&chunk);
    }
    Ok(Delivery {
        protocol: Protocol::OtlpHttp,
        kind,
        encoding,
        compression,
        body: whole.freeze(),
        reservation,
    })
}

fn success(kind: RequestKind, encoding: Encoding, partial: &PartialSuccess) -> Response {
    let body = match encoding {
        Encoding::Protobuf => Bytes::from(answer::protobuf(kind, partial)),
        Encoding::Json => Bytes::from(answer::json(kind, partial).to_string()),
    };
    respond(StatusCode::OK, encoding, body)
}

/// The problem as `google.rpc.Status`.
fn failure(encoding: Encoding, problem: &Problem) -> Response {
    let body = match encoding {
        Encoding::Protobuf => Bytes::copy_from_slice(grpc::status(problem.refusal()).details()),
        Encoding::Json => Bytes::from(grpc::status_json(problem.refusal()).to_string()),
    };
    let mut response = respond(problem.status(), encoding, body);
    problem.set_headers(&mut response);
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
