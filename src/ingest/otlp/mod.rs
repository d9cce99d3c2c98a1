//! How do messages of OpenTelemetry's protocol become events, and events messages again?
//!
//! OTLP (<https://opentelemetry.io/docs/specs/otlp/>) has three requests of one shape:
//!
//! ```text
//! request = group*          group = resource schema_url scope-group*
//! scope-group = scope schema_url record*
//! record  = span | log record | metric
//! ```
//!
//! 1. [`decode`] walks protobuf ([`groups`], [`wire`]), borrowing from the bytes, or JSON ([`json`]), converting
//!    one record at a time to its protobuf message.
//! 2. Resource and scope are read once ([`record`]); their attributes are repeated on every event.
//! 3. Each record becomes one or more rows: [`trace`], [`log`], [`metric`]. A record with a defect is refused alone.
//! 4. [`encode()`] does the reverse: it groups rows, from a batch or a query, into requests.
//!
//! **Lossless**: decoding and encoding a request gives an equal one, except for
//!
//! - differences without meaning in OTLP: order of attributes, resources and scopes listed twice, groups without
//!   records;
//! - ids of all zeroes, attributes without a value, values of points with the flag "no recorded value";
//! - impossible times: times out of range, and, if start and end are years apart, the one farther from now.
//!
//! Not here: transport, compression, authentication, network limits.

mod wire;
mod attributes;
mod record;
mod weight;
mod groups;
mod trace;
mod log;
mod metric;
mod json;
mod encode;
#[cfg(test)]
pub(crate) mod tests;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

pub use self::record::Room;
use self::record::{Position, Sink};
use super::{Ingested, MESSAGE_BYTES_MAX};
use crate::error::{Error, ErrorKind, Result};

pub use self::encode::{Encoded, encode, encode_batch, traces_json, traces_json_pieces};

/// Kind of an OTLP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// `ExportTraceServiceRequest`; `TracesData` reads the same.
    Traces,
    /// `ExportLogsServiceRequest`; `LogsData` reads the same.
    Logs,
    /// `ExportMetricsServiceRequest`; `MetricsData` reads the same.
    Metrics,
}

/// Encoding of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Protobuf.
    Protobuf,
    /// OTLP/JSON.
    Json,
}

impl RequestKind {
    /// All requests.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// The protocol's name for a record of this request.
    fn record(self) -> &'static str {
        match self {
            Self::Traces => "span",
            Self::Logs => "log record",
            Self::Metrics => "metric",
        }
    }

    /// Path of this request in OTLP/HTTP. The services of OTLP/gRPC have similar names.
    pub fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// Decodes the message of one record into the sink.
    fn take(self, sink: &mut Sink, bytes: &[u8], at: Position) {
        match self {
            Self::Traces => trace::span(sink, bytes, at),
            Self::Logs => log::record(sink, bytes, at),
            Self::Metrics => metric::metric(sink, bytes, at),
        }
    }
}

/// Decodes a request that arrived at `now_ns` (nanoseconds since the epoch).
///
/// Records with a defect are in [`Ingested::rejected`]. Fails with [`ErrorKind::InvalidInput`] if the bytes are
/// not such a request, and with [`ErrorKind::TooLarge`] if there are more than [`MESSAGE_BYTES_MAX`].
pub fn decode(kind: RequestKind, encoding: Encoding, bytes: &[u8], now_ns: i64) -> Result<Ingested> {
    decode_within(kind, encoding, bytes, now_ns, &mut |_| Ok(()))
}

/// Like [`decode`], but reserves memory through `room`. A message of a megabyte may become gigabytes: by many
/// distinct keys, or by a large resource repeated on many records. `room` is called, in steps, for the approximate
/// memory of the events beyond three times the size of the message plus a megabyte. If it fails, decoding stops and
/// returns its error.
pub fn decode_within(
    kind: RequestKind,
    encoding: Encoding,
    bytes: &[u8],
    now_ns: i64,
    room: &mut Room<'_>,
) -> Result<Ingested> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "the OTLP request has {} bytes, the limit is {MESSAGE_BYTES_MAX}: send smaller requests",
                bytes.len()
            ),
        ));
    }
    let mut sink = Sink::new(now_ns, bytes.len(), room);
    let walked = match encoding {
        Encoding::Protobuf => groups::walk(&mut sink, kind, bytes),
        Encoding::Json => json::walk(&mut sink, kind, bytes),
    };
    walked
        .map_err(|defect| Error::invalid(format!("not an OTLP request of {}s: {defect}", kind.record())))?;
    sink.finish()
}

/// Like [`decode`], for a message in memory.
pub fn traces(request: &ExportTraceServiceRequest, now_ns: i64) -> Result<Ingested> {
    decode(RequestKind::Traces, Encoding::Protobuf, &request.encode_to_vec(), now_ns)
}

/// Like [`decode`], for a message in memory.
pub fn logs(request: &ExportLogsServiceRequest, now_ns: i64) -> Result<Ingested> {
    decode(RequestKind::Logs, Encoding::Protobuf, &request.encode_to_vec(), now_ns)
}

/// Like [`decode`], for a message in memory.
pub fn metrics(request: &ExportMetricsServiceRequest, now_ns: i64) -> Result<Ingested> {
    decode(RequestKind::Metrics, Encoding::Protobuf, &request.encode_to_vec(), now_ns)
}
