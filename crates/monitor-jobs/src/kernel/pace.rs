//! How many jobs a worker asks for at once, and when.

use std::time::Duration;

/// How long a few free slots wait for more: less than a claim takes, and no job waits longer for it.
const LINGER: Duration = Duration::from_millis(2);

/// Claims by halves of the capacity: while one half is claimed, the other runs and is settled. A few
/// free slots wait a moment for more, since a claim of one costs as much as a claim of hundreds.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Since when there were free slots, but not enough.
    since: Option<Duration>,
}

/// What to do with the free slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// There are none.
    Nothing,
    /// Look again after that long.
    Later(Duration),
    /// Claim so many.
    Now(usize),
}

impl Pace {
    pub(crate) fn ask(&mut self, now: Duration, free: usize, capacity: usize) -> Ask {
        let half = capacity.div_ceil(2).max(1);
        if free == 0 {
            self.since = None;
            return Ask::Nothing;
        }
        let waited = now.saturating_sub(*self.since.get_or_insert(now));
        if free < half && waited < LINGER {
            return Ask::Later(LINGER - waited);
        }
        self.since = None;
        Ask::Now(free.min(half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// JOB-30, JOB-48: halves at once, less after a moment, and never nothing for ever.
    #[test]
    fn halves_at_once_and_few_after_a_moment() {
        let mut pace = Pace::default();
        assert_eq!(pace.ask(MS(0), 500, 500), Ask::Now(250));
        assert_eq!(pace.ask(MS(0), 250, 500), Ask::Now(250));
        assert_eq!(pace.ask(MS(0), 0, 500), Ask::Nothing);
        assert_eq!(pace.ask(MS(5), 3, 500), Ask::Later(MS(2)));
        assert_eq!(pace.ask(MS(6), 9, 500), Ask::Later(MS(1)));
        assert_eq!(pace.ask(MS(7), 9, 500), Ask::Now(9));
        assert_eq!(pace.ask(MS(8), 1, 500), Ask::Later(MS(2)));
        assert_eq!(Pace::default().ask(MS(0), 1, 1), Ask::Now(1));
        assert_eq!(Pace::default().ask(MS(0), 5, 5), Ask::Now(3));
    }
}
