//! What becomes of an OTLP message, whichever way it arrived.
//!
//! ```text
//! bytes ─▶ unpack ─▶ decode ─▶ EventBatch + Rejected ─▶ Database::deliver (durable, once) ─▶ answer
//!          └───── a thread for computation ─────┘
//! ```
//! The bytes of a message are reserved from the [`Budget`](super::budget::Budget) until its events are
//! durable, and so is what they become beyond the usual three times as much. As many messages are decoded at
//! once as there are processors.

use axum::http::StatusCode;
use bytes::Bytes;
use tokio::time::Instant;

use super::budget::Reservation;
use super::content::Compression;
use super::metrics::Tally;
use super::problem::Problem;
use super::state::ServerState;
use crate::error::{Error, ErrorKind};
use crate::ingest::otlp::{self, Encoding, RequestKind};
use crate::ingest::{Ingested, Rejected};
use crate::wal::DeliveryId;

/// How a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

/// A message, whole and still encoded.
#[derive(Debug)]
pub(super) struct Delivery {
    /// How it arrived.
    pub(super) protocol: Protocol,
    /// What it carries.
    pub(super) kind: RequestKind,
    /// How it is written.
    pub(super) encoding: Encoding,
    /// How it is packed.
    pub(super) compression: Compression,
    /// The bytes.
    pub(super) body: Bytes,
    /// Memory that the bytes are accounted to.
    pub(super) reservation: Reservation,
}

/// Takes a message in. When this returns, its events are durable and the next query sees them; what it
/// returns are the records that were refused.
pub(super) async fn receive(state: &ServerState, delivery: Delivery) -> Result<Rejected, Problem> {
    let (protocol, kind) = (delivery.protocol, delivery.kind);
    let began = Instant::now();
    match take_in(state, delivery).await {
        Ok((rejected, tally)) => {
            state.metrics.received(protocol, kind, tally, began.elapsed());
            Ok(rejected)
        }
        Err(problem) => {
            refuse(state, protocol, kind, &problem);
            Err(problem)
        }
    }
}

/// Counts and logs a message that is refused as a whole.
pub(super) fn refuse(state: &ServerState, protocol: Protocol, kind: RequestKind, problem: &Problem) {
    state.metrics.refused(protocol, kind, problem);
    problem.log("otlp");
}

async fn take_in(state: &ServerState, delivery: Delivery) -> Result<(Rejected, Tally), Problem> {
    let turn = state.decoders.acquire().await.map_err(|_| stopping())?;
    let (now_ns, bytes_max) = (state.database.settings().clock.now_ns(), state.limits.message_bytes_max);
    let decoding = tokio::task::spawn_blocking(move || decode(delivery, bytes_max, now_ns));
    let (ingested, id, bytes, reservation) =
        decoding.await.map_err(|e| Error::internal("decoding a message failed").with_source(e))??;
    drop(turn);
    let Ingested { batch, rejected } = ingested;
    let rows = batch.rows() as u64;
    let is_new = state.database.deliver(id, batch).await?;
    let (events, duplicates) = if is_new { (rows, 0) } else { (0, rows) };
    let tally = Tally { events, duplicates, rejected: rejected.count(), bytes: bytes as u64 };
    drop(reservation);
    Ok((rejected, tally))
}

fn stopping() -> Problem {
    Error::new(ErrorKind::Unavailable, "the server is stopping").into()
}

/// Unpacks and decodes a message; computation only.
fn decode(
    delivery: Delivery,
    bytes_max: usize,
    now_ns: i64,
) -> Result<(Ingested, DeliveryId, usize, Reservation), Problem> {
    let Delivery { kind, encoding, compression, body, mut reservation, .. } = delivery;
    let body = compression.unpack(body, bytes_max, &mut reservation)?;
    let ingested =
        otlp::decode_within(kind, encoding, &body, now_ns, &mut |more| reservation.grow_alone(more))
            .map_err(|error| match error.kind() {
                // It never fits: to come again is of no use.
                ErrorKind::LimitExceeded => Problem::with_status(StatusCode::PAYLOAD_TOO_LARGE, error),
                _ => error.into(),
            })?;
    let id = DeliveryId::of(kind as u8, &body);
    Ok((ingested, id, body.len(), reservation))
}
