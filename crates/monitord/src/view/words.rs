//! Faults in plain words.

use monitor_fault::{Blame, Fault, Layer, Reason};

/// What went wrong, for people: `connection refused`, `no answer in time`.
pub(crate) fn reason(layer: Layer, reason: Reason) -> &'static str {
    match (layer, reason) {
        (_, Reason::Slow) => "slow answer",
        (Layer::Dns, Reason::Timeout) => "the name server did not answer in time",
        (Layer::Connect, Reason::Timeout) => "no connection in time",
        (Layer::Tls, Reason::Timeout) => "no TLS handshake in time",
        (_, Reason::Timeout) => "no answer in time",
        (_, Reason::Refused) => "connection refused",
        (_, Reason::Reset) => "connection reset",
        (_, Reason::Closed) => "connection closed without an answer",
        (_, Reason::Unreachable) => "network unreachable",
        (_, Reason::Nxdomain) => "the name does not exist",
        (_, Reason::Servfail) => "the name server failed",
        (_, Reason::NoRecords) => "the name has no address",
        (_, Reason::LookupRefused) => "the name server refused to answer",
        (_, Reason::CertExpired) => "certificate expired",
        (_, Reason::CertNotYetValid) => "certificate not yet valid",
        (_, Reason::CertUntrusted) => "certificate not trusted",
        (_, Reason::CertRevoked) => "certificate revoked",
        (_, Reason::CertInvalid) => "certificate invalid",
        (_, Reason::NameMismatch) => "certificate for another name",
        (_, Reason::Handshake) => "TLS handshake failed",
        (_, Reason::Malformed) => "malformed answer",
        (_, Reason::Incomplete) => "answer cut off",
        (_, Reason::TooLarge) => "answer too large",
        (_, Reason::Status) => "unexpected status",
        (_, Reason::ServerError) => "server error",
        (_, Reason::Unauthorized) => "credentials not accepted",
        (_, Reason::Forbidden) => "access denied",
        (_, Reason::RateLimited) => "too many requests",
        (_, Reason::Mismatch) => "not what was expected",
        (_, Reason::Invalid) => "the check is not configured well",
        (_, Reason::Unsupported) => "not supported by this prober",
        (_, Reason::PermissionDenied) => "forbidden on the prober's machine",
        (_, Reason::DescriptorLimit) => "the prober is out of file descriptors",
        (_, Reason::PortsExhausted) => "the prober is out of ports",
        (_, Reason::BufferLimit) => "the prober is out of buffers",
        (_, Reason::OutOfMemory) => "the prober is out of memory",
        (_, Reason::NetworkDown) => "the prober's network is down",
        (_, Reason::Stalled) => "the prober stalled",
        (_, Reason::Cancelled) => "called off",
        (_, Reason::Panicked) => "the check crashed",
        (layer, _) => stage(layer),
    }
}

/// A failure of which no more is known than how far the check had come.
const fn stage(layer: Layer) -> &'static str {
    match layer {
        Layer::Config => "the check is not configured well",
        Layer::Local => "failure on the prober's machine",
        Layer::Dns => "name lookup failed",
        Layer::Connect => "connection failed",
        Layer::Tls => "TLS failed",
        Layer::Protocol => "protocol error",
        Layer::Response => "bad answer",
        Layer::Assertion => "not what was expected",
        _ => "the check failed",
    }
}

/// Where it went wrong and in whose court it is: `connect · target`.
pub(crate) fn place(layer: Layer, blame: Blame) -> String {
    format!("{layer} · {blame}")
}

/// The whole of it: `connection refused (connect · target)`.
pub(crate) fn fault(fault: &Fault) -> String {
    let place = place(fault.layer(), fault.blame());
    format!("{} ({place})", reason(fault.layer(), fault.reason()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_and_reason_has_words_of_its_own() {
        for &layer in Layer::ALL {
            for &why in Reason::ALL {
                let words = reason(layer, why);
                assert!(
                    !words.is_empty() && !words.contains('_'),
                    "{layer} {why}: {words}"
                );
                let known = why == Reason::Other || words != "the check failed";
                assert!(known, "{why} has no words");
            }
        }
    }

    #[test]
    fn a_fault_says_what_where_and_whose() {
        let refused = Fault::new(Layer::Connect, Reason::Refused);
        assert_eq!(fault(&refused), "connection refused (connect · target)");
        let late = Fault::new(Layer::Connect, Reason::Timeout);
        assert_eq!(fault(&late), "no connection in time (connect · path)");
    }
}
