//! How much memory a monitor's work holds, as those say who hold it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many bytes the work of one monitor holds, now and at most so far. Clones are handles to the
/// same account.
///
/// An allocator cannot say whose its bytes are; whoever makes a buffer can. So what is not said is
/// not in here: it is what the checks of a monitor keep for themselves, and no measure of the
/// process.
///
/// ```
/// use monitor_model::Footprint;
///
/// let footprint = Footprint::default();
/// let mut body = footprint.hold(100);
/// body.set(4000);
/// assert_eq!((footprint.held(), footprint.most()), (4000, 4000));
/// drop(body);
/// assert_eq!((footprint.held(), footprint.most()), (0, 4000));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Footprint(Arc<Account>);

#[derive(Debug, Default)]
struct Account {
    held: AtomicUsize,
    most: AtomicUsize,
}

impl Footprint {
    /// Accounts for so many bytes until what it returns is dropped: with the buffer itself, also
    /// where a check is cut off.
    pub fn hold(&self, bytes: usize) -> Held {
        let mut held = Held {
            footprint: self.clone(),
            bytes: 0,
        };
        held.set(bytes);
        held
    }

    /// How many bytes are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Relaxed)
    }

    /// How many were held at once so far, at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.0.most.load(Relaxed)
    }
}

/// Bytes that are accounted for as long as this lives.
#[derive(Debug)]
#[must_use = "dropped, it accounts for nothing"]
pub struct Held {
    footprint: Footprint,
    bytes: usize,
}

impl Held {
    /// It is so many bytes from now on.
    pub fn set(&mut self, bytes: usize) {
        let Account { held, most } = &*self.footprint.0;
        let before = std::mem::replace(&mut self.bytes, bytes);
        // One that grows adds the difference, one that shrinks takes it: no sum is ever below zero.
        let now = match bytes.checked_sub(before) {
            Some(more) => held.fetch_add(more, Relaxed).wrapping_add(more),
            None => held.fetch_sub(before - bytes, Relaxed),
        };
        most.fetch_max(now, Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// ROB-75: what is held is the sum of all that is alive, and the most is the highest such
        /// sum, whatever comes and goes.
        #[test]
        fn the_account_is_the_sum(steps in prop::collection::vec((0usize..4, 0usize..10_000), 1..60)) {
            let footprint = Footprint::default();
            let mut alive: [Option<(Held, usize)>; 4] = Default::default();
            let mut most = 0;
            for (place, bytes) in steps {
                match &mut alive[place] {
                    Some((held, said)) if bytes % 3 != 0 => {
                        held.set(bytes);
                        *said = bytes;
                    }
                    Some(_) => alive[place] = None,
                    free => *free = Some((footprint.hold(bytes), bytes)),
                }
                let sum = alive.iter().flatten().map(|(_, bytes)| bytes).sum();
                most = most.max(sum);
                prop_assert_eq!((footprint.held(), footprint.most()), (sum, most));
            }
            drop(alive);
            prop_assert_eq!(footprint.held(), 0);
        }
    }
}
