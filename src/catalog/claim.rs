//! Which process may commit?
//!
//! In a directory, the holder of its lock. A store has no locks: there, a writer's first commit is a *claim*, and
//! from then on only that writer may commit. Commits are numbered without gaps, so a replaced writer meets the
//! claim of its successor before it can commit anything, and learns that it must stop: it is *fenced*.
//!
//! If the log is in a directory of one machine, a successor with another log would miss its events. So a claim
//! names its log. Until the owner has put everything into segments and released the claim, only a process with
//! that log may claim. A log in the store is available to every process.

use serde::{Deserialize, Serialize};

use super::{CatalogSnapshot, commit};
use crate::error::{Error, ErrorKind, Result};

/// Right of one process to commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// UUID of the writer, new for each process.
    pub writer: String,
    /// Id of the log, if that is not in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Process and machine, for people.
    pub owner: String,
    /// True if the writer has ended and left nothing in its log.
    #[serde(default, skip_serializing_if = "commit::is_false")]
    pub released: bool,
}

impl Claim {
    fn log_place(&self) -> &'static str {
        if self.log.is_some() { "in a directory of its own" } else { "in the store" }
    }
}

impl CatalogSnapshot {
    /// Fails with [`ErrorKind::Conflict`] while events may be in another log than that of `claim`.
    pub(super) fn permits(&self, claim: &Claim) -> Result<()> {
        let Some(other) = self.other_log(claim.log.as_deref()) else { return Ok(()) };
        let message = format!(
            "the last writer, {}, with its log {}, did not end cleanly: some events may be only in that log. Start it \
             again with that log and stop it; or lose these events with --abandon-log",
            other.owner,
            other.log_place()
        );
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Fails with [`ErrorKind::Conflict`] while events may be in another log than the one of this id; `None` is the
    /// log in the store.
    pub fn is_all_with(&self, log: Option<&str>) -> Result<()> {
        let Some(other) = self.other_log(log) else { return Ok(()) };
        let message = format!(
            "the current or last writer, {}, has its log {}: some events may be only in that log. Name it with --wal, \
             or proceed without these events with --abandon-log",
            other.owner,
            other.log_place()
        );
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Claim of a writer that may have left events in another log.
    fn other_log(&self, log: Option<&str>) -> Option<&Claim> {
        self.claim.as_deref().filter(|claim| !claim.released && claim.log.as_deref() != log)
    }

    /// Fails with [`ErrorKind::Poisoned`] if another writer than `writer` holds the claim.
    pub(super) fn is_claimed_by(&self, writer: &str) -> Result<()> {
        match self.claim.as_deref() {
            Some(claim) if claim.writer == writer => Ok(()),
            other => {
                let owner = other.map_or("nobody", |claim| claim.owner.as_str());
                let message =
                    format!("{owner} has taken over writing: this process can no longer write; stop it");
                Err(Error::new(ErrorKind::Poisoned, message))
            }
        }
    }
}
