//! Has anything changed that maintenance must react to?
//!
//! Background duties sleep until one of these signals or a deadline. A signal without a waiting duty costs one atomic
//! operation; a signal during a duty's work is kept until the duty waits again.

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
    /// Signals that batches have entered the buffer.
    pub(super) fn batches_arrived(&self) {
        self.arrived.notify_one();
    }

    /// Signals that the buffer is full, or a batch did not fit.
    pub fn buffer_is_full(&self) {
        self.full.notify_one();
    }

    /// Signals that the catalog is at `version`.
    pub(super) fn committed(&self, version: u64) {
        self.committed.send_replace(version);
    }

    /// Waits until batches have entered the buffer since the last call returned. For one caller.
    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Waits until the buffer was full since the last call returned. For one caller.
    pub(super) async fn full(&self) {
        self.full.notified().await;
    }

    /// Returns a receiver of the catalog's versions.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }
}
