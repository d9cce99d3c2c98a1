//! How does the user of the web page sign in? `POST /v1/session` with a key begins a session, `DELETE` ends it, and
//! `GET` names the user, or is refused with 401.
//!
//! ```text
//! {"key": "bl_…"} ─▶ 204, Set-Cookie: broadloom_session=…; HttpOnly; SameSite=Strict
//! ```
//!
//! Scripts cannot read the cookie, and a browser sends it only with requests of the page itself. Requests of other
//! origins are refused besides (`http/hosts.rs`), so that no token against forged requests is needed.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Problem;
use super::auth::{COOKIE, Credentials, SESSION_LENGTH};
use super::port::LocalAddress;
use super::state::ServerState;
use crate::error::Error;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    key: String,
}

/// `POST /v1/session`.
pub(super) async fn post(
    State(state): State<ServerState>,
    local: Option<Extension<LocalAddress>>,
    body: Bytes,
) -> Result<Response, Problem> {
    // The message of the parser would repeat the key.
    let sign_in: SignIn = serde_json::from_slice(&body)
        .map_err(|_| Error::invalid("the body is not JSON with the field key alone: {\"key\": \"bl_…\"}"))?;
    let token = state.authenticator.sign_in(&sign_in.key).await?;
    Ok(cookie(&token, SESSION_LENGTH.as_secs(), local))
}

/// `GET /v1/session`.
pub(super) async fn get(
    State(state): State<ServerState>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let identity = state.authenticator.identify(&Credentials::of(&headers)).await?;
    Ok(Json(json!({ "name": identity.name(), "needs_key": state.authenticator.is_on() })))
}

/// `DELETE /v1/session`.
pub(super) async fn delete(
    State(state): State<ServerState>,
    local: Option<Extension<LocalAddress>>,
    headers: HeaderMap,
) -> Response {
    state.authenticator.sign_out(&Credentials::of(&headers));
    cookie("", 0, local)
}

fn cookie(token: &str, seconds: u64, local: Option<Extension<LocalAddress>>) -> Response {
    let secure = if local.is_some_and(|local| local.is_encrypted) { "; Secure" } else { "" };
    let text = format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}
