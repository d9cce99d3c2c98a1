//! How do bytes from producers become events?
//!
//! Every format is a pure function from bytes and the time of receipt to [`Ingested`]: a batch of events
//! and what was refused. No I/O, no clock, no state between calls, no panic whatever the bytes.
//!
//! One bad record never costs its neighbours: it is counted, a few are described, the rest goes in. An
//! `Err` means that the bytes as a whole are not what they claim to be, and that nothing went in.
//!
//! Text to events of files (lines, tables, other tracers' exports) is in the sibling modules of [`otlp`].

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

/// Largest request or message that is decoded, in bytes. Offsets inside a batch are 32 bits; what a
/// server accepts over the network is a smaller limit of its own.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// Most bytes of attributes of a resource, or of its likes, that a message of `bytes` may have repeated on its
/// records. A few kilobytes can name a large resource for a million tiny records; of real ones, a megabyte
/// becomes thirty.
fn repeated_bytes_max(bytes: usize) -> usize {
    bytes.saturating_mul(64).clamp(64 << 20, 1 << 30)
}

/// How many rejected records are described; all are counted.
pub const REASONS_MAX: usize = 16;

/// What one request or file gave.
#[derive(Debug)]
pub struct Ingested {
    /// The events, in the order of the input.
    pub batch: EventBatch,
    /// What did not become an event.
    pub rejected: Rejected,
}

/// Records that were refused, and remarks on records that were not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejected {
    count: u64,
    reasons: Vec<Reason>,
}

/// Why one record was refused, or what is remarkable about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Which record, in words that its producer understands.
    pub at: String,
    /// What is wrong with it.
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

    /// Describes a record that went in all the same.
    pub fn remark(&mut self, at: impl fmt::Display, what: impl fmt::Display) {
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push(Reason { at: at.to_string(), what: what.to_string() });
        }
    }

    /// Adds what another part of the same input refused.
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

    /// Whether there is nothing to tell the producer.
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
