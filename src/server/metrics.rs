//! `GET /metrics`: metrics of the server, in the Prometheus text format (OpenMetrics).

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::answer::Problem;
use super::content::accepted;
use super::state::ServerState;

/// `GET /metrics`: OpenMetrics if `Accept` asks for it. Other clients get the same lines as the older Prometheus text
/// format, in which `# UNIT` and `# EOF` are comments.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tests::duties::with_a_failing_rule;
    use crate::server::auth::Authenticator;
    use crate::server::{Addresses, Limits};

    #[tokio::test]
    async fn duties_that_fail_are_counted_by_name() {
        let (database, _directory) = with_a_failing_rule().await;
        let state =
            ServerState::new(database, Limits::default(), Addresses::default(), Authenticator::default())
                .unwrap();
        let text = state.gate.metrics().unwrap();
        for line in [
            "broadloom_maintenance_failures_total{duty=\"retention_rule_1\"} 0",
            "broadloom_maintenance_failures_total{duty=\"retention_rule_2\"} 1",
            "broadloom_maintenance_failing_seconds{duty=\"retention_rule_1\"} 0.0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }
}
