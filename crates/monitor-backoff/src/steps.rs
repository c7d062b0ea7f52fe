//! A table of waits that needs no allocation.

use core::{fmt, time::Duration};

use crate::nanos::nanos;

/// A table of waits: entry 0 after the first failure, and the last entry for ever after.
///
/// It is kept in place, so that a policy can be copied and can be a constant. One that is empty,
/// has more than [`Steps::MAX`] entries or falls is refused when the policy is built.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use monitor_backoff::Steps;
///
/// const QUICK: Steps = Steps::new(&[Duration::from_secs(2), Duration::from_secs(5)]);
/// assert_eq!(QUICK.iter().last(), Some(Duration::from_secs(5)));
/// assert_eq!(Steps::from([2, 5].map(Duration::from_secs)), QUICK);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// In nanoseconds; zero from `given` on, so that equal tables are equal.
    waits: [u64; Steps::MAX],
    /// How many entries were given, which may be too many: the builder says so.
    given: usize,
}

impl Steps {
    /// The most entries of a table.
    pub const MAX: usize = 12;

    /// Returns the table with these entries.
    #[must_use]
    pub const fn new(steps: &[Duration]) -> Steps {
        let mut waits = [0; Steps::MAX];
        let mut index = 0;
        while index < steps.len() && index < Steps::MAX {
            waits[index] = nanos(steps[index]);
            index += 1;
        }
        let given = steps.len();
        Steps { waits, given }
    }

    /// Returns the entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Duration> {
        let kept = self.waits.into_iter().take(self.given);
        kept.map(Duration::from_nanos)
    }

    /// Returns how many entries were given.
    pub(crate) const fn given(&self) -> usize {
        self.given
    }

    /// Returns the entry after `failures` failures (at least 1), in nanoseconds.
    #[inline]
    pub(crate) const fn after(&self, failures: u32) -> u64 {
        let last = self.given.saturating_sub(1);
        let index = failures.saturating_sub(1) as usize;
        let index = if index < last { index } else { last };
        // Within the array: a table that is too long has not become a policy.
        if index < Steps::MAX {
            self.waits[index]
        } else {
            u64::MAX
        }
    }
}

impl<T: AsRef<[Duration]>> From<T> for Steps {
    fn from(steps: T) -> Steps {
        Steps::new(steps.as_ref())
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_repeats() {
        let steps = Steps::from([1, 2, 3].map(Duration::from_nanos));
        assert_eq!(
            [1, 2, 3, 4, u32::MAX].map(|failures| steps.after(failures)),
            [1, 2, 3, 3, 3]
        );
        let full = Steps::from([Duration::from_nanos(7); Steps::MAX]);
        assert_eq!(full.after(u32::MAX), 7);
    }

    #[test]
    fn too_many_are_counted_and_not_kept() {
        let steps = Steps::from([Duration::from_nanos(7); Steps::MAX + 1]);
        assert_eq!(
            (steps.given(), steps.iter().len()),
            (Steps::MAX + 1, Steps::MAX)
        );
    }
}
