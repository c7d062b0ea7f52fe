//! From a due time to a run: a permit, a place in the queue, or a report.

use super::{
    Core, Effect, Keyed, RunId, Start,
    entry::{Armed, Doing, NEW, Queued, Running, Stage},
    queue::Place,
    tick::Tick,
};
use crate::{Class, MissedReason, Pace, Saturation, Trigger};

/// A run that may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) started: Tick,
    pub(crate) deadline: Tick,
}

impl<H: Keyed> Core<H> {
    /// The timer of a key that waits for its time has come.
    pub(super) fn come_due(&mut self, index: u32, armed: Armed) {
        let entry = &mut self.entries[index];
        entry.doing = Doing::Nothing;
        entry.marks.put(NEW, false);
        let Armed { due, on_grid } = armed;
        let (class, grid) = (self.class(index), self.grid(index));
        // Whole intervals late: the slots have passed, and all keys would rush in at once.
        if due.plus(grid.interval_ms()) <= self.now {
            let slots = if on_grid {
                grid.slots(due, self.now)
            } else {
                1
            };
            return self.miss_and_arm(index, due, slots, MissedReason::Stalled);
        }
        match self.paces[class.index()] {
            Pace::Suspended => {
                return self.miss_and_arm(index, due, 1, MissedReason::Suspended);
            }
            Pace::Stretched(factor) if on_grid => {
                // Each key has its turn in another slot, so that the load is spread.
                let turn = grid.number(due).wrapping_add(u64::from(index));
                if !turn.is_multiple_of(u64::from(factor.get())) {
                    return self.miss_and_arm(index, due, 1, MissedReason::Stretched);
                }
            }
            Pace::Full | Pace::Stretched(_) => {}
        }
        if self.has_room(class) {
            self.start(index, due, Trigger::Timer, on_grid);
        } else if let Err(reason) = self.enqueue(index, due, Trigger::Timer, on_grid) {
            self.entries[index].lose();
            self.miss_and_arm(index, due, 1, reason);
        }
    }

    /// Reports that nothing is run at a due time, and sets the next one: a key that comes to
    /// nothing now is not lost.
    fn miss_and_arm(&mut self, index: u32, due: Tick, slots: u32, reason: MissedReason) {
        self.miss_slots(index, due, slots, reason);
        self.arm_next(index);
    }

    /// Whether a key that is due may start. Nobody of its class can be before it: who waits beside
    /// a free permit is dispatched at once.
    pub(super) fn has_room(&self, class: Class) -> bool {
        self.permits.has_free(class) && !self.closed
    }

    /// Puts a key that is due into the queue, or says why not.
    pub(super) fn enqueue(
        &mut self,
        index: u32,
        due: Tick,
        trigger: Trigger,
        on_grid: bool,
    ) -> Result<(), MissedReason> {
        let (bound, reason) = match self.saturation {
            Saturation::Skip => return Err(MissedReason::Overload),
            Saturation::Queue { bound } => (bound, MissedReason::Overload),
            Saturation::Shed { bound } => (bound, MissedReason::Shed),
        };
        let (class, grid) = (self.class(index), self.grid(index));
        let entry = &self.entries[index];
        let (since, has_lost) = (entry.waiting_since(grid, self.now), entry.losses > 0);
        let ticket = self.next_serial();
        let place = Place { since, ticket };
        if self.queue.len() >= bound {
            // Without shedding weight alone takes nobody's place. But who always comes when it is
            // full would never be run: so whoever came to nothing before may, once it is older.
            let may_displace = has_lost || reason == MissedReason::Shed;
            let least = self.queue.least_below(class, place, self.now);
            match least.filter(|_| may_displace) {
                Some(least) => {
                    self.entries[least].lose();
                    self.leave_queue(least, reason);
                }
                None => return Err(reason),
            }
        }
        self.queue.insert(class, place, index);
        let entry = &mut self.entries[index];
        entry.doing = Doing::Queue(Box::new(Queued {
            due,
            trigger,
            on_grid,
            place,
            since: self.now,
        }));
        // The due time itself may lie beside the grid: slots count from here on.
        entry.covered = self.now;
        match self.max_wait_ms {
            Some(max_wait_ms) => self.wheel.set(index, self.now.plus(max_wait_ms).0),
            None => self.wheel.clear(index),
        }
        Ok(())
    }

    /// Takes a key out of the queue that did not come to a run, and arms it again.
    pub(super) fn leave_queue(&mut self, index: u32, reason: MissedReason) {
        self.withdraw_wait(index, reason);
        self.arm_next(index);
        self.check(index);
    }

    /// Takes the key and a permit for a run, and asks the shell to begin it.
    pub(super) fn start(&mut self, index: u32, due: Tick, trigger: Trigger, on_grid: bool) {
        let serial = self.next_serial();
        let told = self.due(due);
        self.wheel.clear(index);
        let permit = self.permits.take(self.class(index));
        debug_assert!(permit.is_some(), "INV-SCHEDULER-4: no run without a permit");
        let failing = self.failures(index) > 0;
        let entry = &mut self.entries[index];
        debug_assert!(entry.run().is_none(), "INV-SCHEDULER-2: one run per key");
        let queued = matches!(entry.doing, Doing::Queue(_));
        entry.losses = 0;
        entry.marks.put(NEW, false);
        let run = Running {
            serial,
            due,
            trigger,
            stage: Stage::Starting,
            started: self.now,
            deadline: self.now,
            in_backoff: trigger == Trigger::Timer && !on_grid && failing,
            queued,
            permit,
            withdrawn: false,
            judged: false,
            handler_ended: false,
            claim_ended: false,
        };
        entry.doing = Doing::Run(match self.spare.pop() {
            Some(mut spare) => {
                *spare = run;
                spare
            }
            None => Box::new(run),
        });
        self.runs += 1;
        self.urgent = true;
        self.effects.push(Effect::Start(Start {
            run: RunId { index, serial },
            handler: entry.handler.clone(),
            due: told,
            trigger,
        }));
    }

    /// Gives free permits to those who wait. INV-SCHEDULER-5: called wherever a permit comes free,
    /// so that nobody waits beside one.
    pub(super) fn dispatch(&mut self) {
        while let Some(index) = self
            .queue
            .pop(self.now, |class| self.permits.has_free(class))
        {
            let Doing::Queue(queued) = &self.entries[index].doing else {
                continue;
            };
            let (due, trigger, on_grid) = (queued.due, queued.trigger, queued.on_grid);
            self.start(index, due, trigger, on_grid);
            self.check(index);
        }
        self.admit();
    }

    /// Begins a run whose operation has begun, if it is still wanted: see `begin`.
    pub(crate) fn confirm(&mut self, run: RunId, now: Tick) -> Option<Confirmed> {
        self.clock(now);
        let now = self.now;
        if self.run(run)?.stage != Stage::Starting {
            return None;
        }
        let grid = self.grid(run.index);
        let kind = self.kinds.of(self.entries[run.index].kind);
        let deadline = now.plus(u64::from(kind.timeout_ms));
        self.past_mut(run.index).started.put(now);
        let running = self.entries[run.index].run_mut()?;
        running.stage = Stage::Running;
        running.started = now;
        running.deadline = deadline;
        let (due, queued, in_backoff) = (running.due, running.queued, running.in_backoff);
        self.started_total += 1;
        self.settle(run.index, due, due);
        #[cfg(test)]
        self.note(run.index, super::tests::Note::Ran(due));
        let reason = if queued {
            MissedReason::Overload
        } else {
            MissedReason::Stalled
        };
        self.miss_before(run.index, queued, in_backoff, reason);
        self.entries[run.index].cover(grid, due, now);
        self.wheel.set(run.index, deadline.0);
        self.check(run.index);
        Some(Confirmed {
            started: now,
            deadline,
        })
    }

    /// Takes back a run for which no operation could be begun.
    pub(crate) fn refuse(&mut self, run: RunId, now: Tick) {
        self.clock(now);
        if self
            .run(run)
            .is_some_and(|run| run.stage == Stage::Starting)
        {
            self.withdraw_start(run.index, MissedReason::Refused);
            if self.entries[run.index].is_active() {
                self.arm_next(run.index);
            }
            self.dispatch();
            self.check(run.index);
        }
    }

    /// Takes back a run that has not begun, and reports its due time. The permit is free then.
    pub(super) fn withdraw_start(&mut self, index: u32, reason: MissedReason) {
        let entry = &mut self.entries[index];
        if entry.stage() != Some(Stage::Starting) {
            return;
        }
        let Some(mut run) = entry.take_run() else {
            return;
        };
        let Running {
            due,
            trigger,
            queued,
            in_backoff,
            ref mut permit,
            ..
        } = *run;
        if let Some(permit) = permit.take() {
            self.permits.give_back(permit);
        }
        self.over(run);
        self.miss_one(index, due, trigger, reason);
        self.miss_before(index, queued, in_backoff, reason);
    }

    /// A run is over, or was taken back.
    pub(super) fn over(&mut self, run: Box<Running>) {
        /// As many as may begin under one lock.
        const SPARE: usize = 512;
        self.runs -= 1;
        if self.spare.len() < SPARE {
            self.spare.push(run);
        }
    }

    /// Reports the slots that passed while a run waited in the queue or for its driver. One that
    /// the backoff has set has none in the latter case, and a paused key has none at all.
    fn miss_before(&mut self, index: u32, queued: bool, in_backoff: bool, reason: MissedReason) {
        if self.entries[index].is_active() && (queued || !in_backoff) {
            self.miss_passed(index, reason);
        }
    }
}
