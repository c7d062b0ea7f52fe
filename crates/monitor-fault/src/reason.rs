//! What went wrong.

use crate::name::named;

named! {
    /// What went wrong, as precisely as the typed error tells.
    "reason", Reason {
        /// No answer in time.
        Timeout = "timeout",
        /// The other side refused the connection (no listener on that port).
        Refused = "refused",
        /// The other side reset or aborted the connection.
        Reset = "reset",
        /// The other side closed the connection before anything came back.
        Closed = "closed",
        /// No route to the host or its network.
        Unreachable = "unreachable",
        /// The name does not exist.
        Nxdomain = "nxdomain",
        /// The resolver could not answer.
        Servfail = "servfail",
        /// The name exists, without an address.
        NoRecords = "no_records",
        /// The resolver refuses to answer.
        LookupRefused = "lookup_refused",
        /// The certificate's last day is over.
        CertExpired = "cert_expired",
        /// The certificate's first day is yet to come.
        CertNotYetValid = "cert_not_yet_valid",
        /// No known authority has issued the certificate: often it is self-signed.
        CertUntrusted = "cert_untrusted",
        /// The certificate has been revoked.
        CertRevoked = "cert_revoked",
        /// The certificate is broken, or not one for a server but an authority's own.
        CertInvalid = "cert_invalid",
        /// The certificate is for other names.
        NameMismatch = "name_mismatch",
        /// The other side speaks TLS, but no agreement was found.
        Handshake = "handshake",
        /// Bytes that the protocol does not allow.
        Malformed = "malformed",
        /// The connection ended in the middle of an answer.
        Incomplete = "incomplete",
        /// More bytes than the check accepts.
        TooLarge = "too_large",
        /// The answer's status is not an expected one.
        Status = "status",
        /// The target says that it is itself failing (HTTP 5xx, SMTP 4yz, SQLSTATE 57P03).
        ServerError = "server_error",
        /// The target wants credentials, or other ones (HTTP 401, SMTP 535, SQLSTATE 28P01).
        Unauthorized = "unauthorized",
        /// The target knows the credentials and denies access (HTTP 403, SQLSTATE 42501).
        Forbidden = "forbidden",
        /// The target asks for fewer requests or connections (HTTP 429, SMTP 421, SQLSTATE 53300).
        RateLimited = "rate_limited",
        /// The answer does not contain what the check expects.
        Mismatch = "mismatch",
        /// The answer was well, but came later than the check expects.
        Slow = "slow",
        /// The check's configuration is wrong.
        Invalid = "invalid",
        /// The check needs something that this prober does not support.
        Unsupported = "unsupported",
        /// The prober's machine forbids it (packet filter, missing capability).
        PermissionDenied = "permission_denied",
        /// The prober has no file descriptor left (`EMFILE`, `ENFILE`).
        DescriptorLimit = "descriptor_limit",
        /// The prober has no local address or port left (`EADDRNOTAVAIL`, `EADDRINUSE`).
        PortsExhausted = "ports_exhausted",
        /// The prober's kernel has no buffer left (`ENOBUFS`).
        BufferLimit = "buffer_limit",
        /// The prober has no memory left (`ENOMEM`).
        OutOfMemory = "out_of_memory",
        /// The prober's own network is down (`ENETDOWN`).
        NetworkDown = "network_down",
        /// The prober itself stalled, so that its deadlines mean nothing.
        Stalled = "stalled",
        /// The check was called off.
        Cancelled = "cancelled",
        /// The check panicked.
        Panicked = "panicked",
        /// None of the above: only the layer is known.
        Other = "other",
    }
}
