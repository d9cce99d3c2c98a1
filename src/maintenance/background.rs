//! How does slow work run without slowing down everything else?

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Thread priority in percent: nice 9, about an eighth of the processor time of other threads when all are busy.
const PRIORITY_PERCENT: u8 = 25;

/// Like [`on_own_thread`], at low priority. Threads that `work` spawns inherit the priority.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    on_own_thread(|| {
        // Tests reuse threads.
        if !cfg!(test) {
            lower_priority();
        }
        work()
    })
    .await
}

/// Runs `work` on a thread of its own, whose memory is returned when it ends. For a thread of the runtime the
/// allocator would keep much of it, maybe for a long time.
///
/// Dropping the future loses only the result; the work goes on, so it must have no effects. Needs a tokio runtime if
/// `work` does. A panic in `work` is an [`Internal`](crate::ErrorKind::Internal) error.
pub(super) async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if cfg!(test) {
        // The simulation can wait for blocking tasks, not for other threads.
        let done = tokio::task::spawn_blocking(work).await;
        return done.map_err(|_| Error::internal("work in the background failed"));
    }
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name("broadloom-maintenance".to_owned()).spawn(move || {
        // The receiver may have been dropped.
        let _ = done.send(work());
    })?;
    result.await.map_err(|_| Error::internal("work in the background failed"))
}

/// Lowers the thread's priority. On failure the work runs all the same.
fn lower_priority() {
    use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
    let lowered = ThreadPriorityValue::try_from(PRIORITY_PERCENT)
        .map(|value| set_current_thread_priority(ThreadPriority::Crossplatform(value)));
    if !matches!(lowered, Ok(Ok(()))) {
        tracing::debug!("could not lower the priority of a maintenance thread");
    }
}
