//! How does OpenTelemetry's protocol reach the gate?
//!
//! [`http`] and [`grpc`] read a whole message, within limits, and pass its bytes to
//! [`Caller::receive`](super::gate::Caller::receive); [`answer`] has the response of both to an accepted message.

mod answer;
pub(super) mod grpc;
pub(super) mod http;
