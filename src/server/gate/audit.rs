//! Who asked what, and what came of it?

use std::fmt::Debug;
use std::time::Duration;

use super::caller::Principal;

/// Longest text of a question that is logged, in characters.
const TEXT_CHARS_MAX: usize = 2_000;

/// One question that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditRecord {
    /// Who asked.
    pub(super) principal: Principal,
    /// Name of the protocol.
    pub(super) protocol: &'static str,
    /// The question in words: the statement, or `trace 4bf9…`.
    pub(super) question: String,
    /// How it ended: `ok`, `abandoned`, or the name of the error's kind.
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

/// Taker of the record of each question.
pub(super) trait Audit: Debug + Send + Sync {
    /// Takes a record; called once for each question, when it has ended. Must not block.
    fn record(&self, record: &AuditRecord);
}

/// Writes records to the log, at level `debug` of the target `broadloom::audit`: statements may have secrets in
/// them, so they are written only where somebody asks for it.
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
