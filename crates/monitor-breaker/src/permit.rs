//! The right to make one call, which brings one verdict or none.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use monitor_backoff::Verdict;

use crate::{Breaker, machine::Ticket};

/// The breaker's clock never runs backwards, so zero stands for the latest time it was told.
const LATEST: Duration = Duration::ZERO;

/// A permit that borrows its breaker.
pub type Permit<'a> = PermitOf<&'a Breaker>;

/// A permit that shares its breaker, and so may cross awaits in a spawned task.
pub type OwnedPermit = PermitOf<Arc<Breaker>>;

/// The right to make one call. It cannot be copied or forged, and brings at most one verdict.
///
/// A verdict counts only while the breaker is in the epoch that admitted the call. If the breaker
/// has changed its state since, the verdict is dropped: it says nothing about the present.
///
/// # Cancel safety
/// Dropping a permit without a verdict loses nothing: a trial's place is free again, and nothing is
/// counted. Dropped by a thread that panics it counts as a failure, dated by the latest time that
/// the breaker was told, because a drop is told none. A permit that is leaked keeps its trial's
/// place until the trial deadline.
#[must_use = "a permit dropped without a verdict counts nothing"]
pub struct PermitOf<B: Deref<Target = Breaker>> {
    breaker: B,
    ticket: Ticket,
    admitted_at: Duration,
    /// Whether the verdict is in.
    settled: bool,
}

impl<B: Deref<Target = Breaker>> PermitOf<B> {
    #[inline]
    pub(crate) fn new(breaker: B, ticket: Ticket, admitted_at: Duration) -> Self {
        PermitOf {
            breaker,
            ticket,
            admitted_at,
            settled: false,
        }
    }

    /// The target answered well.
    #[inline]
    pub fn success(self, now: Duration) {
        self.record(Verdict::Success, now);
    }

    /// The target failed.
    #[inline]
    pub fn failure(self, now: Duration) {
        self.record(Verdict::Failure, now);
    }

    /// The call says nothing about the target: it counts as neither, and a trial's place is free
    /// again. The same as dropping the permit, but on purpose and never as a panic.
    #[inline]
    pub fn ignore(self) {
        self.record(Verdict::Ignore, LATEST);
    }

    /// Brings the verdict of the call, which ended at `now`.
    #[inline]
    pub fn record(mut self, verdict: Verdict, now: Duration) {
        self.settled = true;
        self.breaker.settle(self.ticket, verdict, now);
    }

    /// Returns the epoch that admitted the call.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.ticket.epoch
    }

    /// Returns when the call was admitted.
    #[must_use]
    pub fn admitted_at(&self) -> Duration {
        self.admitted_at
    }

    /// Returns whether the call is one of the trials of a half-open breaker.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.ticket.trial.is_some()
    }
}

impl<B: Deref<Target = Breaker>> Drop for PermitOf<B> {
    #[inline]
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let panicking = std::thread::panicking();
        let verdict = if panicking {
            Verdict::Failure
        } else {
            Verdict::Ignore
        };
        self.breaker.settle(self.ticket, verdict, LATEST);
    }
}

impl<B: Deref<Target = Breaker>> fmt::Debug for PermitOf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("epoch", &self.epoch())
            .field("trial", &self.is_trial())
            .field("admitted_at", &self.admitted_at)
            .finish_non_exhaustive()
    }
}
