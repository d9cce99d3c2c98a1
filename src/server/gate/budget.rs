//! How many bytes of messages, and of answers, may be in memory at once?
//!
//! Every body reserves its bytes while it is read, and again while it is unpacked. Messages that do not fit are
//! refused, never queued, so that a flood of producers has to wait and does not fill the memory. A
//! [`Reservation`] returns its bytes when it is dropped.
//!
//! Answers that are built in memory have a separate budget, so that readers do not block producers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Texts of a budget's errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    /// Name of the limit.
    limit: &'static str,
    /// Error when there is no room now.
    busy: &'static str,
    /// Error when there is never room, with what to do.
    large: &'static str,
}

/// The budget of messages.
pub(super) const MESSAGES: Words = Words {
    limit: "in-flight-max",
    busy: "too many messages are being received at once",
    large: "the message, encoded or decoded, takes more memory than all messages together may (each of its attribute \
            keys takes about a kilobyte): send smaller batches",
};

/// The budget of answers that are built in memory.
pub(super) const ANSWERS: Words = Words {
    limit: "the memory for answers",
    busy: "too many large answers are being built at once",
    large: "the answer is too large to build in memory: query its rows with /v1/sql",
};

/// Bytes that may be held at once, shared by every protocol.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    words: Words,
    bytes_max: usize,
    bytes: AtomicUsize,
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    pub(super) fn new(words: Words, bytes_max: usize) -> Self {
        Self(Arc::new(Shared { words, bytes_max, bytes: AtomicUsize::new(0) }))
    }

    /// Creates an empty reservation, to be grown.
    pub(super) fn reservation(&self) -> Reservation {
        Reservation { budget: Arc::clone(&self.0), bytes: 0 }
    }

    /// Bytes reserved now.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

/// A part of a [`Budget`]; dropping it returns the bytes.
#[derive(Debug)]
pub(in crate::server) struct Reservation {
    budget: Arc<Shared>,
    bytes: usize,
}

impl Reservation {
    /// Reserves `more` bytes. Fails with [`ErrorKind::Busy`] when the budget does not have them now, and with
    /// [`ErrorKind::TooLarge`] when this reservation alone would exceed the budget.
    pub(in crate::server) fn grow(&mut self, more: usize) -> Result<()> {
        let (max, Words { limit, busy, large }) = (self.budget.bytes_max, self.budget.words);
        if self.bytes.saturating_add(more) > max {
            return Err(Error::new(ErrorKind::TooLarge, format!("{large} ({limit}: {max} bytes)")));
        }
        let taken = self.budget.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(more).filter(|sum| *sum <= max)
        });
        match taken {
            Ok(_) => {
                self.bytes += more;
                Ok(())
            }
            Err(used) => {
                let message = format!(
                    "{busy}: {used} bytes are in memory and {more} more do not fit into {limit} ({max} bytes); retry \
                     later"
                );
                Err(Error::new(ErrorKind::Busy, message))
            }
        }
    }

    /// Creates an empty reservation from a budget of its own.
    #[cfg(test)]
    pub(in crate::server) fn within(bytes_max: usize) -> Self {
        Budget::new(ANSWERS, bytes_max).reservation()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_dropped_comes_back() {
        let budget = Budget::new(MESSAGES, 10);
        let mut first = budget.reservation();
        let mut second = budget.reservation();
        first.grow(6).unwrap();
        second.grow(4).unwrap();
        assert_eq!(second.grow(1).unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(budget.bytes(), 10);
        drop(first);
        assert_eq!(budget.bytes(), 4);
        second.grow(6).unwrap();
        drop(second);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn what_never_fits_is_told_apart_from_what_does_not_fit_now() {
        let budget = Budget::new(MESSAGES, 10);
        let (mut first, mut second) = (budget.reservation(), budget.reservation());
        first.grow(6).unwrap();
        assert_eq!(second.grow(5).unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(first.grow(5).unwrap_err().kind(), ErrorKind::TooLarge);
        first.grow(4).unwrap();
    }

    #[test]
    fn a_size_that_overflows_is_refused() {
        let budget = Budget::new(MESSAGES, usize::MAX);
        let mut reservation = budget.reservation();
        reservation.grow(1).unwrap();
        assert!(reservation.grow(usize::MAX).is_err());
    }
}
