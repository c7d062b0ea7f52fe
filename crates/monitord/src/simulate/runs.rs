//! Checks: how they begin, what they see, and how they end. As `monitor-core` does it.

use std::time::Duration;

use monitor_backoff::Verdict;
use monitor_breaker::OwnedPermit;
use monitor_core::operation::Operation;
use monitor_fault::{CategoryStreaks, Fault};
use monitor_scheduler::simulation::{Begun, End, RunNumber};
use monitor_scheduler::{Completion, Missed, MissedReason, Trigger};

use super::audit::Property;
use super::books::{Life, Note};
use super::pools::{Hold, name_of};
use super::process::Process;
use super::targets::{SHARED_TRIALS, Sight};
use super::world::{Event, World};
use super::{HOUR, MINUTE, Ms, Plant, SECOND, at, ms};

/// Woken later than this after a deadline, a check cannot tell whose fault that is.
const STALL: Ms = SECOND;
/// So many checks in a million panic, do not heed their cancellation, or block their thread.
const PANICS: u64 = 20;
const DEAF: u64 = 20;
const BLOCKS: u64 = 10;

/// A check that goes on.
pub(super) struct Live {
    run: RunNumber,
    pub(super) key: u32,
    /// As pools call it.
    pub(super) name: u64,
    due: Ms,
    pub(super) trigger: Trigger,
    pub(super) operation: Operation<u32>,
    permit: Option<OwnedPermit>,
    /// It is a trial of the breaker that its group shares, admitted in this epoch.
    trial: Option<u64>,
    pub(super) generation: u32,
    pub(super) deadline: Ms,
    pub(super) manner: Manner,
    /// What it has of the pool that its group shares.
    pub(super) hold: Hold,
    /// Of its end that is scheduled.
    version: u64,
    /// It has a permit of the scheduler.
    holds: bool,
}

/// How a check goes on.
pub(super) enum Manner {
    /// It waits for a connection, until its deadline.
    Waits,
    /// It sees what there is to see, at its deadline at the latest.
    Looks {
        fault: Option<Fault>,
        is_overdue: bool,
    },
    /// Its breaker is open.
    Refused {
        retry_after: Duration,
    },
    /// Its monitor has changed.
    CalledOff,
    Panics,
    /// It heeds no cancellation, until it is aborted.
    Deaf,
    /// It cannot even be aborted.
    Blocks,
}

/// What a check that has ended says.
struct Said {
    verdict: Verdict,
    not_before: Ms,
    error: Option<String>,
}

impl World<'_> {
    /// A check begins.
    pub(super) fn begun(&mut self, begun: Begun<u32>) {
        let (now, key) = (self.now, *begun.operation.key());
        let due = ms(begun.due.at);
        let book = &mut self.books[key as usize];
        let lag = match begun.trigger {
            Trigger::Timer => now.saturating_sub(book.take_planned().unwrap_or(due)),
            Trigger::Manual => now.saturating_sub(due),
        };
        self.tally
            .started(key, due, lag, self.holding as u64 + 1, now);
        if book.place.is_some() {
            let what = "a second check began while one goes on".to_owned();
            self.audit.fail(Property::S1, now, Some(key), what);
            let end = End::Returned(Completion::new(Verdict::Ignore));
            self.kernel.ended(begun.run, end, at(now));
            return self.collect();
        }
        if self.process != Process::Up {
            let what = "a check began after the end had".to_owned();
            self.audit.fail(Property::L4, now, Some(key), what);
        }
        let book = &mut self.books[key as usize];
        book.ran(due, begun.trigger, now, key, &mut self.audit);
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.live.push(None);
            self.live.len() as u32 - 1
        });
        book.place = Some(place);
        let generation = book.generation;
        self.holding += 1;
        if self.holding > self.plan.max_concurrent.get() {
            let what = format!("{} of {}", self.holding, self.plan.max_concurrent);
            self.audit.fail(Property::S4, now, Some(key), what);
        }
        let deadline = ms(begun.deadline);
        let (permit, trial, refused) = self.ask_breaker(key);
        let is_refused = refused.is_some();
        let manner = match refused {
            Some(retry_after) => Manner::Refused { retry_after },
            None => Manner::Waits,
        };
        let name = name_of(place, self.next_number());
        self.live[place as usize] = Some(Live {
            run: begun.run,
            key,
            name,
            due,
            trigger: begun.trigger,
            operation: begun.operation,
            permit,
            trial,
            generation,
            deadline,
            manner,
            hold: Hold::Nothing,
            version: 0,
            holds: true,
        });
        if is_refused {
            self.end_at(place, now);
        } else {
            self.look_connected(place);
        }
        if self.plan.plant == Some(Plant::FreeEarly) && self.planting.plant() {
            self.end_at(place, now + HOUR);
            let end = End::Returned(Completion::new(Verdict::Success));
            self.kernel.ended(begun.run, end, at(now));
            self.collect();
        }
    }

    fn ask_breaker(&mut self, key: u32) -> (Option<OwnedPermit>, Option<u64>, Option<Duration>) {
        let target = &self.targets.all[key as usize];
        let Some(breaker) = &target.breaker else {
            return (None, None, None);
        };
        match breaker.try_acquire_owned(at(self.now)) {
            Err(rejected) => (None, None, Some(rejected.retry_after)),
            Ok(permit) if permit.is_trial() && target.is_shared => {
                let (epoch, trials) = (permit.epoch(), &mut self.trials[usize::from(target.group)]);
                trials.push(epoch);
                let taken = trials.iter().filter(|of| **of == epoch).count();
                if taken > SHARED_TRIALS {
                    let what = format!("{taken} trials at once, of {SHARED_TRIALS}");
                    self.audit.fail(Property::S5, self.now, Some(key), what);
                }
                (Some(permit), Some(epoch), None)
            }
            Ok(permit) => (Some(permit), None, None),
        }
    }

    /// A check looks: what it will do, and when it ends by itself.
    pub(super) fn look(&mut self, place: u32) {
        let Some(live) = &self.live[place as usize] else {
            return;
        };
        let (manner, ends) = self.sees(live.key, live.deadline);
        if let Some(live) = &mut self.live[place as usize] {
            live.manner = manner;
        }
        match ends {
            Some(ends) => self.end_at(place, ends),
            // It has none, not even the one that it had while it waited.
            None => self.end_at(place, Ms::MAX),
        }
    }

    fn sees(&mut self, key: u32, deadline: Ms) -> (Manner, Option<Ms>) {
        let now = self.now;
        let is_last = now + 5 * SECOND > ms(self.plan.duration);
        if is_last && self.plan.plant == Some(Plant::NeverEnd) {
            return (Manner::Blocks, None);
        }
        match self.chance.below(1_000_000) {
            0..PANICS => return (Manner::Panics, Some(now + self.chance.span(1, SECOND))),
            n if n < PANICS + DEAF => return (Manner::Deaf, None),
            n if n < PANICS + DEAF + BLOCKS => {
                let ends = now + self.chance.span(MINUTE, 20 * MINUTE);
                return (Manner::Blocks, Some(ends));
            }
            _ => {}
        }
        let (after, fault) = match self.targets.look(key, &mut self.chance) {
            Sight::Answer { after } => (after, None),
            Sight::Failure { after, fault } => (after, Some(fault)),
            Sight::Nothing => (Ms::MAX / 2, None),
        };
        let is_overdue = now.saturating_add(after) >= deadline;
        let manner = Manner::Looks { fault, is_overdue };
        (
            manner,
            Some((now.saturating_add(after)).min(deadline).max(now)),
        )
    }

    /// Sets when a check ends by itself; never at the end of time.
    pub(super) fn end_at(&mut self, place: u32, ends: Ms) {
        let version = self.next_number();
        if let Some(live) = &mut self.live[place as usize] {
            live.version = version;
            if ends < Ms::MAX {
                self.schedule(ends, Event::End { place, version });
            }
        }
    }

    /// A check ends, if this is still its end.
    pub(super) fn end(&mut self, place: u32, version: u64) {
        let is_it =
            |live: &&mut Option<Live>| live.as_ref().is_some_and(|live| live.version == version);
        let live = self.live.get_mut(place as usize).filter(is_it);
        if let Some(live) = live.and_then(Option::take) {
            self.vacant.push(place);
            self.finish(live);
        }
    }

    fn finish(&mut self, mut live: Live) {
        let is_whole = matches!(
            live.manner,
            Manner::Looks {
                is_overdue: false,
                ..
            }
        );
        self.let_go(&mut live, is_whole);
        let (run, key, holds) = (live.run, live.key, live.holds);
        self.give_back_trial(key, live.trial.take());
        let is_current = self.books[key as usize].generation == live.generation;
        let given_up = match live.manner {
            Manner::Panics => Some((End::Panicked, true)),
            // Long ago, perhaps: then whatever it says counts for nothing.
            Manner::Blocks | Manner::Deaf => Some((End::Aborted, holds)),
            _ => None,
        };
        if let Some((end, counts)) = given_up {
            drop(live);
            self.tally.outcomes.broken += 1;
            let verdict = (counts && is_current).then_some(Verdict::Failure);
            return self.release(run, key, holds, end, verdict, 0);
        }
        let said = self.say(live);
        let (verdict, not_before) = match &said {
            Some(said) if is_current => (Some(said.verdict), said.not_before),
            _ => (None, 0),
        };
        let completion = said.map_or(Completion::new(Verdict::Ignore), |said| {
            let completion = Completion::new(said.verdict).not_before(at(said.not_before));
            match said.error {
                Some(error) => completion.error(error),
                None => completion,
            }
        });
        let end = End::Returned(completion);
        self.release(run, key, holds, end, verdict, not_before);
    }

    /// Commits what a check saw, and works out what follows; nothing if it was called off.
    fn say(&mut self, live: Live) -> Option<Said> {
        let Live {
            key,
            due,
            trigger,
            operation,
            permit,
            generation,
            deadline,
            manner,
            ..
        } = live;
        let record = (!matches!(manner, Manner::CalledOff)).then_some(due);
        if !self.commit(key, generation, operation, trigger, record) {
            self.tally.outcomes.cancelled += 1;
            return None;
        }
        let nothing = |not_before| Said {
            verdict: Verdict::Ignore,
            not_before,
            error: None,
        };
        Some(match manner {
            Manner::Refused { retry_after } => {
                self.tally.outcomes.suppressed += 1;
                nothing(self.now + ms(retry_after) + 1)
            }
            // Too few connections are the prober's own fault.
            Manner::Waits => {
                self.tally.outcomes.unknown += 1;
                nothing(0)
            }
            Manner::Looks { fault, is_overdue } => {
                self.conclude(key, permit, fault, is_overdue, deadline)
            }
            _ => self.conclude(key, permit, None, false, deadline),
        })
    }

    /// Tells the breaker, and works out when to look again at the earliest.
    fn conclude(
        &mut self,
        key: u32,
        permit: Option<OwnedPermit>,
        fault: Option<Fault>,
        is_overdue: bool,
        deadline: Ms,
    ) -> Said {
        let now = self.now;
        let outcomes = &mut self.tally.outcomes;
        let verdict = match (is_overdue, &fault) {
            (true, _) if now > deadline + STALL => {
                outcomes.unknown += 1;
                Verdict::Ignore
            }
            (true, _) | (false, Some(_)) => {
                outcomes.down += 1;
                Verdict::Failure
            }
            (false, None) => {
                outcomes.up += 1;
                Verdict::Success
            }
        };
        if let Some(permit) = permit {
            permit.record(verdict, at(now));
        }
        let fault = match (verdict, fault) {
            (Verdict::Failure, None) => Some(super::targets::no_answer()),
            (_, fault) => fault,
        };
        let target = &self.targets.all[key as usize];
        let breaker = target.breaker.as_ref();
        let breaker = breaker.and_then(|breaker| breaker.retry_after(at(now)));
        let category = self.wait_for_category(key, verdict, fault.as_ref());
        Said {
            verdict,
            not_before: breaker.max(category).map_or(0, |wait| now + ms(wait) + 1),
            error: fault.map(|fault| fault.to_string()),
        }
    }

    fn wait_for_category(
        &mut self,
        key: u32,
        verdict: Verdict,
        fault: Option<&Fault>,
    ) -> Option<Duration> {
        let target = &self.targets.all[key as usize];
        let settings = &self.plan.templates[usize::from(target.template)].settings;
        let policies = settings.by_category.as_ref()?;
        let streaks: &mut CategoryStreaks = self.streaks.entry(key).or_default();
        streaks.wait_after(verdict, fault, policies, settings.interval)
    }

    /// Commits a result, for this due time if it says anything; true if it was taken.
    pub(super) fn commit(
        &mut self,
        key: u32,
        generation: u32,
        operation: Operation<u32>,
        trigger: Trigger,
        due: Option<Ms>,
    ) -> bool {
        if self.plan.plant == Some(Plant::KeepOperation) && self.planting.plant() {
            self.planting.kept.push(operation);
            return true;
        }
        let is_current = self.books[key as usize].generation == generation;
        // Fenced twice: in memory, and by the row itself.
        let is_of_row = self.store.takes(key, operation.epoch(), trigger);
        let is_accepted = operation.finish(|| ()).is_ok() && is_of_row;
        if is_accepted != is_current {
            let what = if is_accepted {
                "a result was taken after its monitor had changed"
            } else {
                "a result was refused though nothing had changed"
            };
            self.audit
                .fail(Property::S2, self.now, Some(key), what.to_owned());
        }
        if let Some(due) = due.filter(|_| is_accepted) {
            self.write(key, due, 1);
        }
        is_accepted
    }

    /// Commits due times that came to nothing. They are refused if and only if their monitor has
    /// changed since, or nobody asked for them while it is paused.
    pub(super) fn commit_missed(&mut self, missed: &Missed<u32>) {
        let (key, due) = (missed.key, ms(missed.due.at));
        let is_wanted = match self.books[key as usize].life {
            Life::Active => true,
            Life::Paused => missed.trigger == Trigger::Manual,
            Life::Gone => false,
        };
        let is_current = is_wanted && self.operations.epoch(&key) == Some(missed.epoch);
        let is_taken = self.store.takes(key, missed.epoch, missed.trigger);
        if is_taken != is_current {
            let what = match is_taken {
                true => format!("missed at {due} ms, and written after its monitor had changed"),
                false => format!("missed at {due} ms, and refused though nothing had changed"),
            };
            self.audit.fail(Property::Record, self.now, Some(key), what);
        }
        if is_taken {
            self.write(key, due, missed.slots);
        }
    }

    /// A run is over: its key is free.
    fn release(
        &mut self,
        run: RunNumber,
        key: u32,
        holds: bool,
        end: End,
        verdict: Option<Verdict>,
        not_before: Ms,
    ) {
        self.holding -= usize::from(holds);
        self.kernel.ended(run, end, at(self.now));
        let note = Note::Ended {
            at: self.now,
            verdict,
            not_before,
        };
        self.note(key, note);
        self.collect();
        let book = &mut self.books[key as usize];
        book.place = None;
        book.plan(self.kernel.timer_after(run).map(ms));
    }

    fn give_back_trial(&mut self, key: u32, trial: Option<u64>) {
        if let Some(epoch) = trial {
            let group = usize::from(self.targets.all[key as usize].group);
            let trials = &mut self.trials[group];
            if let Some(position) = trials.iter().position(|of| *of == epoch) {
                trials.swap_remove(position);
            }
        }
    }

    /// The grace of a check is over: its task is aborted, if that can be.
    pub(super) fn abort(&mut self, run: RunNumber) {
        // It comes to that so seldom that it may be looked for.
        let mut all = (0..).zip(&mut self.live);
        let found = all.find_map(|(place, live)| {
            let live = live.as_mut().filter(|live| live.run == run)?;
            Some((place, live))
        });
        let Some((place, live)) = found else { return };
        let (key, generation) = (live.key, live.generation);
        self.holding -= usize::from(std::mem::replace(&mut live.holds, false));
        let is_blocked = matches!(live.manner, Manner::Blocks);
        if !is_blocked {
            live.manner = Manner::Deaf;
        }
        let version = live.version;
        if self.books[key as usize].generation == generation {
            self.note(key, Note::GivenUp);
        }
        if !is_blocked {
            self.end(place, version);
        }
    }

    /// Calls off the check of a key that goes on, for its monitor has changed.
    pub(super) fn call_off(&mut self, key: u32) {
        let book = &mut self.books[key as usize];
        book.generation += 1;
        let Some(place) = book.place else { return };
        let Some(live) = &mut self.live[place as usize] else {
            return;
        };
        let heeds = !matches!(
            live.manner,
            Manner::Panics | Manner::Deaf | Manner::Blocks | Manner::CalledOff
        );
        if heeds {
            live.manner = Manner::CalledOff;
            let ends = self.now + 1 + self.chance.below(50);
            self.end_at(place, ends);
        }
    }

    /// Takes the right of a check to commit, without the kernel: it lets the verdict of one that
    /// does not heed this count.
    pub(super) fn disarm(&mut self, key: u32) {
        self.call_off(key);
        let book = &self.books[key as usize];
        let live = book
            .place
            .and_then(|place| self.live[place as usize].as_mut());
        if let Some(live) = live.filter(|live| !matches!(live.manner, Manner::CalledOff)) {
            live.generation = book.generation;
        }
    }

    /// How often a missed due time is told: once, but for a fault that is planted.
    pub(super) fn tells_missed(&mut self, reason: MissedReason, key: u32) -> u32 {
        let is_plain = !matches!(reason, MissedReason::Withdrawn | MissedReason::Shutdown);
        let told = match self.plan.plant {
            Some(Plant::LoseRecord) => 0,
            Some(Plant::TellTwice) => 2,
            _ => return 1,
        };
        let is_now = is_plain && self.books[key as usize].place.is_none() && self.planting.plant();
        if is_now { told } else { 1 }
    }
}
