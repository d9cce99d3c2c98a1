//! How does OpenTelemetry's protocol become events, and events OpenTelemetry again?
//!
//! OTLP (<https://opentelemetry.io/docs/specs/otlp/>) has three requests of one shape:
//!
//! ```text
//! request = group*          group = resource schema_url scope-group*
//! scope-group = scope schema_url record*
//! record  = span | log record | metric
//! ```
//!
//! 1. [`decode`] walks protobuf ([`groups`], [`wire`]), borrowing from the bytes, or JSON ([`json`]), which
//!    becomes the protobuf message of one record at a time.
//! 2. Resource and scope are read once ([`record`]); their attributes are repeated on every event.
//! 3. Each record becomes a row or several: [`trace`], [`log`], [`metric`]. A defect costs that record.
//! 4. [`encode()`] goes the other way: rows, from a batch or from a query, grouped into requests again.
//!
//! **Lossless**: encoding what was decoded gives an equal request, up to what OTLP says does not matter
//! (order of attributes, resources and scopes listed twice, groups without records) and what says nothing: ids of
//! all zeroes, attributes without a value, values of points that say that none was recorded, and times that cannot
//! be: those that events cannot hold, and of a start and an end that are years apart the one that is far from now.
//!
//! Not here: transport, compression, authentication, limits of the network.

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

/// Which of OTLP's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// `ExportTraceServiceRequest`; `TracesData` reads the same.
    Traces,
    /// `ExportLogsServiceRequest`; `LogsData` reads the same.
    Logs,
    /// `ExportMetricsServiceRequest`; `MetricsData` reads the same.
    Metrics,
}

/// How a request is written.
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

    /// What the protocol calls a record of this request.
    fn record(self) -> &'static str {
        match self {
            Self::Traces => "span",
            Self::Logs => "log record",
            Self::Metrics => "metric",
        }
    }

    /// Where OTLP/HTTP takes this request; the services of OTLP/gRPC are named alike.
    pub fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// Takes the message of one record.
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
/// Records with a defect are in [`Ingested::rejected`]. Fails with
/// [`ErrorKind::InvalidInput`] when the bytes are no such request, and with
/// [`ErrorKind::TooLarge`] when there are more than [`MESSAGE_BYTES_MAX`].
pub fn decode(kind: RequestKind, encoding: Encoding, bytes: &[u8], now_ns: i64) -> Result<Ingested> {
    decode_within(kind, encoding, bytes, now_ns, &mut |_| Ok(()))
}

/// As [`decode`]. A message of a megabyte may become gigabytes: each of its keys may be one of its own, or a large
/// resource be repeated on many records. So `room` is asked for what its events take, about, beyond three times
/// the message and a megabyte, in steps; when it fails, this fails with that error.
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
                "the OTLP request has {} bytes, at most {MESSAGE_BYTES_MAX} are read: send smaller ones",
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

/// As [`decode`], from a decoded message.
pub fn traces(request: &ExportTraceServiceRequest, now_ns: i64) -> Result<Ingested> {
    decode(RequestKind::Traces, Encoding::Protobuf, &request.encode_to_vec(), now_ns)
}

/// As [`decode`], from a decoded message.
pub fn logs(request: &ExportLogsServiceRequest, now_ns: i64) -> Result<Ingested> {
    decode(RequestKind::Logs, Encoding::Protobuf, &request.encode_to_vec(), now_ns)
}

/// As [`decode`], from a decoded message.
pub fn metrics(request: &ExportMetricsServiceRequest, now_ns: i64) -> Result<Ingested> {
    decode(RequestKind::Metrics, Encoding::Protobuf, &request.encode_to_vec(), now_ns)
}
