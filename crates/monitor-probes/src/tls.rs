//! The client side of TLS: which authorities are trusted.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// Which certificate authorities a probe trusts. A cheap handle.
///
/// The crypto provider is always ring, chosen here and never the process's default. Sessions are
/// never resumed: a resumed session does not show its certificate, so a check would miss that it
/// has expired meanwhile.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// Why a trust store cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text is not PEM.
    #[error("the certificate authority is not valid PEM: {0}")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// The text holds no certificate.
    #[error("the certificate authority file holds no \"BEGIN CERTIFICATE\" block")]
    Empty,
    /// rustls refuses a certificate or the provider.
    #[error("the certificate authority is not usable: {0}")]
    Rustls(#[from] rustls::Error),
}

impl Tls {
    /// Trusts what the system trusts and, beside it, Mozilla's authorities.
    ///
    /// The system's store is read at the first call, which may take some milliseconds, and shared
    /// from then on. Unreadable certificates of the system are left out.
    ///
    /// # Errors
    ///
    /// - [`TlsError::Rustls`]: the provider and rustls do not fit each other.
    pub fn system() -> Result<Self, TlsError> {
        static SYSTEM: OnceLock<Tls> = OnceLock::new();
        if let Some(tls) = SYSTEM.get() {
            return Ok(tls.clone());
        }
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = Self::with_roots(roots)?;
        Ok(SYSTEM.get_or_init(|| tls).clone())
    }

    /// Trusts only the certificates in `pem`.
    ///
    /// # Errors
    ///
    /// - [`TlsError::Pem`], [`TlsError::Empty`]: no certificate could be read.
    /// - [`TlsError::Rustls`]: a certificate is not usable as an authority.
    pub fn with_authorities(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(TlsError::Pem)?)?;
        }
        if roots.is_empty() {
            return Err(TlsError::Empty);
        }
        Self::with_roots(roots)
    }

    fn with_roots(roots: RootCertStore) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
