//! A counter that knows which tick it counts.

use crate::sync::{AtomicU64, Ordering, TICKS};

/// 32 bits of stamp above 32 bits of count, which saturates. Read and written together: a count
/// never lands in another tick than its own.
#[derive(Debug)]
pub(crate) struct Cell(AtomicU64);

/// A tick, of which 31 bits are kept: a cell that nobody touched for exactly 2^31 ticks (24 days
/// at the shortest, 4 years for a span of 1 s) would be taken for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

/// What a cell held when it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    Counted,
    /// The cell counts a later tick already: this one has left the window.
    Late,
    /// Not of the current epoch.
    Stale,
}

const STAMP_BITS: u32 = (1 << 31) - 1;
/// Marks a cleared cell, whose count is then the low half of the epoch that cleared it.
const CLEARED: u64 = 1 << 63;

impl Cell {
    /// Adds one to the count of `stamp`, and begins it if the cell counts an older tick.
    ///
    /// INV-BREAKER-7: the cell is read before the epoch is. If an epoch ended before the reading,
    /// `is_current` sees that; if after it, the clearing has changed the cell and the swap fails.
    /// Unless, between this reading and the swap, as many calls of the new epoch were counted in
    /// the same tick as there had been of the old one: 32 bits of stamp have no room for an epoch.
    #[inline]
    pub(crate) fn add(&self, stamp: Stamp, is_current: &impl Fn() -> bool) -> Added {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if !is_current() {
                return Added::Stale;
            }
            let next = match Reading(seen).stamp() {
                Some(current) if current == stamp => {
                    if Reading(seen).count() == u64::from(u32::MAX) {
                        return Added::Counted;
                    }
                    seen + 1
                }
                Some(current) if current.is_ahead_of(stamp) => return Added::Late,
                _ => u64::from(stamp.0) << 32 | 1,
            };
            let swapped =
                self.0
                    .compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire);
            match swapped {
                Ok(_) => return Added::Counted,
                Err(now) => seen = now,
            }
        }
    }

    pub(crate) fn read(&self) -> Reading {
        Reading(self.0.load(Ordering::Acquire))
    }

    /// A swap rather than a store: it comes after whatever add it races with, and the models know.
    pub(crate) fn clear(&self, epoch: u64) {
        let cleared = CLEARED | epoch & u64::from(u32::MAX);
        self.0.swap(cleared, Ordering::AcqRel);
    }
}

impl Default for Cell {
    fn default() -> Self {
        Cell(AtomicU64::new(CLEARED))
    }
}

impl Stamp {
    pub(crate) const fn of_tick(tick: u64) -> Stamp {
        Stamp(tick as u32 & STAMP_BITS)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize % TICKS
    }

    /// Returns how many ticks ago this one was. One that is yet to come was very long ago.
    pub(crate) const fn age_at(self, now: Stamp) -> usize {
        (now.0.wrapping_sub(self.0) & STAMP_BITS) as usize
    }

    /// Returns whether this tick is later than `other`, by one or two turns of the ring. One that
    /// is still further ahead came from a clock that jumped: it must not keep the cell for ever.
    pub(crate) const fn is_ahead_of(self, other: Stamp) -> bool {
        let ahead = other.age_at(self);
        ahead > 0 && ahead <= 2 * TICKS
    }
}

impl Reading {
    pub(crate) const fn stamp(self) -> Option<Stamp> {
        if self.0 & CLEARED == 0 {
            Some(Stamp((self.0 >> 32) as u32))
        } else {
            None
        }
    }

    pub(crate) const fn count(self) -> u64 {
        self.0 & u32::MAX as u64
    }

    /// Returns the count if it is that of `stamp`.
    pub(crate) fn count_if(self, stamp: Stamp) -> u64 {
        if self.stamp() == Some(stamp) {
            self.count()
        } else {
            0
        }
    }
}
