//! Slowing a class down and letting it go again.

use super::{Core, Keyed, tick::Tick};
use crate::{Class, MissedReason, Pace};

impl<H: Keyed> Core<H> {
    /// Changes how fast a class may go, from the next due time of each of its keys on. Those that
    /// wait for a permit leave the queue when it is suspended; runs go on.
    pub(crate) fn set_pace(&mut self, class: Class, pace: Pace, now: Tick) {
        self.clock(now);
        self.paces[class.index()] = pace;
        if pace == Pace::Suspended {
            let waiting: Vec<u32> = self.queue.of(class).collect();
            for index in waiting {
                self.leave_queue(index, MissedReason::Suspended);
            }
        }
        self.dispatch();
    }

    pub(crate) fn pace(&self, class: Class) -> Pace {
        self.paces[class.index()]
    }
}
