//! Which spellings of trace and span ids are understood?
//!
//! Hex of any case, with or without dashes (a UUID is a trace id); shorter ids, which are padded with zeros on
//! the left (64-bit trace ids of B3 and Jaeger); decimal 64-bit integers, as Datadog writes them.

use crate::event::{SpanId, TraceId};

/// Result of reading an id from a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id<T> {
    /// A valid id.
    Is(T),
    /// The field says that there is no id: empty, `root`, zero.
    Absent,
    /// The field's value is not an id.
    Unreadable,
}

/// True if `text` is a producer's spelling of "no id".
fn is_absent(text: &str) -> bool {
    ["", "root", "null", "none", "nil", "-"].iter().any(|word| text.eq_ignore_ascii_case(word))
        || text.bytes().all(|b| b == b'0' || b == b'-')
}

/// Reads the hex digits of `text`, ignoring dashes, right-aligned; `None` if there are none, too many, or other
/// characters among them.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0_u8; N];
    let mut position = 2 * N;
    for byte in text.bytes().rev().filter(|b| *b != b'-') {
        let digit = char::from(byte).to_digit(16)? as u8;
        position = position.checked_sub(1)?;
        bytes[position / 2] |= if position.is_multiple_of(2) { digit << 4 } else { digit };
    }
    (position < 2 * N).then_some(bytes)
}

fn read<const N: usize>(text: &str) -> Id<[u8; N]> {
    let text = text.trim();
    let text = text.strip_prefix("0x").unwrap_or(text);
    if is_absent(text) {
        return Id::Absent;
    }
    // 17 to 20 digits are a decimal 64-bit id: no producer writes hex ids of that length.
    if (17..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_or(Id::Unreadable, |value| Id::Is(from_u64(value)));
    }
    // Words like "cafe" or "dead" are hex too, but an id is longer. Jaeger drops leading zeros.
    let digits = text.bytes().filter(|b| *b != b'-').count();
    if digits < 2 * N.min(8) && digits < 8 {
        return Id::Unreadable;
    }
    hex(text).map_or(Id::Unreadable, Id::Is)
}

fn from_u64<const N: usize>(value: u64) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[N - 8..].copy_from_slice(&value.to_be_bytes());
    bytes
}

/// Reads a trace id.
pub fn trace_id(text: &str) -> Id<TraceId> {
    match read(text) {
        Id::Is(bytes) => Id::Is(TraceId::new(bytes)),
        Id::Absent => Id::Absent,
        Id::Unreadable => Id::Unreadable,
    }
}

/// Reads a span id.
pub fn span_id(text: &str) -> Id<SpanId> {
    match read(text) {
        Id::Is(bytes) => Id::Is(SpanId::new(bytes)),
        Id::Absent => Id::Absent,
        Id::Unreadable => Id::Unreadable,
    }
}

/// Trace id with this 64-bit value; `None` for 0.
pub fn trace_id_of(value: u64) -> Option<TraceId> {
    TraceId::from_slice(&from_u64::<16>(value))
}

/// Span id with this 64-bit value; `None` for 0.
pub fn span_id_of(value: u64) -> Option<SpanId> {
    SpanId::from_slice(&value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_every_spelling_are_read() {
        let trace = TraceId::new([
            0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36,
        ]);
        for text in [
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "4BF92F3577B34DA6A3CE929D0E0E4736",
            "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
            " 0x4bf92f3577b34da6a3ce929d0e0e4736",
        ] {
            assert_eq!(trace_id(text), Id::Is(trace), "{text}");
        }
        assert_eq!(
            span_id("dd8e061dd1813199"),
            Id::Is(SpanId::new([0xdd, 0x8e, 6, 0x1d, 0xd1, 0x81, 0x31, 0x99]))
        );
        assert_eq!(
            span_id("8e061dd1813199"),
            Id::Is(SpanId::new([0, 0x8e, 6, 0x1d, 0xd1, 0x81, 0x31, 0x99]))
        );
        assert_eq!(
            span_id("12345678901234567890"),
            Id::Is(SpanId::new(12_345_678_901_234_567_890_u64.to_be_bytes()))
        );
        assert!(matches!(trace_id("a3ce929d0e0e4736"), Id::Is(id) if id.as_bytes()[..8] == [0; 8]));
    }

    #[test]
    fn no_id_and_not_an_id_differ() {
        for text in ["", "root", "ROOT", "0000000000000000", "null", "  "] {
            assert_eq!(span_id(text), Id::Absent, "{text:?}");
        }
        for text in [
            "cafe",
            "req-12",
            "4bf92f3577b34da6a3ce929d0e0e47361",
            "4bf92f3577b34dg6",
            "é",
            "99999999999999999999",
        ] {
            assert_eq!(span_id(text), Id::Unreadable, "{text:?}");
        }
    }
}
