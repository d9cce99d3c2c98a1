//! What OTLP producers are told: success, partial success, and errors as `google.rpc.Status`.
//!
//! Source: the OpenTelemetry protocol specification, sections "Partial success", "Failures" and
//! "OTLP/gRPC throttling". Three rules that senders rely on: `partial_success` is absent when every record
//! was taken; what must not be sent again never has a retryable code; what may be sent again says after
//! how long (`RetryInfo`).

use std::time::Duration;

use axum::http::StatusCode;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};

use super::problem::{Problem, RETRY_AFTER_SECONDS, is_retryable};
use crate::ingest::Rejected;
use crate::ingest::otlp::RequestKind;

/// The records of a message that were refused: how many, and why; or only remarks on what was taken.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Refusals {
    count: i64,
    message: String,
}

impl Refusals {
    /// What a producer is told about `rejected`.
    pub(super) fn of(rejected: &Rejected) -> Self {
        Self { count: i64::try_from(rejected.count()).unwrap_or(i64::MAX), message: rejected.message() }
    }

    fn is_empty(&self) -> bool {
        self.count == 0 && self.message.is_empty()
    }
}

/// The response message of `kind` in protobuf.
pub(super) fn protobuf(kind: RequestKind, refusals: &Refusals) -> Vec<u8> {
    let Refusals { count, message } = refusals.clone();
    let partial = !refusals.is_empty();
    match kind {
        RequestKind::Traces => ExportTraceServiceResponse {
            partial_success: partial
                .then_some(ExportTracePartialSuccess { rejected_spans: count, error_message: message }),
        }
        .encode_to_vec(),
        RequestKind::Logs => ExportLogsServiceResponse {
            partial_success: partial
                .then_some(ExportLogsPartialSuccess { rejected_log_records: count, error_message: message }),
        }
        .encode_to_vec(),
        RequestKind::Metrics => ExportMetricsServiceResponse {
            partial_success: partial.then_some(ExportMetricsPartialSuccess {
                rejected_data_points: count,
                error_message: message,
            }),
        }
        .encode_to_vec(),
    }
}

/// The response message of `kind` in OTLP's JSON, where 64-bit integers are strings.
pub(super) fn json(kind: RequestKind, refusals: &Refusals) -> serde_json::Value {
    if refusals.is_empty() {
        return json!({});
    }
    let field = match kind {
        RequestKind::Traces => "rejectedSpans",
        RequestKind::Logs => "rejectedLogRecords",
        RequestKind::Metrics => "rejectedDataPoints",
    };
    json!({ "partialSuccess": { field: refusals.count.to_string(), "errorMessage": refusals.message } })
}

/// A refused message as a gRPC status; its `details()` are the `google.rpc.Status` message in protobuf.
pub(super) fn status(problem: &Problem) -> tonic::Status {
    let mut details = ErrorDetails::new();
    if is_retryable(problem.status()) {
        details.set_retry_info(Some(Duration::from_secs(RETRY_AFTER_SECONDS)));
    }
    tonic::Status::with_error_details(code(problem.status()), problem.error().chain(), details)
}

/// A refused message as `google.rpc.Status` in JSON.
pub(super) fn status_json(problem: &Problem) -> serde_json::Value {
    let mut status = json!({
        "code": code(problem.status()) as i32,
        "message": problem.error().chain(),
    });
    if is_retryable(problem.status()) {
        status["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{RETRY_AFTER_SECONDS}s"),
        }]);
    }
    status
}

/// The gRPC code that says what an HTTP status says. A message that is too large is RESOURCE_EXHAUSTED
/// without `RetryInfo`: the specification lets senders try OUT_OF_RANGE again, for ever.
fn code(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT => Code::Aborted,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::Unimplemented,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::too_large;
    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn nothing_is_said_about_partial_success_when_all_was_taken() {
        assert_eq!(protobuf(RequestKind::Traces, &Refusals::default()), b"");
        assert_eq!(json(RequestKind::Logs, &Refusals::default()).to_string(), "{}");
    }

    #[test]
    fn refused_records_are_counted_with_their_reasons() {
        let refusals = Refusals { count: 3, message: "a trace id of 3 bytes".to_owned() };
        let decoded =
            ExportTraceServiceResponse::decode(&protobuf(RequestKind::Traces, &refusals)[..]).unwrap();
        let partial = decoded.partial_success.unwrap();
        assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (3, "a trace id of 3 bytes"));
        assert_eq!(
            json(RequestKind::Metrics, &refusals)["partialSuccess"],
            json!({ "rejectedDataPoints": "3", "errorMessage": "a trace id of 3 bytes" })
        );
    }

    #[test]
    fn only_what_may_be_sent_again_has_retry_info() {
        let busy = Problem::from(Error::new(ErrorKind::Unavailable, "full"));
        let wrong = Problem::from(Error::invalid("no"));
        let large = too_large(5);
        for (problem, code, wait) in [
            (busy, Code::Unavailable, Some(Duration::from_secs(RETRY_AFTER_SECONDS))),
            (wrong, Code::InvalidArgument, None),
            (large, Code::ResourceExhausted, None),
        ] {
            let status = status(&problem);
            assert_eq!(status.code(), code);
            assert_eq!(status.get_details_retry_info().and_then(|info| info.retry_delay), wait, "{code:?}");
            let message = tonic_types::Status::decode(status.details()).unwrap();
            assert_eq!((message.code, message.message.as_str()), (code as i32, status.message()));
        }
    }
}
