//! Does OTLP decode and encode correctly, for generated requests, the protocol's own examples, and bytes that are
//! not OTLP?

mod canonical;
mod console;
mod decode;
mod gaps;
pub(crate) mod generate;
mod robust;
mod round_trip;
mod strays;

/// Time of receipt of the tests' requests.
const NOW_NS: i64 = 1_800_000_000_000_000_000;
