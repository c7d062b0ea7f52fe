//! Certificates that are good, and bad in one way each.

use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// What is the matter with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// Nothing: for `localhost` and `127.0.0.1`, by the authority.
    Good,
    /// Its last day was in 2001.
    Expired,
    /// Its first day will be in 2999.
    NotYetValid,
    /// It is for `other.example`.
    WrongHost,
    /// Another authority issued it.
    Untrusted,
    /// Another authority issued it under the authority's name.
    Forged,
    /// It signed itself, as a plain server certificate.
    SelfSigned,
    /// It signed itself and is an authority, which is what `openssl req -x509` makes.
    OwnAuthority,
}

/// An authority and the certificate that it shows at the moment.
#[derive(Debug)]
pub struct Certificates {
    authority: String,
    issuer: Issuer<'static, KeyPair>,
    shown: Arc<Shown>,
}

#[derive(Debug)]
struct Shown(Mutex<Arc<CertifiedKey>>);

impl Certificates {
    /// Makes an authority and a certificate to show.
    pub fn new(certificate: Certificate) -> anyhow::Result<Self> {
        let (authority, issuer) = make_authority(NAME)?;
        let shown = Arc::new(Shown(Mutex::new(make(certificate, &issuer)?)));
        Ok(Self {
            authority,
            issuer,
            shown,
        })
    }

    /// Returns the authority's certificate in PEM, for the other side to trust.
    pub fn authority_pem(&self) -> &str {
        &self.authority
    }

    /// Shows `certificate` from the next handshake on.
    pub fn show(&self, certificate: Certificate) -> anyhow::Result<()> {
        let key = make(certificate, &self.issuer)?;
        *self.shown.0.lock().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    /// Issues `certificate` for a server outside: the certificate and its key, both in PEM.
    pub fn issue(&self, certificate: Certificate) -> anyhow::Result<(String, String)> {
        let (signed, key) = sign(certificate, &self.issuer)?;
        Ok((signed.pem(), key.serialize_pem()))
    }

    /// An acceptor that lets clients resume sessions, as real servers do.
    pub(super) fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.0.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

const NAME: &str = "testkit authority";

fn make_authority(name: &str) -> anyhow::Result<(String, Issuer<'static, KeyPair>)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}

fn make(
    certificate: Certificate,
    issuer: &Issuer<'static, KeyPair>,
) -> anyhow::Result<Arc<CertifiedKey>> {
    let (signed, key) = sign(certificate, issuer)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = ring::sign::any_supported_type(&key)?;
    Ok(Arc::new(CertifiedKey::new(vec![signed.der().clone()], key)))
}

fn sign(
    certificate: Certificate,
    issuer: &Issuer<'static, KeyPair>,
) -> anyhow::Result<(rcgen::Certificate, KeyPair)> {
    let names = match certificate {
        Certificate::WrongHost => vec!["other.example".to_owned()],
        _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
    };
    let mut params = CertificateParams::new(names)?;
    match certificate {
        Certificate::Expired => {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        Certificate::NotYetValid => {
            params.not_before = date_time_ymd(2999, 1, 1);
            params.not_after = date_time_ymd(3000, 1, 1);
        }
        Certificate::OwnAuthority => {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        Certificate::Good
        | Certificate::SelfSigned
        | Certificate::WrongHost
        | Certificate::Untrusted
        | Certificate::Forged => {}
    }
    let key = KeyPair::generate()?;
    let signed = match certificate {
        Certificate::SelfSigned | Certificate::OwnAuthority => params.self_signed(&key)?,
        Certificate::Untrusted => params.signed_by(&key, &make_authority("another")?.1)?,
        Certificate::Forged => params.signed_by(&key, &make_authority(NAME)?.1)?,
        _ => params.signed_by(&key, issuer)?,
    };
    Ok((signed, key))
}
