//! Due times: setting the next one, and reporting those at which nothing was run.
//!
//! Each due time that is set ends in exactly one way: a run, a report, or taken back before its
//! time came.

use std::{hash::Hash, sync::Arc};

use rand::Rng;

use super::{
    Core, Effect,
    entry::{Armed, Queued, Running, Wait},
    tick::{Tick, millis},
};
use crate::{Due, Missed, MissedReason, Saturation, Trigger};

impl<K: Eq + Hash, H: Clone> Core<K, H> {
    /// Sets the next due time: after the backoff while the key is failing, else the next slot.
    pub(super) fn arm_next(&mut self, index: u32) {
        let entry = &self.entries[index];
        let failures = entry.streak.consecutive();
        if failures == 0 {
            return self.arm_slot(index);
        }
        let delay = entry
            .spec
            .backoff()
            .delay(failures, entry.spec.interval(), &mut self.rng);
        let due = self.now.plus(Tick::ceil(delay).0);
        self.arm_beside_grid(index, due);
    }

    /// Sets the next due time after a run: as [`arm_next`](Core::arm_next), but one interval after
    /// the start of a manual run, unless that has passed, so that the timer does not follow on its
    /// heels.
    pub(super) fn arm_after(&mut self, index: u32, run: &Running) {
        let entry = &self.entries[index];
        let manual = run.trigger == Trigger::Manual && !run.withdrawn;
        let due = run.started.plus(entry.grid.interval_ms);
        if manual && entry.streak.consecutive() == 0 && due > self.now {
            self.arm_beside_grid(index, due);
        } else {
            self.arm_next(index);
        }
    }

    /// Sets the next due time to the next slot, and the start to within the jitter of it.
    pub(super) fn arm_slot(&mut self, index: u32) {
        let entry = &self.entries[index];
        let earliest = self
            .now
            .max(entry.not_before)
            .max(entry.after_last_due())
            .max(entry.covered);
        let due = entry.grid.at_or_after(earliest);
        let start = self.displaced(index, due);
        self.arm(
            index,
            Armed {
                due,
                start,
                on_grid: true,
            },
        );
    }

    pub(super) fn arm_beside_grid(&mut self, index: u32, due: Tick) {
        let entry = &self.entries[index];
        let due = due.max(entry.not_before).max(entry.due_at(self.now));
        self.arm(
            index,
            Armed {
                due,
                start: due,
                on_grid: false,
            },
        );
    }

    fn arm(&mut self, index: u32, armed: Armed) {
        self.entries[index].wait = Wait::Timer(armed);
        self.wheel.set(index, armed.start);
        #[cfg(test)]
        self.note(index, super::tests::Note::Armed(armed.due));
    }

    /// A start up to half the jitter before or after the slot, so that the gap between two starts
    /// stays within the whole of it; never before now.
    fn displaced(&mut self, index: u32, due: Tick) -> Tick {
        let entry = &self.entries[index];
        let jitter = entry.spec.backoff().jitter();
        if !jitter.normal_interval || jitter.ratio() <= 0.0 {
            return due;
        }
        let half = (entry.grid.interval_ms as f64 * jitter.ratio() / 2.0) as u64;
        // Cut at now, not clamped: after a stall many windows reach back, and must not pile up.
        let earliest = Tick(due.0.saturating_sub(half)).max(self.now);
        let width = u128::from(due.plus(half).since(earliest)) + 1;
        // Multiply and shift: one draw, and a bias far below a millisecond.
        let drawn = ((u128::from(self.rng.next_u64()) * width) >> 64) as u64;
        earliest.plus(drawn)
    }

    /// Puts a key that is due into the queue, if it may wait and there is room.
    pub(super) fn enqueue(
        &mut self,
        index: u32,
        due: Tick,
        trigger: Trigger,
        on_grid: bool,
    ) -> bool {
        let Saturation::Queue { bound } = self.saturation else {
            return false;
        };
        if self.queue.len() >= bound {
            return false;
        }
        let ticket = self.next_serial();
        self.queue.insert(ticket, index);
        let entry = &mut self.entries[index];
        entry.wait = Wait::Queue(Queued {
            due,
            trigger,
            on_grid,
            ticket,
            since: self.now,
        });
        // The due time itself may lie beside the grid: slots count from here on.
        entry.covered = self.now;
        true
    }

    /// Takes back what a key waits for. What was due already is reported with `reason`.
    pub(super) fn withdraw_wait(&mut self, index: u32, reason: MissedReason) {
        let entry = &mut self.entries[index];
        match std::mem::replace(&mut entry.wait, Wait::Nothing) {
            Wait::Nothing => {}
            Wait::Timer(armed) => {
                self.wheel.clear(index);
                self.take_back(index, armed, reason);
            }
            Wait::Queue(queued) => {
                self.queue.remove(&queued.ticket);
                self.miss(index, queued.due, 1, reason);
                self.miss_passed(index, reason);
            }
        }
    }

    /// Reports a due time that has come; forgets one that has not.
    pub(super) fn take_back(&mut self, index: u32, armed: Armed, reason: MissedReason) {
        if armed.due <= self.now {
            self.miss(index, armed.due, 1, reason);
        } else {
            #[cfg(test)]
            self.note(index, super::tests::Note::TakenBack(armed.due));
        }
    }

    /// Reports the slots that passed since the key was last accounted for.
    pub(super) fn miss_passed(&mut self, index: u32, reason: MissedReason) {
        let now = self.now;
        let entry = &mut self.entries[index];
        let first = entry
            .grid
            .at_or_after(entry.covered.max(entry.after_last_due()));
        entry.covered = entry.covered.max(now);
        let slots = entry.grid.slots(first, now);
        if slots > 0 {
            self.miss(index, first, slots, reason);
        }
    }

    pub(super) fn miss(&mut self, index: u32, due: Tick, slots: u32, reason: MissedReason) {
        let unix = self.due(due);
        let last = self.entries[index].grid.last(due, slots);
        self.settle(index, due, last);
        let entry = &mut self.entries[index];
        entry.past.missed += u64::from(slots);
        self.missed_total += u64::from(slots);
        self.effects.push(Effect::Missed(Missed {
            key: Arc::clone(&entry.key),
            epoch: entry.epoch,
            due: unix,
            slots,
            interval: entry.spec.interval(),
            reason,
        }));
        #[cfg(test)]
        self.note(index, super::tests::Note::Missed { due, slots });
    }

    /// Notes that the due times from `first` to `last` have come to their end.
    pub(super) fn settle(&mut self, index: u32, first: Tick, last: Tick) {
        let entry = &mut self.entries[index];
        debug_assert!(
            entry.last_due.is_none_or(|before| before < first),
            "INV-SCHEDULER-3: due times of a key increase strictly",
        );
        entry.last_due = Some(last);
    }

    /// A due time as it is told.
    pub(crate) fn due(&self, at: Tick) -> Due {
        Due {
            at: at.duration(),
            unix: self.unix(at),
        }
    }

    /// A point in time by the clock as it was at the origin.
    pub(super) fn unix(&self, at: Tick) -> std::time::Duration {
        at.plus(self.origin_unix_ms).duration()
    }

    /// The last due time that a spec says is accounted for, within an interval from now.
    pub(super) fn accounted(
        &self,
        after: Option<std::time::Duration>,
        interval_ms: u64,
    ) -> Option<Tick> {
        let unix_ms = millis(after?);
        let at = unix_ms.checked_sub(self.origin_unix_ms)?;
        Some(Tick(at).min(self.now.plus(interval_ms)))
    }
}
