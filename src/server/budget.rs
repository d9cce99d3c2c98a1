//! How many bytes of requests may be in memory at once.
//!
//! Every body reserves its bytes while it is read, and again while it is unpacked; what does not fit is
//! refused, never queued, so that a flood of producers is told to wait instead of filling the memory. A
//! [`Reservation`] gives its bytes back when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// The bytes that requests may hold, shared by every protocol.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    bytes: AtomicUsize,
}

impl Budget {
    /// A budget of `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared { bytes_max, bytes: AtomicUsize::new(0) }))
    }

    /// A reservation of nothing, to be grown.
    pub(super) fn reservation(&self) -> Reservation {
        Reservation { budget: Arc::clone(&self.0), bytes: 0 }
    }

    /// Bytes reserved now.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

/// A part of a [`Budget`]; dropping it gives the bytes back.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Shared>,
    bytes: usize,
}

impl Reservation {
    /// Reserves `more` bytes; [`ErrorKind::Unavailable`] when the budget does not have them.
    pub(super) fn grow(&mut self, more: usize) -> Result<()> {
        let max = self.budget.bytes_max;
        let taken = self.budget.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(more).filter(|sum| *sum <= max)
        });
        match taken {
            Ok(_) => {
                self.bytes += more;
                Ok(())
            }
            Err(used) => Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "too much is being received at once: {used} bytes of requests are in memory and {more} more do \
                     not fit into in-flight-max ({max} bytes); send it again later"
                ),
            )),
        }
    }
}

impl Reservation {
    /// As [`grow`](Self::grow); [`ErrorKind::LimitExceeded`] when it would not even fit if nothing else were there.
    pub(super) fn grow_alone(&mut self, more: usize) -> Result<()> {
        let max = self.budget.bytes_max;
        if self.bytes.saturating_add(more) > max {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!(
                    "what the message becomes takes more memory than in-flight-max ({max} bytes), as each of its \
                     attribute keys takes about a kilobyte: send smaller batches"
                ),
            ));
        }
        self.grow(more)
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
        let budget = Budget::new(10);
        let mut first = budget.reservation();
        let mut second = budget.reservation();
        first.grow(6).unwrap();
        second.grow(4).unwrap();
        assert_eq!(second.grow(1).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(budget.bytes(), 10);
        drop(first);
        assert_eq!(budget.bytes(), 4);
        second.grow(6).unwrap();
        drop(second);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn what_never_fits_is_told_apart_from_what_does_not_fit_now() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (budget.reservation(), budget.reservation());
        first.grow(6).unwrap();
        assert_eq!(second.grow_alone(5).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(first.grow_alone(5).unwrap_err().kind(), ErrorKind::LimitExceeded);
        first.grow_alone(4).unwrap();
    }

    #[test]
    fn a_size_that_overflows_is_refused() {
        let budget = Budget::new(usize::MAX);
        let mut reservation = budget.reservation();
        reservation.grow(1).unwrap();
        assert!(reservation.grow(usize::MAX).is_err());
    }
}
