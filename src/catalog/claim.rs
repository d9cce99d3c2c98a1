//! Who may commit?
//!
//! In a directory whoever holds its lock. A store has no locks: there, a writer's first commit is a *claim*, and
//! from then on commits count only if they come from it. As commits are numbered without gaps, a writer that was
//! replaced meets the claim of its successor before it can commit anything, and learns that it must stop: it is
//! *fenced*.
//!
//! Where the log is in a directory of one machine, what that holds would be missed by a successor with another log.
//! So a claim names the log, and until its owner has released it, with everything in segments, only who has
//! that log may claim. A log in the store has everybody.

use serde::{Deserialize, Serialize};

use super::{CatalogSnapshot, commit};
use crate::error::{Error, ErrorKind, Result};

/// Who writes, since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// A UUID, new for each process.
    pub writer: String,
    /// The id of the log, where that is not in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Process and machine, for people.
    pub owner: String,
    /// Whether it has ended, and left nothing in its log.
    #[serde(default, skip_serializing_if = "commit::is_false")]
    pub released: bool,
}

impl Claim {
    fn log_place(&self) -> &'static str {
        if self.log.is_some() { "in a directory of its own" } else { "in the store" }
    }
}

impl CatalogSnapshot {
    /// Fails with [`ErrorKind::Conflict`] while events may be in a log that `claim` does not have.
    pub(super) fn permits(&self, claim: &Claim) -> Result<()> {
        let Some(other) = self.other_log(claim.log.as_deref()) else { return Ok(()) };
        let message = format!(
            "{} was the last to write, with its log {}, and did not end cleanly: events may be there alone. Start it \
             with that log again and stop it; or give these events up with --abandon-log",
            other.owner,
            other.log_place()
        );
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Fails with [`ErrorKind::Conflict`] while events may be in another log than the one of this id; none is the
    /// one in the store.
    pub fn is_all_with(&self, log: Option<&str>) -> Result<()> {
        let Some(other) = self.other_log(log) else { return Ok(()) };
        let message = format!(
            "{} writes, or was the last to, with its log {}: events may be there alone. Name that log with --wal, or do \
             without these events with --abandon-log",
            other.owner,
            other.log_place()
        );
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Who may have left events in another log.
    fn other_log(&self, log: Option<&str>) -> Option<&Claim> {
        self.claim.as_deref().filter(|claim| !claim.released && claim.log.as_deref() != log)
    }

    /// Fails with [`ErrorKind::Poisoned`] when another than `writer` has claimed.
    pub(super) fn is_claimed_by(&self, writer: &str) -> Result<()> {
        match self.claim.as_deref() {
            Some(claim) if claim.writer == writer => Ok(()),
            other => {
                let owner = other.map_or("nobody", |claim| claim.owner.as_str());
                let message =
                    format!("{owner} has taken over writing: this process must not write any more; stop it");
                Err(Error::new(ErrorKind::Poisoned, message))
            }
        }
    }
}
