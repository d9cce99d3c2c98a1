//! How are web pages in a browser kept from reading the data of a server on the same machine or network?
//!
//! Without keys, every client that reaches the server can read everything, and with keys, a browser whose user has
//! signed in. A browser reaches servers that the author of a page does not: those on its own machine and network. There are two attacks. *DNS rebinding*:
//! the page's own host name is changed to resolve to the server; the request has the same origin, and its `Host` is
//! that name. *Requests to another origin*: the browser hides the answer from the page, but the statement runs.
//!
//! So a route that returns data ([`Audience::Trusted`]) refuses:
//!
//! - on a connection to a loopback address, a `Host` that is not an IP address, `localhost`, a name below
//!   `.localhost`, or a name of `--allowed-host`: 421. An IP address involves no name resolution, and browsers
//!   resolve `localhost` names to loopback themselves.
//! - on every connection, an `Origin` whose host and port are not those of `Host`, unless its host is a name of
//!   `--allowed-host`: 403. The same for a request that the browser marks as from another site (`Sec-Fetch-Site`),
//!   unless a person followed a link.
//!
//! `*` as a name allows every `Host` and every `Origin`.
//!
//! Accepted, so that programs work without configuration: any `Host` on an address that is not loopback, since
//! programs use names there that cannot be listed (`http://broadloom:8080` of a container, a service of Kubernetes);
//! any `Host` and `Origin` on routes that take telemetry or report health ([`Audience::Anyone`]), since they return
//! no data; a request without `Host`, which no browser sends; gRPC, which no browser speaks.
//!
//! Not here: authentication (`authenticate.rs`). These checks distinguish browsers from programs, not permitted from other clients.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::routes::{Audience, Route};
use crate::error::{Error, Result};
use crate::server::answer::Problem;
use crate::server::port::LocalAddress;

/// Names under which data may be read.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Hosts(Arc<Allowed>);

#[derive(Debug, Default)]
struct Allowed {
    is_all: bool,
    names: Vec<String>,
}

impl Hosts {
    /// Parses the names of `--allowed-host`; fails if one is not a host name.
    pub(in crate::server) fn new(names: &[String]) -> Result<Self> {
        let mut allowed = Allowed::default();
        for name in names {
            let is_name = !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
            match name.as_str() {
                "*" => allowed.is_all = true,
                _ if is_name => allowed.names.push(normal(name)),
                _ => {
                    return Err(Error::invalid(format!(
                        "allowed-host {name:?} is not a host name; write broadloom.example.com, without scheme and \
                         port, or *"
                    )));
                }
            }
        }
        Ok(Self(Arc::new(allowed)))
    }

    fn check(&self, request: &Request) -> std::result::Result<(), Problem> {
        if self.0.is_all {
            return Ok(());
        }
        // Requests without a connection come from tests; the stricter checks apply.
        let is_loopback = request.extensions().get::<LocalAddress>().is_none_or(|local| local.is_loopback);
        let host = authority(request.uri(), request.headers());
        if let Some(host) = host.filter(|_| is_loopback)
            && !self.is_known(host_of(host))
        {
            return Err(refused(
                StatusCode::MISDIRECTED_REQUEST,
                format!(
                    "Host is {host:?}; use localhost, an IP address, or a name that the server was given \
                     with --allowed-host"
                ),
            ));
        }
        if let Some(origin) = text(request.headers(), &header::ORIGIN) {
            let from = origin.split_once("://").map_or("", |(_, authority)| authority);
            let is_own = host.is_some_and(|host| host.eq_ignore_ascii_case(from));
            if !is_own && !self.is_allowed(host_of(from)) {
                return Err(refused(
                    StatusCode::FORBIDDEN,
                    format!(
                        "Origin is {origin:?}: a web page of another origin may read data only if the server \
                         was given its host with --allowed-host"
                    ),
                ));
            }
            return Ok(());
        }
        let fetch = |name| text(request.headers(), &HeaderName::from_static(name));
        if fetch("sec-fetch-site") == Some("cross-site") && fetch("sec-fetch-mode") != Some("navigate") {
            let message =
                "Sec-Fetch-Site is cross-site: a web page of another site may not read data".to_owned();
            return Err(refused(StatusCode::FORBIDDEN, message));
        }
        Ok(())
    }

    fn is_known(&self, host: &str) -> bool {
        let host = normal(host);
        let is_address = host.parse::<IpAddr>().is_ok()
            || host
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
        is_address || host == "localhost" || host.ends_with(".localhost") || self.0.names.contains(&host)
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.0.names.contains(&normal(host))
    }
}

/// Refuses requests of foreign web pages to routes that return data.
pub(super) async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().and_then(|path| Route::of(path, request.method()));
    let gives_data = route.is_some_and(|route| route.audience == Audience::Trusted);
    match if gives_data { hosts.check(&request) } else { Ok(()) } {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            problem.refusal().log("http");
            problem.into_response()
        }
    }
}

fn refused(status: StatusCode, message: String) -> Problem {
    Problem::with_status(status, Error::invalid(message))
}

/// Host and port that the client requested.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let of_uri = uri.authority().map(axum::http::uri::Authority::as_str);
    // A value that is not text becomes "?", which is not an allowed name.
    of_uri.or_else(|| headers.get(header::HOST).map(|host| host.to_str().unwrap_or("?").trim()))
}

/// The host of `host:port`.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Normalises a host name for comparison: lower case, without the root's dot.
fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?").trim())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn check(allowed: &[&str], is_loopback: bool, headers: &[(&str, &str)]) -> Option<u16> {
        let names: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let request = headers
            .iter()
            .fold(Request::builder().uri("/v1/sql"), |request, (name, value)| request.header(*name, *value));
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(LocalAddress { is_loopback, is_encrypted: false });
        Hosts::new(&names).unwrap().check(&request).err().map(|problem| problem.status().as_u16())
    }

    #[test]
    fn on_loopback_only_addresses_and_known_names_read_data() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "10.0.0.7:8080",
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "db.localhost:8080",
            "Broadloom.example:443",
        ] {
            assert_eq!(check(&["broadloom.EXAMPLE"], true, &[("host", host)]), None, "{host}");
        }
        for host in [
            "attacker.example",
            "attacker.example:8080",
            "127.0.0.1.attacker.example",
            "localhost.attacker.example",
            "notlocalhost",
            "broadloom.example.attacker.example",
            "a.broadloom.example",
            "",
            "[::1",
            "1.2.3",
            "localhost:x",
        ] {
            assert_eq!(check(&["broadloom.example"], true, &[("host", host)]), Some(421), "{host}");
            assert_eq!(check(&["*"], true, &[("host", host)]), None, "{host}");
            assert_eq!(check(&[], false, &[("host", host)]), None, "{host}");
        }
        assert_eq!(check(&[], true, &[]), None);
    }

    #[test]
    fn pages_of_other_origins_do_not_read_data() {
        let host = ("host", "127.0.0.1:8080");
        for is_loopback in [true, false] {
            let of = |allowed: &[&str], name, value| check(allowed, is_loopback, &[host, (name, value)]);
            assert_eq!(of(&[], "origin", "http://127.0.0.1:8080"), None);
            for foreign in
                ["https://attacker.example", "http://127.0.0.1:3000", "http://127.0.0.1", "null", ""]
            {
                assert_eq!(of(&[], "origin", foreign), Some(403), "{foreign}");
                assert_eq!(of(&["*"], "origin", foreign), None, "{foreign}");
            }
            assert_eq!(of(&["ui.example"], "origin", "https://ui.example:8443"), None);
            assert_eq!(of(&["ui.example"], "origin", "https://ui.example.attacker.example"), Some(403));
            assert_eq!(of(&[], "sec-fetch-site", "cross-site"), Some(403));
            assert_eq!(of(&[], "sec-fetch-site", "same-origin"), None);
            assert_eq!(of(&[], "sec-fetch-site", "none"), None);
        }
        let link = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(check(&[], true, &link), None);
    }

    #[test]
    fn a_url_is_not_a_host_name() {
        for wrong in ["http://x", "x:8080", "", "*.example.com", "a b"] {
            let error = Hosts::new(&[wrong.to_owned()]).unwrap_err();
            assert!(error.message().contains("allowed-host"), "{error}");
        }
    }
}
