//! The fault itself: layer, reason and detail, and all that follows from them.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::{Blame, Category, Layer, Reason, classify, text};

/// The longest detail that a [`Fault`] keeps, in bytes.
pub const MAX_DETAIL: usize = 512;

/// One failure, classified: where, what, and in whose court it is.
///
/// A fault is its layer and its reason, with an optional detail for people. Category, blame and
/// retryability are derived from layer and reason, so a fault that was stored as two names comes
/// back the same.
///
/// ```
/// use monitor_fault::{Blame, Category, Fault, Layer, Reason};
///
/// let fault = Fault::new(Layer::Connect, Reason::Refused).with_detail("127.0.0.1:9");
/// assert_eq!(fault.category(), Category::Network);
/// assert_eq!(fault.blame(), Blame::Target);
/// assert!(fault.is_retryable());
/// assert_eq!(fault.to_string(), "connect: refused: 127.0.0.1:9");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    layer: Layer,
    reason: Reason,
    detail: Option<Box<str>>,
    retry_after: Option<Duration>,
}

impl Fault {
    /// Makes a fault without a detail.
    #[must_use]
    pub const fn new(layer: Layer, reason: Reason) -> Self {
        Self {
            layer,
            reason,
            detail: None,
            retry_after: None,
        }
    }

    /// Classifies `error`, which happened while a check was at `stage`.
    ///
    /// Follows the error's chain of sources and goes by types and codes only, never by text. The
    /// most specific finding wins: a fault found in the chain is taken as it is; else the
    /// innermost error that is recognised decides; else the fault is `stage` with
    /// [`Reason::Other`]. The layer is `stage`, unless the error itself tells better. The detail
    /// is the text of the whole chain.
    ///
    /// ```
    /// use std::io;
    /// use monitor_fault::{Blame, Fault, Layer, Reason};
    ///
    /// let error = io::Error::from_raw_os_error(24); // EMFILE
    /// let fault = Fault::classify(&error, Layer::Connect);
    /// assert_eq!((fault.layer(), fault.reason()), (Layer::Local, Reason::DescriptorLimit));
    /// assert_eq!(fault.blame(), Blame::Prober);
    /// ```
    #[must_use]
    pub fn classify(error: &(dyn Error + 'static), stage: Layer) -> Self {
        classify::classify(error, stage, &|_| None)
    }

    /// Classifies `error` as [`classify`](Self::classify) does, with a rule of the caller's for
    /// error types that this crate does not know.
    ///
    /// The rule sees every link of the chain, outermost first, and comes before the rules of this
    /// crate; among the links the innermost finding still decides. A detail that it sets stands
    /// for what the link says. A rule that makes the prober guilty of what a target sent breaks
    /// INV-FAULT-1: go by types and codes there too.
    ///
    /// ```
    /// use std::net::AddrParseError;
    /// use monitor_fault::{Category, Fault, Layer, Reason};
    ///
    /// let error = "300.1.1.1".parse::<std::net::IpAddr>().unwrap_err();
    /// let fault = Fault::classify_with(&error, Layer::Config, |link| {
    ///     let is_address = link.is::<AddrParseError>();
    ///     is_address.then(|| Fault::new(Layer::Config, Reason::Invalid))
    /// });
    /// assert_eq!(fault.category(), Category::Configuration);
    /// assert_eq!(fault.detail(), Some("invalid IP address syntax"));
    /// ```
    #[must_use]
    pub fn classify_with(
        error: &(dyn Error + 'static),
        stage: Layer,
        rule: impl Fn(&(dyn Error + 'static)) -> Option<Self>,
    ) -> Self {
        classify::classify(error, stage, &rule)
    }

    /// Replaces the detail.
    ///
    /// Control characters and invisible formatting become single spaces and the text is cut to
    /// [`MAX_DETAIL`] bytes on a character boundary; nothing left means no detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        let detail = text::clean(&detail.into(), MAX_DETAIL);
        self.detail = (!detail.is_empty()).then(|| detail.into_boxed_str());
        self
    }

    /// Sets how long the other side asks to wait: a negative TTL of DNS, an HTTP `Retry-After`.
    #[must_use]
    pub const fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Returns how far the check had come.
    #[must_use]
    pub const fn layer(&self) -> Layer {
        self.layer
    }

    /// Returns what went wrong.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the text for people, at most [`MAX_DETAIL`] bytes without control characters.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Returns how long the other side asks to wait, if it does.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the kind that policies and metrics are keyed by.
    #[must_use]
    pub const fn category(&self) -> Category {
        Category::of(self.layer, self.reason)
    }

    /// Returns whose fault it most probably is.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match (self.category(), self.reason) {
            (Category::Configuration | Category::Resource, _) => Blame::Prober,
            (Category::Cancelled | Category::Internal, _) => Blame::Prober,
            (Category::Dns, Reason::Nxdomain | Reason::NoRecords) => Blame::Target,
            (Category::Dns, _) | (_, Reason::Unreachable) => Blame::Path,
            (Category::Timeout, _) if matches!(self.layer, Layer::Connect) => Blame::Path,
            _ => Blame::Target,
        }
    }

    /// Says whether the same check, unchanged, may well succeed soon.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self.category() {
            Category::Network | Category::Tls | Category::Protocol | Category::Timeout => true,
            Category::RateLimit | Category::Resource | Category::Internal => true,
            Category::Dns => !matches!(self.reason, Reason::Nxdomain | Reason::NoRecords),
            Category::Assertion => !matches!(self.reason, Reason::Status),
            Category::Certificate | Category::Authentication => false,
            Category::Configuration | Category::Cancelled => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer, self.reason)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl Error for Fault {}
