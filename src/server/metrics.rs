//! `GET /metrics`: the server about itself, in the Prometheus text format (OpenMetrics).

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::answer::Problem;
use super::content::accepted;
use super::state::ServerState;

/// `GET /metrics`: OpenMetrics to whom asks for it, and to others the same lines as what they also are,
/// the older Prometheus text format (where `# UNIT` and `# EOF` are comments).
pub(super) async fn get(State(state): State<ServerState>, headers: HeaderMap) -> Result<Response, Problem> {
    let text = state.gate.metrics()?;
    let open_metrics = accepted(&headers).iter().any(|media| media == "application/openmetrics-text");
    let kind = if open_metrics {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
