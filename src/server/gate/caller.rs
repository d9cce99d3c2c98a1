//! Who stands at the gate?
//!
//! A [`Caller`] is made from what a connection or a request says about itself, and is the only way to the data: what
//! it may do, on whose data and how much of it, is decided here. Today everybody is anonymous and may do all.

use std::fmt;
use std::time::Duration;

use super::budget::Reservation;
use super::{Gate, Protocol, Refusal};
use crate::ingest::otlp::RequestKind;

/// Identity of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Principal {
    /// Somebody who did not say.
    Anonymous,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// Somebody who may reach the data; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::server) struct Caller {
    pub(super) gate: Gate,
    pub(super) principal: Principal,
}

impl Caller {
    /// Somebody who did not say who it is.
    pub(super) fn anonymous(gate: Gate) -> Self {
        Self { gate, principal: Principal::Anonymous }
    }

    /// Largest message that it may send, packed or unpacked, in bytes.
    pub(in crate::server) fn message_bytes_max(&self) -> usize {
        self.gate.0.limits.message_bytes_max
    }

    /// Time that its questions have when they do not say.
    pub(super) fn query_timeout(&self) -> Duration {
        self.gate.0.limits.query_timeout
    }

    /// A reservation of nothing, for a message that begins to arrive.
    pub(in crate::server) fn message_reservation(&self) -> Reservation {
        self.gate.0.messages.reservation()
    }

    /// A reservation of nothing, for an answer that is made in memory.
    pub(in crate::server) fn answer_reservation(&self) -> Reservation {
        self.gate.0.answers.reservation()
    }

    /// Counts and logs a message that is refused as a whole before it came as far as
    /// [`receive`](Self::receive).
    pub(in crate::server) fn refuse(&self, protocol: Protocol, kind: RequestKind, refusal: &Refusal) {
        self.gate.0.metrics.refused(protocol, kind, refusal.kind());
        refusal.log(protocol.name());
    }
}
