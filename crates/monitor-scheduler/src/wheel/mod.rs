//! A timing wheel without a spike: timers by small numbers, set, moved and removed in constant
//! time, and re-filed a few at a time.
//!
//! # Source
//!
//! G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7. There,
//! as in the timers of Linux and of tokio, each level ends where the next begins: when the hand
//! comes to a slot of an upper level, all its timers are moved down in one tick, 410 000 at once
//! with a million timers and slots of four seconds. Here each level reaches *two* slots of the next
//! one ahead. So the timers of a slot may move down at any tick of the slot before it, and they do:
//! spread over it, no more in one tick than it takes to be done in time.

mod chunks;
#[cfg(test)]
mod tests;

use self::chunks::{Chunks, List, NOBODY, Position, ROOM};

/// So many slots of one level make one slot of the next.
const BITS: u32 = 8;
/// Slots of a level: twice as many, see above.
const RING: usize = 2 << BITS;
const WORDS: usize = RING / 64;
/// With ticks of a millisecond, 69 years. What is further ahead waits in the last slot.
const LEVELS: usize = 5;
/// Timers that a level may re-file in any tick. Only where a slot holds more than that for each of
/// its ticks it re-files more: as many as come to one tick if they are spread evenly.
const PACE: u64 = 64;
const UNSET: u16 = u16::MAX;

/// Timers for the numbers from zero up, at most one for each, that fire at a tick.
///
/// A tick is whatever the caller counts; the scheduler counts milliseconds. The wheel reads no
/// clock: [`advance`](Wheel::advance) says how late it is.
///
/// # Cost
///
/// 16 bytes for each number up to the largest one used, 4 to 5 for each timer that is set, 30 KB
/// for the slots. Nothing is given back before the wheel is dropped.
///
/// # Examples
///
/// ```
/// use monitor_scheduler::wheel::Wheel;
///
/// let mut wheel = Wheel::new();
/// wheel.set(7, 90_000);
/// wheel.set(8, 60_000);
/// wheel.clear(7);
/// let mut fired = Vec::new();
/// while let Some(next) = wheel.next() {
///     wheel.advance(next, usize::MAX, &mut fired); // sleep until then
/// }
/// assert_eq!((fired, wheel.now()), (vec![8], 60_000));
/// ```
#[derive(Debug)]
pub struct Wheel {
    /// All timers before this tick have fired.
    now: u64,
    timers: Vec<Timer>,
    levels: Vec<Level>,
    chunks: Chunks,
    set: usize,
    /// How many timers each level has moved down.
    #[cfg(test)]
    refiled: [u64; LEVELS],
}

/// The timer of one number: 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Timer {
    at: u64,
    chunk: u32,
    /// Level and slot, or `UNSET`.
    place: u16,
    index: u8,
}

#[derive(Clone, Debug)]
struct Level {
    slots: [List; RING],
    /// One bit for each slot that is not empty.
    occupied: [u64; WORDS],
}

impl Wheel {
    /// Makes a wheel without timers, at tick zero.
    #[must_use]
    pub fn new() -> Self {
        let level = Level {
            slots: [List::EMPTY; RING],
            occupied: [0; WORDS],
        };
        Self {
            now: 0,
            timers: Vec::new(),
            levels: vec![level; LEVELS],
            chunks: Chunks::new(),
            set: 0,
            #[cfg(test)]
            refiled: [0; LEVELS],
        }
    }

    /// Makes room for so many more numbers. False if there is not so much memory.
    #[must_use = "there may be no room"]
    pub fn reserve(&mut self, more: usize) -> bool {
        self.timers.try_reserve_exact(more).is_ok()
    }

    /// Sets the timer of a number, also if it is set already. A tick that has passed means now.
    pub fn set(&mut self, number: u32, at: u64) {
        let index = number as usize;
        if index >= self.timers.len() {
            let unset = Timer {
                at: 0,
                chunk: NOBODY,
                place: UNSET,
                index: 0,
            };
            self.timers.resize(index + 1, unset);
        } else {
            self.clear(number);
        }
        let at = at.max(self.now);
        self.timers[index].at = at;
        self.file(number, at);
        self.set += 1;
    }

    /// Unsets the timer of a number. Does nothing if it is not set.
    pub fn clear(&mut self, number: u32) {
        let Some(timer) = self.timers.get_mut(number as usize) else {
            return;
        };
        if timer.place == UNSET {
            return;
        }
        let position = Position {
            chunk: timer.chunk,
            index: timer.index,
        };
        let place = usize::from(std::mem::replace(&mut timer.place, UNSET));
        self.set -= 1;
        let level = &mut self.levels[place / RING];
        let list = &mut level.slots[place % RING];
        let moved = self.chunks.remove(list, position);
        if list.is_empty() {
            level.mark_empty(place % RING);
        }
        if let Some(moved) = moved {
            let moved = &mut self.timers[moved as usize];
            (moved.chunk, moved.index) = (position.chunk, position.index);
        }
    }

    /// Returns the tick at which the timer of a number is to fire, if it is set.
    #[must_use]
    pub fn at(&self, number: u32) -> Option<u64> {
        let timer = self.timers.get(number as usize)?;
        (timer.place != UNSET).then_some(timer.at)
    }

    /// Returns how many timers are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set
    }

    /// Returns whether no timer is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set == 0
    }

    /// Returns the tick to which the wheel has come.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Returns the tick at which [`advance`](Wheel::advance) is next to be called, or none if no
    /// timer is set. It is not after the first timer; one far ahead asks for a tick per level
    /// before its own.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        let due = self.first(0);
        let filing = (1..LEVELS).filter_map(|level| self.next_filing(level));
        filing.chain(due).min()
    }

    /// Goes on to the tick `now`. Unsets timers up to there and appends their numbers to `fired`:
    /// in the order of their ticks, for one tick mostly in the order in which they were set.
    ///
    /// Stops when `at_most` have fired, or a few more. Then [`next`](Wheel::next) is not after
    /// `now`; call again. Timers that have not come out are still set.
    pub fn advance(&mut self, now: u64, at_most: usize, fired: &mut Vec<u32>) {
        let full = fired.len().saturating_add(at_most);
        while let Some(at) = self.next().filter(|at| *at <= now) {
            self.now = self.now.max(at);
            for level in (1..LEVELS).rev() {
                self.refile(level);
            }
            self.fire(full, fired);
            if fired.len() >= full {
                return;
            }
        }
        self.now = self.now.max(now);
    }

    /// Fires what is due at this very tick.
    fn fire(&mut self, full: usize, fired: &mut Vec<u32>) {
        let slot = self.now as usize % RING;
        let level = &mut self.levels[0];
        let list = &mut level.slots[slot];
        while fired.len() < full
            && let Some(piece) = self.chunks.take_first(list)
        {
            for number in piece.numbers() {
                self.timers[*number as usize].place = UNSET;
            }
            self.set -= piece.numbers().len();
            fired.extend_from_slice(piece.numbers());
        }
        if list.is_empty() {
            level.mark_empty(slot);
        }
    }

    /// When the first slot of an upper level has to give off timers next: as late as may be, so
    /// that a single timer far ahead wakes nobody for each tick.
    fn next_filing(&self, level: usize) -> Option<u64> {
        let slot = self.first(level)?;
        let ticks = self.levels[level].slots[slot as usize % RING]
            .len()
            .div_ceil(PACE);
        let begins = begin_of(level, slot);
        Some(
            begins
                .saturating_sub(ticks.min(width(level)))
                .max(self.now + 1),
        )
    }

    /// Moves timers of the first slot of an upper level down, so many that the rest can follow in
    /// the ticks that are left until the slot begins.
    fn refile(&mut self, level: usize) {
        let Some(slot) = self.first(level) else {
            return;
        };
        let left = begin_of(level, slot).saturating_sub(self.now);
        if left > width(level) {
            return;
        }
        let place = slot as usize % RING;
        let mut list = self.levels[level].slots[place];
        let keep = if left == 0 {
            0
        } else if list.len() <= PACE.saturating_mul(left) {
            PACE * (left - 1)
        } else {
            list.len() - list.len().div_ceil(left)
        };
        while list.len() > keep
            && let Some(piece) = self.chunks.take_first(&mut list)
        {
            // All read first: the memory of many comes at the same time, of one after the other not.
            let mut ticks = [0; ROOM];
            for (at, number) in ticks.iter_mut().zip(piece.numbers()) {
                *at = self.timers[*number as usize].at;
            }
            // Nothing is filed into this very slot: it is one or none ahead, see `file`.
            for (at, number) in ticks.iter().zip(piece.numbers()) {
                self.file(*number, *at);
            }
            #[cfg(test)]
            {
                self.refiled[level] += piece.numbers().len() as u64;
            }
        }
        self.levels[level].slots[place] = list;
        if list.is_empty() {
            self.levels[level].mark_empty(place);
        }
    }

    /// Puts a timer where its tick belongs: on the lowest level that reaches so far.
    /// On the upper ones that is at least two slots ahead, for a level reaches two slots of the
    /// next.
    fn file(&mut self, number: u32, at: u64) {
        let reaches =
            |level: &usize| (at >> shift(*level)) - (self.now >> shift(*level)) < RING as u64;
        let (level, slot) = match (0..LEVELS).find(reaches) {
            Some(level) => (level, at >> shift(level)),
            None => (
                LEVELS - 1,
                (self.now >> shift(LEVELS - 1)) + RING as u64 - 1,
            ),
        };
        let slot = slot as usize % RING;
        let held = &mut self.levels[level];
        held.occupied[slot / 64] |= 1 << (slot % 64);
        let Position { chunk, index } = self.chunks.push(&mut held.slots[slot], number);
        let timer = &mut self.timers[number as usize];
        // Below 2560.
        let place = (level * RING + slot) as u16;
        (timer.chunk, timer.index, timer.place) = (chunk, index, place);
    }

    /// The first slot of a level that is not empty, counted since tick zero.
    fn first(&self, level: usize) -> Option<u64> {
        let current = self.now >> shift(level);
        let from = current as usize % RING;
        let ahead = self.levels[level].first_from(from)?;
        Some(current + ahead as u64)
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

impl Level {
    fn mark_empty(&mut self, slot: usize) {
        self.occupied[slot / 64] &= !(1 << (slot % 64));
    }

    /// How many slots after this one the first is that is not empty, around the ring.
    fn first_from(&self, from: usize) -> Option<usize> {
        let (word, bit) = (from / 64, from % 64);
        let here = self.occupied[word] >> bit;
        if here != 0 {
            return Some(here.trailing_zeros() as usize);
        }
        (1..=WORDS).find_map(|ahead| {
            let bits = self.occupied[(word + ahead) % WORDS];
            (bits != 0).then(|| ahead * 64 - bit + bits.trailing_zeros() as usize)
        })
    }
}

const fn shift(level: usize) -> u32 {
    BITS * level as u32
}

/// How many ticks a slot of a level is wide.
const fn width(level: usize) -> u64 {
    1 << shift(level)
}

/// The first tick of a slot.
fn begin_of(level: usize, slot: u64) -> u64 {
    slot.min(u64::MAX >> shift(level)) << shift(level)
}
