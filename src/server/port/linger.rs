//! What happens to the rest of a request if the response is sent before the request was read?
//!
//! Most HTTP/1 clients send the whole request before they read the response. If the server closed the connection
//! early, a message that is too large would end in a reset, and exporters retry after a reset. So the rest of the
//! request is read and discarded after the response, within the limits below; beyond them the connection is closed.
//! HTTP/2 resets only the stream, and its clients read the response.
//!
//! [`Lingerers`] owns the tasks that read, and ends them with the server.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::Version;
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Most bytes of one request that are discarded: four messages of the default largest size.
const REQUEST_BYTES_MAX: usize = 256 << 20;
/// Most bytes of all requests that are being discarded. They cost network and processor time, not memory.
const TOTAL_BYTES_MAX: usize = 1 << 30;
/// Most requests discarded at once. Each has a connection and its buffer of 8 KiB to 400 KiB.
const REQUESTS_MAX: usize = 64;
/// Longest time to discard one request.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Owner of the tasks that discard requests; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::server) struct Lingerers {
    turns: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Lingerers {
    /// Creates an owner whose tasks end at `stop`.
    pub(in crate::server) fn new(stop: CancellationToken) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(REQUESTS_MAX)),
            bytes: Arc::new(Semaphore::new(TOTAL_BYTES_MAX)),
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Waits until all tasks have ended, after `stop`.
    pub(in crate::server) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Discards the rest of `body` in a task, unless too many tasks run.
    fn discard(&self, body: Body) {
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let discarding = tokio::time::timeout(TIME_MAX, discard(body, Arc::clone(&self.bytes), turn));
        let stop = self.stop.clone();
        self.tasks.spawn_on(async move { stop.run_until_cancelled(discarding).await }, &runtime);
    }
}

async fn discard(body: Body, bytes: Arc<Semaphore>, _turn: OwnedSemaphorePermit) {
    let Ok(mut read) = Arc::clone(&bytes).try_acquire_many_owned(0) else { return };
    let mut left = REQUEST_BYTES_MAX;
    let mut pieces = body.into_data_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        let Some(rest) = left.checked_sub(piece.len()) else { return };
        left = rest;
        let Ok(more) = Arc::clone(&bytes).try_acquire_many_owned(piece.len() as u32) else { return };
        read.merge(more);
    }
}

/// Serves `request`, and discards the rest of its body afterwards.
pub(in crate::server) async fn linger(
    State(lingerers): State<Lingerers>,
    request: Request,
    next: Next,
) -> Response {
    if request.version() > Version::HTTP_11 {
        return next.run(request).await;
    }
    next.run(request.map(|body| Body::new(Lingering { body, lingerers }))).await
}

/// A body that is read to its end even if the handler drops it.
struct Lingering {
    body: Body,
    lingerers: Lingerers,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            self.lingerers.discard(std::mem::take(&mut self.body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that never ends and yields no more bytes.
    fn endless() -> Body {
        Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())
    }

    fn drop_unread(lingerers: &Lingerers, body: Body) {
        drop(Lingering { body, lingerers: lingerers.clone() });
    }

    #[tokio::test]
    async fn so_many_requests_linger_at_once() {
        let stop = CancellationToken::new();
        let lingerers = Lingerers::new(stop.clone());
        for _ in 0..REQUESTS_MAX + 10 {
            drop_unread(&lingerers, endless());
        }
        assert_eq!((lingerers.tasks.len(), lingerers.turns.available_permits()), (REQUESTS_MAX, 0));
        stop.cancel();
        lingerers.ended().await;
        assert_eq!(lingerers.turns.available_permits(), REQUESTS_MAX);
        assert_eq!(lingerers.bytes.available_permits(), TOTAL_BYTES_MAX);
    }

    #[tokio::test]
    async fn lingering_ends_with_the_server() {
        let stop = CancellationToken::new();
        let lingerers = Lingerers::new(stop.clone());
        drop_unread(&lingerers, endless());
        assert_eq!(lingerers.tasks.len(), 1);
        stop.cancel();
        lingerers.ended().await;
    }

    #[tokio::test]
    async fn all_together_read_no_more_than_there_is_room_for() {
        let bytes = Arc::new(Semaphore::new(10));
        let lingerers = Lingerers { bytes: Arc::clone(&bytes), ..Lingerers::new(CancellationToken::new()) };
        let piece = || Ok::<_, std::io::Error>(Bytes::from_static(b"1234"));
        drop_unread(&lingerers, Body::from_stream(futures::stream::repeat_with(piece)));
        // The body never ends, but the task ends at the limit.
        lingerers.ended().await;
        assert_eq!(bytes.available_permits(), 10);
    }
}
