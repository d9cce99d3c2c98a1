//! Where do queries run?
//!
//! On a runtime of their own: one that computes long without yielding holds a thread, and tasks that wait for that
//! thread. On the runtime of the server those would be deadlines, health checks and the receipt of telemetry.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind, Result};

/// Threads of the queries of one server, as many as processors. Dropping them ends all work that yields.
#[derive(Debug)]
pub(super) struct Workers(Option<Runtime>);

impl Workers {
    /// Starts the threads. Fails with [`ErrorKind::Unavailable`] if the system gives none.
    pub(super) fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("query").enable_all().build();
        let runtime = runtime.map_err(|e| {
            Error::new(ErrorKind::Unavailable, "the threads of queries cannot be started").with_source(e)
        })?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `work`, and the tasks that it spawns, on the threads.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(work),
            // Only while it is dropped.
            None => tokio::spawn(work),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // An async caller may not wait for threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
