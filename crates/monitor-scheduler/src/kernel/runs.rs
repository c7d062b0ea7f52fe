//! Bringing runs to their end: by their handlers, by their deadlines, or by taking their right.

use std::num::NonZeroU32;

use monitor_backoff::Verdict;

use super::{
    Core, Effect, Ending, Keyed, RunId,
    entry::{AGAIN, AT_ONCE, Doing, Failed, Life, Running, Stage},
    tick::Tick,
};
use crate::{Completion, MissedReason, Trigger, observer::Ended, run::clip};

/// How a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Returned(Completion),
    Panicked,
    /// Its future was dropped: aborted, or the runtime went down.
    Dropped,
}

/// What the timer of a key is for.
enum Timer {
    Due(super::entry::Armed),
    MaxWait,
    Run(Stage),
    Nothing,
}

impl<H: Keyed> Core<H> {
    /// The timer of a key has come.
    pub(super) fn fire(&mut self, index: u32) {
        let timer = match self.entries.get(index).map(|entry| &entry.doing) {
            Some(Doing::Timer(armed)) => Timer::Due(*armed),
            Some(Doing::Queue(_)) => Timer::MaxWait,
            Some(Doing::Run(run)) => Timer::Run(run.stage),
            Some(Doing::Nothing) | None => Timer::Nothing,
        };
        match timer {
            Timer::Due(armed) => self.come_due(index, armed),
            Timer::MaxWait => {
                self.entries[index].lose();
                self.leave_queue(index, MissedReason::Overload);
            }
            Timer::Run(Stage::Running) => self.cancel(index),
            Timer::Run(Stage::Cancelled) => self.give_up(index),
            Timer::Run(Stage::Stuck) => {
                self.miss_during_run(index);
                self.watch_slots(index);
            }
            Timer::Run(Stage::Starting) | Timer::Nothing => {}
        }
    }

    /// The handler of a run has ended, and nobody has its claim.
    pub(crate) fn ended(&mut self, run: RunId, end: End, now: Tick) {
        self.claim_ended(run, now);
        self.handler_ended(run, end, now);
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
        let took_ms = u32::try_from(self.now.since(started)).unwrap_or(u32::MAX);
        self.past_mut(run.index).took = Some(NonZeroU32::MIN.saturating_add(took_ms));
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
        let Some(running) = self.entries[index].run_mut() else {
            return;
        };
        running.stage = Stage::Cancelled;
        let run = RunId {
            index,
            serial: running.serial,
        };
        self.wheel.set(index, grace_over.0);
        self.urgent = true;
        self.effects.push(Effect::Cancel { run });
    }

    /// The grace of a run is over: its permit goes to somebody else, its key stays its own.
    pub(super) fn give_up(&mut self, index: u32) {
        let Some(running) = self.entries[index].run() else {
            return;
        };
        let run = RunId {
            index,
            serial: running.serial,
        };
        self.urgent = true;
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
        if let Some(running) = self.entries[index].run_mut() {
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
        if entry
            .run()
            .is_some_and(|run| run.in_backoff && run.stage != Stage::Stuck)
        {
            entry.covered = entry.covered.max(now);
        }
        self.miss_passed(index, MissedReason::InFlight);
    }

    /// Sets the timer of a stuck key to when its next slot will have passed.
    pub(super) fn watch_slots(&mut self, index: u32) {
        let entry = &self.entries[index];
        let from = entry.covered.max(entry.after_last);
        let passed = self.grid(index).at_or_after(from).plus(1);
        self.wheel.set(index, passed.0);
    }

    /// Decides what a run says, once, and tells it.
    fn judge(&mut self, index: u32, end: End) {
        let now = self.now;
        let entry = &mut self.entries[index];
        let Some(running) = entry.run_mut() else {
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
        let (due, trigger, started) = (running.due, running.trigger, running.started);
        let (verdict, error) = match (how, end) {
            (Ended::Withdrawn, _) => (Verdict::Ignore, None),
            (_, End::Returned(completion)) => {
                let not_before = completion.not_before.map_or(Tick::ZERO, Tick::ceil);
                self.past_mut(index).not_before = not_before;
                (completion.verdict, completion.error.as_deref().map(clip))
            }
            (_, End::Panicked) => (Verdict::Failure, Some("the handler panicked".to_owned())),
            (_, End::Dropped) => (
                Verdict::Failure,
                Some("the run was overdue and was aborted".to_owned()),
            ),
        };
        let past = self.past_mut(index);
        past.streak.record(verdict);
        match verdict {
            Verdict::Success => past.succeeded.put(now),
            Verdict::Failure => {
                let error = error.map(String::into_boxed_str);
                past.failed = Some(Box::new(Failed { at: now, error }));
            }
            Verdict::Ignore => {}
        }
        let due = self.due(due);
        self.effects.push(Effect::Finished(Ending {
            run,
            due,
            trigger,
            started,
            ended: now,
            how,
        }));
    }

    /// Gives the permit of a run back, if it still has one.
    fn return_permit(&mut self, index: u32) {
        let permit = self.entries[index]
            .run_mut()
            .and_then(|run| run.permit.take());
        if let Some(permit) = permit {
            self.permits.give_back(permit);
        }
    }

    /// The key is free again: forget it, leave it paused, run it once more, or set its next time.
    fn release(&mut self, index: u32) {
        self.wheel.clear(index);
        if self.entries[index].is_active() {
            self.miss_during_run(index);
        }
        let entry = &mut self.entries[index];
        let Some(run) = entry.take_run() else { return };
        match entry.life {
            Life::Removed => {
                self.over(run);
                return self.free(index);
            }
            Life::Paused => {
                if entry.marks.take(AGAIN) {
                    self.run_again(index);
                }
            }
            Life::Active => {
                let again = entry.marks.take(AGAIN);
                let at_once = entry.marks.take(AT_ONCE);
                if again && self.run_again(index) {
                    // Asked for by hand, which will do for a key that is new as well.
                } else if at_once {
                    self.welcome(index);
                } else {
                    self.arm_after(index, &run);
                }
            }
        }
        self.over(run);
        self.check(index);
    }

    /// Starts the run that was asked for while another one was going on, or queues it; not that of a
    /// paused key, which waits for nothing. Where there is no room for it any more that is reported:
    /// it was promised.
    fn run_again(&mut self, index: u32) -> bool {
        let due = self.entries[index].due_at(self.now);
        let room = self.has_room(self.class(index));
        let refused = match self.entries[index].life {
            _ if room => None,
            Life::Active => self.enqueue(index, due, Trigger::Manual, false).err(),
            Life::Paused | Life::Removed => Some(MissedReason::Overload),
        };
        if let Some(reason) = refused {
            self.miss_one(index, due, Trigger::Manual, reason);
            return false;
        }
        #[cfg(test)]
        self.note(index, super::tests::Note::Armed(due));
        if room {
            self.start(index, due, Trigger::Manual, false);
        }
        true
    }

    /// Takes a run's right to count. It has as long to end as after a deadline.
    pub(super) fn disown(&mut self, index: u32) {
        let grace_over = self.now.plus(self.grace_ms);
        let Some(running) = self.entries[index].run_mut() else {
            return;
        };
        running.withdrawn = true;
        match running.stage {
            Stage::Running => {
                running.stage = Stage::Cancelled;
                self.wheel.set(index, grace_over.0);
            }
            Stage::Stuck => self.wheel.clear(index),
            Stage::Starting | Stage::Cancelled => {}
        }
    }

    /// A run that is still the run of its key.
    pub(super) fn run(&mut self, run: RunId) -> Option<&mut Running> {
        let running = self.entries.get_mut(run.index)?.run_mut()?;
        // INV-SCHEDULER-7: the key may have come to another run since.
        (running.serial == run.serial).then_some(running)
    }
}
