//! Which statements run now? `GET /v1/queries`; `DELETE /v1/queries/{id}` ends one.
//!
//! ```jsonc
//! {"queries": [{"id": "q-5f0c9a1e77b2d310", "kind": "sql", "door": "http", "statement": "select …", "asked_by": "anna",
//!   "is_own": true, "age_ms": 5210, "rows": 0, "cost": {"elapsed_ms": 5210, "segments": 6, …}}]}
//! ```
//!
//! The oldest is first. `cost` is null while a statement is planned. A client sees its own queries, one with the right
//! `admin` those of all. Whoever asked the query that is ended gets the problem `cancelled`, over every protocol.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::Problem;
use super::cost::cost;
use super::gate::{Caller, QueryId};

/// `GET /v1/queries`.
pub(super) async fn get(caller: Caller) -> Result<Json<Value>, Problem> {
    let running = caller.running()?;
    let queries = running.into_iter().map(|question| {
        json!({
            "id": question.id.to_string(),
            "kind": question.protocol.kind(),
            "door": question.protocol.door(),
            "statement": question.text,
            "asked_by": question.asked_by,
            "is_own": question.is_own,
            "age_ms": u64::try_from(question.age.as_millis()).unwrap_or(u64::MAX),
            "rows": question.rows,
            "cost": question.read.map(|read| cost(question.age, read)),
        })
    });
    Ok(Json(json!({ "queries": queries.collect::<Value>() })))
}

/// `DELETE /v1/queries/{id}`.
pub(super) async fn delete(caller: Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    caller.cancel(id.parse()?)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Name of the header that names the query of an answer.
const QUERY_HEADER: &str = "broadloom-query";

/// Names the query of `response`, so that its client can end it.
pub(super) fn set_query(response: &mut Response, id: QueryId) {
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(QUERY_HEADER, id);
    }
}
