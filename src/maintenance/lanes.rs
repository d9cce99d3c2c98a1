//! When is a duty due?
//!
//! Duties that must not wait for each other run in different *lanes*; a lane is a task. In a lane, duties take turns;
//! the first one listed that is due goes first. A lane sleeps until a signal of the database or the earliest deadline
//! of its duties, so that an idle database costs nothing:
//!
//! ```text
//! signal ──▶ due after a moment ─┐                   worked: due again at once, at a deadline, or after a signal
//! deadline ──────────────────────┴─▶ attempt ─▶ record ─┤
//!                                                    failed: due after a pause that grows; signals wait for it
//! ```

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Duty;
use super::duties::Maintenance;
use super::signals::Signals;
use crate::error::{ErrorKind, Result};

/// Pause after a conflict with another commit.
const CONFLICT_PAUSE: Duration = Duration::from_millis(50);

/// A duty in its lane.
#[derive(Debug)]
struct Turn {
    duty: Duty,
    /// Time of the next attempt; none: after the next signal.
    due: Option<Instant>,
    /// Delay from a signal to the attempt.
    after_signal: Duration,
    failures: u32,
}

impl Turn {
    /// Makes the duty due at `at` at the latest. A failed duty still waits for its retry.
    fn hurry(&mut self, at: Instant) {
        if self.is_later_than(at) {
            self.due = Some(at);
        }
    }

    fn is_later_than(&self, at: Instant) -> bool {
        self.failures == 0 && self.due.is_none_or(|due| due > at)
    }

    /// Records an attempt, and makes the duty due as its outcome says, not before `now`.
    fn done(&mut self, outcome: &Result<Option<Duration>>, now: Instant) {
        let pause = match outcome {
            Ok(next) => {
                self.failures = 0;
                *next
            }
            Err(error) if error.kind() == ErrorKind::Conflict => Some(CONFLICT_PAUSE),
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                Some(self.duty.pause(self.failures))
            }
        };
        // A deadline that overflows the clock waits for a signal.
        self.due = pause.and_then(|pause| now.checked_add(pause));
    }
}

/// Signals that make duties due.
#[derive(Debug)]
enum Source {
    /// No signals: only deadlines.
    Deadlines,
    /// Arrivals of batches in the buffer, and a full buffer.
    Buffer,
    /// Commits.
    Catalog(watch::Receiver<u64>),
}

/// Reason for which a lane runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wakeup {
    Signal,
    /// Signal that cannot wait.
    Urgent,
    Deadline,
}

/// Task whose duties take turns.
#[derive(Debug)]
pub(super) struct Lane {
    turns: Vec<Turn>,
    source: Source,
    signals: Arc<Signals>,
}

impl Lane {
    /// Makes a lane without signals.
    pub(super) fn by_deadline(signals: &Arc<Signals>, duty: Duty) -> Self {
        Self::new(signals, Source::Deadlines, [(duty, Duration::ZERO)])
    }

    /// Makes a lane that runs `after_arrival` of batches, and at once when the buffer is full.
    pub(super) fn by_buffer(signals: &Arc<Signals>, duty: Duty, after_arrival: Duration) -> Self {
        Self::new(signals, Source::Buffer, [(duty, after_arrival)])
    }

    /// Makes a lane of duties that run some time after a commit.
    pub(super) fn by_catalog(
        signals: &Arc<Signals>,
        turns: impl IntoIterator<Item = (Duty, Duration)>,
    ) -> Self {
        Self::new(signals, Source::Catalog(signals.versions()), turns)
    }

    fn new(
        signals: &Arc<Signals>,
        source: Source,
        turns: impl IntoIterator<Item = (Duty, Duration)>,
    ) -> Self {
        let due = Some(Instant::now());
        let turns = turns.into_iter();
        let turns = turns.map(|(duty, after_signal)| Turn { duty, due, after_signal, failures: 0 });
        Self { turns: turns.collect(), source, signals: Arc::clone(signals) }
    }

    /// Runs the duties when they are due, until `maintenance` is stopped or dropped.
    pub(super) async fn run(mut self, maintenance: Weak<Maintenance>) {
        let Some(stop) = maintenance.upgrade().map(|maintenance| maintenance.stop().clone()) else { return };
        while let Some(wakeup) = stop.run_until_cancelled(self.wakeup()).await {
            let Some(maintenance) = maintenance.upgrade() else { return };
            maintenance.count_wakeup();
            self.hurry(wakeup, Instant::now());
            while let Some(turn) = self.next(Instant::now()) {
                let outcome = maintenance.attempt(turn.duty).await;
                turn.done(&outcome, Instant::now());
                if let Err(error) = &outcome
                    && turn.failures > 0
                {
                    let (duty, pause) = (turn.duty, turn.duty.pause(turn.failures));
                    let error = error.chain();
                    tracing::error!(%duty, error, ?pause, "maintenance failed; trying again after a pause");
                }
                if stop.is_cancelled() {
                    return;
                }
            }
        }
    }

    /// Returns the first duty that is due. Its attempt sees all changes up to now.
    fn next(&mut self, now: Instant) -> Option<&mut Turn> {
        if let Source::Catalog(versions) = &mut self.source {
            versions.borrow_and_update();
        }
        self.turns.iter_mut().find(|turn| turn.due.is_some_and(|due| due <= now))
    }

    fn hurry(&mut self, wakeup: Wakeup, now: Instant) {
        for turn in &mut self.turns {
            match wakeup {
                Wakeup::Signal => turn.hurry(now + turn.after_signal),
                Wakeup::Urgent => turn.hurry(now),
                Wakeup::Deadline => {}
            }
        }
    }

    /// Waits for a signal that makes a duty due earlier, or for the earliest deadline.
    async fn wakeup(&mut self) -> Wakeup {
        let now = Instant::now();
        let heeds_signals = self.turns.iter().any(|turn| turn.is_later_than(now + turn.after_signal));
        let heeds_urgent =
            matches!(self.source, Source::Buffer) && self.turns.iter().any(|turn| turn.is_later_than(now));
        let deadline = self.turns.iter().filter_map(|turn| turn.due).min();
        let sleep = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => Wakeup::Deadline,
            () = changed(&mut self.source, &self.signals), if heeds_signals => Wakeup::Signal,
            () = self.signals.full(), if heeds_urgent => Wakeup::Urgent,
        }
    }
}

async fn changed(source: &mut Source, signals: &Signals) {
    match source {
        Source::Buffer => signals.arrival().await,
        Source::Catalog(versions) => {
            // Cannot fail, as the lane keeps the sender.
            let _ = versions.changed().await;
        }
        Source::Deadlines => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    const SECOND: Duration = Duration::from_secs(1);

    fn lane() -> (Lane, Instant) {
        let turns = [(Duty::Rewriting, SECOND), (Duty::Merging, SECOND)];
        let mut lane = Lane::by_catalog(&Arc::default(), turns);
        let now = Instant::now();
        for duty in [Duty::Rewriting, Duty::Merging] {
            done(&mut lane, now, duty, &Ok(None));
        }
        assert!(lane.next(now + 1000 * SECOND).is_none(), "it waits for a signal");
        (lane, now)
    }

    /// Ends the first due duty, which must be `duty`, with `outcome`.
    fn done(lane: &mut Lane, now: Instant, duty: Duty, outcome: &Result<Option<Duration>>) {
        let turn = lane.next(now).expect("a duty is due");
        assert_eq!(turn.duty, duty);
        turn.done(outcome, now);
    }

    fn failed(kind: ErrorKind) -> Result<Option<Duration>> {
        Err(Error::new(kind, "it failed"))
    }

    #[test]
    fn a_duty_that_fails_keeps_no_other_in_its_lane() {
        let (mut lane, now) = lane();
        lane.hurry(Wakeup::Urgent, now);
        done(&mut lane, now, Duty::Rewriting, &failed(ErrorKind::Corrupt));
        done(&mut lane, now, Duty::Merging, &Ok(Some(Duration::ZERO)));
        done(&mut lane, now, Duty::Merging, &Ok(None));
        assert!(lane.next(now).is_none());
        done(&mut lane, now + SECOND, Duty::Rewriting, &failed(ErrorKind::Corrupt));
        assert!(lane.next(now + 2 * SECOND).is_none(), "the pause has grown");
        lane.hurry(Wakeup::Urgent, now + 2 * SECOND);
        done(&mut lane, now + 2 * SECOND, Duty::Merging, &Ok(None));
        assert!(lane.next(now + 2 * SECOND).is_none(), "no signal shortens it");
        done(&mut lane, now + 3 * SECOND, Duty::Rewriting, &Ok(None));
        lane.hurry(Wakeup::Urgent, now + 4 * SECOND);
        done(&mut lane, now + 4 * SECOND, Duty::Rewriting, &Ok(None));
    }

    #[test]
    fn signals_make_duties_due_after_a_moment_and_put_nothing_off() {
        let (mut lane, now) = lane();
        lane.hurry(Wakeup::Signal, now);
        lane.hurry(Wakeup::Signal, now + SECOND / 2);
        assert!(lane.next(now + SECOND / 2).is_none());
        done(&mut lane, now + SECOND, Duty::Rewriting, &Ok(Some(60 * SECOND)));
        done(&mut lane, now + SECOND, Duty::Merging, &Ok(Some(Duration::MAX)));
        lane.hurry(Wakeup::Deadline, now + 61 * SECOND);
        done(&mut lane, now + 61 * SECOND, Duty::Rewriting, &Ok(None));
        assert!(lane.next(now + 1_000_000 * SECOND).is_none(), "nothing is due at the end of time");
    }

    #[test]
    fn others_that_came_first_are_no_failure() {
        let (mut lane, now) = lane();
        lane.hurry(Wakeup::Urgent, now);
        done(&mut lane, now, Duty::Rewriting, &failed(ErrorKind::Conflict));
        lane.hurry(Wakeup::Urgent, now);
        done(&mut lane, now, Duty::Rewriting, &Ok(None));
    }

    #[tokio::test]
    async fn a_lane_without_deadlines_sleeps_until_a_signal() {
        let signals = Arc::<Signals>::default();
        let mut lane = Lane::by_buffer(&signals, Duty::Flush, SECOND);
        let now = Instant::now();
        done(&mut lane, now, Duty::Flush, &Ok(None));
        assert!(futures::poll!(std::pin::pin!(lane.wakeup())).is_pending());
        signals.batches_arrived();
        assert_eq!(lane.wakeup().await, Wakeup::Signal);
        lane.hurry(Wakeup::Signal, now);
        signals.batches_arrived();
        assert!(futures::poll!(std::pin::pin!(lane.wakeup())).is_pending(), "it is due soon anyhow");
        signals.buffer_is_full();
        assert_eq!(lane.wakeup().await, Wakeup::Urgent);
    }
}
