//! How is work done that may take its time?

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Share of the processor where others want it too: nice 9, about an eighth of what they get.
const PRIORITY_PERCENT: u8 = 25;

/// Like [`on_own_thread`], and leaves the machine to others. What `work` spawns has that priority too.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    on_own_thread(|| {
        // In tests threads are used again.
        if !cfg!(test) {
            lower_priority();
        }
        work()
    })
    .await
}

/// Does `work` on a thread of its own: what it takes in memory, it gives back when it ends. The allocator would keep
/// much of it for a thread of the runtime, which may wait long for other work.
///
/// Dropping the future does not end the work, only its result is lost: it must have no effects. Needs a
/// tokio runtime if `work` does; a panic in it is an [`Internal`](crate::ErrorKind::Internal) error.
pub(super) async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if cfg!(test) {
        // There a simulation can wait for it.
        let done = tokio::task::spawn_blocking(work).await;
        return done.map_err(|_| Error::internal("work in the background failed"));
    }
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name("broadloom-maintenance".to_owned()).spawn(move || {
        // Nobody may be waiting any more.
        let _ = done.send(work());
    })?;
    result.await.map_err(|_| Error::internal("work in the background failed"))
}

/// Where it is not possible the work is done all the same.
fn lower_priority() {
    use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
    let lowered = ThreadPriorityValue::try_from(PRIORITY_PERCENT)
        .map(|value| set_current_thread_priority(ThreadPriority::Crossplatform(value)));
    if !matches!(lowered, Ok(Ok(()))) {
        tracing::debug!("could not lower the priority of a maintenance thread");
    }
}
