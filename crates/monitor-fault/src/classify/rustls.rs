//! rustls: the certificate's faults apart from all others of TLS, and in plain words.

use std::error::Error;

use ::rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::{Fault, Layer, Reason};

mod words;

pub(super) fn recognise(error: &(dyn Error + 'static)) -> Option<Fault> {
    let fault = match error.downcast_ref::<TlsError>()? {
        TlsError::InvalidCertificate(error) => of_certificate(error),
        TlsError::NoCertificatesPresented => Fault::new(Layer::Tls, Reason::CertInvalid),
        TlsError::InvalidCertRevocationList(_) => Fault::new(Layer::Config, Reason::Invalid),
        TlsError::AlertReceived(alert) => Fault::new(Layer::Tls, of_alert(*alert)),
        TlsError::InappropriateMessage { .. }
        | TlsError::InappropriateHandshakeMessage { .. }
        | TlsError::InvalidMessage(_)
        | TlsError::PeerMisbehaved(_)
        | TlsError::PeerSentOversizedRecord
        | TlsError::DecryptError => Fault::new(Layer::Tls, Reason::Malformed),
        TlsError::UnsupportedNameType | TlsError::InconsistentKeys(_) => {
            Fault::new(Layer::Config, Reason::Invalid)
        }
        TlsError::FailedToGetCurrentTime | TlsError::FailedToGetRandomBytes => {
            Fault::new(Layer::Local, Reason::Other)
        }
        _ => Fault::new(Layer::Tls, Reason::Handshake),
    };
    Some(fault)
}

fn of_certificate(error: &CertificateError) -> Fault {
    use CertificateError as E;
    let reason = match error {
        E::Expired | E::ExpiredContext { .. } => Reason::CertExpired,
        E::NotValidYet | E::NotValidYetContext { .. } => Reason::CertNotYetValid,
        E::Revoked => Reason::CertRevoked,
        // A bad signature is an issuer of a known name, but with another key.
        E::UnknownIssuer | E::BadSignature => Reason::CertUntrusted,
        E::NotValidForName | E::NotValidForNameContext { .. } => Reason::NameMismatch,
        _ => Reason::CertInvalid,
    };
    let fault = Fault::new(Layer::Tls, reason);
    match words::of(error) {
        Some(words) => fault.with_detail(words),
        None => fault,
    }
}

/// What the other side complains about. An alert about a certificate is about *ours*: the target
/// wants a client certificate, or another one, which is a matter of credentials.
fn of_alert(alert: AlertDescription) -> Reason {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired
        | A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA => Reason::Unauthorized,
        A::AccessDenied => Reason::Forbidden,
        A::CloseNotify => Reason::Closed,
        _ => Reason::Handshake,
    }
}
