//! What every handler of one server shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::answer::Problem;
use super::gate::{Caller, Gate};
use super::listen::Addresses;
use crate::db::Database;

/// Limits of what clients may ask of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest OTLP message, packed or unpacked, in bytes.
    pub message_bytes_max: usize,
    /// Bytes of OTLP messages that may be in memory at once; beyond it producers are told to wait.
    pub in_flight_bytes_max: usize,
    /// Questions answered at once; beyond it clients are told to wait.
    pub queries_max: usize,
    /// Time that a question may take when its client does not say.
    pub query_timeout: Duration,
}

impl Default for Limits {
    /// 64 MiB is four times what the Collector's exporters send at most by default; 256 MiB of messages
    /// in flight leaves room for what they become (about three times as much) within 1 GiB.
    fn default() -> Self {
        Self {
            message_bytes_max: 64 << 20,
            in_flight_bytes_max: 256 << 20,
            queries_max: 64,
            query_timeout: Duration::from_mins(1),
        }
    }
}

/// What every handler of one server shares; cheap to clone. The data is behind the [`Gate`].
#[derive(Debug, Clone)]
pub(super) struct ServerState(Arc<Shared>);

/// The inside of [`ServerState`].
#[derive(Debug)]
pub(super) struct Shared {
    /// The way to the data.
    pub(super) gate: Gate,
    /// Where the server listens.
    pub(super) addresses: Addresses,
    draining: AtomicBool,
}

impl std::ops::Deref for ServerState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl ServerState {
    /// The state of a server of `database`.
    pub(super) fn new(database: Database, limits: Limits, addresses: Addresses) -> Self {
        let gate = Gate::new(database, limits);
        Self(Arc::new(Shared { gate, addresses, draining: AtomicBool::new(false) }))
    }

    /// From now on the server is not ready: it finishes what it has.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Is the server about to stop?
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
