//! OTLP/gRPC: the `Export` calls of the trace, logs and metrics services.
//!
//! The services are not the generated ones. Those decode a message on the thread that serves all
//! connections before anybody can say no; here the body is counted against the [`Budget`] while it
//! arrives, and handed as bytes to [`receive`], as that of OTLP/HTTP is.
//!
//! [`Budget`]: super::budget::Budget

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{Request as HttpRequest, State};
use axum::response::Response as HttpResponse;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::StreamExt;
use parking_lot::Mutex;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

use super::budget::Reservation;
use super::content::{Compression, broken_off, too_large};
use super::otlp_answer::{self, Refusals};
use super::receive::{Delivery, Protocol, receive, refuse};
use super::state::ServerState;
use crate::ingest::otlp::{Encoding, RequestKind};

/// `TraceService/Export`.
pub(super) async fn traces(State(state): State<ServerState>, request: HttpRequest) -> HttpResponse {
    export(state, RequestKind::Traces, request).await
}

/// `LogsService/Export`.
pub(super) async fn logs(State(state): State<ServerState>, request: HttpRequest) -> HttpResponse {
    export(state, RequestKind::Logs, request).await
}

/// `MetricsService/Export`.
pub(super) async fn metrics(State(state): State<ServerState>, request: HttpRequest) -> HttpResponse {
    export(state, RequestKind::Metrics, request).await
}

async fn export(state: ServerState, kind: RequestKind, request: HttpRequest) -> HttpResponse {
    let bytes_max = state.limits.message_bytes_max;
    let reservation = Arc::new(Mutex::new(Some(state.budget.reservation())));
    let held = Arc::clone(&reservation);
    let request = request.map(|body| Meter { held, bytes_max, prefix: Prefix::default() }.read(body));
    let mut grpc = Grpc::new(RawCodec).max_decoding_message_size(bytes_max);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        grpc = grpc.accept_compressed(encoding);
    }
    grpc.unary(Call { state, kind, reservation }, request).await.map(axum::body::Body::new)
}

/// One call, its message read.
struct Call {
    state: ServerState,
    kind: RequestKind,
    reservation: Arc<Mutex<Option<Reservation>>>,
}

impl UnaryService<Bytes> for Call {
    type Response = Vec<u8>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, Status>> + Send>>;

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
/// a message may have. A length that is only announced takes no memory.
struct Meter {
    held: Arc<Mutex<Option<Reservation>>>,
    bytes_max: usize,
    prefix: Prefix,
}

impl Meter {
    /// The body, counted, in one piece when all of it is there. Otherwise tonic would take memory for the length
    /// that is announced as soon as it sees the prefix.
    fn read(self, body: axum::body::Body) -> Body {
        Body::new(axum::body::Body::from_stream(futures::stream::once(self.whole(body))))
    }

    async fn whole(mut self, body: axum::body::Body) -> Result<Bytes, Status> {
        let mut pieces = body.into_data_stream();
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|e| otlp_answer::status(&broken_off(e)))?;
            self.count(&piece)?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    fn count(&mut self, piece: &[u8]) -> Result<(), Status> {
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

    fn encode(&mut self, message: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tonic_sees_no_length_before_all_of_the_message_is_there() {
        let budget = crate::server::budget::Budget::new(100);
        let held = Arc::new(Mutex::new(Some(budget.reservation())));
        let (send, pieces) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let pieces =
            futures::stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) });
        let meter = Meter { held, bytes_max: 64 << 20, prefix: Prefix::default() };
        let body = meter.read(axum::body::Body::from_stream(pieces));
        let mut whole = axum::body::Body::new(body).into_data_stream();
        let announced = [0, 3, 0, 0, 0].as_slice();
        send.send(Ok(Bytes::copy_from_slice(announced))).await.unwrap();
        assert!(futures::poll!(whole.next()).is_pending());
        assert_eq!(budget.bytes(), announced.len());
        send.send(Ok(Bytes::from_static(b"x"))).await.unwrap();
        drop(send);
        assert_eq!(whole.next().await.unwrap().unwrap(), [announced, b"x"].concat());
    }

    #[test]
    fn the_length_of_a_message_is_read_across_pieces() {
        let mut prefix = Prefix::default();
        assert_eq!(prefix.see(&[1, 0]), None);
        assert_eq!(prefix.see(&[0, 1]), None);
        assert_eq!(prefix.see(&[2, 99, 99]), Some(258));
        assert_eq!(prefix.see(&[7]), Some(258));
    }
}
