//! Does each kind of maintenance succeed?

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind};

/// A kind of maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Duty {
    /// Flushes the buffer into segments, and merges its small batches.
    Flush,
    /// Merges the indexes of many segments.
    Runs,
    /// Deletes objects of removed segments.
    RetiredObjects,
    /// Deletes objects that are in no commit.
    Orphans,
    /// Removes segments that are too old, or the oldest when there are too many bytes.
    Retention,
    /// Hides events that have expired by the retention rule of this number, counted from zero.
    RetentionRule(usize),
    /// Rewrites segments without their deleted events.
    Rewriting,
    /// Merges segments.
    Merging,
}

impl Duty {
    /// Shortest and longest pause before a retry. Pauses double in between.
    fn pauses(self) -> (Duration, Duration) {
        match self {
            // Short, as producers are refused when the buffer is full.
            Self::Flush => (Duration::from_millis(500), Duration::from_secs(30)),
            // Long, as an attempt reads every segment that is due.
            Self::RetentionRule(_) => (Duration::from_mins(1), Duration::from_hours(1)),
            _ => (Duration::from_secs(1), Duration::from_mins(5)),
        }
    }

    /// Pause after `failures` failures in a row.
    pub(super) fn pause(self, failures: u32) -> Duration {
        let (first, most) = self.pauses();
        first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(most)
    }
}

/// Name as in metrics: `flush`, `retention_rule_1`.
impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flush => f.write_str("flush"),
            Self::Runs => f.write_str("runs"),
            Self::RetiredObjects => f.write_str("retired_objects"),
            Self::Orphans => f.write_str("orphans"),
            Self::Retention => f.write_str("retention"),
            Self::RetentionRule(rule) => write!(f, "retention_rule_{}", rule + 1),
            Self::Rewriting => f.write_str("rewriting"),
            Self::Merging => f.write_str("merging"),
        }
    }
}

/// State of a duty since the database was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DutyState {
    /// Duty that this is about.
    pub duty: Duty,
    /// Time of the last success: all due work was done, or nothing was due.
    pub last_success_ns: Option<i64>,
    /// Time of the first failure after the last success; none while it works.
    pub failing_since_ns: Option<i64>,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// Failures since the database was opened.
    pub failures: u64,
    /// Message of the last failure; kept after a success.
    pub last_error: Option<String>,
}

impl DutyState {
    /// True if the last attempt has failed.
    pub fn is_failing(&self) -> bool {
        self.failures_in_a_row > 0
    }

    /// Time since the first failure in a row; zero when it works.
    pub fn failing_for(&self, now_ns: i64) -> Duration {
        let ns = self.failing_since_ns.map_or(0, |since_ns| now_ns.saturating_sub(since_ns));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
    }
}

/// Text as in `/readyz`: `merging failed 3 times in a row: …`.
impl fmt::Display for DutyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.last_error, self.failures_in_a_row) {
            (_, 0) | (None, _) => write!(f, "{} works", self.duty),
            (Some(error), 1) => write!(f, "{} failed: {error}", self.duty),
            (Some(error), times) => write!(f, "{} failed {times} times in a row: {error}", self.duty),
        }
    }
}

/// States of all duties that were tried.
#[derive(Debug, Default)]
pub(super) struct DutyStates(Mutex<BTreeMap<Duty, DutyState>>);

impl DutyStates {
    /// Records an attempt. A conflict with another commit is not a failure.
    pub(super) fn record(&self, duty: Duty, error: Option<&Error>, now_ns: i64) {
        let mut states = self.0.lock();
        let state = states.entry(duty).or_insert(DutyState {
            duty,
            last_success_ns: None,
            failing_since_ns: None,
            failures_in_a_row: 0,
            failures: 0,
            last_error: None,
        });
        match error {
            Some(error) if error.kind() == ErrorKind::Conflict => {}
            Some(error) => {
                state.failing_since_ns.get_or_insert(now_ns);
                state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
                state.failures += 1;
                state.last_error = Some(error.chain());
            }
            None => {
                state.failures_in_a_row = 0;
                state.failing_since_ns = None;
                state.last_success_ns = Some(now_ns);
            }
        }
    }

    /// Lists the states, in the order of [`Duty`].
    pub(super) fn list(&self) -> Vec<DutyState> {
        self.0.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let seconds: Vec<_> = (1..12).map(|n| Duty::Merging.pause(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(Duty::Flush.pause(u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn a_state_says_since_when_and_why() {
        let states = DutyStates::default();
        states.record(Duty::Merging, None, 5);
        let error = Error::corrupt("it is damaged");
        states.record(Duty::Merging, Some(&error), 6);
        states.record(Duty::Merging, Some(&error), 7);
        states.record(Duty::Merging, Some(&Error::new(ErrorKind::Conflict, "others")), 8);
        let state = states.list().remove(0);
        assert_eq!((state.last_success_ns, state.failures_in_a_row, state.failures), (Some(5), 2, 2));
        assert_eq!(state.failing_for(16), Duration::from_nanos(10));
        assert_eq!(state.to_string(), "merging failed 2 times in a row: it is damaged");
        states.record(Duty::Merging, None, 9);
        let state = states.list().remove(0);
        assert_eq!((state.last_success_ns, state.is_failing(), state.failures), (Some(9), false, 2));
        assert_eq!(state.failing_for(16), Duration::ZERO);
        assert_eq!(state.last_error.as_deref(), Some("it is damaged"));
    }
}
