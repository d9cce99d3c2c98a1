//! How does OTLP/gRPC reach the gate? The `Export` calls of the trace, logs and metrics services, on a port of
//! their own.
//!
//! The services are not the generated ones. Those decode a message on the thread that serves all
//! connections before anybody can say no; here the body is counted against the budget of messages while it
//! arrives, and handed as bytes to the gate, as that of OTLP/HTTP is.
//!
//! Every call is counted once: by the gate when the message came so far, else by [`Arrival`].

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
use tonic::{Code, Request, Response, Status};
use tower::Service;

use super::answer::{self, PartialSuccess};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::otlp::{Encoding, RequestKind};
use crate::server::answer::{Refusal, grpc};
use crate::server::gate::{Caller, Compression, Delivery, Protocol, Reservation};
use crate::server::state::ServerState;

/// Calls that one connection may have open at once.
const STREAMS_PER_CONNECTION_MAX: u32 = 256;

/// Serves OTLP/gRPC on `listener` until `stop`, then finishes the calls that it has.
pub(in crate::server) async fn serve(
    listener: TcpListener,
    state: ServerState,
    stop: CancellationToken,
) -> Result<()> {
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
        let arrival = Arc::new(Arrival::new(self.state.gate.anonymous(), S::KIND));
        let arriving = Arc::clone(&arrival);
        let request = request.map(|body| arriving.read(body));
        Box::pin(async move {
            let mut grpc = Grpc::new(RawCodec).max_decoding_message_size(arrival.caller.message_bytes_max());
            for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
                grpc = grpc.accept_compressed(encoding);
            }
            let response = grpc.unary(Call(Arc::clone(&arrival)), request).await;
            arrival.answered(&response);
            Ok(response)
        })
    }
}

/// One call, its message read.
struct Call(Arc<Arrival>);

impl UnaryService<Bytes> for Call {
    type Response = Vec<u8>;
    type Future = ResponseFuture<Response<Vec<u8>>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let arrival = Arc::clone(&self.0);
        Box::pin(async move {
            let delivery = arrival.delivery(request.into_inner())?;
            match arrival.caller.receive(delivery).await {
                Ok(rejected) => {
                    let partial = PartialSuccess::of(&rejected);
                    Ok(Response::new(answer::protobuf(arrival.kind, &partial)))
                }
                Err(refusal) => Err(grpc::status(&refusal)),
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

    /// Returns whether the message is packed.
    fn is_packed(&self) -> bool {
        self.bytes[0] != 0
    }
}

/// A message while it arrives. Its bytes are reserved as they come, and it ends with an error when it announces more
/// than a message may have.
struct Arrival {
    caller: Caller,
    kind: RequestKind,
    state: Mutex<ArrivalState>,
}

#[derive(Default)]
struct ArrivalState {
    prefix: Prefix,
    /// None before the first piece, and once the message was delivered.
    reservation: Option<Reservation>,
    /// Delivered to the gate, which counts it, or refused and counted here.
    is_counted: bool,
}

impl Arrival {
    fn new(caller: Caller, kind: RequestKind) -> Self {
        Self { caller, kind, state: Mutex::default() }
    }

    /// The body, its pieces looked at as they come.
    fn read(self: Arc<Self>, body: Body) -> Body {
        let pieces = axum::body::Body::new(body).into_data_stream();
        Body::new(axum::body::Body::from_stream(pieces.map(move |piece| {
            let piece = piece.map_err(|e| Status::from_error(Box::new(e)))?;
            self.take(&piece).map_err(|error| self.refuse(error))?;
            Ok::<Bytes, Status>(piece)
        })))
    }

    fn take(&self, piece: &[u8]) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(length) = state.prefix.see(piece) {
            self.caller.check_message_size(length)?;
        }
        state.reservation.get_or_insert_with(|| self.caller.message_reservation()).grow(piece.len())
    }

    /// The whole message, unpacked. What was packed has been reserved as it was, and is reserved once more as it is.
    fn delivery(&self, body: Bytes) -> std::result::Result<Delivery, Status> {
        let (reservation, is_packed) = {
            let mut state = self.state.lock();
            (state.reservation.take(), state.prefix.is_packed())
        };
        let mut reservation = reservation.unwrap_or_else(|| self.caller.message_reservation());
        if is_packed {
            reservation.grow(body.len()).map_err(|error| self.refuse(error))?;
        }
        self.state.lock().is_counted = true;
        Ok(Delivery {
            protocol: Protocol::OtlpGrpc,
            kind: self.kind,
            encoding: Encoding::Protobuf,
            compression: Compression::Identity,
            body,
            reservation,
        })
    }

    fn refuse(&self, error: Error) -> Status {
        let refusal = Refusal::from(error);
        self.caller.refuse(Protocol::OtlpGrpc, self.kind, &refusal);
        self.state.lock().is_counted = true;
        grpc::status(&refusal)
    }

    /// Takes note of an answer that was not made here: tonic refuses what it cannot unpack.
    fn answered(&self, response: &HttpResponse<Body>) {
        let Some(status) = Status::from_header_map(response.headers()) else { return };
        if status.code() == Code::Ok || self.state.lock().is_counted {
            return;
        }
        let kind = match status.code() {
            Code::ResourceExhausted | Code::OutOfRange => ErrorKind::TooLarge,
            _ => ErrorKind::InvalidInput,
        };
        self.refuse(Error::new(kind, status.message()));
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
        assert!(prefix.is_packed());
        let mut plain = Prefix::default();
        plain.see(&[0, 0, 0, 0, 1, 1]);
        assert!(!plain.is_packed());
    }
}
