//! Who sends a request, and what may it do?
//!
//! A [`Caller`] is made for the identity of a connection or a request, and is the only access to the data. Its rights
//! are enforced by the gate, whatever the protocol.

use std::time::Duration;

use super::budget::Reservation;
use super::{Gate, Protocol, Refusal};
use crate::error::Result;
use crate::ingest::otlp::RequestKind;
use crate::server::auth::{Identity, Right};

/// A party with access to the data; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::server) struct Caller {
    pub(super) gate: Gate,
    pub(super) identity: Identity,
}

impl Caller {
    /// Fails with [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) if it does not have `right`.
    pub(super) fn must_have(&self, right: Right) -> Result<()> {
        self.identity.must_have(right)
    }

    /// Largest message that it may send, packed or unpacked, in bytes.
    pub(in crate::server) fn message_bytes_max(&self) -> usize {
        self.gate.0.limits.message_bytes_max
    }

    /// Default timeout of its questions.
    pub(super) fn query_timeout(&self) -> Duration {
        self.gate.0.limits.query_timeout
    }

    /// Empty reservation for a message that begins to arrive.
    pub(in crate::server) fn message_reservation(&self) -> Reservation {
        self.gate.0.messages.reservation()
    }

    /// Empty reservation for an answer that is built in memory.
    pub(in crate::server) fn answer_reservation(&self) -> Reservation {
        self.gate.0.answers.reservation()
    }

    /// Counts and logs a message that is refused as a whole before it reaches [`receive`](Self::receive).
    pub(in crate::server) fn refuse(&self, protocol: Protocol, kind: RequestKind, refusal: &Refusal) {
        self.gate.0.metrics.refused(protocol, kind, refusal.kind());
        refusal.log(protocol.name());
    }
}
