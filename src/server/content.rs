//! Which media types and compression do the headers of a request declare?

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::answer::Problem;
use super::gate::Compression;
use super::port::is_stalled;
use crate::error::{Error, ErrorKind};
use crate::ingest::otlp::Encoding;

/// Encoding of an OTLP message, from `Content-Type`; 415 if it is another media type.
pub(super) fn otlp_encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    match media_type(headers).as_deref() {
        Some("application/x-protobuf" | "application/protobuf") => Ok(Encoding::Protobuf),
        Some("application/json") => Ok(Encoding::Json),
        other => Err(unsupported(format!(
            "Content-Type is {}; send OTLP as application/x-protobuf or application/json",
            other.unwrap_or("missing")
        ))),
    }
}

/// Compression, from `Content-Encoding`; 415 if it is unknown.
pub(super) fn compression(headers: &HeaderMap) -> Result<Compression, Problem> {
    let Some(value) = text(headers, header::CONTENT_ENCODING) else { return Ok(Compression::Identity) };
    match value.to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Compression::Identity),
        "gzip" | "x-gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        other => Err(unsupported(format!("Content-Encoding is {other:?}; use gzip, zstd or identity"))),
    }
}

/// Error of an incomplete body. It is retryable if the client stopped sending, so that the client sends the whole
/// body again.
pub(super) fn broken_off(error: axum::Error) -> Error {
    let kind = if is_stalled(&error) { ErrorKind::Unavailable } else { ErrorKind::InvalidInput };
    Error::new(kind, "the body ended early").with_source(error)
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

/// Media ranges of `Accept`, by descending weight; those of equal weight in their order.
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
    use super::*;

    #[test]
    fn a_client_that_stops_may_send_again_and_one_that_breaks_off_was_wrong() {
        assert_eq!(broken_off(super::super::port::stalled()).kind(), ErrorKind::Unavailable);
        let broken = axum::Error::new(std::io::Error::other("gone"));
        assert_eq!(broken_off(broken).kind(), ErrorKind::InvalidInput);
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
