//! How much may the clients of a server take at once?

use std::time::Duration;

use super::port::CONNECTIONS_MAX;

/// Limits for the clients of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest OTLP message, compressed or unpacked, in bytes.
    pub message_bytes_max: usize,
    /// Most bytes of OTLP messages in memory at once; beyond it producers are asked to retry later.
    pub in_flight_bytes_max: usize,
    /// Most questions that run at once; beyond it clients are asked to retry later.
    pub queries_max: usize,
    /// Default timeout of a question.
    pub query_timeout: Duration,
    /// Most connections of each port; beyond it the one that has waited longest for its client is closed.
    pub connections_max: usize,
}

impl Default for Limits {
    /// 64 MiB is four times the default maximum of the Collector's exporters. 256 MiB of messages in flight, and
    /// their decoded events (about three times as much), fit into 1 GiB.
    fn default() -> Self {
        Self {
            message_bytes_max: 64 << 20,
            in_flight_bytes_max: 256 << 20,
            queries_max: 64,
            query_timeout: Duration::from_mins(1),
            connections_max: CONNECTIONS_MAX,
        }
    }
}
