//! Who may access the data, and how many resources may they use at once?
//!
//! Every protocol reaches the [`Database`] through a [`Caller`], and only the gate holds one:
//!
//! ```text
//! bytes ─▶ protocol ─▶ Caller::receive(delivery) ─▶ unpack, decode, Database::deliver
//!                  └─▶ Caller::ask(question, encode) ─▶ permit, deadline ─▶ Database::query ─▶ Answer
//! ```
//!
//! Invariants:
//! - all waiting is bounded: bytes of messages and of answers that are built in memory ([`budget`]), questions
//!   ([`permits`]), decoders, items that an answer is ahead of its client ([`drive`]);
//! - a question ends at its deadline, when its answer is dropped, when somebody cancels it ([`running`]), and when the
//!   gate is closed, whatever the client does; this frees its permit and its memory, at the latest when it yields. Queries that do not yield hold only
//!   threads of queries ([`workers`]);
//! - each message and each question is counted once ([`metrics`]), and each question is audited once ([`audit`]).
//!
//! Not here: protocols. Errors leave as a [`Refusal`], which has no status code of any protocol.

mod ask;
mod audit;
mod budget;
mod caller;
mod drive;
mod follow;
mod metrics;
mod permits;
mod receive;
mod running;
mod unpack;
mod workers;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::answer::Refusal;
use super::auth::Identity;
use crate::db::{Database, DutyState};
use crate::error::{ErrorKind, Result};

pub(in crate::server) use ask::{Answer, memory_bytes};
pub(in crate::server) use budget::Reservation;
pub(in crate::server) use caller::Caller;
pub(in crate::server) use follow::Follow;
pub(in crate::server) use receive::Delivery;
pub(in crate::server) use running::QueryId;
pub(in crate::server) use unpack::Compression;
#[cfg(any(test, fuzzing))]
pub(crate) use unpack::unpack_all;

use audit::{Audit, LogAudit};
use budget::Budget;
use drive::Drivers;
use metrics::Metrics;
use permits::Permits;
use running::Running;

/// Budget of answers that are built in memory, such as whole traces: a quarter of the default memory of queries.
/// Enough for some 170,000 spans of half a kilobyte.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// Protocol of a message or a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Protocol {
    /// OTLP/gRPC.
    OtlpGrpc,
    /// OTLP/HTTP.
    OtlpHttp,
    /// `/v1/sql`.
    Sql,
    /// `/v1/traces/{id}`, and the rows below it.
    Trace,
    /// `/v1/status`.
    Status,
    /// `/v1/tail`.
    Tail,
    /// PostgreSQL's.
    #[cfg(feature = "postgres")]
    Postgres,
}

impl Protocol {
    /// Way by which it reaches the server: `http`, `grpc` or `postgres`.
    pub(in crate::server) fn door(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "grpc",
            Self::OtlpHttp | Self::Sql | Self::Trace | Self::Status | Self::Tail => "http",
            #[cfg(feature = "postgres")]
            Self::Postgres => "postgres",
        }
    }

    /// Kind of its questions: `sql`, `trace`, `status` or `tail`; `otlp` for messages.
    pub(in crate::server) fn kind(self) -> &'static str {
        match self {
            Self::OtlpGrpc | Self::OtlpHttp => "otlp",
            Self::Sql => "sql",
            Self::Trace => "trace",
            Self::Status => "status",
            Self::Tail => "tail",
            #[cfg(feature = "postgres")]
            Self::Postgres => "sql",
        }
    }

    /// Name in metrics and logs.
    fn name(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttp => "otlp_http",
            Self::Sql => "sql",
            Self::Trace => "trace",
            Self::Status => "status",
            Self::Tail => "tail",
            #[cfg(feature = "postgres")]
            Self::Postgres => "postgres",
        }
    }
}

/// Holder of the data, and of all limits of one server; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::server) struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    database: Database,
    limits: Limits,
    /// Bytes of messages in memory.
    messages: Budget,
    /// Bytes of answers that are built in memory.
    answers: Budget,
    /// Messages decoded at once: one per processor, since decoding only computes.
    decoders: Semaphore,
    permits: Permits,
    running: Arc<Running>,
    /// Places of clients that follow events.
    tails: Permits,
    /// Ends them when the server begins to stop.
    tails_end: CancellationToken,
    drivers: Drivers,
    metrics: Arc<Metrics>,
    audit: Arc<dyn Audit>,
}

impl Gate {
    /// The gate of `database`. Fails if the system has no threads left.
    pub(in crate::server) fn new(database: Database, limits: Limits) -> Result<Self> {
        Self::with_audit(database, limits, Arc::new(LogAudit))
    }

    fn with_audit(database: Database, limits: Limits, audit: Arc<dyn Audit>) -> Result<Self> {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Ok(Self(Arc::new(Shared {
            metrics: Arc::new(Metrics::new(database.clone())),
            database,
            limits,
            messages: Budget::new(budget::MESSAGES, limits.in_flight_bytes_max),
            answers: Budget::new(budget::ANSWERS, ANSWER_BYTES_MAX),
            decoders: Semaphore::new(processors),
            permits: Permits::new(limits.queries_max),
            running: Arc::default(),
            tails: Permits::of_tails(follow::TAILS_MAX),
            tails_end: CancellationToken::new(),
            drivers: Drivers::new()?,
            audit,
        })))
    }

    /// The caller of this identity, with its rights.
    pub(in crate::server) fn caller(&self, identity: Identity) -> Caller {
        Caller { gate: self.clone(), identity }
    }

    /// Counts a request that was refused because of its credentials or rights.
    pub(in crate::server) fn kept_out(&self, why: ErrorKind) {
        self.0.metrics.kept_out(why.name());
    }

    /// All metrics, in the text format of OpenMetrics.
    pub(in crate::server) fn metrics(&self) -> Result<String> {
        self.0.metrics.encode(self.0.messages.bytes())
    }

    /// Fails with the reason if the database does not accept events.
    pub(in crate::server) fn readiness(&self) -> Result<()> {
        self.0.database.readiness()
    }

    /// States of the maintenance duties.
    pub(in crate::server) fn duties(&self) -> Vec<DutyState> {
        self.0.database.duties()
    }

    /// Counts a request over HTTP, gRPC included, whose answer has begun.
    pub(in crate::server) fn http_answered(&self, route: &'static str, method: &'static str, status: u16) {
        self.0.metrics.http_answered(route, method, status);
    }

    /// Ends what would not end by itself, and refuses more of it.
    pub(in crate::server) fn begin_to_stop(&self) {
        self.0.tails.close();
        self.0.tails_end.cancel();
    }

    /// Ends running questions, and refuses new ones.
    pub(in crate::server) async fn close(&self) {
        self.0.permits.close();
        self.0.drivers.end().await;
    }
}
