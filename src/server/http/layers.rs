//! Which layers are around every route?
//!
//! ```text
//! request ─▶ trace ─▶ count ─▶ linger ─▶ guard ─▶ authenticate ─▶ panic ─▶ compression ─▶ route
//! ```
//!
//! Each layer sees the responses of the layers inside it: a panic is counted as the 500 that it becomes, and a
//! refused request lingers.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::trace::TraceLayer;

use super::authenticate::{Entrance, authenticate};
use super::hosts::{Hosts, guard};
use super::routes::{self, Route};
use crate::error::Error;
use crate::server::answer::Problem;
use crate::server::port::{Lingerers, Port, linger};
use crate::server::sql_stream;
use crate::server::state::ServerState;
use crate::server::ui::PackedAssets;

/// State that the layers of a server share.
#[derive(Debug, Clone)]
pub(in crate::server) struct Surroundings {
    /// Host names under which data may be read.
    pub(in crate::server) hosts: Hosts,
    /// Owner of the tasks that read the rest of refused requests.
    pub(in crate::server) lingerers: Lingerers,
}

/// The routes of `port` with all layers.
pub(in crate::server) fn router(port: Port, state: &ServerState, around: &Surroundings) -> Router {
    let (gate, authenticator) = (state.gate.clone(), Arc::clone(&state.authenticator));
    let entrance = Entrance { port, gate, authenticator };
    routes::of_port(port)
        .layer(Extension(Arc::new(PackedAssets::default())))
        .layer(CompressionLayer::new().compress_when(is_worth_packing))
        .layer(CatchPanicLayer::custom(|_| {
            // The panic and its location are on stderr already.
            Problem::from(Error::internal("the request hit a defect of the server; see the server's log"))
                .into_response()
        }))
        .layer(from_fn_with_state(entrance, authenticate))
        .layer(from_fn_with_state(around.hosts.clone(), guard))
        .layer(from_fn_with_state(around.lingerers.clone(), linger))
        .layer(from_fn_with_state(state.clone(), count))
        .layer(TraceLayer::new_for_http())
        .with_state(state.clone())
}

/// True for text and JSON over 1,000 bytes. Arrow and Parquet are already compressed where it pays off.
fn is_worth_packing(_: StatusCode, _: Version, headers: &HeaderMap, _: &axum::http::Extensions) -> bool {
    let is_text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/") || kind.contains("json"));
    let is_short =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let is_live = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == sql_stream::MEDIA_TYPE);
    is_text && !is_live && is_short.is_none_or(|bytes| bytes > 1_000)
}

/// Counts the request by its route, method, and response status. Labels have fixed sets of values, so that clients
/// cannot create new ones.
async fn count(State(state): State<ServerState>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .and_then(|path| Route::of(path, request.method()))
        .map_or("none", |route| route.path);
    let method = method_label(request.method());
    let response = next.run(request).await;
    state.gate.http_answered(route, method, response.status().as_u16());
    response
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}
