//! When and how often to connect: one limit and one back-off for the whole pool.

use monitor_backoff::Policy;
use rand::Rng;

use super::{Span, Tick};

/// What the user's policy takes for the normal interval.
const INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// Decides how many attempts to connect may run.
#[derive(Debug)]
pub(crate) struct Governor<E> {
    policy: Policy,
    limit: usize,
    /// Consecutive failures. Attempts that ran side by side and failed together count once.
    failures: u32,
    /// Distinguishes attempts started before the last failure from those after it.
    round: u64,
    /// Until then nothing is tried.
    retry_at: Tick,
    permanent: bool,
    last_error: Option<E>,
}

impl<E: Clone> Governor<E> {
    pub(crate) fn new(policy: Policy, limit: usize) -> Self {
        Self {
            policy,
            limit,
            failures: 0,
            round: 0,
            retry_at: Tick(0),
            permanent: false,
            last_error: None,
        }
    }

    /// How many attempts may run side by side. After a failure it is one: a trial.
    pub(crate) fn limit(&self) -> usize {
        if self.failures > 0 { 1 } else { self.limit }
    }

    /// When connecting may go on, if it has to wait.
    pub(crate) fn waits_until(&self, now: Tick) -> Option<Tick> {
        (now < self.retry_at).then_some(self.retry_at)
    }

    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn last_error(&self) -> Option<&E> {
        self.last_error.as_ref()
    }

    /// The error for who comes while it is no use to wait.
    pub(crate) fn hopeless(&self, now: Tick) -> Option<&E> {
        let waits = self.permanent && now < self.retry_at;
        waits.then_some(self.last_error.as_ref()).flatten()
    }

    /// An attempt succeeded: the back-off is over. Returns the error that is now history.
    pub(crate) fn succeeded(&mut self) -> Option<E> {
        self.failures = 0;
        self.retry_at = Tick(0);
        self.permanent = false;
        self.last_error.take()
    }

    /// An attempt that began in `round` failed. Returns the error that this one replaces.
    pub(crate) fn failed(
        &mut self,
        round: u64,
        error: E,
        permanent: bool,
        now: Tick,
        rng: &mut impl Rng,
    ) -> Option<E> {
        if round == self.round {
            self.round += 1;
            self.failures = self.failures.saturating_add(1);
            let delay = self.policy.delay(self.failures, INTERVAL, rng);
            self.retry_at = now.after(Span::from(delay));
        }
        self.permanent = permanent;
        self.last_error.replace(error)
    }
}
