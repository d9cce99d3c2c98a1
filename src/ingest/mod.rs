//! How do bytes from producers become events?
//!
//! Every format is a pure function from bytes and the time of receipt to [`Ingested`]: a batch of events
//! and the refused records. No I/O, no clock, no state between calls, no panic on any input.
//!
//! A bad record does not affect its neighbours: the others become events. All bad records are counted, the
//! first few are described. An `Err` means that the bytes as a whole are not in the declared format, and that
//! no record became an event.
//!
//! [`otlp`] decodes OpenTelemetry's protocol; its sibling modules decode files: lines, tables, and exports of
//! other tracers.

use std::fmt;

use crate::event::EventBatch;

pub mod otlp;
pub mod framing;
pub mod times;
pub mod levels;
pub mod ids;
pub mod fields;
pub mod place;
pub mod surrogates;
mod record;
mod envelope;
pub mod ndjson;
pub mod csv;
pub mod table;
pub mod jaeger;
pub mod sniff;

pub use record::{Decoded, Hints, Refused};

/// Largest request or message that is decoded, in bytes. Offsets inside a batch are 32 bits. The server's
/// limit for requests over the network is separate and smaller.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// Limit, in bytes, on copies of shared values for a message of `bytes` bytes: each record gets a copy of its
/// resource's attributes, for example. Without a limit, a message of a few kilobytes could give a large resource to a
/// million tiny records. In real messages, a megabyte becomes thirty.
fn repeated_bytes_max(bytes: usize) -> usize {
    bytes.saturating_mul(64).clamp(64 << 20, 1 << 30)
}

/// Most reasons and remarks that are kept. Rejected records beyond it are counted but not described.
pub const REASONS_MAX: usize = 16;

/// Result of decoding one request or file.
#[derive(Debug)]
pub struct Ingested {
    /// The events, in the order of the input.
    pub batch: EventBatch,
    /// Records that did not become events.
    pub rejected: Rejected,
}

/// Records that were refused, and remarks on records that were not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejected {
    count: u64,
    reasons: Vec<Reason>,
}

/// Reason for refusing one record, or a remark on a record that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Place of the record, in words that its producer understands.
    pub at: String,
    /// Description of the fault.
    pub what: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

impl Rejected {
    /// Counts a refused record.
    pub fn add(&mut self, at: impl fmt::Display, what: impl fmt::Display) {
        self.add_all(1, at, what);
    }

    /// Counts refused records that have one reason.
    pub fn add_all(&mut self, records: u64, at: impl fmt::Display, what: impl fmt::Display) {
        self.count += records;
        self.remark(at, what);
    }

    /// Adds a remark on a record that became an event. Remarks and reasons share [`REASONS_MAX`].
    pub fn remark(&mut self, at: impl fmt::Display, what: impl fmt::Display) {
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push(Reason { at: at.to_string(), what: what.to_string() });
        }
    }

    /// Adds the refused records of another part of the same input.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = REASONS_MAX.saturating_sub(self.reasons.len());
        self.reasons.extend(other.reasons.into_iter().take(room));
    }

    /// Number of records refused.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first few reasons and remarks, at most [`REASONS_MAX`].
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// True if nothing was refused or remarked.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.reasons.is_empty()
    }

    /// One line for the producer, as in OTLP's `partial_success.error_message`; empty when nothing was
    /// refused or remarked.
    pub fn message(&self) -> String {
        let reasons: Vec<_> = self.reasons.iter().map(ToString::to_string).collect();
        reasons.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_a_few_described() {
        let mut rejected = Rejected::default();
        assert!(rejected.is_empty());
        rejected.remark("line 1", "no time");
        for i in 0..100 {
            rejected.add(format_args!("line {i}"), "broken");
        }
        let mut all = rejected.clone();
        all.merge(rejected);
        assert_eq!((all.count(), all.reasons().len()), (200, REASONS_MAX));
        assert!(all.message().starts_with("line 1: no time; line 0: broken; "));
    }
}
