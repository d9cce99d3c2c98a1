//! OTLP in, OTLP out: for generated requests, for the protocol's own examples, and for bytes that are
//! neither.

mod canonical;
mod console;
mod decode;
mod gaps;
pub(crate) mod generate;
mod robust;
mod round_trip;
mod strays;

/// When the tests' requests arrive.
const NOW_NS: i64 = 1_800_000_000_000_000_000;
