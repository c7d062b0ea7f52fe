//! What a fault means to backoff and breaker.

use monitor_backoff::Verdict;

use crate::{Blame, Fault};

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
}
