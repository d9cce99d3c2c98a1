//! Has anything changed that maintenance should look at?
//!
//! Duties in the background sleep until one of these signals or a deadline. A signal that nobody waits for costs
//! an atomic operation; one that comes while a duty is busy is kept until it waits again.

use tokio::sync::{Notify, watch};

/// Signals from a database to its duties.
#[derive(Debug)]
pub struct Signals {
    arrived: Notify,
    full: Notify,
    committed: watch::Sender<u64>,
}

impl Default for Signals {
    fn default() -> Self {
        Self { arrived: Notify::new(), full: Notify::new(), committed: watch::Sender::new(0) }
    }
}

impl Signals {
    /// Batches have entered the buffer.
    pub(super) fn batches_arrived(&self) {
        self.arrived.notify_one();
    }

    /// The buffer is full, or a batch did not fit.
    pub fn buffer_is_full(&self) {
        self.full.notify_one();
    }

    /// The catalog is at `version`.
    pub(super) fn committed(&self, version: u64) {
        self.committed.send_replace(version);
    }

    /// Returns when batches have entered the buffer since it returned last. For one caller.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Returns when the buffer was full since it returned last. For one caller.
    pub(super) async fn full(&self) {
        self.full.notified().await;
    }

    /// A receiver of the versions of the catalog.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }
}
