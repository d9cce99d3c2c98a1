//! What does a person see who opens the server in a browser? The web page.
//!
//! It is files that are served as they are ([`assets`], in `web/`): ES modules, no framework, nothing that is built.
//! It reads data by the same routes as everybody else (`/v1/…`), so it can do nothing that `curl` cannot.
//!
//! ```text
//! /, /explore, /traces, /trace/{id}, /trace/{id}/vs/{other}, /logs, /sql, /attributes, /status
//!                         the document, for who accepts text/html; else a problem
//! /ui/{version}/{file}    its files, kept by browsers for ever
//! ```
//!
//! Telemetry is text from strangers, so the page gets rights to nothing but its own files and this server: see
//! [`POLICY`].

mod assets;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{MatchedPath, Path};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::answer::Problem;
use super::content::accepted;
use crate::error::{Error, ErrorKind};
use assets::{ASSETS, Packing};

pub(super) use assets::PackedAssets;

/// Rights of the page: its own scripts and styles, and requests to this server. No inline script or style,
/// no frames, no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of everything that a browser gets of the page.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// A page: the document for a browser; nothing for others, who are told which routes there are.
pub(super) async fn page(matched: MatchedPath, headers: HeaderMap) -> Result<Response, Problem> {
    let path = matched.as_str();
    if !accepted(&headers).iter().any(|media| media == "text/html") {
        let message = format!(
            "{path} is a page for browsers, which accept text/html; programs read /v1/sql and the other routes of docs/http.md"
        );
        return Err(Error::new(ErrorKind::NotFound, message).into());
    }
    let module = assets::PAGES.iter().find(|(page, _)| *page == path).map_or("", |(_, module)| *module);
    let tag = format!("\"{}\"", assets::version());
    let mut response = if text(&headers, &header::IF_NONE_MATCH).contains(&tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], assets::document(module)).into_response()
    };
    set_headers(&mut response, "no-cache");
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// A file of the page.
pub(super) async fn asset(
    Extension(assets): Extension<Arc<PackedAssets>>,
    Path((version, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let index = ASSETS.iter().position(|asset| asset.path == path).filter(|_| version == assets::version());
    let Some(index) = index else {
        let message =
            format!("there is no file {path} of the page in version {version}; load the page again");
        return Err(Error::new(ErrorKind::NotFound, message).into());
    };
    let packing = Packing::accepted(text(&headers, &header::ACCEPT_ENCODING));
    let body = match packing {
        None => Bytes::from_static(ASSETS[index].bytes),
        Some(packing) => {
            let packed = tokio::task::spawn_blocking(move || assets.get(index, packing)).await;
            packed.map_err(|e| Error::internal("packing failed").with_source(e))??
        }
    };
    let mut response = ([(header::CONTENT_TYPE, ASSETS[index].media_type)], body).into_response();
    set_headers(&mut response, "public, max-age=31536000, immutable");
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(packing) = packing {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(packing.name()));
    }
    Ok(response)
}

fn set_headers(response: &mut Response, cache: &'static str) {
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
