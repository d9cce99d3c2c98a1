//! Which questions run now, and how does somebody else end one?
//!
//! A question is in the registry from the moment it has its permit until its permit is free. Its [`QueryId`] is told to
//! its client. Whoever may read sees and ends its own questions; [`Right::Admin`] those of all. A question of somebody
//! else is as unknown as one that has ended.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use rand::RngCore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Protocol;
use super::caller::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::query::{Progress, ReadCounts};
use crate::server::auth::{Identity, Right};

/// Most characters of a statement that are kept to be shown.
const TEXT_CHARS_MAX: usize = 2_000;

/// Name of a question while it runs: `q-` and 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::server) struct QueryId(u64);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q-{:016x}", self.0)
    }
}

impl FromStr for QueryId {
    type Err = Error;

    /// Fails with [`ErrorKind::NotFound`]: what is no name is the name of no question.
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.strip_prefix("q-").filter(|digits| digits.len() == 16);
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).map(Self);
        number.filter(|id| id.to_string() == text).ok_or_else(|| unknown(text))
    }
}

fn unknown(id: impl fmt::Display) -> Error {
    let message = format!("no query {id} is running: it has ended, or is not yours; see GET /v1/queries");
    Error::new(ErrorKind::NotFound, message)
}

/// Counts of a question's results so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Found {
    /// Counts a batch of `bytes`.
    pub(super) fn add(&self, batch: &RecordBatch, bytes: usize) {
        self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A question that runs.
#[derive(Debug)]
struct Entry {
    principal: Identity,
    protocol: Protocol,
    text: String,
    began: Instant,
    found: Arc<Found>,
    progress: OnceLock<Progress>,
    cancelled: CancellationToken,
}

/// The questions of a server that run.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<QueryId, Arc<Entry>>>);

impl Running {
    /// Registers a question until the first part of the result is dropped.
    pub(super) fn register(
        self: &Arc<Self>,
        principal: &Identity,
        protocol: Protocol,
        text: &str,
        found: &Arc<Found>,
    ) -> (Registered, Admitted) {
        let entry = Arc::new(Entry {
            principal: principal.clone(),
            protocol,
            text: text.chars().take(TEXT_CHARS_MAX).collect(),
            began: Instant::now(),
            found: Arc::clone(found),
            progress: OnceLock::new(),
            cancelled: CancellationToken::new(),
        });
        let mut questions = self.0.lock();
        let mut id = QueryId(rand::rng().next_u64());
        while questions.contains_key(&id) {
            id = QueryId(rand::rng().next_u64());
        }
        questions.insert(id, Arc::clone(&entry));
        drop(questions);
        let cancelled = Cancelled { token: entry.cancelled.clone(), id };
        let admitted = Admitted { id, planned: Planned(entry), cancelled };
        (Registered { id, running: Arc::clone(self) }, admitted)
    }
}

/// Parts of a registered question that go where they are needed.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Name of the question.
    pub(super) id: QueryId,
    /// Place for its progress.
    pub(super) planned: Planned,
    /// Its end by somebody else.
    pub(super) cancelled: Cancelled,
}

/// Place for the progress of a question.
#[derive(Debug)]
pub(super) struct Planned(Arc<Entry>);

impl Planned {
    /// Makes the progress of the question known, once it is planned.
    pub(super) fn set(self, progress: &Progress) {
        // Fails only if it was set before.
        let _ = self.0.progress.set(progress.clone());
    }
}

/// End of a question by somebody else.
#[derive(Debug)]
pub(super) struct Cancelled {
    token: CancellationToken,
    id: QueryId,
}

impl Cancelled {
    /// Waits until somebody ends the question; the error is for its client.
    pub(super) async fn wait(self) -> Error {
        self.token.cancelled().await;
        let Self { id, .. } = self;
        Error::new(ErrorKind::Cancelled, format!("the query {id} was cancelled, by DELETE /v1/queries/{id}"))
    }
}

/// A question in the registry, until it is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    id: QueryId,
    running: Arc<Running>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.running.0.lock().remove(&self.id);
    }
}

/// Look at a question that runs.
#[derive(Debug)]
pub(in crate::server) struct RunningQuestion {
    /// Its name.
    pub(in crate::server) id: QueryId,
    /// Protocol by which it came.
    pub(in crate::server) protocol: Protocol,
    /// First 2,000 characters of the statement.
    pub(in crate::server) text: String,
    /// Name of the key of its client; `None` if none was needed.
    pub(in crate::server) asked_by: Option<String>,
    /// True if the one who looks has asked it.
    pub(in crate::server) is_own: bool,
    /// Time since it began.
    pub(in crate::server) age: Duration,
    /// Rows found.
    pub(in crate::server) rows: u64,
    /// Counts of what was read; `None` while it is planned.
    pub(in crate::server) read: Option<ReadCounts>,
}

impl Caller {
    fn may_end(&self, entry: &Entry) -> bool {
        self.identity.must_have(Right::Admin).is_ok() || self.has_asked(entry)
    }

    fn has_asked(&self, entry: &Entry) -> bool {
        self.identity.name() == entry.principal.name()
    }

    /// The questions that run and that it may end, the oldest first.
    pub(in crate::server) fn running(&self) -> Result<Vec<RunningQuestion>> {
        self.must_have(Right::Read)?;
        let entries: Vec<_> =
            self.gate.0.running.0.lock().iter().map(|(id, entry)| (*id, Arc::clone(entry))).collect();
        let mut seen: Vec<_> = entries
            .iter()
            .filter(|(_, entry)| self.may_end(entry))
            .map(|(id, entry)| RunningQuestion {
                id: *id,
                protocol: entry.protocol,
                text: entry.text.clone(),
                asked_by: entry.principal.name().map(str::to_owned),
                is_own: self.has_asked(entry),
                age: entry.began.elapsed(),
                rows: entry.found.rows.load(Ordering::Relaxed),
                read: entry.progress.get().map(Progress::read),
            })
            .collect();
        seen.sort_by_key(|question| std::cmp::Reverse(question.age));
        Ok(seen)
    }

    /// Ends a question that runs. Fails with [`ErrorKind::NotFound`] if there is none that it may end.
    pub(in crate::server) fn cancel(&self, id: QueryId) -> Result<()> {
        self.must_have(Right::Read)?;
        let entry = self.gate.0.running.0.lock().get(&id).cloned();
        let entry = entry.filter(|entry| self.may_end(entry)).ok_or_else(|| unknown(id))?;
        tracing::info!(
            query = %id,
            principal = %self.identity,
            asked_by = %entry.principal,
            protocol = entry.protocol.name(),
            "a query is cancelled"
        );
        entry.cancelled.cancel();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_as_it_is_written_and_nothing_else_is_one() {
        let id = QueryId(0x7f3);
        assert_eq!(id.to_string(), "q-00000000000007f3");
        assert_eq!(id.to_string().parse::<QueryId>().unwrap(), id);
        for wrong in
            ["", "q-", "7f3", "q-7f3", "q-00000000000007F3", "q-+0000000000007f3", "q-00000000000007f3 "]
        {
            assert_eq!(wrong.parse::<QueryId>().unwrap_err().kind(), ErrorKind::NotFound, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_question_is_registered_until_it_is_dropped() {
        let running = Arc::new(Running::default());
        let found = Arc::new(Found::default());
        let long = "x".repeat(5_000);
        let (one, admitted) = running.register(&Identity::anonymous(), Protocol::Sql, &long, &found);
        let (other, _) = running.register(&Identity::anonymous(), Protocol::Sql, "select 1", &found);
        assert_ne!(one.id, other.id);
        assert_eq!(running.0.lock()[&one.id].text.len(), TEXT_CHARS_MAX);
        running.0.lock()[&one.id].cancelled.cancel();
        let error = admitted.cancelled.wait().await;
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(error.message().contains(&one.id.to_string()), "{error}");
        drop((one, other));
        assert!(running.0.lock().is_empty());
    }
}
