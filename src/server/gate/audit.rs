//! Who ran which question, and how did it end?

use std::fmt::Debug;
use std::time::Duration;

use crate::server::auth::Identity;

/// Most characters of a question that are logged.
const TEXT_CHARS_MAX: usize = 2_000;

/// One question that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditRecord {
    /// Identity of the caller.
    pub(super) principal: Identity,
    /// Name of the protocol.
    pub(super) protocol: &'static str,
    /// Text of the question: the statement, or `trace 4bf9…`.
    pub(super) question: String,
    /// Outcome: `ok`, `abandoned`, or the name of the error's kind.
    pub(super) outcome: &'static str,
    /// Time from the question to the end of the answer.
    pub(super) took: Duration,
    /// Rows found.
    pub(super) rows: u64,
    /// Batches of rows.
    pub(super) batches: u64,
    /// Memory of the rows, in bytes.
    pub(super) bytes: u64,
}

/// Sink for the records of questions.
pub(super) trait Audit: Debug + Send + Sync {
    /// Accepts a record. Called once per question, when it has ended. Must not block.
    fn record(&self, record: &AuditRecord);
}

/// Writes records to the log, at level `debug` of the target `broadloom::audit`. Statements may contain secrets, so
/// they are logged only on request.
#[derive(Debug)]
pub(super) struct LogAudit;

impl Audit for LogAudit {
    fn record(&self, record: &AuditRecord) {
        let text: String = record.question.chars().take(TEXT_CHARS_MAX).collect();
        tracing::debug!(
            target: "broadloom::audit",
            principal = %record.principal,
            protocol = record.protocol,
            question = text,
            outcome = record.outcome,
            took_ms = u64::try_from(record.took.as_millis()).unwrap_or(u64::MAX),
            rows = record.rows,
            batches = record.batches,
            bytes = record.bytes,
            "question"
        );
    }
}
