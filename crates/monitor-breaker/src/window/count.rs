//! The last so many calls, exactly: a ring of bits and the number of those that are set.

use crate::window::{Counts, Record};

/// Two bits for each of the last `capacity` calls. Every call in the window counts, and a call
/// counts until exactly `capacity` others came after it.
///
/// INV-BREAKER-6: the counts are those of the bits in the ring.
#[derive(Debug)]
pub(crate) struct CountWindow {
    capacity: usize,
    /// Where the next call goes; once the ring is full, the oldest call is there.
    next: usize,
    counts: Counts,
    failed: Bits,
    slow: Bits,
}

#[derive(Debug)]
struct Bits(Box<[u64]>);

impl CountWindow {
    pub(crate) fn new(capacity: u32) -> CountWindow {
        let capacity = capacity.max(1) as usize;
        CountWindow {
            capacity,
            next: 0,
            counts: Counts::default(),
            failed: Bits::new(capacity),
            slow: Bits::new(capacity),
        }
    }

    /// Takes in one call, and drops the one that leaves the window.
    pub(crate) fn push(&mut self, call: Record) {
        let was = (
            self.failed.replace(self.next, call.failed),
            self.slow.replace(self.next, call.slow),
        );
        // Before the ring is full its bits are 0, and what leaves it counts for nothing.
        let counts = &mut self.counts;
        counts.calls = (counts.calls + 1).min(self.capacity as u64);
        counts.failures = counts.failures + u64::from(call.failed) - u64::from(was.0);
        counts.slow_calls = counts.slow_calls + u64::from(call.slow) - u64::from(was.1);
        self.next = (self.next + 1) % self.capacity;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn clear(&mut self) {
        self.next = 0;
        self.counts = Counts::default();
        self.failed.0.fill(0);
        self.slow.0.fill(0);
    }
}

impl Bits {
    fn new(len: usize) -> Bits {
        Bits(vec![0; len.div_ceil(64)].into_boxed_slice())
    }

    fn replace(&mut self, index: usize, bit: bool) -> bool {
        let (word, mask) = (&mut self.0[index / 64], 1_u64 << (index % 64));
        let was = *word & mask != 0;
        *word = if bit { *word | mask } else { *word & !mask };
        was
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// ROB-13: INV-BREAKER-6: at any size, one and the word's edges too, the counts are those
        /// of the last calls.
        #[test]
        fn inv_breaker_6_the_counts_are_those_of_the_last_calls(
            capacity in prop_oneof![1_u32..5, 62_u32..67, 100_u32..200],
            calls in prop::collection::vec((any::<bool>(), any::<bool>()), 0..500),
            cleared_at in any::<prop::sample::Index>(),
        ) {
            let mut window = CountWindow::new(capacity);
            let mut last = VecDeque::new();
            let cleared_at = cleared_at.index(calls.len() + 1);
            for (index, (failed, slow)) in calls.into_iter().enumerate() {
                if index == cleared_at {
                    window.clear();
                    last.clear();
                }
                window.push(Record { failed, slow });
                last.push_back((failed, slow));
                if last.len() > capacity as usize {
                    last.pop_front();
                }
                let counts = window.counts();
                prop_assert_eq!(counts.calls, last.len() as u64, "INV-BREAKER-6");
                let failures = last.iter().filter(|call| call.0).count() as u64;
                let slow_calls = last.iter().filter(|call| call.1).count() as u64;
                prop_assert_eq!(counts.failures, failures, "INV-BREAKER-6");
                prop_assert_eq!(counts.slow_calls, slow_calls, "INV-BREAKER-6");
            }
        }
    }
}
