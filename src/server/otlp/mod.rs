//! How does OpenTelemetry's protocol reach the gate?
//!
//! [`http`] and [`grpc`] read a message whole, within limits, and hand its bytes to
//! [`Caller::receive`](super::gate::Caller::receive); [`answer`] is what both say when it was taken.

mod answer;
pub(super) mod grpc;
pub(super) mod http;
