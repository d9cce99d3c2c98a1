//! How does OTLP/gRPC reach the gate? The `Export` calls of the trace, logs and metrics services.
//!
//! The generated services are not used. They decode a message on a thread that serves connections, before it can be
//! refused. Here the body is counted against the budget of messages while it arrives, and passed to the gate as
//! bytes, as for OTLP/HTTP.
//!
//! Every call is counted once: by the gate if the message gets there, else by [`Arrival`].

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::Request as HttpRequest;
use axum::response::Response as HttpResponse;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::StreamExt;
use parking_lot::Mutex;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Request, Response, Status};

use super::answer::{self, PartialSuccess};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::otlp::{Encoding, RequestKind};
use crate::server::answer::{Refusal, grpc};
use crate::server::content::broken_off;
use crate::server::gate::{Caller, Compression, Delivery, Protocol, Reservation};

/// `TraceService/Export`.
pub(in crate::server) async fn traces(caller: Caller, request: HttpRequest) -> HttpResponse {
    export(caller, RequestKind::Traces, request).await
}

/// `LogsService/Export`.
pub(in crate::server) async fn logs(caller: Caller, request: HttpRequest) -> HttpResponse {
    export(caller, RequestKind::Logs, request).await
}

/// `MetricsService/Export`.
pub(in crate::server) async fn metrics(caller: Caller, request: HttpRequest) -> HttpResponse {
    export(caller, RequestKind::Metrics, request).await
}

async fn export(caller: Caller, kind: RequestKind, request: HttpRequest) -> HttpResponse {
    let arrival = Arc::new(Arrival::new(caller, kind));
    let arriving = Arc::clone(&arrival);
    let request = request.map(|body| arriving.read(body));
    let mut grpc = Grpc::new(RawCodec).max_decoding_message_size(arrival.caller.message_bytes_max());
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        grpc = grpc.accept_compressed(encoding);
    }
    let response = grpc.unary(Call(Arc::clone(&arrival)), request).await;
    arrival.answered(&response);
    response.map(axum::body::Body::new)
}

/// One call, whose message has been read.
struct Call(Arc<Arrival>);

impl UnaryService<Bytes> for Call {
    type Response = Vec<u8>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, Status>> + Send>>;

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

/// The first five bytes of a call's body: a flag for compression, and the length of the message.
#[derive(Debug, Default)]
struct Prefix {
    bytes: [u8; 5],
    count: usize,
}

impl Prefix {
    /// Reads a piece of the body. Returns the length of the message once it is known.
    fn see(&mut self, data: &[u8]) -> Option<usize> {
        let more = data.len().min(self.bytes.len() - self.count);
        self.bytes[self.count..self.count + more].copy_from_slice(&data[..more]);
        self.count += more;
        let [_, length @ ..] = self.bytes;
        (self.count == self.bytes.len()).then_some(u32::from_be_bytes(length) as usize)
    }

    /// True if the message is compressed.
    fn is_packed(&self) -> bool {
        self.bytes[0] != 0
    }
}

/// A message while it arrives. Its bytes are reserved as they arrive. It fails if its announced length exceeds the
/// limit of a message; a length that is only announced takes no memory.
struct Arrival {
    caller: Caller,
    kind: RequestKind,
    state: Mutex<ArrivalState>,
}

#[derive(Default)]
struct ArrivalState {
    prefix: Prefix,
    /// `None` before the first piece, and after the message has been delivered.
    reservation: Option<Reservation>,
    /// True once the message is delivered to the gate, which counts it, or is refused and counted here.
    is_counted: bool,
}

impl Arrival {
    fn new(caller: Caller, kind: RequestKind) -> Self {
        Self { caller, kind, state: Mutex::default() }
    }

    /// Reads and counts the body, and yields it in one piece when it is complete. Otherwise tonic would allocate the
    /// announced length as soon as it sees the prefix.
    fn read(self: Arc<Self>, body: axum::body::Body) -> Body {
        Body::new(axum::body::Body::from_stream(futures::stream::once(self.whole(body))))
    }

    async fn whole(self: Arc<Self>, body: axum::body::Body) -> Result<Bytes, Status> {
        let mut pieces = body.into_data_stream();
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.refuse(broken_off(error)))?;
            self.take(&piece).map_err(|error| self.refuse(error))?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    fn take(&self, piece: &[u8]) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(length) = state.prefix.see(piece) {
            self.caller.check_message_size(length)?;
        }
        state.reservation.get_or_insert_with(|| self.caller.message_reservation()).grow(piece.len())
    }

    /// The whole message, unpacked. A compressed message is reserved twice: as it arrived, and unpacked.
    fn delivery(&self, body: Bytes) -> Result<Delivery, Status> {
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

    /// Counts responses that were not made here: tonic refuses messages that it cannot unpack.
    fn answered(&self, response: &axum::http::Response<Body>) {
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

/// Codec that passes messages on as bytes.
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
    use crate::config::Settings;
    use crate::db::Database;
    use crate::server::Limits;
    use crate::server::auth::Identity;
    use crate::server::gate::Gate;

    #[tokio::test]
    async fn tonic_sees_no_length_before_all_of_the_message_is_there() {
        let data = tempfile::tempdir().unwrap();
        let database = Database::open(Settings::new(data.path())).await.unwrap();
        let gate = Gate::new(database, Limits::default()).unwrap();
        let (send, pieces) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let pieces =
            futures::stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) });
        let arrival = Arc::new(Arrival::new(gate.caller(Identity::anonymous()), RequestKind::Traces));
        let body = arrival.read(axum::body::Body::from_stream(pieces));
        let mut whole = axum::body::Body::new(body).into_data_stream();
        let announced = [0, 3, 0, 0, 0].as_slice();
        send.send(Ok(Bytes::copy_from_slice(announced))).await.unwrap();
        assert!(futures::poll!(whole.next()).is_pending());
        let held = gate.metrics().unwrap();
        assert!(held.contains("broadloom_in_flight_bytes 5\n"), "{held}");
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
        assert!(prefix.is_packed());
        let mut plain = Prefix::default();
        plain.see(&[0, 0, 0, 0, 1, 1]);
        assert!(!plain.is_packed());
    }
}
