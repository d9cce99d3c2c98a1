//! What the bytes of a request are, and what the client wants back: media types and compression.
//!
//! Compressed bodies are unpacked with a limit on what comes out, so that a small body cannot become a
//! large one in memory.

use std::io::Read;

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use bytes::Bytes;

use super::budget::Reservation;
use super::port::is_stalled;
use super::problem::Problem;
use crate::error::{Error, ErrorKind};
use crate::ingest::otlp::Encoding;

/// The encoding of an OTLP message that `Content-Type` names; 415 for any other.
pub(super) fn otlp_encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    match media_type(headers).as_deref() {
        Some("application/x-protobuf" | "application/protobuf") => Ok(Encoding::Protobuf),
        Some("application/json") => Ok(Encoding::Json),
        other => Err(unsupported(format!(
            "Content-Type is {}; OTLP is sent as application/x-protobuf or application/json",
            other.unwrap_or("missing")
        ))),
    }
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// Not at all.
    Identity,
    /// gzip, any number of members.
    Gzip,
    /// Zstandard, any number of frames.
    Zstd,
}

/// Largest Zstandard window that is unpacked, as a power of two: 32 MiB. What senders use is far below
/// it (8 MiB at level 19), and the window is memory that a body of a few bytes can claim.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// Bytes unpacked between two looks at the limits.
const UNPACK_STEP_BYTES: usize = 64 << 10;

impl Compression {
    /// The compression that `Content-Encoding` names; 415 for any other.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = text(headers, header::CONTENT_ENCODING) else { return Ok(Self::Identity) };
        match value.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => Err(unsupported(format!(
                "Content-Encoding is {other:?}; gzip, zstd and identity are understood"
            ))),
        }
    }

    /// Unpacks `body` into at most `bytes_max` bytes, which `reservation` grows by. 413 when there are
    /// more, 400 when the bytes are not what they are said to be.
    pub(super) fn unpack(
        self,
        body: Bytes,
        bytes_max: usize,
        reservation: &mut Reservation,
    ) -> Result<Bytes, Problem> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => read_limited(flate2::read::MultiGzDecoder::new(&body[..]), bytes_max, reservation),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).map_err(damaged)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(damaged)?;
                read_limited(decoder, bytes_max, reservation)
            }
        }
    }
}

/// What becomes of `body` in every compression in which it is one.
#[cfg(any(test, fuzzing))]
pub(crate) fn unpack_all(body: &Bytes, bytes_max: usize) -> Vec<Bytes> {
    let budget = super::budget::Budget::new(bytes_max);
    let unpack = |compression: Compression| {
        compression.unpack(body.clone(), bytes_max, &mut budget.reservation()).ok()
    };
    [Compression::Identity, Compression::Gzip, Compression::Zstd].into_iter().filter_map(unpack).collect()
}

fn damaged(error: std::io::Error) -> Problem {
    Error::invalid(format!("the body is not what Content-Encoding says: {error}")).with_source(error).into()
}

fn read_limited(
    mut from: impl Read,
    bytes_max: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, Problem> {
    let mut out = Vec::new();
    loop {
        let before = out.len();
        let read = from.by_ref().take(UNPACK_STEP_BYTES as u64).read_to_end(&mut out).map_err(damaged)?;
        if read == 0 {
            return Ok(out.into());
        }
        if out.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        reservation.grow(out.len() - before)?;
    }
}

/// 413: the message is larger than `bytes_max`, packed or unpacked.
pub(super) fn too_large(bytes_max: usize) -> Problem {
    Problem::with_status(
        StatusCode::PAYLOAD_TOO_LARGE,
        Error::invalid(format!(
            "the message is larger than message-max ({bytes_max} bytes); send smaller batches"
        )),
    )
}

/// A body that did not arrive whole: 503 when its client stopped sending, so that it sends all of it again; else
/// 400.
pub(super) fn broken_off(error: axum::Error) -> Problem {
    let kind = if is_stalled(&error) { ErrorKind::Unavailable } else { ErrorKind::InvalidInput };
    Error::new(kind, "the body broke off").with_source(error).into()
}

fn unsupported(message: String) -> Problem {
    Problem::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, Error::invalid(message))
}

/// A header as text, trimmed.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The media type of the body, lower case, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = text(headers, header::CONTENT_TYPE)?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The media ranges that `Accept` lists, the most wanted first; those of equal weight in their order.
pub(super) fn accepted(headers: &HeaderMap) -> Vec<String> {
    let mut ranges: Vec<(f32, String)> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().filter(|m| !m.is_empty())?.to_ascii_lowercase();
            let weight = parts.find_map(|p| p.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok())?;
            (weight > 0.0).then_some((weight, media))
        })
        .collect();
    ranges.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranges.into_iter().map(|(_, media)| media).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::budget::Budget;
    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn bodies_come_out_as_they_went_in() {
        let budget = Budget::new(1 << 20);
        let text = Bytes::from(b"wide events ".repeat(10_000));
        for (compression, packed) in [
            (Compression::Identity, text.clone()),
            (Compression::Gzip, gzip(&text)),
            (Compression::Zstd, zstd::encode_all(&text[..], 1).unwrap().into()),
        ] {
            let mut reservation = budget.reservation();
            assert_eq!(
                compression.unpack(packed, 1 << 20, &mut reservation).unwrap(),
                text,
                "{compression:?}"
            );
        }
        let two_members = [gzip(b"ab"), gzip(b"cd")].concat().into();
        assert_eq!(Compression::Gzip.unpack(two_members, 100, &mut budget.reservation()).unwrap(), "abcd");
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_the_memory() {
        let budget = Budget::new(1 << 30);
        let bomb = gzip(&vec![0; 20 << 20]);
        assert!(bomb.len() < 1 << 20, "small enough, as long as it is packed: {}", bomb.len());
        let mut reservation = budget.reservation();
        let refused = Compression::Gzip.unpack(bomb, 1 << 20, &mut reservation).unwrap_err();
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(budget.bytes() <= 1 << 20, "{}", budget.bytes());
    }

    #[test]
    fn damaged_bodies_are_the_clients_mistake() {
        let budget = Budget::new(1 << 20);
        let cut = gzip(b"some text that is cut off").slice(..20);
        for (compression, body) in [(Compression::Gzip, cut), (Compression::Zstd, Bytes::from_static(b"no"))]
        {
            let refused = compression.unpack(body, 1 << 20, &mut budget.reservation()).unwrap_err();
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{compression:?}");
        }
    }

    #[test]
    fn a_client_that_stops_may_send_again_and_one_that_breaks_off_was_wrong() {
        assert_eq!(broken_off(super::super::port::stalled()).status(), StatusCode::SERVICE_UNAVAILABLE);
        let broken = axum::Error::new(std::io::Error::other("gone"));
        assert_eq!(broken_off(broken).status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn accept_is_read_by_weight() {
        let mut headers = HeaderMap::new();
        headers
            .insert(header::ACCEPT, "text/csv;q=0.5, application/x-ndjson , text/html;q=0".parse().unwrap());
        headers.append(header::ACCEPT, "*/*; q=0.1".parse().unwrap());
        assert_eq!(accepted(&headers), ["application/x-ndjson", "text/csv", "*/*"]);
    }
}
