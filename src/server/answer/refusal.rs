//! What does every protocol need to refuse a request?

use std::time::Duration;

use crate::error::{Error, ErrorKind, Position};

/// Time that a client should wait before it retries. A flush takes about that long.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// An error on its way to a client, whatever the protocol.
#[derive(Debug)]
pub(in crate::server) struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl Refusal {
    /// Kind of the error, which is the reaction expected from the client.
    pub(in crate::server) fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// Message for people: the error and its causes.
    pub(in crate::server) fn message(&self) -> String {
        self.0.chain()
    }

    /// Position in the statement, if known.
    pub(in crate::server) fn position(&self) -> Option<Position> {
        self.0.position()
    }

    /// Time after which to retry the same request; `None` if a retry never helps.
    pub(in crate::server) fn retry_after(&self) -> Option<Duration> {
        self.0.is_retryable().then_some(RETRY_AFTER)
    }

    /// Logs it; see [`log`].
    pub(in crate::server) fn log(&self, protocol: &'static str) {
        log(protocol, &self.0);
    }
}

/// Logs errors of the server for the operator. Errors of the client are logged at level `debug` only.
pub(in crate::server) fn log(protocol: &'static str, error: &Error) {
    let kind = error.kind().name();
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Poisoned | ErrorKind::Internal => {
            tracing::error!(protocol, kind, error = error.chain(), "request failed");
        }
        _ => tracing::debug!(protocol, kind, error = error.chain(), "request refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_named_where_repeating_helps_and_only_there() {
        for kind in ErrorKind::ALL {
            let refusal = Refusal::from(Error::new(kind, "no"));
            assert_eq!(refusal.retry_after(), kind.is_retryable().then_some(RETRY_AFTER), "{kind:?}");
        }
    }
}
