//! What an SMTP reply says about a target.

use crate::{Fault, Layer, Reason};

impl Fault {
    /// Makes the fault of an SMTP reply code that a check does not expect.
    ///
    /// | Code | Reason | Category |
    /// |---|---|---|
    /// | 530, 534, 535, 538 | [`Unauthorized`](Reason::Unauthorized) | authentication |
    /// | 421 | [`RateLimited`](Reason::RateLimited) | rate limit |
    /// | 400..=499 | [`ServerError`](Reason::ServerError) | assertion, retryable |
    /// | any other | [`Status`](Reason::Status) | assertion |
    ///
    /// 421 closes the channel: the server takes no more connections, or is about to go. Either way
    /// it wants to be left alone for a while (RFC 5321, section 3.8).
    ///
    /// Any other code of the 400s is a transient failure of the server, also 454, the *temporary*
    /// failure to authenticate (RFC 5321, section 4.2.1; RFC 4954, section 6).
    #[must_use]
    pub fn from_smtp_reply(code: u16) -> Self {
        let reason = match code {
            530 | 534 | 535 | 538 => Reason::Unauthorized,
            421 => Reason::RateLimited,
            400..=499 => Reason::ServerError,
            _ => Reason::Status,
        };
        Self::new(Layer::Response, reason).with_detail(format!("SMTP reply {code}"))
    }
}
