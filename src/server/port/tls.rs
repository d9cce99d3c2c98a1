//! How are connections encrypted?
//!
//! By TLS 1.2 or 1.3, with the certificate of a file. A renewed certificate counts from the next connection on, and those
//! that are open stay open. Files that cannot be read change nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::table::Wire;
use crate::error::{Error, ErrorKind, Result};
use crate::server::watched::Watched;

/// Names that a self-signed certificate is for.
const DEVELOPMENT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Source of the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// PEM files.
    Files {
        /// Certificate, and those that lead from it to a root.
        certificate: PathBuf,
        /// Private key of the certificate.
        key: PathBuf,
        /// Roots of clients' certificates; with it, only clients with such a certificate may connect.
        client_roots: Option<PathBuf>,
    },
    /// A certificate for programs on this machine, made at start and signed by itself.
    Development,
}

impl TlsSource {
    fn files(&self) -> impl Iterator<Item = &Path> {
        let files = match self {
            Self::Files { certificate, key, client_roots } => {
                [Some(certificate), Some(key), client_roots.as_ref()]
            }
            Self::Development => [None; 3],
        };
        files.into_iter().flatten().map(PathBuf::as_path)
    }

    fn config(&self) -> Result<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal("TLS cannot be set up").with_source(e))?;
        match self {
            Self::Development => {
                let failed = |e| Error::internal("the development certificate cannot be made").with_source(e);
                let made = rcgen::generate_simple_self_signed(DEVELOPMENT_NAMES.map(str::to_owned))
                    .map_err(failed)?;
                let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
                builder
                    .with_no_client_auth()
                    .with_single_cert(vec![made.cert.der().clone()], key.into())
                    .map_err(|e| Error::internal("the development certificate does not work").with_source(e))
            }
            Self::Files { certificate, key, client_roots } => {
                let chain = certificates(certificate)?;
                let secret = PrivateKeyDer::from_pem_file(key)
                    .map_err(|e| unreadable("private key", key, &e.to_string()))?;
                let builder = match client_roots {
                    None => builder.with_no_client_auth(),
                    Some(path) => {
                        let mut roots = RootCertStore::empty();
                        for root in certificates(path)? {
                            roots.add(root).map_err(|e| unreadable("certificates", path, &e.to_string()))?;
                        }
                        let provider = Arc::new(ring::default_provider());
                        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                            .build()
                            .map_err(|e| unreadable("certificates", path, &e.to_string()))?;
                        builder.with_client_cert_verifier(verifier)
                    }
                };
                builder.with_single_cert(chain, secret).map_err(|e| {
                    let message = format!(
                        "the private key {} does not belong to the certificate {}: {e}",
                        key.display(),
                        certificate.display()
                    );
                    Error::invalid(message)
                })
            }
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let found = read.map_err(|e| unreadable("certificates", path, &e.to_string()))?;
    if found.is_empty() {
        return Err(unreadable("certificates", path, "it has none"));
    }
    Ok(found)
}

fn unreadable(what: &str, path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("cannot read the {what} of {}: {why}", path.display()))
}

/// Encryption of the connections of a server; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::server) struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: TlsSource,
    config: Watched<ServerConfig>,
}

impl Tls {
    /// Reads the certificate. Fails with [`ErrorKind::InvalidInput`] if it or its key is missing or damaged.
    pub(in crate::server) fn new(source: TlsSource) -> Result<Self> {
        let files = source.files().map(Path::to_owned).collect();
        let config = Watched::read("certificate", files, || source.config())?;
        Ok(Self(Arc::new(Shared { source, config })))
    }

    /// Encryption of the next connection of `wire`.
    pub(in crate::server) fn acceptor(&self, wire: Wire) -> TlsAcceptor {
        let Shared { source, config } = &*self.0;
        let mut config = config.get(|| source.config());
        config.alpn_protocols = match wire {
            Wire::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Wire::Grpc => vec![b"h2".to_vec()],
            #[cfg(feature = "postgres")]
            Wire::Postgres => vec![b"postgresql".to_vec()],
        };
        TlsAcceptor::from(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn written(directory: &Path) -> TlsSource {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (directory.join("server.pem"), directory.join("server.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        TlsSource::Files { certificate, key, client_roots: None }
    }

    #[test]
    fn a_renewed_certificate_counts_and_a_damaged_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let tls = Tls::new(written(directory.path())).unwrap();
        let look = || tls.0.config.look_now(|| tls.0.source.config());
        let resolver = || Arc::as_ptr(&tls.0.config.get(|| tls.0.source.config()).cert_resolver).addr();
        let first = resolver();
        look();
        assert_eq!(resolver(), first);
        let read = directory.path().join("server.pem").metadata().unwrap().modified().unwrap();
        let later = read + Duration::from_secs(5);
        let touch = |name: &str| {
            std::fs::File::options()
                .write(true)
                .open(directory.path().join(name))
                .unwrap()
                .set_modified(later)
                .unwrap();
        };
        std::fs::write(directory.path().join("server.pem"), "damaged").unwrap();
        touch("server.pem");
        look();
        assert_eq!(resolver(), first);
        written(directory.path());
        look();
        assert_ne!(resolver(), first);
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let TlsSource::Files { certificate, key, .. } = written(directory.path()) else { unreachable!() };
        let other = tempfile::tempdir().unwrap();
        let TlsSource::Files { key: foreign, .. } = written(other.path()) else { unreachable!() };
        let missing = directory.path().join("missing.pem");
        for (certificate, key, client_roots, why) in [
            (&missing, &key, None, "missing.pem"),
            (&key, &key, None, "it has none"),
            (&certificate, &missing, None, "missing.pem"),
            (&certificate, &certificate, None, "private key"),
            (&certificate, &foreign, None, "does not belong"),
            (&certificate, &key, Some(&missing), "missing.pem"),
        ] {
            let source = TlsSource::Files {
                certificate: certificate.clone(),
                key: key.clone(),
                client_roots: client_roots.cloned(),
            };
            let error = Tls::new(source).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(why), "{error}");
        }
        Tls::new(TlsSource::Development).unwrap();
    }
}
