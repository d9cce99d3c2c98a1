//! State that all handlers of one server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::answer::Problem;
use super::gate::{Caller, Gate};
use super::port::CONNECTIONS_MAX;
use crate::db::Database;

/// Limits for the clients of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest OTLP message, compressed or unpacked, in bytes.
    pub message_bytes_max: usize,
    /// Most bytes of OTLP messages in memory at once; beyond it producers are asked to retry later.
    pub in_flight_bytes_max: usize,
    /// Most questions that run at once; beyond it clients are asked to retry later.
    pub queries_max: usize,
    /// Default timeout of a question.
    pub query_timeout: Duration,
    /// Most connections of each port; beyond it the one that has waited longest for its client is closed.
    pub connections_max: usize,
}

impl Default for Limits {
    /// 64 MiB is four times the default maximum of the Collector's exporters. 256 MiB of messages in flight, and
    /// their decoded events (about three times as much), fit into 1 GiB.
    fn default() -> Self {
        Self {
            message_bytes_max: 64 << 20,
            in_flight_bytes_max: 256 << 20,
            queries_max: 64,
            query_timeout: Duration::from_mins(1),
            connections_max: CONNECTIONS_MAX,
        }
    }
}

/// State that all handlers of one server share; cheap to clone. The data is behind the [`Gate`].
#[derive(Debug, Clone)]
pub(super) struct ServerState(Arc<Shared>);

/// The inside of [`ServerState`].
#[derive(Debug)]
pub(super) struct Shared {
    /// Access to the data.
    pub(super) gate: Gate,
    draining: AtomicBool,
}

impl std::ops::Deref for ServerState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl ServerState {
    /// Creates the state of a server of `database`.
    pub(super) fn new(database: Database, limits: Limits) -> Self {
        let gate = Gate::new(database, limits);
        Self(Arc::new(Shared { gate, draining: AtomicBool::new(false) }))
    }

    /// Makes the server not ready: it finishes running requests.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True if the server is about to stop.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

impl FromRequestParts<ServerState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, state: &ServerState) -> Result<Self, Problem> {
        Ok(state.gate.anonymous())
    }
}
