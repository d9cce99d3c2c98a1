//! How is a request refused?
//!
//! A [`Refusal`] knows no protocol; each protocol has a file that maps its kind to the codes of that protocol.
//! Only [`ErrorKind::is_retryable`](crate::ErrorKind::is_retryable) decides which requests may be retried.

pub(super) mod grpc;
mod problem;
mod refusal;
#[cfg(feature = "postgres")]
pub(super) mod sqlstate;

pub(super) use problem::Problem;
pub(super) use refusal::{Refusal, log};
