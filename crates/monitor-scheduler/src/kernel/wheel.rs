//! A hierarchical timing wheel: one timer for each small number, set, moved and removed in
//! constant time.
//!
//! # Source
//!
//! G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 6, with
//! the level of a timer taken from the highest bit in which its time differs from now, as in the
//! timers of the Linux kernel and of tokio. Eleven levels of 64 slots cover all 64 bits, so no
//! timer is too far ahead and nothing wraps around.

use super::tick::Tick;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 11;
const NOBODY: u32 = u32::MAX;
const NOWHERE: u16 = u16::MAX;

/// The timers of the numbers from zero up, at most one each.
pub(crate) struct Wheel {
    /// All timers before this tick have fired.
    now: u64,
    /// One bit for each slot of a level that holds a timer.
    occupied: [u64; LEVELS],
    /// The first timer of each slot, level by level.
    heads: Vec<u32>,
    timers: Vec<Timer>,
}

/// The timer of one number, in the list of its slot. 24 bytes. The first of a list has the last
/// one before it, and nobody comes after that.
#[derive(Clone, Copy)]
struct Timer {
    at: u64,
    next: u32,
    prev: u32,
    /// Index into `heads`, or `NOWHERE` while not set.
    place: u16,
}

const UNSET: Timer = Timer {
    at: 0,
    next: NOBODY,
    prev: NOBODY,
    place: NOWHERE,
};

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            occupied: [0; LEVELS],
            heads: vec![NOBODY; LEVELS * SLOTS],
            timers: Vec::new(),
        }
    }

    /// Sets the timer of a number, also if it was set already. A time that has passed means now.
    pub(crate) fn set(&mut self, number: u32, at: Tick) {
        self.clear(number);
        let index = number as usize;
        if index >= self.timers.len() {
            self.timers.resize(index + 1, UNSET);
        }
        self.timers[index].at = at.0.max(self.now);
        self.link(number);
    }

    /// Unsets the timer of a number. Does nothing if it is not set.
    pub(crate) fn clear(&mut self, number: u32) {
        let Some(timer) = self.timers.get_mut(number as usize) else {
            return;
        };
        let Timer {
            next, prev, place, ..
        } = std::mem::replace(timer, UNSET);
        if place == NOWHERE {
            return;
        }
        let place = usize::from(place);
        let head = self.heads[place];
        if head != number {
            self.timers[prev as usize].next = next;
            let after = if next == NOBODY { head } else { next };
            self.timers[after as usize].prev = prev;
            return;
        }
        self.heads[place] = next;
        if next == NOBODY {
            self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        } else {
            self.timers[next as usize].prev = prev;
        }
    }

    /// Whether the timer of a number is set.
    pub(crate) fn is_set(&self, number: u32) -> bool {
        self.timers
            .get(number as usize)
            .is_some_and(|timer| timer.place != NOWHERE)
    }

    /// The tick before which no timer fires, or none if no timer is set. A timer far ahead is
    /// announced for a tick before its own, at most once per level.
    pub(crate) fn next(&self) -> Option<Tick> {
        self.first().map(|(_, at)| Tick(at))
    }

    /// Unsets all timers up to `now` and appends their numbers to `fired`: in the order of their
    /// ticks, and for one tick in the order in which they were set.
    pub(crate) fn advance(&mut self, now: Tick, fired: &mut Vec<u32>) {
        while let Some((place, at)) = self.first() {
            if at > now.0 {
                break;
            }
            self.now = self.now.max(at);
            let (level, slot) = (place / SLOTS, place % SLOTS);
            self.occupied[level] &= !(1 << slot);
            let mut number = std::mem::replace(&mut self.heads[place], NOBODY);
            while number != NOBODY {
                let timer = &mut self.timers[number as usize];
                let next = timer.next;
                if level == 0 {
                    *timer = UNSET;
                    fired.push(number);
                } else {
                    // Nearer now, so it lands on a lower level: this ends.
                    self.link(number);
                }
                number = next;
            }
        }
        self.now = self.now.max(now.0);
    }

    /// The first occupied slot and its first tick. All timers of a level come before those of the
    /// next level, for they differ from now in lower bits.
    fn first(&self) -> Option<(usize, u64)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let slot = self.occupied[level].trailing_zeros();
        let shift = BITS * level as u32;
        let above = self.now.checked_shr(shift + BITS).unwrap_or(0);
        let at = above.checked_shl(shift + BITS).unwrap_or(0) | u64::from(slot) << shift;
        Some((level * SLOTS + slot as usize, at))
    }

    /// Puts a timer with its time set at the end of the slot of that time.
    fn link(&mut self, number: u32) {
        let at = self.timers[number as usize].at;
        let differing = (at ^ self.now) | 1;
        let level = differing.ilog2() / BITS;
        let slot = at >> (BITS * level) & (SLOTS as u64 - 1);
        self.occupied[level as usize] |= 1 << slot;
        let place = level as usize * SLOTS + slot as usize;
        let head = self.heads[place];
        let last = if head == NOBODY {
            number
        } else {
            self.timers[head as usize].prev
        };
        if head == NOBODY {
            self.heads[place] = number;
        } else {
            self.timers[last as usize].next = number;
            self.timers[head as usize].prev = number;
        }
        let timer = &mut self.timers[number as usize];
        // Below 704.
        timer.place = place as u16;
        timer.next = NOBODY;
        timer.prev = last;
    }
}
