//! What does a request say about its sender?
//!
//! `Authorization: Bearer KEY`, which OpenTelemetry's exporters send with `OTEL_EXPORTER_OTLP_HEADERS`;
//! `Authorization: Basic`, whose password is the key and whose user name is not looked at; or the cookie of a session.
//! The header goes before the cookie.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Name of the cookie.
pub(in crate::server) const COOKIE: &str = "broadloom_session";

/// Credentials of a request.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::server) enum Credentials {
    /// There are none.
    None,
    /// A key, or what looks like one.
    Key(String),
    /// Token of a session.
    Session(String),
    /// A header of another kind, or one that is damaged.
    Unreadable,
}

/// Without the secret.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Key(_) => "Key",
            Self::Session(_) => "Session",
            Self::Unreadable => "Unreadable",
        })
    }
}

impl Credentials {
    /// Credentials in the headers of a request.
    pub(in crate::server) fn of(headers: &HeaderMap) -> Self {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let read = value.to_str().ok().and_then(authorization);
            return read.map_or(Self::Unreadable, Self::Key);
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let token = pairs.into_iter().find(|(name, _)| *name == COOKIE);
        token.map_or(Self::None, |(_, token)| Self::Session(token.to_owned()))
    }
}

/// The key of a header `Authorization`.
fn authorization(value: &str) -> Option<String> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = STANDARD.decode(rest).or_else(|_| STANDARD_NO_PAD.decode(rest)).ok()?;
    let pair = String::from_utf8(bytes).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}

/// Reads credentials out of any bytes, one header per line.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let name = if i % 2 == 0 { header::AUTHORIZATION } else { header::COOKIE };
        if let Ok(value) = axum::http::HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    if let Credentials::Key(key) = Credentials::of(&headers) {
        let _ = super::key::Key::parse(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> Credentials {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Credentials::of(&headers.collect())
    }

    #[test]
    fn each_client_has_its_own_place() {
        let key = |text: &str| Credentials::Key(text.to_owned());
        assert_eq!(of(&[]), Credentials::None);
        assert_eq!(of(&[("authorization", "Bearer bl_1")]), key("bl_1"));
        assert_eq!(of(&[("authorization", "bearer   bl_1 ")]), key("bl_1"));
        assert_eq!(of(&[("authorization", &format!("Basic {}", STANDARD.encode("me:b:l")))]), key("b:l"));
        assert_eq!(of(&[("authorization", &format!("Basic {}", STANDARD_NO_PAD.encode(":k")))]), key("k"));
        let cookie = ("cookie", "theme=dark; broadloom_session=7f; other=1");
        assert_eq!(of(&[cookie]), Credentials::Session("7f".to_owned()));
        assert_eq!(of(&[cookie, ("authorization", "Bearer k")]), key("k"));
        for damaged in ["Bearer", "", "Digest x=1", "Basic !", "Basic bWU=", "Basic /w=="] {
            assert_eq!(of(&[cookie, ("authorization", damaged)]), Credentials::Unreadable, "{damaged}");
        }
        assert_eq!(format!("{:?}", key("secret")), "Key");
    }
}
