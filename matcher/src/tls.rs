//! TLS 1.3 to the broker, with our certificate, trusting the site's CA and nothing else.

use std::path::Path;
use std::sync::Arc;

use rumqttc::{TlsConfiguration, Transport};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::files::{self, FileError};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds no PEM of the needed kind.
    #[error("{path} holds no {needed} in PEM")]
    Pem {
        /// Which file.
        path: std::path::PathBuf,
        /// What is needed.
        needed: &'static str,
    },
    /// Certificate and key cannot be used.
    #[error("certificate, key or CA cannot be used for TLS")]
    Unusable(#[from] rustls::Error),
}

/// The transport of an MQTT connection.
///
/// # Errors
/// Names the file that cannot be used.
pub fn transport(ca: &Path, certificate: &Path, key: &Path) -> Result<Transport, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(read_ca(ca)?)?;
    let (chain, key) = read_pair(certificate, key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config))))
}

/// Reads a certificate chain and its private key.
///
/// # Errors
/// Names the file that cannot be used.
pub(crate) fn read_pair(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let pem = files::read_text(certificate)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Pem { path: certificate.to_owned(), needed: "certificate" })?;
    let key = PrivateKeyDer::from_pem_slice(files::read_secret(key)?.as_bytes())
        .map_err(|_| TlsError::Pem { path: key.to_owned(), needed: "private key" })?;
    Ok((chain, key))
}

/// Reads the site's CA certificate.
///
/// # Errors
/// Names the file that cannot be used.
pub fn read_ca(path: &Path) -> Result<CertificateDer<'static>, TlsError> {
    let pem = files::read_text(path)?;
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| TlsError::Pem { path: path.to_owned(), needed: "certificate" })
}
