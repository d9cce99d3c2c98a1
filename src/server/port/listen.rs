//! On which addresses does a server listen: requested addresses, bound sockets, and bound addresses.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Port;
use super::tls::{Tls, TlsSource};
use crate::error::{Error, ErrorKind, Result};
use crate::server::auth::{KeyFile, Ring};

/// Addresses to listen on, `host:port` for each [`Port`]; port 0 takes any free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    addresses: BTreeMap<Port, String>,
    allowed_hosts: Vec<String>,
    tls: Option<TlsSource>,
    keys: Option<Keys>,
    is_insecure: bool,
}

/// Source of the keys of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Keys {
    /// A file that must exist.
    Of(KeyFile),
    /// A file that may be made later.
    OnceMade(KeyFile),
}

impl Default for Endpoints {
    /// Every port that is on by default, on its default address.
    fn default() -> Self {
        Self::all(Port::default_address)
    }
}

impl Endpoints {
    /// Any free port of the loopback interface for each protocol.
    pub fn any() -> Self {
        Self::all(|_| Some("127.0.0.1:0"))
    }

    fn all(address: fn(Port) -> Option<&'static str>) -> Self {
        let on = Port::ALL.iter().filter_map(|port| Some((*port, address(*port)?.to_owned())));
        let addresses = on.collect();
        Self { addresses, allowed_hosts: Vec::new(), tls: None, keys: None, is_insecure: false }
    }

    /// Sets the address of `port`.
    #[must_use]
    pub fn with(mut self, port: Port, address: impl Into<String>) -> Self {
        self.addresses.insert(port, address.into());
        self
    }

    /// Turns off `port`.
    #[must_use]
    pub fn without(mut self, port: Port) -> Self {
        self.addresses.remove(&port);
        self
    }

    /// Sets further host names under which data may be read, as `--allowed-host` does; `*` is every name.
    #[must_use]
    pub fn with_allowed_hosts(mut self, names: &[String]) -> Self {
        names.clone_into(&mut self.allowed_hosts);
        self
    }

    /// Encrypts all connections.
    #[must_use]
    pub fn with_tls(self, source: TlsSource) -> Self {
        Self { tls: Some(source), ..self }
    }

    /// Requires clients to have a key of `file`, which must exist.
    #[must_use]
    pub fn with_keys(self, file: KeyFile) -> Self {
        Self { keys: Some(Keys::Of(file)), ..self }
    }

    /// Requires clients to have a key of `file` as soon as it exists.
    #[must_use]
    pub fn with_keys_once_made(self, file: KeyFile) -> Self {
        Self { keys: Some(Keys::OnceMade(file)), ..self }
    }

    /// Allows addresses that other machines reach although connections are not encrypted or clients need no keys.
    #[must_use]
    pub fn allowing_insecure(self, is_insecure: bool) -> Self {
        Self { is_insecure, ..self }
    }
}

/// Addresses that a server listens on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses(BTreeMap<Port, SocketAddr>);

impl Addresses {
    /// Returns the address of `port`, if the server listens for it.
    pub fn get(&self, port: Port) -> Option<SocketAddr> {
        self.0.get(&port).copied()
    }
}

impl std::fmt::Display for Addresses {
    /// `http=127.0.0.1:8080 otlp-grpc=127.0.0.1:4317 otlp-http=127.0.0.1:4318`, without those that are off.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut space = "";
        for (port, address) in &self.0 {
            write!(f, "{space}{port}={address}")?;
            space = " ";
        }
        Ok(())
    }
}

/// Bound sockets, not yet served. They are bound before the data directory is opened, so that a port in use is
/// reported at once.
#[derive(Debug)]
pub struct Listeners {
    pub(in crate::server) sockets: BTreeMap<Port, TcpListener>,
    /// Names of `--allowed-host`.
    pub(in crate::server) allowed_hosts: Vec<String>,
    /// Keys of clients.
    pub(in crate::server) ring: Ring,
    /// Encryption of connections.
    pub(in crate::server) tls: Option<Tls>,
}

impl Listeners {
    /// Binds the addresses, and reads the keys and the certificate. Fails with [`ErrorKind::Conflict`] if an address is
    /// in use, and with [`ErrorKind::InvalidInput`] if other machines reach one without encryption or keys.
    pub async fn bind(endpoints: &Endpoints) -> Result<Self> {
        let tls = endpoints.tls.clone().map(Tls::new).transpose()?;
        let ring = match endpoints.keys.clone() {
            None => Ring::default(),
            Some(Keys::Of(file)) => Ring::of(file)?,
            Some(Keys::OnceMade(file)) => Ring::once_made(file)?,
        };
        let is_secure = endpoints.is_insecure || (tls.is_some() && ring.is_on());
        let mut sockets = BTreeMap::new();
        for (port, address) in &endpoints.addresses {
            let socket = bind(*port, address).await?;
            if !is_secure && !socket.local_addr()?.ip().to_canonical().is_loopback() {
                return Err(exposed(*port, address, tls.is_some(), ring.is_on()));
            }
            sockets.insert(*port, socket);
        }
        Ok(Self { sockets, allowed_hosts: endpoints.allowed_hosts.clone(), ring, tls })
    }

    /// True if connections are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns the bound addresses.
    pub fn addresses(&self) -> Result<Addresses> {
        let taken = self.sockets.iter().map(|(port, socket)| Ok((*port, socket.local_addr()?)));
        Ok(Addresses(taken.collect::<Result<_>>()?))
    }
}

/// The error of an address that strangers reach.
fn exposed(port: Port, address: &str, is_encrypted: bool, needs_keys: bool) -> Error {
    let mut missing = Vec::new();
    if !is_encrypted {
        missing.push("connections are not encrypted (--tls-cert and --tls-key)");
    }
    if !needs_keys {
        missing.push("clients need no key (broadloom key create)");
    }
    Error::invalid(format!(
        "other machines reach {address} of {port}, but {}; with --insecure the server listens there all the same, and \
         everyone who reaches it can read and write everything, or read along",
        missing.join(", and ")
    ))
}

async fn bind(port: Port, address: &str) -> Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "cannot listen on {address} for {port}: another process listens there (another broadloom, an OpenTelemetry \
                 Collector?); choose another address with --{port} ADDRESS:PORT, where port 0 takes any free one"
            ),
        )),
        Err(e) => Err(Error::invalid(format!("cannot listen on {address} for {port}: {e}")).with_source(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn port_zero_takes_a_free_port_and_a_taken_port_is_a_clear_error() {
        let first = Listeners::bind(&Endpoints::any()).await.unwrap();
        let taken = first.addresses().unwrap().get(Port::OtlpGrpc).unwrap();
        assert_ne!(taken.port(), 0);
        let again = Endpoints::any().with(Port::OtlpGrpc, taken.to_string());
        let error = Listeners::bind(&again).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains(&taken.to_string()), "{error}");
        assert!(error.message().contains("--otlp-grpc"), "{error}");
    }

    #[tokio::test]
    async fn other_machines_are_let_in_only_with_keys_and_encryption() {
        let open = Endpoints::any().with(Port::Http, "0.0.0.0:0");
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("keys.json"));
        let watched = open.clone().with_keys_once_made(file.clone());
        let encrypted = watched.clone().with_tls(TlsSource::Development);
        for (endpoints, missing) in
            [(&open, "and clients"), (&watched, "and clients"), (&encrypted, "but clients")]
        {
            let error = Listeners::bind(endpoints).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(missing) && error.message().contains("--insecure"), "{error}");
        }
        Listeners::bind(&open.clone().allowing_insecure(true)).await.unwrap();
        assert_eq!(
            Listeners::bind(&open.with_keys(file.clone())).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let rights = vec![crate::server::Right::Read];
        file.create(crate::server::NewKey { name: "a".to_owned(), rights, lifetime: None }).unwrap();
        Listeners::bind(&encrypted).await.unwrap();
        let error = Listeners::bind(&watched).await.unwrap_err();
        assert!(
            error.message().contains("not encrypted") && !error.message().contains("clients need"),
            "{error}"
        );
    }

    #[test]
    fn addresses_are_said_in_words_that_programs_can_read() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses([(Port::OtlpHttp, address(3)), (Port::Http, address(1))].into());
        assert_eq!(addresses.to_string(), "http=127.0.0.1:1 otlp-http=127.0.0.1:3");
        assert_eq!(addresses.get(Port::OtlpGrpc), None);
    }

    #[tokio::test]
    async fn every_port_is_taken_unless_it_is_off() {
        let listeners = Listeners::bind(&Endpoints::any().without(Port::Http)).await.unwrap();
        let addresses = listeners.addresses().unwrap();
        for port in Port::ALL {
            assert_eq!(addresses.get(*port).is_some(), *port != Port::Http, "{port}");
        }
    }
}
