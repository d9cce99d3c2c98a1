//! Bodies of requests and responses, watched for stalled clients.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::rt::{Sleep, Timer};

use super::activity::OpenRequest;

/// Longest time without a byte while the server waits for a body. Producers send their data at once; a network that
/// recovers is silent for less than 30 s.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Error: the client has stopped sending the body of its request.
#[derive(Debug)]
struct Stalled;

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no byte of the body arrived for {} s", SILENCE_MAX.as_secs())
    }
}

impl std::error::Error for Stalled {}

/// True if `error` of a request's body is caused by a client that has stopped sending.
pub(in crate::server) fn is_stalled(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |cause| cause.source()).any(<dyn std::error::Error>::is::<Stalled>)
}

/// The body of a request. Fails after [`SILENCE_MAX`] without a byte.
pub(super) struct Incoming<B> {
    body: B,
    request: Arc<OpenRequest>,
    silence: Option<Pin<Box<dyn Sleep>>>,
}

impl<B> Incoming<B> {
    /// Wraps the body of `request`.
    pub(super) fn new(body: B, request: Arc<OpenRequest>) -> Self {
        Self { body, request, silence: None }
    }

    /// Marks that the server works, unless the response has begun.
    fn work(&self) {
        if !self.request.is_answered() {
            self.request.work();
        }
    }
}

impl<B> HttpBody for Incoming<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                self.work();
                // An empty piece does not count as progress.
                if !matches!(&frame, Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty)) {
                    self.silence = None;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                if !self.request.is_answered() {
                    self.request.wait();
                }
                let Self { request, silence, .. } = &mut *self;
                let silence = silence.get_or_insert_with(|| request.clock().sleep(SILENCE_MAX));
                ready!(silence.as_mut().poll(context));
                self.work();
                Poll::Ready(Some(Err(Box::new(Stalled))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Incoming<B> {
    fn drop(&mut self) {
        // The handler goes on without the body.
        self.work();
    }
}

/// The body of a response. Between two of its pieces the server waits for the client.
pub(super) struct Outgoing {
    body: Body,
    request: Arc<OpenRequest>,
}

impl Outgoing {
    /// Wraps the body of the response to `request`.
    pub(super) fn new(body: Body, request: Arc<OpenRequest>) -> Self {
        request.answer();
        Self { body, request }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.request.work();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.request.wait();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Error of a stalled body, as a handler gets it.
#[cfg(test)]
pub(in crate::server) fn stalled() -> axum::Error {
    axum::Error::new(axum::Error::new(Stalled))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::super::activity::Activity;
    use super::super::clock::manual::Manual;
    use super::*;

    #[tokio::test]
    async fn silence_is_told_from_other_ends_through_every_layer() {
        let time = Manual::new();
        let open = Activity::new(time.clock()).begin();
        let endless = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let body = Body::new(Body::new(Incoming::new(endless, Arc::clone(&open))));
        let error = time.until(body.into_data_stream().next()).await.unwrap().unwrap_err();
        assert!(is_stalled(&error), "{error:?}");
        let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
        let body = Body::new(Incoming::new(Body::from_stream(broken), open));
        let error = body.into_data_stream().next().await.unwrap().unwrap_err();
        assert!(!is_stalled(&error), "{error:?}");
    }

    #[tokio::test]
    async fn empty_pieces_do_not_break_a_silence() {
        let time = Manual::new();
        let pieces = futures::stream::unfold(time.clock(), |clock| async {
            clock.sleep(SILENCE_MAX / 4).await;
            Some((Ok::<_, std::io::Error>(Bytes::new()), clock))
        });
        let open = Activity::new(time.clock()).begin();
        let mut pieces = Body::new(Incoming::new(Body::from_stream(pieces), open)).into_data_stream();
        let first_error = async {
            loop {
                if let Some(Err(error)) = pieces.next().await {
                    return error;
                }
            }
        };
        let error = time.until(first_error).await;
        assert!(is_stalled(&error), "{error:?}");
    }

    #[tokio::test]
    async fn a_request_waits_for_its_client_between_pieces_of_the_answer() {
        let activity = Activity::new(Manual::new().clock());
        let body = Body::from_stream(futures::stream::iter(["a", "b"].map(Ok::<_, std::io::Error>)));
        let mut pieces = Body::new(Outgoing::new(body, activity.begin())).into_data_stream();
        assert_eq!(activity.quiet_since(), None);
        assert_eq!(pieces.next().await.unwrap().unwrap(), "a");
        assert!(activity.quiet_since().is_some() && activity.is_open());
        drop(pieces);
        assert!(!activity.is_open());
    }
}
