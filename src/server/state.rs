//! What every handler of one server shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::budget::Budget;
use super::metrics::Metrics;
use super::port::CONNECTIONS_MAX;
use crate::db::Database;

/// Limits of what clients may ask of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest OTLP message, packed or unpacked, in bytes.
    pub message_bytes_max: usize,
    /// Bytes of OTLP messages that may be in memory at once; beyond it producers are told to wait.
    pub in_flight_bytes_max: usize,
    /// Statements answered at once; beyond it clients are told to wait.
    pub queries_max: usize,
    /// How long a statement may take when its client does not say.
    pub query_timeout: Duration,
    /// Connections of each port; beyond it the one that has waited longest for its client is closed.
    pub connections_max: usize,
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
            connections_max: CONNECTIONS_MAX,
        }
    }
}

/// What every handler of one server shares; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ServerState(Arc<Shared>);

/// The inside of [`ServerState`].
#[derive(Debug)]
pub(super) struct Shared {
    /// The data.
    pub(super) database: Database,
    /// Limits of requests.
    pub(super) limits: Limits,
    /// Bytes of OTLP messages in memory.
    pub(super) budget: Budget,
    /// Messages decoded at once: one per processor, since decoding is all computation.
    pub(super) decoders: Semaphore,
    /// Statements answered at once.
    pub(super) queries: Arc<Semaphore>,
    /// The server about itself.
    pub(super) metrics: Arc<Metrics>,
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
    pub(super) fn new(database: Database, limits: Limits) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self(Arc::new(Shared {
            metrics: Arc::new(Metrics::new(database.clone())),
            database,
            limits,
            budget: Budget::new(limits.in_flight_bytes_max),
            decoders: Semaphore::new(processors),
            queries: Arc::new(Semaphore::new(limits.queries_max)),
            draining: AtomicBool::new(false),
        }))
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
