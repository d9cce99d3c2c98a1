//! How is a request refused over HTTP? As `application/problem+json` (RFC 9457).
//!
//! ```json
//! {"type":"urn:broadloom:problem:invalid-input","title":"The request is wrong","status":400,
//!  "detail":"unknown column \"durationn\" at line 1, column 8: …","line":1,"column":8}
//! ```
//!
//! | kind | status |
//! |---|---|
//! | invalid-input | 400 |
//! | unauthenticated | 401 with `WWW-Authenticate` |
//! | forbidden | 403 |
//! | not-found | 404 |
//! | conflict | 409 |
//! | too-large | 413 |
//! | limit-exceeded | 422 |
//! | internal, corrupt | 500 |
//! | busy, unavailable, poisoned | 503 with `Retry-After` |
//! | cancelled | 504 |
//!
//! `busy` is 503 and not 429, as some exporters of telemetry, such as OpenTelemetry's for Python, retry after 503 but
//! drop their data after 429.
//!
//! The status follows from the kind, except for errors that only HTTP has (405, 406, 415).

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Refusal;
use crate::error::{Error, ErrorKind};

/// A refusal on its way to an HTTP client.
#[derive(Debug)]
pub(in crate::server) struct Problem {
    status: StatusCode,
    refusal: Refusal,
}

impl Problem {
    /// Creates a problem whose status is not that of its kind (405, 406, 415).
    pub(in crate::server) fn with_status(status: StatusCode, error: Error) -> Self {
        Self { status, refusal: error.into() }
    }

    /// HTTP status of the response.
    pub(in crate::server) fn status(&self) -> StatusCode {
        self.status
    }

    /// The refusal itself.
    pub(in crate::server) fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// The members of the problem, for answers that tell of one among other things.
    pub(in crate::server) fn body(&self) -> Value {
        let kind = self.refusal.kind();
        let mut body = json!({
            "type": format!("urn:broadloom:problem:{}", kind.name()),
            "title": title(kind),
            "status": self.status.as_u16(),
            "detail": self.refusal.message(),
        });
        if let Some(at) = self.refusal.position() {
            body["line"] = at.line.into();
            body["column"] = at.column.into();
        }
        body
    }

    /// Sets the headers that belong to the refusal, for any form of the body.
    pub(in crate::server) fn set_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if let Some(wait) = self.refusal.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd, identity"));
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { status: status(refusal.kind()), refusal }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::LimitExceeded => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Busy | ErrorKind::Unavailable | ErrorKind::Poisoned => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Cancelled => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn title(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidInput => "The request is wrong",
        ErrorKind::Unauthenticated => "Credentials are missing or wrong",
        ErrorKind::Forbidden => "This is not permitted",
        ErrorKind::NotFound => "The requested object does not exist",
        ErrorKind::Conflict => "Another writer changed it",
        ErrorKind::TooLarge => "The request is too large",
        ErrorKind::LimitExceeded => "A limit of the request was reached",
        ErrorKind::Busy => "The server is busy: retry later",
        ErrorKind::Unavailable => "Temporarily unavailable: retry later",
        ErrorKind::Corrupt => "Stored data is damaged",
        ErrorKind::Poisoned => "The server must be restarted",
        ErrorKind::Cancelled => "The request was stopped",
        ErrorKind::Internal => "A defect of the server: please report it",
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() = self.status;
        self.set_headers(&mut response);
        let media_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Position;

    #[tokio::test]
    async fn a_problem_says_status_kind_and_place() {
        let error = Error::invalid("no column x").at(Position { line: 1, column: 8 });
        let response = Problem::from(error).into_response();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["type"], "urn:broadloom:problem:invalid-input");
        assert_eq!((&body["line"], &body["column"]), (&json!(1), &json!(8)));
    }

    #[test]
    fn what_may_be_sent_again_says_when() {
        for kind in ErrorKind::ALL {
            let response = Problem::from(Error::new(kind, "no")).into_response();
            let wait = response.headers().get(header::RETRY_AFTER).map(HeaderValue::as_bytes);
            assert_eq!(wait, kind.is_retryable().then_some(&b"2"[..]), "{kind:?}");
            let is_503 = response.status() == StatusCode::SERVICE_UNAVAILABLE;
            assert_eq!(is_503, kind.is_retryable(), "{kind:?}: clients go by the status too");
        }
    }

    #[test]
    fn who_is_not_known_is_told_how_to_say_so() {
        let unknown = Problem::from(Error::new(ErrorKind::Unauthenticated, "no token")).into_response();
        assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(unknown.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let forbidden = Problem::from(Error::new(ErrorKind::Forbidden, "no right")).into_response();
        assert_eq!(forbidden.status(), StatusCode::FORBIDDEN);
    }
}
