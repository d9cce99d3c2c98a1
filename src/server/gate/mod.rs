//! Who may reach the data, and how much may they take at once?
//!
//! Every protocol reaches the [`Database`] through a [`Caller`], and only the gate holds one:
//!
//! ```text
//! bytes ─▶ protocol ─▶ Caller::receive(delivery) ─▶ unpack, decode, Database::deliver
//!                  └─▶ Caller::ask(question, encode) ─▶ permit, deadline ─▶ Database::query ─▶ Answer
//! ```
//!
//! Invariants:
//! - whatever waits is bounded: bytes of messages and of answers that are made in memory ([`budget`]), questions
//!   ([`permits`]), decoders, items that an answer is ahead of its client ([`drive`]);
//! - a question ends at its deadline, when its answer is dropped, and when the gate is closed, whatever the client
//!   does; then its permit and its memory are free;
//! - each message and each question is counted ([`metrics`]) and each question audited ([`audit`]), once.
//!
//! Not here: any protocol. An error leaves as a [`Refusal`], which knows no status.

mod ask;
mod audit;
mod budget;
mod caller;
mod drive;
mod metrics;
mod permits;
mod receive;
mod unpack;

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Limits;
use super::answer::Refusal;
use crate::db::Database;
use crate::error::Result;

pub(in crate::server) use ask::memory_bytes;
pub(in crate::server) use budget::Reservation;
pub(in crate::server) use caller::Caller;
pub(in crate::server) use receive::Delivery;
pub(in crate::server) use unpack::Compression;
#[cfg(any(test, fuzzing))]
pub(crate) use unpack::unpack_all;

use audit::{Audit, LogAudit};
use budget::Budget;
use drive::Drivers;
use metrics::Metrics;
use permits::Permits;

/// Bytes that answers may take at once which are made in memory, as whole traces are: a quarter of what queries may
/// take by default. Enough for some 170,000 spans of half a kilobyte.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// How a message or a question arrived.
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
}

impl Protocol {
    /// Name in metrics and logs.
    fn name(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttp => "otlp_http",
            Self::Sql => "sql",
            Self::Trace => "trace",
            Self::Status => "status",
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
    /// Bytes of answers that are made in memory.
    answers: Budget,
    /// Messages decoded at once: one per processor, since decoding is all computation.
    decoders: Semaphore,
    permits: Permits,
    drivers: Drivers,
    metrics: Arc<Metrics>,
    audit: Arc<dyn Audit>,
}

impl Gate {
    /// The gate of `database`.
    pub(in crate::server) fn new(database: Database, limits: Limits) -> Self {
        Self::with_audit(database, limits, Arc::new(LogAudit))
    }

    fn with_audit(database: Database, limits: Limits, audit: Arc<dyn Audit>) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self(Arc::new(Shared {
            metrics: Arc::new(Metrics::new(database.clone())),
            database,
            limits,
            messages: Budget::new(budget::MESSAGES, limits.in_flight_bytes_max),
            answers: Budget::new(budget::ANSWERS, ANSWER_BYTES_MAX),
            decoders: Semaphore::new(processors),
            permits: Permits::new(limits.queries_max),
            drivers: Drivers::default(),
            audit,
        }))
    }

    /// The caller of a connection that says nothing about who it is: it has all rights.
    pub(in crate::server) fn anonymous(&self) -> Caller {
        Caller::anonymous(self.clone())
    }

    /// All metrics, in the text format of OpenMetrics.
    pub(in crate::server) fn metrics(&self) -> Result<String> {
        self.0.metrics.encode(self.0.messages.bytes())
    }

    /// Ends the questions that are being answered, and refuses new ones.
    pub(in crate::server) async fn close(&self) {
        self.0.permits.close();
        self.0.drivers.end().await;
    }
}
