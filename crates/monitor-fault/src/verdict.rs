//! What a fault means to backoff and breaker.

use monitor_backoff::{Class, Disposition, Verdict};

use crate::{Blame, Category, Fault, Layer};

impl Fault {
    /// Returns what a failure streak or a circuit breaker should count.
    ///
    /// [`Verdict::Ignore`] if the prober itself is to blame (which includes a check that was
    /// called off), else [`Verdict::Failure`]: a breaker guards the target.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self.blame() {
            Blame::Prober => Verdict::Ignore,
            Blame::Target | Blame::Path => Verdict::Failure,
        }
    }

    /// Returns what to do with a call that failed like this, for monitor-backoff's retries.
    ///
    /// | Fault | Disposition |
    /// |---|---|
    /// | not [retryable](Self::is_retryable) | [`Permanent`](Disposition::Permanent) |
    /// | rate limit | throttled |
    /// | resource: the prober is out of something | local, which costs no budget |
    /// | at layer dns or connect: nothing was sent yet | connect, safe to repeat |
    /// | any other | transient |
    ///
    /// With what the other side [asks for](Self::retry_after), where it asks. *Safe to repeat* is
    /// as true as the stage that was given to [`classify`](Self::classify).
    ///
    /// ```
    /// use monitor_backoff::{Class, Disposition};
    /// use monitor_fault::{Fault, Layer, Reason};
    ///
    /// let refused = Fault::new(Layer::Connect, Reason::Refused);
    /// assert_eq!(refused.disposition(), Disposition::Retry(Class::Connect));
    /// assert_eq!(Fault::from_smtp_reply(535).disposition(), Disposition::Permanent);
    /// ```
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        if !self.is_retryable() {
            return Disposition::Permanent;
        }
        let class = match (self.category(), self.layer()) {
            (Category::RateLimit, _) => Class::Throttled,
            (Category::Resource, _) => Class::Local,
            (_, Layer::Dns | Layer::Connect) => Class::Connect,
            _ => Class::Transient,
        };
        match self.retry_after() {
            Some(asked) => Disposition::RetryAfter(class, asked),
            None => Disposition::Retry(class),
        }
    }
}
