//! The place of a job among the ready ones: one number, settled when it is put in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Ordering, Priority, When};

/// What one point of priority is worth in [`Ordering::Strict`]: five and a half centuries, more
/// than any two jobs are apart.
pub(crate) const STRICT_STEP_MS: i64 = 1 << 44;

/// By how much one job of a tenant with weight 1 puts back the tenant's next one.
const FAIR_COST_MS: i64 = 1000;

/// All that is stored of an [`Ordering`]: its key is `anchor_ms - priority * step_ms`, so that
/// nothing has to be rewritten while a job ages, and a new priority needs no history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) anchor_ms: i64,
    pub(crate) step_ms: i64,
}

impl Place {
    /// The place of a job that may run at `run_at_ms`. `fair_tag_ms` comes from [`fair`] and counts
    /// for [`Ordering::Fair`] alone.
    pub(crate) fn of(ordering: Ordering, run_at_ms: i64, fair_tag_ms: i64) -> Self {
        let (anchor_ms, step_ms) = match ordering {
            Ordering::Fifo => (run_at_ms, 0),
            Ordering::Strict => (run_at_ms, STRICT_STEP_MS),
            Ordering::Aged { step } => (run_at_ms, whole_ms(step).min(STRICT_STEP_MS)),
            Ordering::Deadline { unix_ms } => (unix_ms, 0),
            Ordering::Fair { .. } => (fair_tag_ms, 0),
        };
        Self { anchor_ms, step_ms }
    }

    /// The key of a job there with that *base* priority: the least is claimed first.
    pub(crate) fn key(self, base: Priority) -> i64 {
        let worth = self.step_ms.saturating_mul(i64::from(base.get()));
        self.anchor_ms.saturating_sub(worth)
    }
}

/// Start-time fair queueing: the tag of a tenant's next job, and what to keep as the tenant's
/// `finish` in that queue.
///
/// `least_ready` is the least sort key of all ready jobs of the queue; `highest_finish` the highest
/// kept finish of all its tenants; `own_finish` the tenant's. The queue's virtual time is the
/// first, or when nothing is ready the later of now and the second, so that an idle time is
/// nobody's debt.
pub(crate) fn fair(
    now_ms: i64,
    least_ready: Option<i64>,
    highest_finish: Option<i64>,
    own_finish: Option<i64>,
    weight: u16,
) -> (i64, i64) {
    let idle = highest_finish.unwrap_or(now_ms).max(now_ms);
    let virtual_ms = least_ready.unwrap_or(idle);
    let tag = own_finish.unwrap_or(virtual_ms).max(virtual_ms);
    let cost = (FAIR_COST_MS / i64::from(weight.max(1))).max(1);
    (tag, tag.saturating_add(cost))
}

/// How urgent a job is by itself and by its parents: what it passes on to its children.
///
/// `parents`: the base priorities of its parents, ended or not; none when it does not inherit.
pub(crate) fn base(own: Priority, parents: impl IntoIterator<Item = Priority>) -> Priority {
    parents.into_iter().fold(own, Priority::max)
}

/// Effective priority and sort key: the most urgent of itself and of whatever waits for it.
///
/// `dependents`: effective priority and sort key of the children over *open* edges that have not
/// ended and inherit.
pub(crate) fn effective(
    base: Priority,
    place: Place,
    dependents: impl IntoIterator<Item = (Priority, i64)>,
) -> (Priority, i64) {
    dependents.into_iter().fold(
        (base, place.key(base)),
        |(priority, key), (theirs, their_key)| (priority.max(theirs), key.min(their_key)),
    )
}

/// Whole milliseconds, as many as fit.
pub(crate) fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The other way round; less than nothing is nothing.
pub(crate) fn from_ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// When a job is to run that is put in now, both in unix milliseconds: never before that.
pub(crate) fn run_at_ms(when: When, now_ms: i64) -> i64 {
    match when {
        When::Now => now_ms,
        When::In(wait) => now_ms.saturating_add(whole_ms(wait)),
        When::At(at) => at.max(now_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(number: u8) -> Priority {
        Priority::new(number).unwrap()
    }

    fn key(ordering: Ordering, at: i64, number: u8) -> i64 {
        Place::of(ordering, at, at).key(priority(number))
    }

    /// JOB-20, JOB-21, JOB-49: each ordering against a table.
    #[test]
    fn each_ordering_orders_as_it_says() {
        assert!(key(Ordering::Fifo, 1, 0) < key(Ordering::Fifo, 2, 5));
        let centuries = 9_000_000_000_000;
        assert!(key(Ordering::Strict, centuries, 5) < key(Ordering::Strict, 0, 4));
        assert!(key(Ordering::Strict, 1, 4) < key(Ordering::Strict, 2, 4));
        let early = Ordering::Deadline { unix_ms: 5 };
        let late = Ordering::Deadline { unix_ms: 6 };
        assert!(key(early, 100, 0) < key(late, 0, 5));
    }

    /// JOB-38, L7: the low job is as urgent as a medium one (two points above) that comes 60 s
    /// later, and no job that comes more than five steps later is ever before it.
    #[test]
    fn a_waiting_job_ages_without_being_rewritten() {
        let aged = Ordering::default();
        assert_eq!(key(aged, 0, 1), key(aged, 60_000, 3));
        assert!(key(aged, 0, 0) < key(aged, 150_001, 5));
        assert!(key(aged, 0, 0) > key(aged, 149_999, 5));
    }

    /// JOB-49: a tenant that put in a hundred does not delay the one that puts in its first, and
    /// weights share.
    #[test]
    fn fair_queueing_shares_by_weight() {
        let (mut greedy, mut tags) = (None, Vec::new());
        for _ in 0..100 {
            let least = tags.iter().copied().min();
            let (tag, finish) = fair(1_000, least, greedy, greedy, 1);
            (greedy, _) = (Some(finish), tags.push(tag));
        }
        let (modest, _) = fair(1_000, tags.iter().copied().min(), greedy, None, 1);
        assert_eq!(tags.iter().filter(|tag| **tag < modest).count(), 0);
        let (tag, finish) = fair(0, Some(0), None, None, 4);
        assert_eq!((tag, finish), (0, 250));
        assert_eq!(fair(7, None, Some(9_000), Some(20), 1).0, 9_000);
    }

    /// Priorities and keys out of any range that validation lets through do not overflow.
    #[test]
    fn extremes_saturate() {
        let place = Place {
            anchor_ms: i64::MIN,
            step_ms: i64::MAX,
        };
        assert_eq!(place.key(Priority::MAX), i64::MIN);
        assert_eq!(whole_ms(Duration::MAX), i64::MAX);
    }
}
