//! How is a message of telemetry taken in, whichever protocol it arrived by?
//!
//! ```text
//! bytes ─▶ unpack ─▶ decode ─▶ EventBatch + Rejected ─▶ Database::deliver (durable, once) ─▶ answer
//!          └───── a thread for computation ─────┘
//! ```
//! The bytes of a message are reserved from the [`Budget`](super::budget::Budget) until its events are durable.
//! Decoded events that take more than the usual three times as much reserve the excess too. At most one message per
//! processor is decoded at once.

use bytes::Bytes;
use tokio::time::Instant;

use super::budget::Reservation;
use super::caller::Caller;
use super::metrics::Received;
use super::permits::stopping;
use super::unpack::{Compression, too_large};
use super::{Gate, Protocol, Refusal};
use crate::error::{Error, Result};
use crate::ingest::otlp::{self, Encoding, RequestKind};
use crate::ingest::{Ingested, Rejected};
use crate::server::auth::Right;
use crate::wal::DeliveryId;

/// A message, whole and still encoded.
#[derive(Debug)]
pub(in crate::server) struct Delivery {
    /// Protocol by which it arrived.
    pub(in crate::server) protocol: Protocol,
    /// Signal that it carries.
    pub(in crate::server) kind: RequestKind,
    /// Encoding of the body.
    pub(in crate::server) encoding: Encoding,
    /// Compression of the body.
    pub(in crate::server) compression: Compression,
    /// The bytes.
    pub(in crate::server) body: Bytes,
    /// Reservation for the memory of the bytes.
    pub(in crate::server) reservation: Reservation,
}

impl Caller {
    /// Takes in a message. When this returns, its events are durable and the next query sees them. Returns the
    /// refused records. Refusals are counted and logged.
    pub(in crate::server) async fn receive(&self, delivery: Delivery) -> Result<Rejected, Refusal> {
        let (protocol, kind) = (delivery.protocol, delivery.kind);
        let began = Instant::now();
        let taken = async {
            self.must_have(Right::Write)?;
            take_in(&self.gate, delivery).await
        };
        match taken.await {
            Ok((rejected, received)) => {
                self.gate.0.metrics.received(protocol, kind, received, began.elapsed());
                Ok(rejected)
            }
            Err(error) => {
                let refusal = Refusal::from(error);
                self.refuse(protocol, kind, &refusal);
                Err(refusal)
            }
        }
    }

    /// Fails if a message of `bytes` exceeds the limit.
    pub(in crate::server) fn check_message_size(&self, bytes: usize) -> Result<()> {
        let bytes_max = self.message_bytes_max();
        if bytes > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
    }
}

async fn take_in(gate: &Gate, delivery: Delivery) -> Result<(Rejected, Received)> {
    let turn = gate.0.decoders.acquire().await.map_err(|_| stopping())?;
    let (now_ns, bytes_max) = (gate.0.database.settings().clock.now_ns(), gate.0.limits.message_bytes_max);
    let decoding = tokio::task::spawn_blocking(move || decode(delivery, bytes_max, now_ns));
    let (ingested, id, bytes, reservation) =
        decoding.await.map_err(|e| Error::internal("decoding a message failed").with_source(e))??;
    drop(turn);
    let Ingested { batch, rejected } = ingested;
    let rows = batch.rows() as u64;
    let is_new = gate.0.database.deliver(id, batch).await?;
    let (events, duplicates) = if is_new { (rows, 0) } else { (0, rows) };
    let received = Received { events, duplicates, rejected: rejected.count(), bytes: bytes as u64 };
    drop(reservation);
    Ok((rejected, received))
}

/// Unpacks and decodes a message. Only computes, no I/O.
fn decode(
    delivery: Delivery,
    bytes_max: usize,
    now_ns: i64,
) -> Result<(Ingested, DeliveryId, usize, Reservation)> {
    let Delivery { kind, encoding, compression, body, mut reservation, .. } = delivery;
    let body = compression.unpack(body, bytes_max, &mut reservation)?;
    let mut room = |more| reservation.grow(more);
    let ingested = otlp::decode_within(kind, encoding, &body, now_ns, &mut room)?;
    let id = DeliveryId::of(kind as u8, &body);
    Ok((ingested, id, body.len(), reservation))
}
