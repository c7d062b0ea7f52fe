//! How long a worker may trust its own claim, by its own monotonic clock.

use std::time::Duration;

/// The lease as its holder sees it.
///
/// Others may take its jobs when its beats stand still for `lease` by *their* clocks, and they
/// cannot have begun to count before the last beat that reached the database was *sent*. So until
/// then plus `lease`, less a margin, nobody else has them, however the clocks of the machines stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    lease: Duration,
    /// When the last beat that was answered had been sent.
    sent: Duration,
}

impl Lease {
    pub(crate) const fn new(lease: Duration, sent: Duration) -> Self {
        Self { lease, sent }
    }

    /// How often to beat: five within a lease, so that four may be lost.
    pub(crate) fn beat_every(lease: Duration) -> Duration {
        lease / 5
    }

    /// A beat that was sent then has been answered. An answer that was overtaken changes nothing.
    pub(crate) fn answered(&mut self, sent: Duration) {
        self.sent = self.sent.max(sent);
    }

    /// When its holder must have stopped.
    pub(crate) fn stop_at(&self) -> Duration {
        self.sent + self.lease - self.lease / 10
    }

    /// What is left of it.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.stop_at().saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    /// JOB-35: a holder stops before anybody else may begin, counted from when it *sent* its last
    /// beat; an answer that comes late does not lengthen it.
    #[test]
    fn the_holder_stops_first() {
        let mut lease = Lease::new(S(10), S(100));
        assert_eq!(lease.left(S(100)), S(9));
        lease.answered(S(104));
        lease.answered(S(102));
        assert_eq!((lease.stop_at(), lease.left(S(120))), (S(113), S(0)));
        assert_eq!(Lease::beat_every(S(10)), S(2));
    }
}
