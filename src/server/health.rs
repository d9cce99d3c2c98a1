//! `GET /healthz` (is the process alive?) and `GET /readyz` (does it take requests?).
//!
//! A server that is not ready is alive: it drains before it stops. Orchestrators restart what is not
//! alive, and send no requests to what is not ready.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::answer::Problem;
use super::state::ServerState;
use crate::error::{Error, ErrorKind};

/// `GET /healthz`: 200 as long as requests are answered at all.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200, or 503 with the reason.
pub(super) async fn ready(State(state): State<ServerState>) -> Response {
    if state.is_draining() {
        return Problem::from(Error::new(ErrorKind::Unavailable, "the server is stopping")).into_response();
    }
    (StatusCode::OK, "ok\n").into_response()
}
