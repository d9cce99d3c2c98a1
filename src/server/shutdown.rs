//! How a server ends: told by a signal, in order, within a time.
//!
//! 1. `/readyz` says no, and no new connection is accepted;
//! 2. requests that have begun are answered, for at most [`DRAIN_MAX`];
//! 3. the database flushes and closes.
//!
//! A second signal ends the process at once; what was acknowledged is in the write-ahead log either way.

use std::time::Duration;

use crate::error::{Error, Result};

/// How long requests that have begun may take to end. Below the 10 s after which `docker stop` kills, so
/// that the flush still has a part of them.
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
    /// Begins to catch the signals, which from now on do not end the process by themselves. Called
    /// before anybody is told that the server runs.
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

    /// Waits for the next signal; its name.
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
