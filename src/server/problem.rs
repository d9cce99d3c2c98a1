//! How an error looks over HTTP: `application/problem+json` (RFC 9457).
//!
//! ```json
//! {"type":"urn:broadloom:problem:invalid-input","title":"The request is wrong","status":400,
//!  "detail":"no column named \"durationn\" … at line 1, column 8","line":1,"column":8}
//! ```
//!
//! The status follows from the [`ErrorKind`], so that no handler decides about it on its own; what a
//! client may simply send again carries `Retry-After`.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::error::{Error, ErrorKind};

/// Seconds that a client is told to wait before it sends again what was refused for lack of room. A
/// flush takes about that long.
pub(super) const RETRY_AFTER_SECONDS: u64 = 2;

/// An error on its way to an HTTP client.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    error: Error,
}

impl Problem {
    /// A problem whose status is not the usual one of its kind (405, 406, 413, 415).
    pub(super) fn with_status(status: StatusCode, error: Error) -> Self {
        Self { status, error }
    }

    /// The HTTP status that it is answered with.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The error behind it.
    pub(super) fn error(&self) -> &Error {
        &self.error
    }

    /// Logs what the operator should know; what the client did wrong is the client's to read.
    pub(super) fn log(&self, what: &'static str) {
        let kind = self.error.kind();
        if self.status.is_server_error() && !matches!(kind, ErrorKind::Unavailable) {
            tracing::error!(what, ?kind, error = self.error.chain(), "request failed");
        } else {
            tracing::debug!(what, ?kind, error = self.error.chain(), "request refused");
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { status: status_of(error.kind()), error }
    }
}

/// The HTTP status of an error of `kind`.
pub(super) fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Unavailable | ErrorKind::Poisoned => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::LimitExceeded => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Cancelled => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The last part of the problem's `type`, and its title.
fn words(kind: ErrorKind) -> (&'static str, &'static str) {
    match kind {
        ErrorKind::InvalidInput => ("invalid-input", "The request is wrong"),
        ErrorKind::NotFound => ("not-found", "What was asked for does not exist"),
        ErrorKind::Conflict => ("conflict", "Somebody else changed it"),
        ErrorKind::Unavailable => ("unavailable", "Impossible for now: try again later"),
        ErrorKind::LimitExceeded => ("limit-exceeded", "A limit was reached"),
        ErrorKind::Corrupt => ("corrupt", "Stored data is damaged"),
        ErrorKind::Poisoned => ("poisoned", "The server must be restarted"),
        ErrorKind::Cancelled => ("cancelled", "The request was stopped"),
        ErrorKind::Internal => ("internal", "A defect of the server: please report it"),
    }
}

/// May the same request succeed a little later?
pub(super) fn is_retryable(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (slug, title) = words(self.error.kind());
        let detail = self.error.chain();
        let mut body = json!({
            "type": format!("urn:broadloom:problem:{slug}"),
            "title": title,
            "status": self.status.as_u16(),
            "detail": detail,
        });
        if let (Some(at), Some(object)) = (Position::in_message(&detail), body.as_object_mut()) {
            object.insert("line".to_owned(), at.line.into());
            object.insert("column".to_owned(), at.column.into());
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if is_retryable(self.status) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}

/// A place in a statement; both numbers count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Line.
    pub(crate) line: usize,
    /// Column.
    pub(crate) column: usize,
}

impl Position {
    /// The place that a message names as `line 3, column 14` (in any case, colons allowed).
    pub(crate) fn in_message(message: &str) -> Option<Self> {
        let lower = message.to_ascii_lowercase();
        lower.match_indices("line").find_map(|(at, word)| {
            let (line, rest) = number(&lower[at + word.len()..])?;
            let rest = rest.trim_start_matches([',', ' ']).strip_prefix("column")?;
            let (column, _) = number(rest)?;
            (line > 0 && column > 0).then_some(Self { line, column })
        })
    }
}

/// The number at the start of `text`, after spaces and a colon.
fn number(text: &str) -> Option<(usize, &str)> {
    let text = text.trim_start_matches([':', ' ']);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_found_in_the_words_of_a_parser() {
        let place = |line, column| Some(Position { line, column });
        assert_eq!(Position::in_message("no such column at line 2, column 17; nearest: a"), place(2, 17));
        assert_eq!(Position::in_message("Expected: end, found: x at Line: 1, Column: 8"), place(1, 8));
        assert_eq!(Position::in_message("a deadline 5 passed at line 3, column 4"), place(3, 4));
        assert_eq!(Position::in_message("it fails in line 3"), None);
        assert_eq!(Position::in_message("Line: 0, Column: 0"), None);
    }

    #[tokio::test]
    async fn a_problem_says_status_kind_and_place() {
        let response = Problem::from(Error::invalid("no column x at line 1, column 8")).into_response();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["type"], "urn:broadloom:problem:invalid-input");
        assert_eq!((&body["line"], &body["column"]), (&json!(1), &json!(8)));
    }

    #[test]
    fn what_may_be_sent_again_says_when() {
        let busy = Problem::from(Error::new(ErrorKind::Unavailable, "full")).into_response();
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(busy.headers()[header::RETRY_AFTER], "2");
        let wrong = Problem::from(Error::invalid("no")).into_response();
        assert!(!wrong.headers().contains_key(header::RETRY_AFTER));
    }
}
