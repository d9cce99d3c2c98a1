//! How is a request refused over gRPC?
//!
//! | kind | code |
//! |---|---|
//! | invalid-input | INVALID_ARGUMENT |
//! | not-found | NOT_FOUND |
//! | conflict | ABORTED |
//! | unavailable, busy, poisoned | UNAVAILABLE with `RetryInfo` |
//! | too-large, limit-exceeded | RESOURCE_EXHAUSTED |
//! | unauthenticated | UNAUTHENTICATED |
//! | forbidden | PERMISSION_DENIED |
//! | cancelled | DEADLINE_EXCEEDED |
//! | corrupt, internal | INTERNAL |
//!
//! RESOURCE_EXHAUSTED has no `RetryInfo`: by OTLP's specification senders must not retry it then. They would retry
//! OUT_OF_RANGE for ever.

use serde_json::{Value, json};
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};

use super::Refusal;
use crate::error::ErrorKind;

/// The refusal as a gRPC status; its `details()` are the `google.rpc.Status` message in protobuf.
pub(in crate::server) fn status(refusal: &Refusal) -> tonic::Status {
    let mut details = ErrorDetails::new();
    if let Some(wait) = refusal.retry_after() {
        details.set_retry_info(Some(wait));
    }
    tonic::Status::with_error_details(code(refusal.kind()), refusal.message(), details)
}

/// The refusal as `google.rpc.Status` in JSON.
pub(in crate::server) fn status_json(refusal: &Refusal) -> Value {
    let mut status = json!({ "code": code(refusal.kind()) as i32, "message": refusal.message() });
    if let Some(wait) = refusal.retry_after() {
        status["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{}s", wait.as_secs()),
        }]);
    }
    status
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidInput => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::Unavailable | ErrorKind::Busy | ErrorKind::Poisoned => Code::Unavailable,
        ErrorKind::TooLarge | ErrorKind::LimitExceeded => Code::ResourceExhausted,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::Cancelled => Code::DeadlineExceeded,
        ErrorKind::Corrupt | ErrorKind::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost::Message;

    use super::*;
    use crate::error::Error;

    #[test]
    fn only_what_may_be_sent_again_has_retry_info() {
        let wait = Some(Duration::from_secs(2));
        for (kind, code, wait) in [
            (ErrorKind::Unavailable, Code::Unavailable, wait),
            (ErrorKind::Busy, Code::Unavailable, wait),
            (ErrorKind::Poisoned, Code::Unavailable, wait),
            (ErrorKind::InvalidInput, Code::InvalidArgument, None),
            (ErrorKind::TooLarge, Code::ResourceExhausted, None),
            (ErrorKind::LimitExceeded, Code::ResourceExhausted, None),
            (ErrorKind::Unauthenticated, Code::Unauthenticated, None),
            (ErrorKind::Forbidden, Code::PermissionDenied, None),
        ] {
            let refusal = Refusal::from(Error::new(kind, "no"));
            let status = status(&refusal);
            assert_eq!(status.code(), code);
            assert_eq!(status.get_details_retry_info().and_then(|info| info.retry_delay), wait, "{kind:?}");
            let message = tonic_types::Status::decode(status.details()).unwrap();
            assert_eq!((message.code, message.message.as_str()), (code as i32, status.message()));
            let json = status_json(&refusal);
            assert_eq!(json["code"], code as i32);
            assert_eq!(json["details"][0]["retryDelay"].as_str(), wait.map(|_| "2s"));
        }
    }
}
