//! How much memory do the buffers of all databases of a process take?
//!
//! Each database has a [`Share`] of the [`Buffers`], with what its buffer holds and what is on its way there. A batch is
//! admitted if its database's limit and the limit of all allow it. When the limit of all refuses one, the databases
//! that hold most are asked to flush: the sender's own may hold nothing.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::signals::Signals;
use crate::error::{Error, ErrorKind, Result};

/// Buffers of all databases of a process, with their limit.
#[derive(Debug)]
pub struct Buffers {
    bytes_max: usize,
    shares: Mutex<Shares>,
}

#[derive(Debug, Default)]
struct Shares {
    /// Bytes of all shares.
    bytes: usize,
    /// By number.
    used: HashMap<u64, Used>,
    next: u64,
}

#[derive(Debug)]
struct Used {
    held: usize,
    pending: usize,
    /// True if a batch was refused since the buffer last became smaller.
    is_wanted: bool,
    signals: Arc<Signals>,
}

impl Default for Buffers {
    /// No limit but those of the databases.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Buffers {
    /// Allows `bytes_max` bytes in all buffers together.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, shares: Mutex::default() }
    }

    /// Adds a database that flushes after `signals`.
    pub(super) fn join(self: &Arc<Self>, signals: &Arc<Signals>) -> Share {
        let mut shares = self.shares.lock();
        let number = shares.next;
        shares.next += 1;
        let used = Used { held: 0, pending: 0, is_wanted: false, signals: Arc::clone(signals) };
        shares.used.insert(number, used);
        Share(Arc::new(Member { number, buffers: Arc::clone(self) }))
    }

    /// Bytes of all buffers, and of the batches on their way there.
    pub fn bytes(&self) -> usize {
        self.shares.lock().bytes
    }
}

impl Shares {
    /// Asks databases to flush, those that hold most first, until half of the limit would be free.
    fn ask_for_room(&mut self, bytes_max: usize) {
        let mut holders: Vec<&mut Used> = self.used.values_mut().filter(|used| used.held > 0).collect();
        holders.sort_unstable_by_key(|used| std::cmp::Reverse(used.held));
        let mut freed = 0;
        for used in holders {
            if freed > bytes_max / 2 {
                break;
            }
            freed += used.held;
            used.ask();
        }
    }
}

impl Used {
    fn ask(&mut self) {
        self.is_wanted = true;
        self.signals.buffer_is_full();
    }
}

#[derive(Debug)]
struct Member {
    number: u64,
    buffers: Arc<Buffers>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut shares = self.buffers.shares.lock();
        if let Some(used) = shares.used.remove(&self.number) {
            shares.bytes -= used.held + used.pending;
        }
    }
}

/// Share of one database.
#[derive(Debug)]
pub(super) struct Share(Arc<Member>);

impl Share {
    /// Records that the buffer of the database holds `bytes` now.
    pub(super) fn holds(&self, bytes: usize) {
        let mut shares = self.0.buffers.shares.lock();
        let Some(own) = shares.used.get_mut(&self.0.number) else { return };
        let before = std::mem::replace(&mut own.held, bytes);
        own.is_wanted &= bytes >= before;
        shares.bytes = shares.bytes - before + bytes;
    }

    /// True if a batch was refused since the buffer last became smaller, so that it should be flushed.
    pub(super) fn is_wanted(&self) -> bool {
        self.0.buffers.shares.lock().used.get(&self.0.number).is_some_and(|own| own.is_wanted)
    }

    /// Reserves memory for a batch of `bytes`. A single batch of any size fits where nothing else is.
    ///
    /// Fails with [`ErrorKind::Busy`] when the buffer of the database would exceed `bytes_max`, or all buffers their
    /// limit, and signals that they are full.
    pub(super) fn reserve(&self, bytes: usize, bytes_max: usize) -> Result<Admission> {
        let all_max = self.0.buffers.bytes_max;
        let mut shares = self.0.buffers.shares.lock();
        let all = shares.bytes;
        let fits = |used: usize, max: usize| used == 0 || used.saturating_add(bytes) <= max;
        let Some(own) = shares.used.get_mut(&self.0.number) else {
            return Err(Error::internal("a database has no share of the buffers"));
        };
        let used = own.held + own.pending;
        if !fits(used, bytes_max) {
            own.ask();
            let message = format!(
                "the buffer holds {used} bytes and may hold {bytes_max} (buffer.bytes_max): retry after the next flush"
            );
            return Err(Error::new(ErrorKind::Busy, message));
        }
        if !fits(all, all_max) {
            shares.ask_for_room(all_max);
            let message = format!(
                "the buffers of all databases hold {all} bytes and may hold {all_max} (buffer_bytes_max): retry after the \
                 next flush"
            );
            return Err(Error::new(ErrorKind::Busy, message));
        }
        own.pending += bytes;
        shares.bytes += bytes;
        Ok(Admission { bytes, member: Arc::clone(&self.0) })
    }
}

/// Memory reserved for one batch, released when dropped.
#[derive(Debug)]
pub struct Admission {
    bytes: usize,
    member: Arc<Member>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut shares = self.member.buffers.shares.lock();
        if let Some(own) = shares.used.get_mut(&self.member.number) {
            own.pending -= self.bytes;
            shares.bytes -= self.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    fn share(buffers: &Arc<Buffers>) -> (Share, Arc<Signals>) {
        let signals = Arc::default();
        (buffers.join(&signals), signals)
    }

    #[test]
    fn a_batch_counts_until_its_admission_ends_and_a_buffer_until_its_database_does() {
        let buffers = Arc::new(Buffers::new(100));
        let (share, _) = share(&buffers);
        let admitted = share.reserve(40, 100).unwrap();
        share.holds(30);
        assert_eq!(buffers.bytes(), 70);
        share.holds(20);
        drop(admitted);
        assert_eq!(buffers.bytes(), 20);
        let late = share.reserve(5, 100).unwrap();
        drop(share);
        assert_eq!(buffers.bytes(), 25, "a batch that is under way keeps its place");
        drop(late);
        assert_eq!(buffers.bytes(), 0);
    }

    #[test]
    fn a_batch_of_any_size_fits_where_nothing_else_is() {
        let buffers = Arc::new(Buffers::new(100));
        let (one, _) = share(&buffers);
        let (other, _) = share(&buffers);
        let large = one.reserve(1000, 10).unwrap();
        assert_eq!(one.reserve(1, 10).unwrap_err().kind(), ErrorKind::Busy);
        let error = other.reserve(1, 10).unwrap_err();
        assert!(error.message().contains("all databases hold 1000 bytes and may hold 100"), "{error}");
        drop(large);
        drop(other.reserve(1000, 10).unwrap());
    }

    #[tokio::test]
    async fn the_databases_that_hold_most_are_asked_to_flush() {
        let buffers = Arc::new(Buffers::new(100));
        let (small, small_full) = share(&buffers);
        let (large, large_full) = share(&buffers);
        let (empty, empty_full) = share(&buffers);
        small.holds(30);
        large.holds(60);
        empty.reserve(20, 100).unwrap_err();
        large_full.full().await;
        assert!(large.is_wanted() && !small.is_wanted());
        large.holds(0);
        assert!(!large.is_wanted());
        for other in [&small_full, &empty_full] {
            assert!(poll!(std::pin::pin!(other.full())).is_pending());
        }
        large.holds(60);
        small.reserve(20, 40).unwrap_err();
        small_full.full().await;
        assert!(poll!(std::pin::pin!(large_full.full())).is_pending(), "its own limit concerns it alone");
    }
}
