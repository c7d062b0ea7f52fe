//! Due times: setting the next one, and reporting those at which nothing was run.
//!
//! Each due time that is set ends in exactly one way: a run, a report, or taken back before its
//! time came.

use std::time::Duration;

use rand::Rng;

use super::{
    Core, Effect, Keyed,
    entry::{Armed, Doing, Running},
    tick::{Tick, millis},
};
use crate::{Due, Missed, MissedReason, Trigger};

impl<H: Keyed> Core<H> {
    /// Sets the next due time: after the backoff while the key is failing, else the next slot.
    pub(super) fn arm_next(&mut self, index: u32) {
        let failures = self.failures(index);
        if failures == 0 {
            return self.arm_slot(index);
        }
        let kind = self.kinds.of(self.entries[index].kind);
        let interval = Duration::from_millis(u64::from(kind.interval_ms));
        let factor = self.paces[kind.class.index()].factor();
        let delay = kind.policy.delay(failures, interval, &mut self.rng);
        let due = self.now.plus(Tick::ceil(delay.saturating_mul(factor)).0);
        self.arm_beside_grid(index, due);
    }

    /// Sets the next due time after a run: as [`arm_next`](Core::arm_next), but one interval after
    /// the start of a manual run, unless that has passed, so that the timer does not follow on its
    /// heels.
    pub(super) fn arm_after(&mut self, index: u32, run: &Running) {
        let manual = run.trigger == Trigger::Manual && !run.withdrawn;
        let due = run.started.plus(self.grid(index).interval_ms());
        if manual && self.failures(index) == 0 && due > self.now {
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
            .max(self.not_before(index))
            .max(entry.after_last)
            .max(entry.covered);
        let due = self.grid(index).at_or_after(earliest);
        let start = self.displaced(index, due);
        self.arm(index, Armed { due, on_grid: true }, start);
    }

    pub(super) fn arm_beside_grid(&mut self, index: u32, due: Tick) {
        let entry = &self.entries[index];
        let due = due.max(self.not_before(index)).max(entry.due_at(self.now));
        let on_grid = false;
        self.arm(index, Armed { due, on_grid }, due);
    }

    fn arm(&mut self, index: u32, armed: Armed, start: Tick) {
        self.entries[index].doing = Doing::Timer(armed);
        self.wheel.set(index, start.0);
        #[cfg(test)]
        self.note(index, super::tests::Note::Armed(armed.due));
    }

    /// A start up to half the jitter before or after the slot, so that the gap between two starts
    /// stays within the whole of it; never before now.
    fn displaced(&mut self, index: u32, due: Tick) -> Tick {
        let kind = self.kinds.of(self.entries[index].kind);
        let jitter = kind.policy.jitter();
        if !jitter.normal_interval || jitter.ratio() <= 0.0 {
            return due;
        }
        let half = (f64::from(kind.interval_ms) * jitter.ratio() / 2.0) as u64;
        // Cut at now, not clamped: after a stall many windows reach back, and must not pile up.
        let earliest = Tick(due.0.saturating_sub(half)).max(self.now);
        let width = u128::from(due.plus(half).since(earliest)) + 1;
        // Multiply and shift: one draw, and a bias far below a millisecond.
        let drawn = ((u128::from(self.rng.next_u64()) * width) >> 64) as u64;
        earliest.plus(drawn)
    }

    /// Takes back what a key waits for. What was due already is reported with `reason`.
    pub(super) fn withdraw_wait(&mut self, index: u32, reason: MissedReason) {
        let entry = &mut self.entries[index];
        match std::mem::replace(&mut entry.doing, Doing::Nothing) {
            Doing::Timer(armed) => {
                self.wheel.clear(index);
                self.take_back(index, armed, reason);
            }
            Doing::Queue(queued) => {
                self.queue.remove(self.class(index), queued.place);
                self.wheel.clear(index);
                self.miss_one(index, queued.due, queued.trigger, reason);
                self.miss_passed(index, reason);
            }
            other => entry.doing = other,
        }
    }

    /// Reports a due time that has come; forgets one that has not.
    pub(super) fn take_back(&mut self, index: u32, armed: Armed, reason: MissedReason) {
        if armed.due <= self.now {
            self.miss_one(index, armed.due, Trigger::Timer, reason);
        } else {
            #[cfg(test)]
            self.note(index, super::tests::Note::TakenBack(armed.due));
        }
    }

    /// Reports the slots that passed since the key was last accounted for.
    pub(super) fn miss_passed(&mut self, index: u32, reason: MissedReason) {
        let (now, grid) = (self.now, self.grid(index));
        let entry = &mut self.entries[index];
        let first = grid.at_or_after(entry.covered.max(entry.after_last));
        entry.covered = entry.covered.max(now);
        let slots = grid.slots(first, now);
        if slots > 0 {
            self.miss_slots(index, first, slots, reason);
        }
    }

    /// Reports slots, the first of which is `due`.
    pub(super) fn miss_slots(&mut self, index: u32, due: Tick, slots: u32, reason: MissedReason) {
        self.miss(index, due, slots, Trigger::Timer, reason);
    }

    /// Reports one due time, of a run or of a place in the queue.
    pub(super) fn miss_one(
        &mut self,
        index: u32,
        due: Tick,
        trigger: Trigger,
        reason: MissedReason,
    ) {
        self.miss(index, due, 1, trigger, reason);
    }

    fn miss(&mut self, index: u32, due: Tick, slots: u32, trigger: Trigger, reason: MissedReason) {
        let (told, grid) = (self.due(due), self.grid(index));
        self.settle(index, due, grid.last(due, slots));
        let past = self.past_mut(index);
        past.missed = past.missed.saturating_add(slots);
        let handler = &self.entries[index].handler;
        self.missed.add(reason, u64::from(slots));
        self.effects.push(Effect::Missed(Missed {
            key: handler.clone(),
            epoch: handler.epoch(),
            due: told,
            slots,
            interval: Duration::from_millis(grid.interval_ms()),
            trigger,
            reason,
        }));
        #[cfg(test)]
        self.note(index, super::tests::Note::Missed { due, slots });
    }

    /// Notes that the due times from `first` to `last` have come to their end.
    pub(super) fn settle(&mut self, index: u32, first: Tick, last: Tick) {
        let entry = &mut self.entries[index];
        debug_assert!(
            entry.after_last <= first,
            "INV-SCHEDULER-3: due times of a key increase strictly",
        );
        entry.after_last = last.plus(1);
    }

    /// A due time as it is told.
    pub(super) fn due(&self, at: Tick) -> Due {
        Due {
            at: at.duration(),
            unix: self.unix(at),
        }
    }

    /// A point in time by the clock as it was at the origin.
    pub(super) fn unix(&self, at: Tick) -> Duration {
        at.plus(self.origin_unix_ms).duration()
    }

    /// The first due time there may be after the last one that a spec says is accounted for; that
    /// is within an interval from now.
    pub(super) fn first_after(&self, after: Option<Duration>, interval_ms: u64) -> Tick {
        let last = after.and_then(|after| millis(after).checked_sub(self.origin_unix_ms));
        last.map_or(Tick::ZERO, |last| {
            Tick(last).min(self.now.plus(interval_ms)).plus(1)
        })
    }
}
