//! Adding, changing and removing keys, and running them by hand.

use super::{
    Core, Effect, RunId,
    entry::{AGAIN, AT_ONCE, Doing, Entry, Life, Marks, NEW, NO_PAST, Stage},
    grid::Grid,
    keyed::Keyed,
    tick::{Tick, millis},
};
use crate::{MissedReason, Spec, Trigger, TriggerOutcome};

impl<H: Keyed> Core<H> {
    /// Makes room for so many more keys. False if there is not so much memory.
    pub(crate) fn reserve(&mut self, more: usize) -> bool {
        self.wheel.reserve(more) && self.names.reserve(&self.entries, more)
    }

    /// Adds a key, or gives one that is there a new spec and handler. True if it is new.
    ///
    /// A paused key stays paused; with `paused` any key is so afterwards. What the key was waiting
    /// for is taken back, and the verdict of a run that is going on no longer counts. After the
    /// end nothing is taken, and the handler comes back.
    pub(crate) fn schedule(
        &mut self,
        spec: &Spec,
        handler: H,
        paused: bool,
        now: Tick,
    ) -> Result<bool, H> {
        self.clock(now);
        if self.closed {
            return Err(handler);
        }
        let Some(index) = self.names.get(&self.entries, handler.key()) else {
            let index = self.add(spec, handler, paused);
            self.check(index);
            return Ok(true);
        };
        let was = self.entries[index].life;
        let backoff = self.backoff_due(index);
        self.withdraw(index, MissedReason::Withdrawn);
        let grid = self.grid_of(handler.key(), spec);
        let kind = self.kinds.share(spec);
        let entry = &mut self.entries[index];
        let old = std::mem::replace(&mut entry.handler, handler);
        self.kinds.release(std::mem::replace(&mut entry.kind, kind));
        entry.offset_ms = grid.offset_ms();
        entry.covered = self.now;
        entry.life = if paused || was == Life::Paused {
            Life::Paused
        } else {
            Life::Active
        };
        if let Some(past) = self.pasts.get_mut(entry.past) {
            past.not_before = Tick::ZERO;
        }
        if was == Life::Removed {
            let at_once = entry.is_active() && spec.immediate();
            entry.marks.put(AT_ONCE, at_once);
            self.forget_past(index);
        }
        match backoff {
            Some(due) if self.entries[index].is_active() => self.arm_beside_grid(index, due),
            _ => self.reactivate(index),
        }
        self.effects.push(Effect::Discard { handler: old });
        self.dispatch();
        self.check(index);
        Ok(was == Life::Removed)
    }

    fn add(&mut self, spec: &Spec, handler: H, paused: bool) -> u32 {
        let grid = self.grid_of(handler.key(), spec);
        let index = self.entries.insert(Entry {
            handler,
            kind: self.kinds.share(spec),
            offset_ms: grid.offset_ms(),
            doing: Doing::Nothing,
            after_last: self.first_after(spec.after(), grid.interval_ms()),
            covered: self.now,
            past: NO_PAST,
            life: if paused { Life::Paused } else { Life::Active },
            losses: 0,
            marks: Marks::default(),
        });
        self.names.insert(&self.entries, index);
        self.added_total += 1;
        #[cfg(test)]
        self.note(index, super::tests::Note::Born);
        match (paused, spec.immediate()) {
            (true, _) => {}
            (false, true) => self.welcome(index),
            (false, false) => self.arm_slot(index),
        }
        index
    }

    fn grid_of(&self, key: &H::Key, spec: &Spec) -> Grid {
        let interval_ms = millis(spec.interval());
        let phase_ms = spec.phase().offset_ms(key, interval_ms);
        // A spec keeps it below 30 days.
        Grid::of_unix(phase_ms, interval_ms as u32, self.origin_unix_ms)
    }

    /// The due time of a key that waits out its backoff.
    fn backoff_due(&self, index: u32) -> Option<Tick> {
        let entry = &self.entries[index];
        match entry.doing {
            Doing::Timer(armed) if !armed.on_grid && self.failures(index) > 0 => {
                (armed.due > self.now).then_some(armed.due)
            }
            _ => None,
        }
    }

    /// Takes a key out of the schedule. True if it was in.
    pub(crate) fn remove(&mut self, key: &H::Key, now: Tick) -> bool {
        self.clock(now);
        let Some(index) = self.find(key) else {
            return false;
        };
        self.withdraw(index, MissedReason::Withdrawn);
        self.retire(index);
        self.dispatch();
        true
    }

    /// Takes every key out of the schedule and returns them.
    pub(crate) fn clear(&mut self, now: Tick) -> Vec<H> {
        self.clock(now);
        let mut removed = Vec::new();
        for index in self.entries.indices() {
            let entry = &self.entries[index];
            if entry.life != Life::Removed {
                removed.push(entry.handler.clone());
                self.withdraw(index, MissedReason::Withdrawn);
                self.retire(index);
            }
        }
        removed
    }

    /// Stops starting runs. Those that are going on go on, and their verdicts count.
    pub(crate) fn close(&mut self, now: Tick) {
        self.clock(now);
        self.closed = true;
        for index in self.entries.indices() {
            self.withdraw_wait(index, MissedReason::Shutdown);
            self.withdraw_start(index, MissedReason::Shutdown);
            self.retire(index);
        }
    }

    /// Gives up every run that is still going on, as at the end of a shutdown. Returns their keys.
    pub(crate) fn abandon(&mut self, now: Tick) -> Vec<H> {
        self.clock(now);
        let mut abandoned = Vec::new();
        for index in self.entries.indices() {
            if self.entries[index].run().is_some() {
                abandoned.push(self.entries[index].handler.clone());
                self.disown(index);
                self.give_up(index);
            }
        }
        abandoned
    }

    /// Marks a key as removed, and frees it unless its run is still going on.
    fn retire(&mut self, index: u32) {
        let entry = &mut self.entries[index];
        entry.life = Life::Removed;
        entry.marks.put(AGAIN, false);
        match entry.stage() {
            None => self.free(index),
            // The timer of a stuck run only reports the slots of an active key.
            Some(Stage::Stuck) => self.wheel.clear(index),
            Some(_) => {}
        }
    }

    /// Forgets a key that has neither wait nor run.
    pub(super) fn free(&mut self, index: u32) {
        self.wheel.clear(index);
        self.forget_past(index);
        if let Some(entry) = self.entries.remove(index) {
            let handler = entry.handler;
            self.kinds.release(entry.kind);
            self.names.remove(handler.key(), index);
            self.effects.push(Effect::Discard { handler });
        }
    }

    /// Pauses a key. True if there is such a key.
    pub(crate) fn pause(&mut self, key: &H::Key, now: Tick) -> bool {
        self.clock(now);
        let Some(index) = self.find(key) else {
            return false;
        };
        self.withdraw(index, MissedReason::Withdrawn);
        self.entries[index].life = Life::Paused;
        self.dispatch();
        self.check(index);
        true
    }

    /// Ends the pause of a key. True if there is such a key.
    pub(crate) fn resume(&mut self, key: &H::Key, now: Tick) -> bool {
        self.clock(now);
        let Some(index) = self.find(key) else {
            return false;
        };
        let entry = &mut self.entries[index];
        if entry.life == Life::Paused {
            entry.life = Life::Active;
            entry.covered = self.now;
            self.reactivate(index);
        }
        self.check(index);
        true
    }

    /// Sets the next slot of an active key, or waits for the run that still has it.
    fn reactivate(&mut self, index: u32) {
        let entry = &self.entries[index];
        match entry.stage() {
            _ if !entry.is_active() => {}
            None => self.arm_slot(index),
            Some(Stage::Stuck) => self.watch_slots(index),
            Some(_) => {}
        }
    }

    /// Runs a key now, or once more after the run that is going on.
    pub(crate) fn trigger(&mut self, key: &H::Key, now: Tick) -> TriggerOutcome {
        self.clock(now);
        if self.closed {
            return TriggerOutcome::ShutDown;
        }
        let Some(index) = self.find(key) else {
            return TriggerOutcome::Unknown;
        };
        let outcome = self.trigger_known(index);
        let accepted = outcome != TriggerOutcome::Skipped;
        let entry = &self.entries[index];
        if accepted
            && self.kinds.of(entry.kind).trigger_resets
            && let Some(past) = self.pasts.get_mut(entry.past)
        {
            past.streak.reset();
        }
        self.check(index);
        outcome
    }

    fn trigger_known(&mut self, index: u32) -> TriggerOutcome {
        let entry = &mut self.entries[index];
        let armed = match &entry.doing {
            Doing::Timer(armed) => *armed,
            Doing::Run(run) => {
                // One that has not begun yet will do.
                let begun = run.stage != Stage::Starting;
                entry.marks.put(AGAIN, begun || entry.marks.has(AGAIN));
                return TriggerOutcome::Coalesced;
            }
            Doing::Queue(_) => return TriggerOutcome::Coalesced,
            // It is paused: INV-SCHEDULER-1.
            Doing::Nothing => return self.trigger_paused(index),
        };
        // A slot whose start the jitter has put off is run now instead of then.
        let come = armed.due <= self.now;
        let due = if come {
            armed.due
        } else {
            entry.due_at(self.now)
        };
        let outcome = if self.has_room(self.class(index)) {
            TriggerOutcome::Started
        } else if self.enqueue(index, due, Trigger::Manual, false).is_ok() {
            TriggerOutcome::Queued
        } else {
            return TriggerOutcome::Skipped;
        };
        if !come {
            self.take_back(index, armed, MissedReason::Withdrawn);
            #[cfg(test)]
            self.note(index, super::tests::Note::Armed(due));
        }
        if outcome == TriggerOutcome::Started {
            self.start(index, due, Trigger::Manual, false);
        }
        outcome
    }

    /// Runs a paused key once. It stays paused, and so it waits for nothing, a permit included; and
    /// the slots that have passed meanwhile were promised to nobody.
    fn trigger_paused(&mut self, index: u32) -> TriggerOutcome {
        if !self.has_room(self.class(index)) {
            return TriggerOutcome::Skipped;
        }
        let due = self.entries[index].due_at(self.now);
        #[cfg(test)]
        self.note(index, super::tests::Note::Armed(due));
        self.start(index, due, Trigger::Manual, false);
        TriggerOutcome::Started
    }

    /// Ends the failure streak of a key and goes back to its slots. True if there is such a key.
    pub(crate) fn reset_backoff(&mut self, key: &H::Key, now: Tick) -> bool {
        self.clock(now);
        let Some(index) = self.find(key) else {
            return false;
        };
        let entry = &self.entries[index];
        if let Some(past) = self.pasts.get_mut(entry.past) {
            past.streak.reset();
            past.not_before = Tick::ZERO;
        }
        if let Doing::Timer(armed) = entry.doing
            && !armed.on_grid
            && armed.due > self.now
        {
            self.withdraw_wait(index, MissedReason::Withdrawn);
            // Whoever asks wants to see it looked at soon, even if it just was.
            self.entries[index].covered = self.now;
            self.arm_slot(index);
        }
        self.check(index);
        true
    }

    /// The run of a key that is going on, also of a key that has been removed.
    pub(crate) fn run_of(&self, key: &H::Key) -> Option<RunId> {
        let index = self.names.get(&self.entries, key)?;
        let run = self.entries[index].run()?;
        Some(RunId {
            index,
            serial: run.serial,
        })
    }

    /// How many runs are going on.
    pub(crate) fn running(&self) -> usize {
        self.runs
    }

    /// The number of a key that is in the schedule.
    pub(super) fn find(&self, key: &H::Key) -> Option<u32> {
        let index = self.names.get(&self.entries, key)?;
        (self.entries[index].life != Life::Removed).then_some(index)
    }

    /// Takes back what a key waits for, and takes its run's right to count.
    fn withdraw(&mut self, index: u32, reason: MissedReason) {
        self.withdraw_wait(index, reason);
        self.withdraw_start(index, reason);
        if self.entries[index].is_active() && self.entries[index].run().is_some() {
            self.miss_during_run(index);
        }
        for mark in [AGAIN, AT_ONCE, NEW] {
            self.entries[index].marks.put(mark, false);
        }
        self.disown(index);
    }
}
