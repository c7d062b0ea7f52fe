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
/// A permit that is dropped without a verdict was abandoned: see [`abandon`](PermitOf::abandon).
/// Dropped by a thread that panics it counts as a failure. A drop is told no time, so it goes by
/// the latest that the breaker was told; [`Caller`](crate::Caller) reads its clock instead. A
/// permit that is leaked keeps its trial's place until the trial deadline.
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
    /// again. As dropping the permit, but on purpose and never as a panic.
    #[inline]
    pub fn ignore(self) {
        self.record(Verdict::Ignore, LATEST);
    }

    /// The call was never made, because something on this side refused it: a limiter, a full pool,
    /// another breaker. Never counts, however long that took.
    #[inline]
    pub fn local_reject(self) {
        self.ignore();
    }

    /// The caller gave up before there was an answer. A failure if that took at least the
    /// slow-call threshold, which is how a timeout looks from here; otherwise it counts as
    /// nothing, and a trial's place is free again.
    #[inline]
    pub fn abandon(mut self, now: Duration) {
        self.settle_abandoned(|| now);
    }

    /// Brings the verdict of the call, which ended at `now`.
    #[inline]
    pub fn record(mut self, verdict: Verdict, now: Duration) {
        self.settle(verdict, || now);
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

    /// Returns whether the verdict will count at all: not if the breaker is disabled, or is a
    /// shadow that would have refused the call.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.ticket != Ticket::UNCOUNTED
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// As [`record`](PermitOf::record), reading the clock only if the time matters.
    ///
    /// The breaker is handed copies, never the permit: so the compiler can keep it in registers.
    #[inline]
    pub(crate) fn settle(&mut self, verdict: Verdict, now: impl FnOnce() -> Duration) {
        self.settled = true;
        if verdict == Verdict::Success && self.breaker.is_clean_in(self.ticket.epoch) {
            return;
        }
        self.breaker
            .end(self.ticket, self.admitted_at, verdict, now());
    }

    /// As [`abandon`](PermitOf::abandon), unless the verdict is in.
    #[inline]
    pub(crate) fn settle_abandoned(&mut self, now: impl FnOnce() -> Duration) {
        if !self.settled {
            self.settled = true;
            self.breaker.give_up(self.ticket, self.admitted_at, now());
        }
    }
}

impl<'a> Permit<'a> {
    pub(crate) fn breaker(&self) -> &'a Breaker {
        self.breaker
    }
}

impl<B: Deref<Target = Breaker>> Drop for PermitOf<B> {
    #[inline]
    fn drop(&mut self) {
        if !self.settled {
            self.breaker.give_up_untold(self.ticket, self.admitted_at);
        }
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
