//! What is the response to an accepted message?
//!
//! Source: the OpenTelemetry protocol specification, section "Partial success": `partial_success` is absent when
//! every record was accepted. The response to a message that is refused as a whole is a `google.rpc.Status`
//! ([`grpc`](crate::server::answer::grpc)).

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;

use crate::ingest::Rejected;
use crate::ingest::otlp::RequestKind;

/// Number of refused records of a message and the reasons, or only warnings about accepted ones.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct PartialSuccess {
    count: i64,
    message: String,
}

impl PartialSuccess {
    /// Converts the refusals of a message to those of a response.
    pub(super) fn of(rejected: &Rejected) -> Self {
        Self { count: i64::try_from(rejected.count()).unwrap_or(i64::MAX), message: rejected.message() }
    }

    fn is_empty(&self) -> bool {
        self.count == 0 && self.message.is_empty()
    }
}

/// The response message of `kind` in protobuf.
pub(super) fn protobuf(kind: RequestKind, partial: &PartialSuccess) -> Vec<u8> {
    let PartialSuccess { count, message } = partial.clone();
    let is_partial = !partial.is_empty();
    match kind {
        RequestKind::Traces => ExportTraceServiceResponse {
            partial_success: is_partial
                .then_some(ExportTracePartialSuccess { rejected_spans: count, error_message: message }),
        }
        .encode_to_vec(),
        RequestKind::Logs => ExportLogsServiceResponse {
            partial_success: is_partial
                .then_some(ExportLogsPartialSuccess { rejected_log_records: count, error_message: message }),
        }
        .encode_to_vec(),
        RequestKind::Metrics => ExportMetricsServiceResponse {
            partial_success: is_partial.then_some(ExportMetricsPartialSuccess {
                rejected_data_points: count,
                error_message: message,
            }),
        }
        .encode_to_vec(),
    }
}

/// The response message of `kind` in OTLP's JSON, where 64-bit integers are strings.
pub(super) fn json(kind: RequestKind, partial: &PartialSuccess) -> serde_json::Value {
    if partial.is_empty() {
        return json!({});
    }
    let field = match kind {
        RequestKind::Traces => "rejectedSpans",
        RequestKind::Logs => "rejectedLogRecords",
        RequestKind::Metrics => "rejectedDataPoints",
    };
    json!({ "partialSuccess": { field: partial.count.to_string(), "errorMessage": partial.message } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_about_partial_success_when_all_was_taken() {
        assert_eq!(protobuf(RequestKind::Traces, &PartialSuccess::default()), b"");
        assert_eq!(json(RequestKind::Logs, &PartialSuccess::default()).to_string(), "{}");
    }

    #[test]
    fn refused_records_are_counted_with_their_reasons() {
        let partial = PartialSuccess { count: 3, message: "a trace id of 3 bytes".to_owned() };
        let decoded =
            ExportTraceServiceResponse::decode(&protobuf(RequestKind::Traces, &partial)[..]).unwrap();
        let found = decoded.partial_success.unwrap();
        assert_eq!((found.rejected_spans, found.error_message.as_str()), (3, "a trace id of 3 bytes"));
        assert_eq!(
            json(RequestKind::Metrics, &partial)["partialSuccess"],
            json!({ "rejectedDataPoints": "3", "errorMessage": "a trace id of 3 bytes" })
        );
    }
}
