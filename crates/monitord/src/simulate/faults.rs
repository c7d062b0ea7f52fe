//! What goes wrong around the prober: targets, the driver, the machine, and people.

use monitor_core::operation::Cause;
use monitor_scheduler::{Class, Pace};

use super::books::{Life, Note};
use super::process::Process;
use super::world::{Event, World};
use super::{HOUR, MINUTE, Ms, Plant, SECOND, at, ms};

/// Something goes wrong, or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A target goes down.
    Outage,
    OutageOver(u32),
    /// Targets of one group go down together.
    GroupOutage,
    GroupOutageOver(u32),
    /// The driver is held up: checks go on, and nobody starts any.
    Stall,
    /// The machine or the process stands still.
    Suspend,
    /// The wall clock is set.
    ClockStep,
    /// A check by hand.
    Trigger,
    Pause,
    Resume(u32),
    Edit,
    Delete,
    Add(u32),
    /// A class is slowed down, as under pressure.
    Pace,
    PaceOver,
    /// The process ends, one way or the other.
    Restart,
    /// Another one starts.
    Start,
}

impl Fault {
    /// Those that come by themselves, over and over.
    const RECURRING: [Self; 11] = [
        Self::Outage,
        Self::GroupOutage,
        Self::Stall,
        Self::Suspend,
        Self::ClockStep,
        Self::Trigger,
        Self::Pause,
        Self::Edit,
        Self::Delete,
        Self::Pace,
        Self::Restart,
    ];

    /// How many of them come in an hour, with so many targets.
    fn per_hour(self, targets: f64) -> f64 {
        match self {
            Self::Outage => targets / 24.0,
            Self::GroupOutage => 1.0,
            Self::Stall => 4.0,
            Self::Suspend => 0.15,
            Self::ClockStep | Self::Restart => 0.25,
            Self::Trigger => targets / 12.0,
            Self::Pause | Self::Edit => targets / 96.0,
            Self::Delete => targets / 240.0,
            _ => 0.2,
        }
    }
}

impl World<'_> {
    pub(super) fn schedule_faults(&mut self) {
        for fault in Fault::RECURRING {
            let is_of_target = matches!(fault, Fault::Outage | Fault::GroupOutage);
            if is_of_target || !self.plan.trouble.targets_only {
                self.schedule_next(fault);
            }
        }
    }

    fn schedule_next(&mut self, fault: Fault) {
        if Fault::RECURRING.contains(&fault) {
            let gap = self
                .chance
                .gap(fault.per_hour(f64::from(self.plan.targets)));
            self.schedule(self.now + gap, Event::Fault(fault));
        }
    }

    fn later(&mut self, least: Ms, most: Ms, fault: Fault) {
        let at = self.now + self.chance.span(least, most);
        self.schedule(at, Event::Fault(fault));
    }

    pub(super) fn go_wrong(&mut self, fault: Fault) {
        self.schedule_next(fault);
        match fault {
            Fault::Outage => {
                let key = self.chance.pick(self.plan.targets);
                if self.targets.fall(key, &mut self.chance) {
                    self.tally.faults.outages += 1;
                    self.later(30 * SECOND, 30 * MINUTE, Fault::OutageOver(key));
                }
            }
            Fault::OutageOver(key) => self.targets.rise(key, self.now),
            Fault::GroupOutage => {
                let group = self.chance.below(self.targets.count_groups()) as u32;
                self.targets.fall_together(group as usize, &mut self.chance);
                self.tally.faults.group_outages += 1;
                self.later(2 * MINUTE, 30 * MINUTE, Fault::GroupOutageOver(group));
            }
            Fault::GroupOutageOver(group) => {
                self.targets.rise_together(group as usize, self.now);
            }
            Fault::Stall => {
                let over = self.now + self.chance.span(20, 90 * SECOND);
                self.held_up_until = self.held_up_until.max(over);
                self.tally.faults.stalls += 1;
                self.schedule(over, Event::Wake);
            }
            Fault::Suspend => {
                let span = self.chance.span(10 * SECOND, 20 * MINUTE);
                self.tally.faults.suspends += 1;
                if self.chance.is(0.5) {
                    // The process stands still: what was due meanwhile is late.
                    self.now += span;
                } else {
                    // The machine sleeps: the clock that counts stands still as well.
                    self.set_clock(i64::try_from(span).unwrap_or(i64::MAX));
                }
            }
            Fault::ClockStep => {
                let span = self.chance.span(SECOND, 6 * HOUR);
                let span = i64::try_from(span).unwrap_or(i64::MAX);
                let step = if self.chance.is(0.5) { span } else { -span };
                self.tally.faults.clock_steps += 1;
                self.set_clock(step);
            }
            Fault::Restart => self.restart_if_up(),
            Fault::Start => self.start(),
            Fault::Pace | Fault::PaceOver if self.process != Process::Up => {}
            Fault::Pace => {
                let pace = match self.chance.below(2) {
                    0 => Pace::Suspended,
                    _ => Pace::stretched(3),
                };
                self.tally.faults.paces += 1;
                self.kernel.set_pace(Class::Optional, pace, at(self.now));
                self.collect();
                self.later(MINUTE, 20 * MINUTE, Fault::PaceOver);
            }
            Fault::PaceOver => {
                self.kernel
                    .set_pace(Class::Optional, Pace::Full, at(self.now));
                self.collect();
            }
            Fault::Trigger
            | Fault::Pause
            | Fault::Resume(_)
            | Fault::Edit
            | Fault::Delete
            | Fault::Add(_) => self.change(fault),
        }
    }

    /// No kernel reads the wall clock: nothing is to follow from this but that the next process
    /// starts by it.
    fn set_clock(&mut self, step_ms: i64) {
        if self.plan.trouble.clock_steps {
            self.wall_unix_ms += step_ms;
        }
    }

    /// Somebody does something to a monitor.
    fn change(&mut self, fault: Fault) {
        if self.process != Process::Up {
            // He is told that it is shutting down, or by nobody, and tries again.
            if matches!(fault, Fault::Resume(_) | Fault::Add(_)) {
                self.schedule(self.now + MINUTE, Event::Fault(fault));
            }
            return;
        }
        let now = at(self.now);
        let key = match fault {
            Fault::Resume(key) | Fault::Add(key) => key,
            _ => self.anyone(),
        };
        match fault {
            Fault::Trigger => {
                self.tally.faults.triggers += 1;
                self.trigger(key);
            }
            Fault::Pause if self.kernel.pause(&key, now).is_some() => {
                self.tally.faults.pauses += 1;
                self.write_change(key, Life::Paused);
                self.call_off(key);
                self.collect();
                self.note(key, Note::Paused);
                self.later(10, 30 * MINUTE, Fault::Resume(key));
            }
            Fault::Resume(_) if self.store.row(key).life == Life::Paused => self.resume(key),
            Fault::Edit if self.books[key as usize].life == Life::Active => {
                self.tally.faults.edits += 1;
                let longer = self.chance.is(0.5);
                self.place(key, longer);
                self.unsettle(key);
            }
            Fault::Delete if self.kernel.cancel(&key, now).is_some() => {
                self.tally.faults.deletes += 1;
                self.write_change(key, Life::Gone);
                self.call_off(key);
                self.collect();
                self.note(key, Note::Gone);
                self.later(1, 10 * MINUTE, Fault::Add(key));
            }
            Fault::Add(_) => {
                self.place(key, false);
                self.unsettle(key);
            }
            _ => {}
        }
        self.books[key as usize].plan(self.kernel.timer(&key).map(ms));
    }

    fn trigger(&mut self, key: u32) {
        let outcome = self.kernel.trigger(&key, at(self.now));
        if outcome.will_run() && self.trigger_resets(key) {
            self.note(key, Note::Reset);
        }
        self.collect();
    }

    /// As the core does it: what is checked by hand is called off, and checked again afterwards.
    fn resume(&mut self, key: u32) {
        let fence = self.operations.fence(&key, Cause::Superseded);
        self.disarm(key);
        self.write_resumed(key);
        if !self.kernel.resume(&key, at(self.now)) {
            return;
        }
        self.collect();
        self.note(key, Note::Resumed { at: self.now });
        if fence.is_some_and(|fence| fence.open() > 0) {
            self.trigger(key);
        }
        self.unsettle(key);
    }

    /// Any monitor; half the time one that is being checked, where changes hurt most.
    fn anyone(&mut self) -> u32 {
        if self.chance.is(0.5) {
            for _ in 0..8 {
                let place = self.chance.below(self.live.len() as u64) as usize;
                if let Some(Some(live)) = self.live.get(place) {
                    return live.key;
                }
            }
        }
        self.chance.pick(self.plan.targets)
    }

    fn trigger_resets(&self, key: u32) -> bool {
        let template = usize::from(self.targets.all[key as usize].template);
        self.plan.templates[template]
            .settings
            .trigger_resets_backoff
    }

    /// A breaker has as long to close as if its target had only now become well.
    pub(super) fn unsettle(&mut self, key: u32) {
        let target = &mut self.targets.all[key as usize];
        target.well_since = target.well_since.max(self.now);
    }

    /// A group says nothing for an hour.
    fn silence(&mut self, group: u32) {
        self.targets.fall_silent(group as usize);
        let over = Event::Fault(Fault::GroupOutageOver(group));
        self.schedule(self.now + HOUR, over);
    }

    /// The time of the planted fault has come.
    pub(super) fn ripen(&mut self) {
        self.planting.is_ripe = true;
        match self.plan.plant {
            Some(plant) if plant.needs_restart() => self.restart(),
            Some(Plant::LoseTimer) => {
                let idle = (0..self.plan.targets).find(|key| {
                    let book = &self.books[*key as usize];
                    book.life == Life::Active && book.place.is_none()
                });
                if let Some(key) = idle {
                    self.kernel.lose_timer(&key);
                }
            }
            Some(Plant::SkipFence) => match self.live.iter().flatten().next() {
                Some(live) => self.books[live.key as usize].generation += 1,
                None => self.schedule(self.now + 10, Event::Plant),
            },
            // It shows where many meet what they share: in a long silence of the server.
            Some(Plant::ExtraTrial) => self.silence(0),
            Some(Plant::ExtraConnections) => self.silence(super::pools::FIRST),
            Some(Plant::StayOpen) => {
                let well =
                    (0..self.plan.targets).find(|key| self.targets.well_since(*key).is_some());
                let breaker = well.and_then(|key| self.targets.all[key as usize].breaker.as_ref());
                if let Some(breaker) = breaker {
                    breaker.set_mode(monitor_breaker::Mode::ForcedOpen, at(self.now));
                }
            }
            _ => {}
        }
    }
}
