//! How many questions may run at once?
//!
//! A question without a permit is refused at once, never queued: its client knows best how long it can wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::error::{Error, ErrorKind, Result};

/// The permits of a server.
#[derive(Debug)]
pub(super) struct Permits {
    places: Arc<Semaphore>,
    count_max: usize,
    /// Says that all permits, of which there are so many, are taken, and what helps.
    full: fn(usize) -> String,
}

/// Permission to run one question; dropping it returns it.
#[derive(Debug)]
pub(super) struct Permit(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);

impl Permits {
    /// Creates `count_max` permits for questions.
    pub(super) fn new(count_max: usize) -> Self {
        let full = |count_max| {
            format!(
                "{count_max} queries are running, which is the limit queries-max: retry later, or raise queries-max"
            )
        };
        Self { places: Arc::new(Semaphore::new(count_max)), count_max, full }
    }

    /// Creates `count_max` permits for tails.
    pub(super) fn of_tails(count_max: usize) -> Self {
        let full = |count_max| format!("{count_max} clients follow events, which is the limit: retry later");
        Self { places: Arc::new(Semaphore::new(count_max)), count_max, full }
    }

    /// Takes a permit. Fails with [`ErrorKind::Busy`] if none is left, [`ErrorKind::Unavailable`] once closed.
    pub(super) fn take(&self) -> Result<Permit> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Ok(Permit(place)),
            Err(TryAcquireError::NoPermits) => Err(Error::new(ErrorKind::Busy, (self.full)(self.count_max))),
            Err(TryAcquireError::Closed) => Err(stopping()),
        }
    }

    /// Stops giving out permits.
    pub(super) fn close(&self) {
        self.places.close();
    }
}

/// Error of work that cannot begin or complete because the server is stopping.
pub(super) fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is stopping: retry later")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let permits = Permits::new(1);
        let first = permits.take().unwrap();
        let error = permits.take().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.message().contains("queries-max"), "{error}");
        drop(first);
        let _second = permits.take().unwrap();
    }

    #[test]
    fn nothing_begins_once_it_is_closed() {
        let permits = Permits::new(1);
        permits.close();
        assert_eq!(permits.take().unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
