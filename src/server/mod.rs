//! How do messages and queries reach the database over the network?
//!
//! `port` has the table of ports and the life of connections; `http::routes` is the list of routes. Each protocol has
//! a file or a folder, which maps it to a `gate::Caller`; only the `gate` holds the [`Database`]:
//!
//! | routes | file |
//! |---|---|
//! | `/v1/sql` | `sql.rs` |
//! | `/v1/sql?format=stream`, `/v1/check` | `sql_stream.rs`, `check.rs` |
//! | `/v1/attributes`, `/v1/status` | `attributes.rs`, `status.rs` |
//! | `/v1/complete`, `/v1/queries` | `complete.rs`, `queries.rs` |
//! | `/v1/heatmap`, `/v1/series`, `/v1/explain_diff` | `heatmap.rs`, `series.rs`, `explain_diff.rs` |
//! | `GET /v1/traces`, `/v1/logs/context`, `/v1/logs/patterns` | `trace_list.rs`, `log_context.rs`, `log_patterns.rs` |
//! | `/v1/tail` | `tail.rs`, `gate/follow.rs` |
//! | `/v1/session` | `session.rs` |
//! | `/v1/traces/{id}` | `traces.rs` |
//! | `/v1/traces/{id}/rows`, `…/{row}` | `trace/` |
//! | `/`, `/traces`, …, `/ui/…` | `ui/` |
//! | `/healthz`, `/readyz`, `/metrics` | `health.rs`, `metrics.rs` |
//! | `POST /v1/traces`, `/v1/logs`, `/v1/metrics` | `otlp/http.rs` |
//! | `…TraceService/Export` and the other two | `otlp/grpc.rs` |
//!
//! `fields` makes parts of statements of typed fields, `table` answers with the rows of one.
//!
//! Clients of PostgreSQL have a port of their own: `postgres/`.
//!
//! A producer's message goes `otlp/http` or `otlp/grpc` → `gate/receive` (unpack, decode, deliver) →
//! `otlp/answer`. A question goes `sql` or `traces` → `gate/ask` (permit, deadline, rows) → the protocol's items. A
//! refused request becomes an `answer::Refusal`; `answer` maps the kind of its error to the codes of each protocol.
//!
//! Invariants: all waiting is bounded (connections, bytes in flight, decoders, questions), and beyond the bound
//! clients are asked to retry; an idle client takes a connection and no other memory; every question, `/v1/traces/{id}`
//! included, has a permit and a deadline; nothing is acknowledged before [`Database::deliver`] has returned; nothing
//! here knows Parquet; no state outside [`Server`].
//!
//! `auth` knows who clients are, `port/tls` encrypts their connections. By default the server listens only on the
//! loopback interface; beyond it, it wants both.

mod answer;
mod attributes;
mod auth;
mod check;
mod complete;
mod content;
mod cost;
mod explain_diff;
mod fields;
mod gate;
mod health;
mod heatmap;
mod http;
mod limits;
mod log_context;
mod log_patterns;
mod metrics;
mod otlp;
mod port;
#[cfg(feature = "postgres")]
mod postgres;
mod queries;
mod series;
mod session;
mod shutdown;
mod sql;
mod sql_stream;
mod state;
mod status;
mod table;
mod tail;
mod trace;
mod trace_list;
mod traces;
mod ui;
mod watched;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use auth::{KeyFile, KeyRecord, NewKey, Right, Rights};
pub use limits::Limits;
pub use port::{Addresses, Endpoints, Listeners, Port, TlsSource};
pub use shutdown::Signals;

use crate::db::Database;
use crate::error::{Error, Result};
#[cfg(any(test, fuzzing))]
pub(crate) use auth::read_headers;
#[cfg(any(test, fuzzing))]
pub(crate) use gate::unpack_all;
#[cfg(all(feature = "postgres", any(test, fuzzing)))]
pub(crate) use postgres::{decode_messages, decode_parameter};

use auth::Authenticator;
use http::{Hosts, Surroundings};
use port::{Acceptor, HttpService, Lingerers, Wire};
use state::ServerState;

/// A running server of one database.
#[derive(Debug)]
pub struct Server {
    state: ServerState,
    addresses: Addresses,
    is_encrypted: bool,
    stop: CancellationToken,
    lingerers: Lingerers,
    ports: JoinSet<()>,
}

impl Server {
    /// Serves `database` on `listeners` until [`Server::stop`].
    pub fn start(listeners: Listeners, database: Database, limits: Limits) -> Result<Self> {
        let (addresses, is_encrypted) = (listeners.addresses()?, listeners.is_encrypted());
        let authenticator = Authenticator::new(listeners.ring);
        let state = ServerState::new(database, limits, addresses.clone(), authenticator)?;
        let stop = CancellationToken::new();
        let lingerers = Lingerers::new(stop.clone());
        let hosts = Hosts::new(&listeners.allowed_hosts)?;
        let around = Surroundings { hosts, lingerers: lingerers.clone() };
        let mut ports = JoinSet::new();
        for (port, socket) in listeners.sockets {
            let (connections_max, stop, tls) = (limits.connections_max, stop.clone(), listeners.tls.clone());
            match port.wire() {
                Wire::Http | Wire::Grpc => {
                    let service = HttpService::new(port, http::router(port, &state, &around), tls);
                    ports.spawn(Acceptor::new(port, service, connections_max, stop).serve(socket));
                }
                #[cfg(feature = "postgres")]
                Wire::Postgres => {
                    let service = postgres::Door::new(&state, tls);
                    ports.spawn(Acceptor::new(port, service, connections_max, stop).serve(socket));
                }
            }
        }
        Ok(Self { state, addresses, is_encrypted, stop, lingerers, ports })
    }

    /// Returns the addresses that the server listens on.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// True if connections are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Returns the error when a listener ends although the server is not stopping.
    pub async fn failed(&mut self) -> Error {
        match self.ports.join_next().await {
            Some(Err(panic)) => Error::internal("a listener failed").with_source(panic),
            Some(Ok(())) => Error::internal("a listener ended although the server was not stopping"),
            None => std::future::pending().await,
        }
    }

    /// Stops accepting, closes idle connections at once, and lets running requests finish within a time limit. The
    /// database stays open: its owner closes it.
    pub async fn stop(mut self) {
        self.state.drain();
        self.state.gate.begin_to_stop();
        self.stop.cancel();
        let drained = async { while self.ports.join_next().await.is_some() {} };
        if tokio::time::timeout(shutdown::DRAIN_MAX, drained).await.is_err() {
            tracing::warn!(after_ms = shutdown::DRAIN_MAX.as_millis() as u64, "requests were cut off");
        }
        self.state.gate.close().await;
        self.ports.shutdown().await;
        self.lingerers.ended().await;
    }
}
