//! How many questions may be answered at once?
//!
//! A question without a permit is refused at once, never queued: its client knows best how long it can wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::error::{Error, ErrorKind, Result};

/// The places for questions.
#[derive(Debug)]
pub(super) struct Permits {
    places: Arc<Semaphore>,
    count_max: usize,
}

/// A place for one question; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Permit(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);

impl Permits {
    /// `count_max` places.
    pub(super) fn new(count_max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(count_max)), count_max }
    }

    /// Takes a place; [`ErrorKind::Busy`] when there is none, [`ErrorKind::Unavailable`] once closed.
    pub(super) fn take(&self) -> Result<Permit> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Ok(Permit(place)),
            Err(TryAcquireError::NoPermits) => Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "{} questions are being answered, which is queries-max: ask again later, or raise it",
                    self.count_max
                ),
            )),
            Err(TryAcquireError::Closed) => Err(stopping()),
        }
    }

    /// Gives out no more places.
    pub(super) fn close(&self) {
        self.places.close();
    }
}

/// The error of what cannot begin, or cannot end, because the server is stopping.
pub(super) fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is stopping: ask again later")
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
