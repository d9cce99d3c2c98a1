//! Is a statement right? `POST /v1/check` with `{"sql": "select …"}`: it is planned, and not run.
//!
//! ```jsonc
//! {"columns": [{"name": "http.route", "type": "text"}], "warnings": []}
//! {"problem": {"type": "urn:broadloom:problem:invalid-input", "detail": "…", "line": 2, "column": 7, …}}
//! ```
//!
//! Both are 200: the question was whether it is right. A server that cannot say so answers with a problem of its own.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::answer::Problem;
use super::gate::Caller;
use super::sql::STATEMENT_BYTES_MAX;
use crate::error::{Error, ErrorKind};
use crate::query::Question;
use crate::query::output::columns;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    sql: String,
}

/// `POST /v1/check`.
pub(super) async fn post(caller: Caller, body: Body) -> Result<Response, Problem> {
    let body = axum::body::to_bytes(body, STATEMENT_BYTES_MAX).await.map_err(|e| {
        let message = format!("the statement cannot be read, or has more than {STATEMENT_BYTES_MAX} bytes");
        Error::new(ErrorKind::TooLarge, message).with_source(e)
    })?;
    let check: Check = serde_json::from_slice(&body).map_err(|e| {
        Error::invalid(format!("the body is not {{\"sql\": \"select …\"}}: {e}")).with_source(e)
    })?;
    match caller.check(Question::sql(check.sql)).await {
        Ok(checked) => {
            let answer = json!({ "columns": columns(&checked.schema), "warnings": checked.warnings });
            Ok(Json(answer).into_response())
        }
        Err(refusal) if refusal.kind() == ErrorKind::InvalidInput => {
            Ok(Json(json!({ "problem": Problem::from(refusal).body() })).into_response())
        }
        Err(refusal) => Err(refusal.into()),
    }
}
