//! New keys that are to run at once: as soon as there is a permit that nobody waits for.
//!
//! Thousands of keys may be new in the same moment. All of them at once would fill the queue and
//! be reported as missed, and hold up the keys that were there before. So a newcomer is armed for
//! its first slot, as any key is, and stands in a line besides, from which the free permits are
//! given out. However long the line, nobody in it waits beyond its slot.

use std::collections::{HashSet, VecDeque};

use super::{
    Core, Keyed,
    entry::{Doing, Entry, NEW},
};
use crate::{Class, MissedReason, Pace, Trigger};

/// The line of each class, with numbers in it that are no newcomers any more.
pub(super) type Newcomers = [VecDeque<u32>; 3];

/// Lines are not looked through for such numbers while they are shorter than this.
const SHORT: usize = 64;

impl<H: Keyed> Core<H> {
    /// Has a new key run at once, if a permit is free, or as soon as one is.
    pub(super) fn welcome(&mut self, index: u32) {
        self.arm_slot(index);
        self.entries[index].marks.put(NEW, true);
        let class = self.class(index);
        self.newcomers[class.index()].push_back(index);
        if self.newcomers[class.index()].len() > SHORT.max(2 * self.entries.len()) {
            let mut met = HashSet::new();
            let mut line = std::mem::take(&mut self.newcomers[class.index()]);
            line.retain(|index| self.is_newcomer(*index, class) && met.insert(*index));
            self.newcomers[class.index()] = line;
        }
        self.dispatch();
    }

    /// Gives free permits for which nobody is in the queue to newcomers.
    pub(super) fn admit(&mut self) {
        for class in Class::ALL.into_iter().rev() {
            while self.has_room(class)
                && self.paces[class.index()] != Pace::Suspended
                && let Some(index) = self.newcomers[class.index()].pop_front()
            {
                if self.is_newcomer(index, class) {
                    self.take_newcomer(index);
                }
            }
        }
    }

    /// Whether a number in the line of a class is still of a newcomer of that class. Keys that come
    /// and go leave their numbers behind, also to keys that come after them.
    fn is_newcomer(&self, index: u32, class: Class) -> bool {
        self.entries.get(index).is_some_and(is_newcomer) && self.class(index) == class
    }

    fn take_newcomer(&mut self, index: u32) {
        let entry = &self.entries[index];
        let Doing::Timer(armed) = entry.doing else {
            return;
        };
        // Its slot has come: the timer has it, which says so when its jitter is over.
        if armed.due <= self.now {
            return;
        }
        let due = entry.due_at(self.now);
        self.take_back(index, armed, MissedReason::Withdrawn);
        #[cfg(test)]
        self.note(index, super::tests::Note::Armed(due));
        self.start(index, due, Trigger::Timer, false);
        self.check(index);
    }
}

/// Whether a key still waits for its first run.
pub(super) fn is_newcomer<H>(entry: &Entry<H>) -> bool {
    entry.is_active() && entry.marks.has(NEW) && matches!(entry.doing, Doing::Timer(_))
}
