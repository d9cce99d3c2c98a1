//! How is a client told that its request is refused?
//!
//! A [`Refusal`] knows no protocol; each protocol has a file that maps its kind to the codes of that protocol.
//! What may be repeated is decided by [`ErrorKind::is_retryable`](crate::ErrorKind::is_retryable) alone.

pub(super) mod grpc;
mod problem;
mod refusal;

pub(super) use problem::Problem;
pub(super) use refusal::{Refusal, log};
