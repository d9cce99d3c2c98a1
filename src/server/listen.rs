//! The addresses that a server listens on.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::error::{Error, ErrorKind, Result};

/// Where a server shall listen: `host:port` each, port 0 for any free one, `None` for not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// SQL, health, metrics, and OTLP/HTTP too.
    pub http: Option<String>,
    /// OTLP/gRPC.
    pub otlp_grpc: Option<String>,
    /// OTLP/HTTP on the port where producers look for it.
    pub otlp_http: Option<String>,
}

impl Default for Endpoints {
    /// Loopback alone, on OTLP's own ports: reachable from outside only by those who say so.
    fn default() -> Self {
        Self {
            http: Some("127.0.0.1:8080".to_owned()),
            otlp_grpc: Some("127.0.0.1:4317".to_owned()),
            otlp_http: Some("127.0.0.1:4318".to_owned()),
        }
    }
}

impl Endpoints {
    /// Any free port of the loopback interface for each protocol.
    pub fn any() -> Self {
        let any = Some("127.0.0.1:0".to_owned());
        Self { http: any.clone(), otlp_grpc: any.clone(), otlp_http: any }
    }
}

/// Where a server does listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// SQL, health, metrics and OTLP/HTTP.
    pub http: Option<SocketAddr>,
    /// OTLP/gRPC.
    pub otlp_grpc: Option<SocketAddr>,
    /// OTLP/HTTP.
    pub otlp_http: Option<SocketAddr>,
}

impl std::fmt::Display for Addresses {
    /// `http=127.0.0.1:8080 otlp-grpc=127.0.0.1:4317 otlp-http=127.0.0.1:4318`, without those that are off.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [("http", self.http), ("otlp-grpc", self.otlp_grpc), ("otlp-http", self.otlp_http)];
        let mut space = "";
        for (name, address) in all {
            if let Some(address) = address {
                write!(f, "{space}{name}={address}")?;
                space = " ";
            }
        }
        Ok(())
    }
}

/// Bound sockets, not yet served. They are taken before the data directory, so that a port in use is
/// found out at once.
#[derive(Debug)]
pub struct Listeners {
    pub(super) http: Option<TcpListener>,
    pub(super) otlp_grpc: Option<TcpListener>,
    pub(super) otlp_http: Option<TcpListener>,
}

impl Listeners {
    /// Takes the addresses; [`ErrorKind::Conflict`] when one is in use.
    pub async fn bind(endpoints: &Endpoints) -> Result<Self> {
        Ok(Self {
            http: bind(endpoints.http.as_deref(), "http").await?,
            otlp_grpc: bind(endpoints.otlp_grpc.as_deref(), "otlp-grpc").await?,
            otlp_http: bind(endpoints.otlp_http.as_deref(), "otlp-http").await?,
        })
    }

    /// The addresses taken.
    pub fn addresses(&self) -> Result<Addresses> {
        let of = |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
        Ok(Addresses {
            http: of(&self.http)?,
            otlp_grpc: of(&self.otlp_grpc)?,
            otlp_http: of(&self.otlp_http)?,
        })
    }
}

async fn bind(address: Option<&str>, name: &str) -> Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "cannot listen on {address} for {name}: another process does (another broadloom, an OpenTelemetry \
                 Collector?); choose another with --{name} ADDRESS:PORT, where port 0 takes any free one"
            ),
        )),
        Err(e) => Err(Error::invalid(format!("cannot listen on {address} for {name}: {e}")).with_source(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn port_zero_takes_a_free_port_and_a_taken_port_is_a_clear_error() {
        let first = Listeners::bind(&Endpoints::any()).await.unwrap();
        let taken = first.addresses().unwrap();
        let port = taken.otlp_grpc.unwrap();
        assert_ne!(port.port(), 0);
        let again = Endpoints { otlp_grpc: Some(port.to_string()), ..Endpoints::any() };
        let error = Listeners::bind(&again).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains(&port.to_string()), "{error}");
        assert!(error.message().contains("--otlp-grpc"), "{error}");
    }

    #[test]
    fn addresses_are_said_in_words_that_programs_can_read() {
        let address = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let addresses = Addresses { http: address(1), otlp_grpc: None, otlp_http: address(3) };
        assert_eq!(addresses.to_string(), "http=127.0.0.1:1 otlp-http=127.0.0.1:3");
    }
}
