//! What an HTTP status says about a target.

use crate::{Fault, Layer, Reason};

impl Fault {
    /// Makes the fault of an HTTP status that a check does not expect.
    ///
    /// | Status | Reason | Category |
    /// |---|---|---|
    /// | 401, 407 | [`Unauthorized`](Reason::Unauthorized) | authentication |
    /// | 403 | [`Forbidden`](Reason::Forbidden) | authentication |
    /// | 429 | [`RateLimited`](Reason::RateLimited) | rate limit |
    /// | 500..=599 | [`ServerError`](Reason::ServerError) | assertion, retryable |
    /// | any other | [`Status`](Reason::Status) | assertion |
    ///
    /// What is expected is the caller's business: 200 is as good a fault as any if a check wants
    /// 301.
    #[must_use]
    pub fn from_http_status(status: u16) -> Self {
        let reason = match status {
            401 | 407 => Reason::Unauthorized,
            403 => Reason::Forbidden,
            429 => Reason::RateLimited,
            500..=599 => Reason::ServerError,
            _ => Reason::Status,
        };
        Self::new(Layer::Response, reason).with_detail(format!("HTTP status {status}"))
    }
}
