//! `GET /healthz` (can the process go on?) and `GET /readyz` (does it take requests?).
//!
//! | | `/healthz` | `/readyz` |
//! |---|---|---|
//! | the server is stopping | 200 | 503 |
//! | the writer is poisoned: a failed fsync, a takeover | 503: only a restart helps | 503 |
//! | a maintenance duty fails | 200 | 200, with its name and the reason |
//!
//! Duties are retried, and queries and ingest work without them, so taking the server out of rotation would not help.

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::answer::Problem;
use super::state::ServerState;
use crate::db::DutyState;
use crate::error::{Error, ErrorKind, Result};

/// `GET /healthz`: 200, or 503 with the reason when only a restart helps.
pub(super) async fn alive(State(state): State<ServerState>) -> Result<&'static str, Problem> {
    match state.gate.readiness() {
        Err(error) if error.kind() == ErrorKind::Poisoned => Err(error.into()),
        _ => Ok("ok\n"),
    }
}

/// `GET /readyz`: 200 with the failing duties, or 503 with the reason.
pub(super) async fn ready(State(state): State<ServerState>) -> Response {
    if state.is_draining() {
        return Problem::from(Error::new(ErrorKind::Unavailable, "the server is stopping")).into_response();
    }
    if let Err(error) = state.gate.readiness() {
        return Problem::from(error).into_response();
    }
    let failing = state.gate.duties().into_iter().filter(DutyState::is_failing);
    let lines = std::iter::once("ok\n".to_owned()).chain(failing.map(|state| format!("failing: {state}\n")));
    lines.collect::<Vec<_>>().concat().into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::db::tests::duties::{about_to_be_poisoned, poison, with_a_failing_rule};
    use crate::server::auth::Authenticator;
    use crate::server::{Addresses, Limits};

    async fn answers(state: &ServerState) -> [StatusCode; 2] {
        let alive = alive(State(state.clone())).await.into_response();
        [alive.status(), ready(State(state.clone())).await.status()]
    }

    #[tokio::test]
    async fn a_poisoned_writer_is_neither_ready_nor_alive() {
        let (database, _directory) = about_to_be_poisoned().await;
        let state = ServerState::new(
            database.clone(),
            Limits::default(),
            Addresses::default(),
            Authenticator::default(),
        )
        .unwrap();
        assert_eq!(answers(&state).await, [StatusCode::OK; 2]);
        poison(&database).await;
        assert_eq!(answers(&state).await, [StatusCode::SERVICE_UNAVAILABLE; 2]);
    }

    #[tokio::test]
    async fn a_duty_that_fails_is_told_and_takes_no_server_out_of_rotation() {
        let (database, _directory) = with_a_failing_rule().await;
        let state =
            ServerState::new(database, Limits::default(), Addresses::default(), Authenticator::default())
                .unwrap();
        assert_eq!(answers(&state).await, [StatusCode::OK; 2]);
        let body = ready(State(state)).await.into_body();
        let body = axum::body::to_bytes(body, 10_000).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            body.starts_with("ok\nfailing: retention_rule_2 failed: retention rule 2, where CAST"),
            "{body}"
        );
        assert_eq!(body.lines().count(), 2, "{body}");
    }

    #[tokio::test]
    async fn a_server_that_stops_is_alive_and_not_ready() {
        let (database, _directory) = about_to_be_poisoned().await;
        let state =
            ServerState::new(database, Limits::default(), Addresses::default(), Authenticator::default())
                .unwrap();
        state.drain();
        assert_eq!(answers(&state).await, [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE]);
    }
}
