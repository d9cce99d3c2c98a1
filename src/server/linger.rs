//! What becomes of the rest of a request that was answered before it was read?
//!
//! Most clients send all of a request before they look at the answer. Were the connection closed under them, a
//! message that is too large would end in a reset, which exporters take for a reason to send it again. So what
//! a handler has left unread is read and thrown away, as far as [`BYTES_MAX`] and [`TIME_MAX`].

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;

/// What is thrown away of one request. Who sends more finds the connection closed.
const BYTES_MAX: usize = 256 << 20;
/// How long that may take.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Answers `request`, and reads the rest of it afterwards.
pub(super) async fn linger(request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(Lingering { body }))).await
}

/// A body that is read to its end, even when nobody wants it.
struct Lingering {
    body: Body,
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
        if self.body.is_end_stream() {
            return;
        }
        let rest = std::mem::take(&mut self.body);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(TIME_MAX, discard(rest)));
        }
    }
}

async fn discard(body: Body) {
    let mut parts = body.into_data_stream();
    let mut left = BYTES_MAX;
    while let Some(Ok(part)) = parts.next().await {
        match left.checked_sub(part.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
