//! OTLP/gRPC: the `Export` calls of the trace, logs and metrics services, on a port of their own.
//!
//! The services are not the generated ones. Those decode a message on the thread that serves all
//! connections before anybody can say no; here the body is counted against the [`Budget`] while it
//! arrives, and handed as bytes to [`receive`], as that of OTLP/HTTP is.
//!
//! [`Budget`]: super::budget::Budget

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::{Request as HttpRequest, Response as HttpResponse};
use bytes::{Buf, BufMut, Bytes};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::budget::Reservation;
use super::content::{Compression, too_large};
use super::otlp_answer::{self, Refusals};
use super::receive::{Delivery, Protocol, receive, refuse};
use super::state::ServerState;
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::otlp::{Encoding, RequestKind};

/// Calls that one connection may have open at once.
const STREAMS_PER_CONNECTION_MAX: u32 = 256;

/// Serves OTLP/gRPC on `listener` until `stop`, then finishes the calls that it has.
pub(super) async fn serve(listener: TcpListener, state: ServerState, stop: CancellationToken) -> Result<()> {
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .add_service(Export::<Traces>::new(&state))
        .add_service(Export::<Logs>::new(&state))
        .add_service(Export::<Metrics>::new(&state))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await
        .map_err(|e| Error::new(ErrorKind::Unavailable, "OTLP/gRPC stopped").with_source(e))
}

/// One of the three services.
trait OtlpService: Send + Sync + 'static {
    const KIND: RequestKind;
    const NAME: &'static str;
    const PATH: &'static str;
}

macro_rules! otlp_service {
    ($type:ident, $name:literal) => {
        #[derive(Debug)]
        struct $type;

        impl OtlpService for $type {
            const KIND: RequestKind = RequestKind::$type;
            const NAME: &'static str = concat!("opentelemetry.proto.collector.", $name);
            const PATH: &'static str = concat!("/opentelemetry.proto.collector.", $name, "/Export");
        }
    };
}

otlp_service!(Traces, "trace.v1.TraceService");
otlp_service!(Logs, "logs.v1.LogsService");
otlp_service!(Metrics, "metrics.v1.MetricsService");

/// The `Export` call of the service `S`.
struct Export<S> {
    state: ServerState,
    service: std::marker::PhantomData<fn() -> S>,
}

impl<S> Export<S> {
    fn new(state: &ServerState) -> Self {
        Self { state: state.clone(), service: std::marker::PhantomData }
    }
}

impl<S> Clone for Export<S> {
    fn clone(&self) -> Self {
        Self::new(&self.state)
    }
}

impl<S: OtlpService> NamedService for Export<S> {
    const NAME: &'static str = S::NAME;
}

type ResponseFuture<T, E> = Pin<Box<dyn Future<Output = std::result::Result<T, E>> + Send>>;

impl<S: OtlpService> Service<HttpRequest<Body>> for Export<S> {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = ResponseFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        if request.uri().path() != S::PATH {
            let unknown = Status::unimplemented(format!("{} has one call, Export", S::NAME));
            return Box::pin(std::future::ready(Ok(unknown.into_http())));
        }
        let state = self.state.clone();
        let bytes_max = state.limits.message_bytes_max;
        let reservation = Arc::new(Mutex::new(Some(state.budget.reservation())));
        let held = Arc::clone(&reservation);
        let request = request.map(|body| Meter { held, bytes_max, prefix: Prefix::default() }.read(body));
        let call = Call { state, kind: S::KIND, reservation };
        Box::pin(async move {
            let mut grpc = Grpc::new(RawCodec).max_decoding_message_size(bytes_max);
            for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
                grpc = grpc.accept_compressed(encoding);
            }
            Ok(grpc.unary(call, request).await)
        })
    }
}

/// One call, its message read.
struct Call {
    state: ServerState,
    kind: RequestKind,
    reservation: Arc<Mutex<Option<Reservation>>>,
}

impl UnaryService<Bytes> for Call {
    type Response = Vec<u8>;
    type Future = ResponseFuture<Response<Vec<u8>>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (state, kind) = (self.state.clone(), self.kind);
        let reservation = self.reservation.lock().take();
        Box::pin(async move {
            let body = request.into_inner();
            let mut reservation = reservation.unwrap_or_else(|| state.budget.reservation());
            let delivery = match reservation.grow(body.len()) {
                Ok(()) => Delivery {
                    protocol: Protocol::Grpc,
                    kind,
                    encoding: Encoding::Protobuf,
                    compression: Compression::Identity,
                    body,
                    reservation,
                },
                Err(full) => {
                    let problem = full.into();
                    refuse(&state, Protocol::Grpc, kind, &problem);
                    return Err(otlp_answer::status(&problem));
                }
            };
            match receive(&state, delivery).await {
                Ok(rejected) => Ok(Response::new(otlp_answer::protobuf(kind, &Refusals::of(&rejected)))),
                Err(problem) => Err(otlp_answer::status(&problem)),
            }
        })
    }
}

/// The first five bytes of a call's body: whether the message is packed, and its length.
#[derive(Debug, Default)]
struct Prefix {
    bytes: [u8; 5],
    count: usize,
}

impl Prefix {
    /// Looks at a piece of the body; the length of the message once it is known.
    fn see(&mut self, data: &[u8]) -> Option<usize> {
        let more = data.len().min(self.bytes.len() - self.count);
        self.bytes[self.count..self.count + more].copy_from_slice(&data[..more]);
        self.count += more;
        let [_, length @ ..] = self.bytes;
        (self.count == self.bytes.len()).then_some(u32::from_be_bytes(length) as usize)
    }
}

/// Reserves the bytes of a request as they arrive, and ends it with an error when it announces more than
/// a message may have.
struct Meter {
    held: Arc<Mutex<Option<Reservation>>>,
    bytes_max: usize,
    prefix: Prefix,
}

impl Meter {
    /// The body, counted.
    fn read(mut self, body: Body) -> Body {
        let pieces = axum::body::Body::new(body).into_data_stream();
        Body::new(axum::body::Body::from_stream(pieces.map(move |piece| {
            let piece = piece.map_err(|e| Status::from_error(Box::new(e)))?;
            self.count(&piece)?;
            Ok::<Bytes, Status>(piece)
        })))
    }

    fn count(&mut self, piece: &[u8]) -> std::result::Result<(), Status> {
        if self.prefix.see(piece).is_some_and(|length| length > self.bytes_max) {
            return Err(otlp_answer::status(&too_large(self.bytes_max)));
        }
        match self.held.lock().as_mut() {
            Some(reservation) => {
                reservation.grow(piece.len()).map_err(|full| otlp_answer::status(&full.into()))
            }
            None => Ok(()),
        }
    }
}

/// Messages as the bytes that they are.
#[derive(Debug, Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, to: &mut EncodeBuf<'_>) -> std::result::Result<(), Status> {
        to.put_slice(&message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> std::result::Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_message_is_read_across_pieces() {
        let mut prefix = Prefix::default();
        assert_eq!(prefix.see(&[1, 0]), None);
        assert_eq!(prefix.see(&[0, 1]), None);
        assert_eq!(prefix.see(&[2, 99, 99]), Some(258));
        assert_eq!(prefix.see(&[7]), Some(258));
    }
}
