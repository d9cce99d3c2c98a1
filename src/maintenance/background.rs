//! How is work done that may take its time?

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Share of the processor where others want it too: nice 9, about an eighth of what they get.
const PRIORITY_PERCENT: u8 = 25;

/// Does `work` on a thread of its own, of low priority. What it spawns has that priority too.
///
/// Dropping the future does not end the work, only its result is lost: it must have no effects. Needs a
/// tokio runtime if `work` does; a panic in it is an [`Internal`](crate::ErrorKind::Internal) error.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if cfg!(test) {
        // There a simulation can wait for it.
        let done = tokio::task::spawn_blocking(work).await;
        return done.map_err(|_| Error::internal("work in the background failed"));
    }
    let (done, result) = oneshot::channel();
    let name = "broadloom-maintenance".to_owned();
    std::thread::Builder::new().name(name).spawn(move || {
        lower_priority();
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
        tracing::debug!("the priority of maintenance could not be lowered");
    }
}
