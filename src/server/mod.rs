//! How do producers and questions reach the database over the network?
//!
//! Each protocol has a file or a folder, which maps it onto a `gate::Caller`; only the `gate` holds the
//! [`Database`]:
//!
//! | port | routes | file |
//! |---|---|---|
//! | http | `/v1/sql` | `sql.rs` |
//! | | `/v1/traces/{id}` | `traces.rs` |
//! | | `/healthz`, `/readyz`, `/metrics` | `health.rs`, `metrics.rs` |
//! | http, otlp-http | `POST /v1/traces`, `/v1/logs`, `/v1/metrics` | `otlp/http.rs` |
//! | otlp-grpc | `…TraceService/Export` and the other two | `otlp/grpc.rs` |
//!
//! A message of a producer goes `otlp/http` or `otlp/grpc` → `gate/receive` (unpack, decode, deliver) →
//! `otlp/answer`. A question goes `sql` or `traces` → `gate/ask` (permit, deadline, rows) → items of the protocol's
//! own. A request that is refused is a `answer::Refusal`, which `answer` maps to the codes of each
//! protocol by the kind of the error.
//!
//! Invariants: whatever waits is bounded (bytes in flight, decoders, questions) and beyond the bound clients are
//! told to come again; every question, `/v1/traces/{id}` too, has a permit and a deadline; nothing is acknowledged
//! before [`Database::deliver`] returned; nothing here knows Parquet; no state outside [`Server`].
//!
//! Not here: authentication and TLS. The default is to listen on the loopback interface only.

mod answer;
mod attributes;
mod check;
mod content;
mod gate;
mod health;
mod linger;
mod listen;
mod metrics;
mod otlp;
mod shutdown;
mod sql;
mod sql_stream;
mod state;
mod status;
mod trace;
mod traces;
mod ui;

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::trace::TraceLayer;

pub use listen::{Addresses, Endpoints, Listeners};
pub use shutdown::Signals;
pub use state::Limits;

use crate::db::Database;
use crate::error::{Error, ErrorKind, Result};
#[cfg(any(test, fuzzing))]
pub(crate) use gate::unpack_all;
pub(crate) use sql::{first_rows, literal};

use answer::Problem;
use state::ServerState;

/// A running server of one database.
#[derive(Debug)]
pub struct Server {
    state: ServerState,
    addresses: Addresses,
    stop: CancellationToken,
    tasks: JoinSet<Result<()>>,
}

impl Server {
    /// Serves `database` on `listeners` until [`Server::stop`].
    pub fn start(listeners: Listeners, database: Database, limits: Limits) -> Result<Self> {
        let addresses = listeners.addresses()?;
        let state = ServerState::new(database, limits, addresses);
        let mut server = Self { state, addresses, stop: CancellationToken::new(), tasks: JoinSet::new() };
        if let Some(listener) = listeners.http {
            server.serve_http(listener, main_routes());
        }
        if let Some(listener) = listeners.otlp_http {
            server.serve_http(listener, producer_routes());
        }
        if let Some(listener) = listeners.otlp_grpc {
            server.tasks.spawn(otlp::grpc::serve(listener, server.state.clone(), server.stop.clone()));
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Returns when a listener stopped that was not told to.
    pub async fn failed(&mut self) -> Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(panic)) => Error::internal("a listener failed").with_source(panic),
            Some(Ok(Ok(()))) => Error::internal("a listener ended without being told to"),
            None => std::future::pending().await,
        }
    }

    /// Stops accepting and lets requests that have begun end, within a time. The database stays open:
    /// closing it is for whoever opened it.
    pub async fn stop(mut self) {
        self.state.drain();
        self.stop.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(shutdown::DRAIN_MAX, drained).await.is_err() {
            tracing::warn!(after_ms = shutdown::DRAIN_MAX.as_millis() as u64, "requests were cut off");
        }
        self.state.gate.close().await;
        self.tasks.shutdown().await;
    }

    fn serve_http(&mut self, listener: TcpListener, routes: Router<ServerState>) {
        let app = with_layers(routes).with_state(self.state.clone());
        let stop = self.stop.clone().cancelled_owned();
        let listener = listener.tap_io(|connection| {
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY cannot be set");
            }
        });
        self.tasks.spawn(async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(stop)
                .await
                .map_err(|e| Error::new(ErrorKind::Unavailable, "HTTP stopped").with_source(e))
        });
    }
}

/// The routes of the main port.
fn main_routes() -> Router<ServerState> {
    let routes = producer_routes()
        .route("/v1/sql", get(sql::get).post(sql::post))
        .route("/v1/check", post(check::post))
        .route("/v1/attributes", get(attributes::get))
        .route("/v1/status", get(status::get))
        .route("/v1/traces/{id}", get(traces::get))
        .route("/v1/traces/{id}/rows", get(trace::rows))
        .route("/v1/traces/{id}/rows/{row}", get(trace::span))
        .route("/metrics", get(metrics::get))
        .route("/ui/{version}/{*path}", get(ui::asset));
    let routes = ui::pages().fold(routes, |routes, path| routes.route(path, get(ui::page)));
    routes.layer(Extension(Arc::new(ui::PackedAssets::default())))
}

/// The routes of the port for OTLP/HTTP.
fn producer_routes() -> Router<ServerState> {
    otlp::http::routes().route("/healthz", get(health::alive)).route("/readyz", get(health::ready))
}

/// What every route has in common.
fn with_layers(routes: Router<ServerState>) -> Router<ServerState> {
    routes
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(CompressionLayer::new().compress_when(is_worth_packing))
        .layer(CatchPanicLayer::custom(|_| {
            // The panic itself is on stderr already, with its place.
            Problem::from(Error::internal("the request hit a defect of the server; its log says which"))
                .into_response()
        }))
        .layer(axum::middleware::from_fn(linger::linger))
        .layer(TraceLayer::new_for_http())
}

/// Arrow and Parquet are packed as far as is worth it; short answers are not worth it.
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

/// The routes of the main port, for a person.
const ROUTES: &str = "there are POST /v1/sql, POST /v1/check, GET /v1/attributes, GET /v1/status, GET /v1/traces/{id}, \
                      /rows and /rows/{row} below it, POST /v1/traces, /v1/logs and /v1/metrics (OTLP), GET /healthz, \
                      /readyz and /metrics, and in a browser the page at /";

async fn no_such_route(uri: Uri) -> Problem {
    Error::new(ErrorKind::NotFound, format!("there is no {}; {ROUTES}", uri.path())).into()
}

async fn no_such_method(method: axum::http::Method, uri: Uri) -> Response {
    let error = Error::invalid(format!("{} cannot be asked with {method}", uri.path()));
    Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, error).into_response()
}
