//! How does a server stop after a signal, in order and within a time limit?
//!
//! 1. `/readyz` returns 503, and no new connection is accepted;
//! 2. requests that have begun are answered, for at most [`DRAIN_MAX`];
//! 3. the database flushes and closes.
//!
//! A second signal ends the process at once. Acknowledged events are in the write-ahead log either way.

use std::time::Duration;

use crate::error::{Error, Result};

/// Longest time for running requests to finish. Less than the 10 s after which `docker stop` kills, so that some of
/// these remain for the flush.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(7);

/// SIGTERM and SIGINT, caught from the moment of [`Signals::install`].
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to catch the signals, which then no longer end the process by themselves. Call it before the server
    /// reports that it runs.
    pub fn install() -> Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let failed = |e| Error::from(e).context("cannot listen for signals");
            Ok(Self {
                terminate: signal(SignalKind::terminate()).map_err(failed)?,
                interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            })
        }
        #[cfg(not(unix))]
        {
            Ok(Self {})
        }
    }

    /// Waits for the next signal, and returns its name.
    pub async fn next(&mut self) -> &'static str {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            "Ctrl-C"
        }
    }
}
