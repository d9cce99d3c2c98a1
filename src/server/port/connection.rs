//! How long does a connection of HTTP live, and which time limits does it have?
//!
//! It ends when its client leaves, when the server has waited for the client for [`QUIET_MAX`], when it is closed for
//! another (`accept.rs`), and when the server stops: then at once if no request is open, else after the last of them.
//! The client is notified (`Connection: close`, GOAWAY) and has [`GOODBYE_MAX`] to close. One that becomes a WebSocket is
//! not one of HTTP any more: whoever took it over ends it.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::rt::Timer;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::Accept;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::activity::Activity;
use super::body::{Incoming, Outgoing};
use super::clock::Clock;
use super::service::{Accepted, Service};
use super::table::{Port, Wire};
use super::tls::Tls;

/// Longest time between two requests of HTTP/1, and for the head of one: hyper has one timer for both. Longer than the
/// 60 s between two exports of metrics, so that a producer keeps its connection.
const HEAD_TIME_MAX: Duration = Duration::from_secs(75);
/// Longest time until client and server have agreed on keys.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Longest time that the server waits for a client: without a request, or with an unread response.
const QUIET_MAX: Duration = Duration::from_mins(2);
/// Time for a client to close a connection without requests after the notice.
const GOODBYE_MAX: Duration = Duration::from_millis(500);
/// Interval between pings of HTTP/2, which detect clients that have disappeared.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Longest time for the answer to a ping.
const PING_ANSWER_MAX: Duration = Duration::from_secs(20);
/// Most requests that one connection of HTTP/2 may have open at once.
const STREAMS_MAX: u32 = 256;

/// The address of this machine that a request came to.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct LocalAddress {
    /// True if only programs on this machine reach the address.
    pub(in crate::server) is_loopback: bool,
    /// True if the connection is encrypted.
    pub(in crate::server) is_encrypted: bool,
}

/// Serves requests over HTTP by a router.
#[derive(Debug, Clone)]
pub(in crate::server) struct HttpService {
    wire: Wire,
    router: Router,
    tls: Option<Tls>,
}

impl HttpService {
    /// Serves requests to `port` by `router`, encrypted by `tls`.
    pub(in crate::server) fn new(port: Port, router: Router, tls: Option<Tls>) -> Self {
        Self { wire: port.wire(), router, tls }
    }
}

impl Service for HttpService {
    async fn serve(self, accepted: Accepted) {
        let Accepted { stream, activity, stop } = accepted;
        // Without an address the connection is closed already.
        let is_loopback = stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
        let local = LocalAddress { is_loopback, is_encrypted: self.tls.is_some() };
        let requests = Requests { router: self.router, activity, local };
        match &self.tls {
            None => serve(stream, self.wire, requests, stop).await,
            Some(tls) => {
                let accepted = tls.acceptor(self.wire).accept(stream);
                serve_encrypted(accepted, self.wire, requests, stop).await;
            }
        }
    }
}

/// State that the requests of one connection share.
#[derive(Clone)]
struct Requests {
    /// Router that serves them.
    router: Router,
    /// Activity of the connection.
    activity: Arc<Activity>,
    /// Local address of the connection.
    local: LocalAddress,
}

impl hyper::service::Service<Request<hyper::body::Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let open = self.activity.begin();
        let mut request = request.map(|body| Body::new(Incoming::new(body, Arc::clone(&open))));
        request.extensions_mut().insert(self.local);
        let answer = self.router.clone().call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Body::new(Outgoing::new(body, open)))) })
    }
}

/// Serves the requests of one connection, after its client and the server have agreed on keys.
async fn serve_encrypted(
    accepted: Accept<TcpStream>,
    wire: Wire,
    requests: Requests,
    stop: CancellationToken,
) {
    let activity = Arc::clone(&requests.activity);
    let stream = tokio::select! {
        stream = accepted => stream,
        () = activity.evicted.cancelled() => return,
        () = stop.cancelled() => return,
        () = activity.clock.sleep(HANDSHAKE_MAX) => return,
    };
    match stream {
        Ok(stream) => serve(stream, wire, requests, stop).await,
        Err(error) => tracing::debug!(%error, "a client did not agree on an encryption"),
    }
}

/// Serves the requests of one connection until it ends.
async fn serve<I>(io: I, wire: Wire, requests: Requests, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::clone(&requests.activity);
    let clock = activity.clock.clone();
    let builder = builder(wire, &clock);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), requests));
    let mut is_leaving = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection broke off");
                }
                return;
            }
            () = activity.evicted.cancelled() => return,
            () = stop.cancelled(), if !is_leaving => {
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            () = clock.sleep_until(next_look(&activity, is_leaving)) => {
                let quiet_max = if is_leaving && !activity.is_open() { GOODBYE_MAX } else { QUIET_MAX };
                if !activity.is_quiet_for(quiet_max) {
                    continue;
                }
                if is_leaving || activity.is_open() {
                    return;
                }
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Earliest time at which the connection may have been quiet for too long.
fn next_look(activity: &Activity, is_leaving: bool) -> Instant {
    let step = if is_leaving { GOODBYE_MAX } else { QUIET_MAX };
    let now = activity.clock.now();
    activity.quiet_since().map(|since| since + step).filter(|end| *end > now).unwrap_or(now + step)
}

fn builder(wire: Wire, clock: &Clock) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    if wire == Wire::Grpc {
        builder = builder.http2_only();
    }
    builder.http1().timer(clock.clone()).header_read_timeout(HEAD_TIME_MAX);
    builder
        .http2()
        .timer(clock.clone())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_ANSWER_MAX);
    builder
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::task::JoinHandle;

    use super::super::body::SILENCE_MAX;
    use super::super::clock::manual::Manual;
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const SECOND: Duration = Duration::from_secs(1);

    /// A connection that the test uses as its client.
    struct Open {
        client: DuplexStream,
        activity: Arc<Activity>,
        stop: CancellationToken,
        serving: JoinHandle<()>,
        time: Manual,
        began: Instant,
    }

    fn router(clock: Clock) -> Router {
        let piece = || Ok::<_, Infallible>("x".repeat(1 << 10));
        let long = move || async move { Body::from_stream(futures::stream::repeat_with(piece)) };
        let slow = move || async move {
            clock.sleep(QUIET_MAX * 3).await;
            "late"
        };
        let echo = |body: Body| async {
            match axum::body::to_bytes(body, 100).await {
                Ok(bytes) => Ok(bytes),
                Err(error) if super::super::is_stalled(&error) => Err(StatusCode::REQUEST_TIMEOUT),
                Err(_) => Err(StatusCode::BAD_REQUEST),
            }
        };
        Router::new()
            .route("/", get(|| async { "yes" }).post(echo))
            .route("/long", get(long))
            .route("/slow", get(slow))
    }

    /// Opens a connection to a server and sends `sent`.
    async fn open(wire: Wire, sent: &str) -> Open {
        let time = Manual::new();
        let (mut client, server) = tokio::io::duplex(8 << 10);
        let (activity, stop) = (Activity::new(time.clock()), CancellationToken::new());
        let local = LocalAddress { is_loopback: true, is_encrypted: false };
        let requests = Requests { router: router(time.clock()), activity: Arc::clone(&activity), local };
        let serving = tokio::spawn(serve(server, wire, requests, stop.clone()));
        client.write_all(sent.as_bytes()).await.unwrap();
        Open { client, activity, stop, serving, began: time.time(), time }
    }

    impl Open {
        /// Reads until the server closes. Returns the bytes read, and the time.
        async fn read_to_end(mut self) -> (String, Duration) {
            let mut bytes = Vec::new();
            self.time.until(self.client.read_to_end(&mut bytes)).await.unwrap();
            self.time.until(self.serving).await.unwrap();
            (String::from_utf8(bytes).unwrap(), self.time.time() - self.began)
        }

        /// Waits for the end of a connection whose client does nothing.
        async fn end(self) -> Duration {
            self.time.until(self.serving).await.unwrap();
            self.time.time() - self.began
        }
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_has_its_time() {
        let (answer, took) = open(Wire::Http, "GET / HTTP/1.1\r\nHos").await.read_to_end().await;
        assert_eq!(took, HEAD_TIME_MAX);
        assert!(!answer.contains("200"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_comes_has_its_time() {
        for wire in [Wire::Http, Wire::Grpc] {
            let took = open(wire, "").await.end().await;
            assert!(took <= QUIET_MAX + GOODBYE_MAX * 2, "{took:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_the_next_request_for_a_time() {
        let mut open = open(Wire::Http, GET).await;
        open.time.pass(HEAD_TIME_MAX / 2).await;
        open.client.write_all(GET.as_bytes()).await.unwrap();
        let (answers, took) = open.read_to_end().await;
        assert_eq!(answers.matches("200 OK").count(), 2);
        assert_eq!(took, HEAD_TIME_MAX / 2 + HEAD_TIME_MAX);
    }

    #[tokio::test]
    async fn a_body_that_stops_is_refused_and_one_that_goes_on_slowly_is_not() {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";
        let mut slow = open(Wire::Http, head).await;
        for piece in ["s", "l", "o", "w"] {
            slow.time.pass(SILENCE_MAX / 4 * 3).await;
            slow.client.write_all(piece.as_bytes()).await.unwrap();
        }
        let (answer, _) = slow.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("slow"), "{answer}");
        let stalled = open(Wire::Http, &format!("{head}sl")).await;
        stalled.time.pass(SILENCE_MAX / 4 * 3).await;
        assert!(stalled.activity.is_open());
        let (answer, took) = stalled.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(took >= SILENCE_MAX && took < QUIET_MAX, "{took:?}");
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_has_its_time_and_one_that_takes_long_has_all_it_needs() {
        let unread = open(Wire::Http, "GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let Open { client, serving, time, began, .. } = unread;
        time.until(serving).await.unwrap();
        // Once more if hyper has taken pieces into its own buffer meanwhile.
        let took = time.time() - began;
        assert!(took == QUIET_MAX || took == QUIET_MAX * 2, "{took:?}");
        drop(client);
        let slow = open(Wire::Http, "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let (answer, took) = slow.read_to_end().await;
        assert!(answer.ends_with("late"), "{answer}");
        assert_eq!(took, QUIET_MAX * 3);
    }

    #[tokio::test]
    async fn a_server_that_stops_closes_what_is_idle_and_answers_what_has_begun() {
        for (wire, sent) in [(Wire::Http, ""), (Wire::Http, "GET / HT"), (Wire::Http, GET), (Wire::Grpc, "")]
        {
            let idle = open(wire, sent).await;
            idle.time.pass(SECOND).await;
            assert!(!idle.activity.is_open());
            idle.stop.cancel();
            let took = idle.end().await;
            assert!(took <= SECOND + GOODBYE_MAX, "{wire:?} {sent:?} {took:?}");
        }
        let slow = open(Wire::Http, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        slow.time.pass(SECOND).await;
        assert!(slow.activity.is_open());
        slow.stop.cancel();
        let (answer, took) = slow.read_to_end().await;
        assert!(answer.ends_with("late"), "{answer}");
        assert_eq!(took, QUIET_MAX * 3);
    }

    #[tokio::test]
    async fn an_evicted_connection_ends_at_once() {
        let open = open(Wire::Http, "").await;
        open.activity.evicted.cancel();
        assert_eq!(open.end().await, Duration::ZERO);
    }
}
