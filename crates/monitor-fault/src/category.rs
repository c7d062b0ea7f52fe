//! The kinds of failure, and what older sets of kinds called them.

use crate::name::named;
use crate::{Layer, Reason};

named! {
    /// The closed set of kinds that policies, thresholds and metrics are keyed by.
    ///
    /// A [`Fault`](crate::Fault) derives it from its layer and reason.
    "category", Category {
        /// The way to the target: refused, reset, closed, unreachable.
        Network = "network",
        /// The target's name could not be resolved.
        Dns = "dns",
        /// TLS failed for another reason than the certificate.
        Tls = "tls",
        /// The target's certificate is not acceptable.
        Certificate = "certificate",
        /// The target does not accept the credentials.
        Authentication = "authentication",
        /// The check cannot work as configured.
        Configuration = "configuration",
        /// The target's bytes are not the protocol's.
        Protocol = "protocol",
        /// The target answered, but not with what is expected.
        Assertion = "assertion",
        /// The target did not answer in time.
        Timeout = "timeout",
        /// The target asks for fewer requests.
        RateLimit = "rate_limit",
        /// The prober's machine is out of something.
        Resource = "resource",
        /// The check was called off.
        Cancelled = "cancelled",
        /// The prober's code failed.
        Internal = "internal",
    }
}

named! {
    /// Five coarse kinds, for thresholds and dashboards that need no more.
    ///
    /// See [`Category::coarse`].
    "coarse category", CoarseCategory {
        /// Connections.
        Network = "network",
        /// Credentials.
        Authentication = "authentication",
        /// Configuration.
        Configuration = "configuration",
        /// Names.
        Dns = "dns",
        /// Certificates.
        Certificate = "certificate",
    }
}

impl Category {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// The place in [`ALL`](Self::ALL).
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Returns the one of five coarse kinds that this category belongs to.
    ///
    /// `None` for what the coarse scheme has no word for: what the target answered (protocol,
    /// assertion), and the prober's own affairs (resource, cancelled, internal).
    #[must_use]
    pub const fn coarse(self) -> Option<CoarseCategory> {
        match self {
            Self::Network | Self::Tls | Self::Timeout | Self::RateLimit => {
                Some(CoarseCategory::Network)
            }
            Self::Dns => Some(CoarseCategory::Dns),
            Self::Certificate => Some(CoarseCategory::Certificate),
            Self::Authentication => Some(CoarseCategory::Authentication),
            Self::Configuration => Some(CoarseCategory::Configuration),
            Self::Protocol
            | Self::Assertion
            | Self::Resource
            | Self::Cancelled
            | Self::Internal => None,
        }
    }

    /// Returns the label that dashboards of older e-mail probers know it by: one of `network`,
    /// `dns`, `auth`, `cert`, `timeout`, `check_failed`, `unknown`.
    ///
    /// Their eighth label, `circuit_breaker`, has no counterpart: a breaker that is open writes no
    /// failure.
    #[must_use]
    pub const fn legacy_label(self) -> &'static str {
        match self {
            Self::Network | Self::Tls => "network",
            Self::Dns => "dns",
            Self::Certificate => "cert",
            Self::Authentication => "auth",
            Self::Timeout => "timeout",
            Self::Protocol | Self::Assertion | Self::RateLimit => "check_failed",
            Self::Configuration | Self::Resource | Self::Cancelled | Self::Internal => "unknown",
        }
    }

    /// The category of a reason that was met at a layer.
    ///
    /// Most reasons decide alone. While a name is resolved, whatever happens to the resolver is
    /// a DNS failure; a reason that says nothing leaves the decision to the layer.
    pub(crate) const fn of(layer: Layer, reason: Reason) -> Self {
        use Reason as R;
        match (reason, layer) {
            (R::DescriptorLimit | R::PortsExhausted | R::BufferLimit, _) => Self::Resource,
            (R::OutOfMemory | R::NetworkDown | R::Stalled, _) => Self::Resource,
            (R::Cancelled, _) => Self::Cancelled,
            (R::Panicked, _) => Self::Internal,
            (R::Invalid | R::Unsupported | R::PermissionDenied, _) => Self::Configuration,
            (R::Nxdomain | R::Servfail | R::NoRecords | R::LookupRefused, _) => Self::Dns,
            (_, Layer::Dns) => Self::Dns,
            (R::CertExpired | R::CertNotYetValid | R::CertUntrusted, _) => Self::Certificate,
            (R::CertRevoked | R::CertInvalid | R::NameMismatch, _) => Self::Certificate,
            (R::Unauthorized | R::Forbidden, _) => Self::Authentication,
            (R::RateLimited, _) => Self::RateLimit,
            (R::Status | R::ServerError | R::Mismatch | R::Slow, _) => Self::Assertion,
            (R::Timeout, _) => Self::Timeout,
            (R::Refused | R::Reset | R::Closed | R::Unreachable, _) => Self::Network,
            (R::Handshake, _) => Self::Tls,
            (R::Malformed | R::Incomplete, Layer::Tls) => Self::Tls,
            (R::Malformed | R::Incomplete | R::TooLarge, _) => Self::Protocol,
            (R::Other, layer) => Self::of_layer(layer),
        }
    }

    const fn of_layer(layer: Layer) -> Self {
        match layer {
            Layer::Config => Self::Configuration,
            Layer::Local => Self::Resource,
            Layer::Dns => Self::Dns,
            Layer::Connect => Self::Network,
            Layer::Tls => Self::Tls,
            Layer::Protocol | Layer::Response => Self::Protocol,
            Layer::Assertion | Layer::Process => Self::Assertion,
        }
    }
}
