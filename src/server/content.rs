//! Which media types and compression do the headers of a request name?

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::answer::Problem;
use super::gate::Compression;
use crate::error::Error;
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

/// The compression that `Content-Encoding` names; 415 for any other.
pub(super) fn compression(headers: &HeaderMap) -> Result<Compression, Problem> {
    let Some(value) = text(headers, header::CONTENT_ENCODING) else { return Ok(Compression::Identity) };
    match value.to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Compression::Identity),
        "gzip" | "x-gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        other => {
            Err(unsupported(format!("Content-Encoding is {other:?}; gzip, zstd and identity are understood")))
        }
    }
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
    use super::*;

    #[test]
    fn accept_is_read_by_weight() {
        let mut headers = HeaderMap::new();
        headers
            .insert(header::ACCEPT, "text/csv;q=0.5, application/x-ndjson , text/html;q=0".parse().unwrap());
        headers.append(header::ACCEPT, "*/*; q=0.1".parse().unwrap());
        assert_eq!(accepted(&headers), ["application/x-ndjson", "text/csv", "*/*"]);
    }
}
