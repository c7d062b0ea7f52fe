//! Starting and ending runs: one per key, no more than there are permits.

use std::{hash::Hash, sync::Arc};

use monitor_backoff::Verdict;
use monitor_operation::Epoch;

use super::{
    Core, Effect, Ending, RunId, Start,
    entry::{Armed, Life, Running, Stage, Wait},
    tick::Tick,
};
use crate::{Completion, MissedReason, Trigger, observer::Ended, run::clip};

/// A run that may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) started: Tick,
    pub(crate) deadline: Tick,
}

/// How a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Returned(Completion),
    Panicked,
    /// Its future was dropped: aborted, or the runtime went down.
    Dropped,
}

impl<K: Eq + Hash, H: Clone> Core<K, H> {
    /// The timer of a key has come.
    pub(super) fn fire(&mut self, index: u32) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        match (entry.wait, entry.run.map(|run| run.stage)) {
            (Wait::Timer(armed), _) => self.come_due(index, armed),
            (_, Some(Stage::Running)) => self.cancel(index),
            (_, Some(Stage::Cancelled)) => self.give_up(index),
            (_, Some(Stage::Stuck)) => {
                self.miss_during_run(index);
                self.watch_slots(index);
            }
            (_, Some(Stage::Starting) | None) => {}
        }
    }

    fn come_due(&mut self, index: u32, armed: Armed) {
        let entry = &mut self.entries[index];
        entry.wait = Wait::Nothing;
        let Armed {
            due,
            start,
            on_grid,
        } = armed;
        // Whole intervals late: the slots have passed, and all keys would rush in at once.
        let stalled = if on_grid { due } else { start }.plus(entry.grid.interval_ms) <= self.now;
        if stalled {
            let slots = if on_grid {
                entry.grid.slots(due, self.now)
            } else {
                1
            };
            self.miss(index, due, slots, MissedReason::Stalled);
            self.arm_next(index);
        } else if self.has_room() {
            self.start(index, due, Trigger::Timer, on_grid);
        } else if !self.enqueue(index, due, Trigger::Timer, on_grid) {
            self.miss(index, due, 1, MissedReason::Overload);
            self.arm_next(index);
        }
    }

    /// Whether a key that is due may start: there is a permit, and nobody was here before it.
    pub(super) fn has_room(&self) -> bool {
        self.held < self.limit && self.queue.is_empty() && !self.closed
    }

    /// Takes the key and a permit for a run, and asks the shell to begin it.
    pub(super) fn start(&mut self, index: u32, due: Tick, trigger: Trigger, on_grid: bool) {
        let serial = self.next_serial();
        let entry = &mut self.entries[index];
        debug_assert!(entry.run.is_none(), "INV-SCHEDULER-2: one run per key");
        let failing = entry.streak.consecutive() > 0;
        let waited = std::mem::replace(&mut entry.wait, Wait::Nothing);
        entry.run = Some(Running {
            serial,
            due,
            trigger,
            stage: Stage::Starting,
            started: self.now,
            deadline: self.now,
            in_backoff: trigger == Trigger::Timer && !on_grid && failing,
            queued: matches!(waited, Wait::Queue(_)),
            permit: true,
            withdrawn: false,
            judged: false,
            handler_ended: false,
            claim_ended: false,
        });
        self.held += 1;
        self.effects.push(Effect::Start(Start {
            run: RunId { index, serial },
            key: Arc::clone(&entry.key),
            handler: entry.handler.clone(),
            due,
            trigger,
        }));
    }

    /// Gives free permits to those who wait, in their order. INV-SCHEDULER-5: called wherever a
    /// permit comes free, so that nobody waits beside one.
    pub(super) fn dispatch(&mut self) {
        while self.held < self.limit
            && let Some((_, index)) = self.queue.pop_first()
        {
            let Wait::Queue(queued) = self.entries[index].wait else {
                continue;
            };
            self.start(index, queued.due, queued.trigger, queued.on_grid);
            self.check(index);
        }
    }

    /// Begins a run whose operation has begun, if it is still wanted: see `begin`.
    pub(crate) fn confirm(&mut self, run: RunId, epoch: Epoch, now: Tick) -> Option<Confirmed> {
        self.clock(now);
        let now = self.now;
        let wanted = self
            .run(run)
            .is_some_and(|run| run.stage == Stage::Starting);
        if !wanted {
            return None;
        }
        let entry = self.entries.get_mut(run.index)?;
        let running = entry.run.as_mut()?;
        let deadline = Tick::ceil(now.duration().saturating_add(entry.spec.timeout()));
        running.stage = Stage::Running;
        running.started = now;
        running.deadline = deadline;
        let begun = *running;
        entry.epoch = entry.epoch.max(epoch);
        entry.past.started = Some(now);
        self.started_total += 1;
        self.settle(run.index, begun.due, begun.due);
        #[cfg(test)]
        self.note(run.index, super::tests::Note::Ran(begun.due));
        let reason = if begun.queued {
            MissedReason::Overload
        } else {
            MissedReason::Stalled
        };
        self.miss_before(run.index, &begun, reason);
        self.entries[run.index].cover(begun.due, now);
        self.wheel.set(run.index, deadline);
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
            self.arm_next(run.index);
            self.dispatch();
            self.check(run.index);
        }
    }

    /// The handler of a run has ended.
    pub(crate) fn handler_ended(&mut self, run: RunId, end: End, now: Tick) {
        self.clock(now);
        let Some(running) = self.run(run) else { return };
        if running.handler_ended {
            return;
        }
        running.handler_ended = true;
        let (started, claim_ended) = (running.started, running.claim_ended);
        self.entries[run.index].past.took_ms = Some(self.now.since(started));
        self.judge(run.index, end);
        self.return_permit(run.index);
        self.effects.push(Effect::Gone { run });
        // Before the key is free: whoever leaves the queue makes room for its next run.
        self.dispatch();
        if claim_ended {
            self.release(run.index);
        } else {
            self.get_stuck(run.index);
        }
    }

    /// The last clone of the claim of a run is gone.
    pub(crate) fn claim_ended(&mut self, run: RunId, now: Tick) {
        self.clock(now);
        let Some(running) = self.run(run) else { return };
        running.claim_ended = true;
        if running.handler_ended {
            self.release(run.index);
        }
    }

    /// The deadline of a run has come.
    fn cancel(&mut self, index: u32) {
        let grace_over = self.now.plus(self.grace_ms);
        let Some(running) = &mut self.entries[index].run else {
            return;
        };
        running.stage = Stage::Cancelled;
        let run = RunId {
            index,
            serial: running.serial,
        };
        self.wheel.set(index, grace_over);
        self.effects.push(Effect::Cancel { run });
    }

    /// The grace of a run is over: its permit goes to somebody else, its key stays its own.
    pub(super) fn give_up(&mut self, index: u32) {
        let Some(running) = &self.entries[index].run else {
            return;
        };
        let run = RunId {
            index,
            serial: running.serial,
        };
        self.effects.push(Effect::Abort { run });
        self.judge(index, End::Dropped);
        self.return_permit(index);
        self.get_stuck(index);
        self.dispatch();
    }

    /// A run that goes on without a permit keeps its key, whose slots are missed from now on.
    fn get_stuck(&mut self, index: u32) {
        if self.entries[index].is_active() {
            self.miss_during_run(index);
        }
        let entry = &mut self.entries[index];
        if let Some(running) = &mut entry.run {
            running.stage = Stage::Stuck;
        }
        self.wheel.clear(index);
        if self.entries[index].is_active() {
            self.watch_slots(index);
        }
    }

    /// Reports the slots that passed during the run of a key. One that the backoff has set has
    /// none: what follows it counts from its end, so no slot is promised before it is given up.
    pub(super) fn miss_during_run(&mut self, index: u32) {
        let now = self.now;
        let entry = &mut self.entries[index];
        if let Some(run) = &entry.run
            && run.in_backoff
            && run.stage != Stage::Stuck
        {
            entry.covered = entry.covered.max(now);
        }
        self.miss_passed(index, MissedReason::InFlight);
    }

    /// Sets the timer of a stuck key to when its next slot will have passed.
    pub(super) fn watch_slots(&mut self, index: u32) {
        let entry = &self.entries[index];
        let from = entry.covered.max(entry.after_last_due());
        self.wheel.set(index, entry.grid.at_or_after(from).plus(1));
    }

    /// Decides what a run says, once, and tells it.
    fn judge(&mut self, index: u32, end: End) {
        let now = self.now;
        let entry = &mut self.entries[index];
        let Some(running) = &mut entry.run else {
            return;
        };
        if std::mem::replace(&mut running.judged, true) {
            return;
        }
        let how = match &end {
            _ if running.withdrawn => Ended::Withdrawn,
            End::Returned(completion) => Ended::Returned(completion.verdict),
            End::Panicked => Ended::Panicked,
            End::Dropped => Ended::Overdue,
        };
        let run = RunId {
            index,
            serial: running.serial,
        };
        let Running {
            due,
            trigger,
            started,
            ..
        } = *running;
        let (verdict, error) = match (how, end) {
            (Ended::Withdrawn, _) => (Verdict::Ignore, None),
            (_, End::Returned(completion)) => {
                entry.not_before = completion.not_before.map_or(Tick::ZERO, Tick::ceil);
                (completion.verdict, completion.error.as_deref().map(clip))
            }
            (_, End::Panicked) => (Verdict::Failure, Some("the handler panicked".to_owned())),
            (_, End::Dropped) => (
                Verdict::Failure,
                Some("the run was overdue and was aborted".to_owned()),
            ),
        };
        entry.streak.record(verdict);
        match verdict {
            Verdict::Success => entry.past.succeeded = Some(now),
            Verdict::Failure => {
                entry.past.failed = Some(now);
                entry.past.error = error;
            }
            Verdict::Ignore => {}
        }
        let key = Arc::clone(&entry.key);
        let ending = Ending {
            run,
            key,
            due,
            trigger,
            started,
            ended: now,
            how,
        };
        self.effects.push(Effect::Finished(ending));
    }

    /// Gives the permit of a run back, if it still has one.
    fn return_permit(&mut self, index: u32) {
        if let Some(running) = &mut self.entries[index].run
            && std::mem::replace(&mut running.permit, false)
        {
            self.held -= 1;
        }
    }

    /// The key is free again: forget it, leave it paused, run it once more, or set its next time.
    fn release(&mut self, index: u32) {
        self.wheel.clear(index);
        let entry = &mut self.entries[index];
        if entry.life == Life::Active {
            self.miss_during_run(index);
        }
        let entry = &mut self.entries[index];
        let Some(run) = entry.run.take() else { return };
        match entry.life {
            Life::Removed => return self.free(index),
            Life::Paused => {}
            Life::Active => {
                let again = std::mem::replace(&mut entry.again, false);
                let at_once = std::mem::replace(&mut entry.at_once, false);
                if again && self.run_again(index) {
                    // Asked for by hand, which will do for a key that is new as well.
                } else if at_once {
                    self.arm_beside_grid(index, self.now);
                } else {
                    self.arm_after(index, &run);
                }
            }
        }
        self.check(index);
    }

    /// Starts the run that was asked for while another one was going on, or queues it. Where there
    /// is no room for it any more that is reported: it was promised.
    fn run_again(&mut self, index: u32) -> bool {
        let due = self.entries[index].due_at(self.now);
        let room = self.has_room();
        if !room && !self.enqueue(index, due, Trigger::Manual, false) {
            self.miss(index, due, 1, MissedReason::Overload);
            return false;
        }
        #[cfg(test)]
        self.note(index, super::tests::Note::Armed(due));
        if room {
            self.start(index, due, Trigger::Manual, false);
        }
        true
    }

    /// Takes back a run that has not begun, and reports its due time.
    pub(super) fn withdraw_start(&mut self, index: u32, reason: MissedReason) {
        let entry = &mut self.entries[index];
        if let Some(run) = entry.run.take_if(|run| run.stage == Stage::Starting) {
            self.held -= 1;
            self.miss(index, run.due, 1, reason);
            self.miss_before(index, &run, reason);
        }
    }

    /// Reports the slots that passed while a run waited in the queue or for its driver. One that
    /// the backoff has set has none in the latter case.
    fn miss_before(&mut self, index: u32, run: &Running, reason: MissedReason) {
        if run.queued || !run.in_backoff {
            self.miss_passed(index, reason);
        }
    }

    /// Takes a run's right to count. It has as long to end as after a deadline.
    pub(super) fn disown(&mut self, index: u32) {
        let grace_over = self.now.plus(self.grace_ms);
        let Some(running) = &mut self.entries[index].run else {
            return;
        };
        running.withdrawn = true;
        match running.stage {
            Stage::Running => {
                running.stage = Stage::Cancelled;
                self.wheel.set(index, grace_over);
            }
            Stage::Stuck => self.wheel.clear(index),
            Stage::Starting | Stage::Cancelled => {}
        }
    }

    /// A run that is still the run of its key.
    fn run(&mut self, run: RunId) -> Option<&mut Running> {
        let entry = self.entries.get_mut(run.index)?;
        entry
            .run
            .as_mut()
            .filter(|running| running.serial == run.serial)
    }
}
