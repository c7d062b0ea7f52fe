//! The process: how it ends, in order or not, and what a new one makes of what the store kept.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use monitor_backoff::Policy;
use monitor_core::operation::Operations;
use monitor_model::LastDue;
use monitor_scheduler::simulation::Kernel;
use monitor_scheduler::{Class, Classes, Config, MissedReason, Phase, Spec, SpecBuilder};

use super::audit::Property;
use super::books::{History, Life, Note};
use super::faults::Fault;
use super::store::absence;
use super::world::{Event, World};
use super::{MINUTE, Ms, Plan, Plant, SECOND, at, ms};

/// How long an orderly end may take.
const SHUTDOWN: Ms = 10 * SECOND;
/// The time of the wall clock at the start, in unix milliseconds.
pub(super) const EPOCH_UNIX_MS: i64 = 1_700_000_000_000;

/// Whether there is a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    Up,
    /// It starts nothing more, and ends by then.
    Ending {
        deadline: Ms,
    },
    Down,
}

/// A kernel without keys for a process that starts while the wall clock says this.
pub(super) fn kernel(plan: &Plan, operations: &Operations<u32>, wall_unix_ms: i64) -> Kernel<u32> {
    let config = Config {
        max_concurrent: match plan.plant {
            Some(Plant::ExtraPermits) => NonZeroUsize::MAX,
            Some(Plant::FewerPermits) => NonZeroUsize::MIN,
            _ => plan.max_concurrent,
        },
        saturation: plan.saturation,
        classes: match plan.plant {
            Some(Plant::PassOver) => unfair(),
            _ => Classes::default(),
        },
        max_wait: plan.max_wait,
        seed: plan.seed,
        origin_unix: Duration::from_millis(u64::try_from(wall_unix_ms).unwrap_or(0)),
        ..Config::default()
    };
    Kernel::new(&config, operations.clone())
}

/// So that who matters least is never old enough.
fn unfair() -> Classes {
    let mut classes = Classes::default();
    let weight = NonZeroU32::MIN.saturating_add(1_000_000);
    (classes.normal.weight, classes.critical.weight) = (weight, weight);
    classes
}

impl World<'_> {
    pub(super) fn restart_if_up(&mut self) {
        if self.plan.trouble.restarts && self.process == Process::Up {
            self.restart();
        }
    }

    /// It ends out of the blue, or by a signal; another one is started some time later.
    pub(super) fn restart(&mut self) {
        self.tally.faults.restarts += 1;
        if self.chance.is(0.5) || self.plan.plant.is_some() {
            self.crash();
        } else {
            self.begin_end();
        }
    }

    /// Everything that is not on disk is gone.
    fn crash(&mut self) {
        let since = self.now.saturating_sub(self.chance.below(20));
        self.store.lose(since);
        self.forget();
        self.go_down();
    }

    /// The first step of an orderly end: nothing more is started.
    pub(super) fn begin_end(&mut self) {
        self.kernel.close(at(self.now));
        self.collect();
        let deadline = self.now + SHUTDOWN;
        self.process = Process::Ending { deadline };
        self.schedule(deadline, Event::Wake);
    }

    /// The last step, once nothing goes on any more or the deadline has come: what still goes on is
    /// called off.
    pub(super) fn end_if_over(&mut self) {
        let Process::Ending { deadline } = self.process else {
            return;
        };
        if self.kernel.running() > 0 && self.now < deadline {
            return;
        }
        self.held_up_until = 0;
        if self.plan.plant != Some(Plant::NeverEnd) {
            for key in self.kernel.abandon(at(self.now)) {
                self.books[key as usize].generation += 1;
            }
            self.collect();
        }
        self.drive();
        let held = self.kernel.numbers(at(self.now)).permits_held;
        if held > 0 {
            let what = format!("{held} checks hold a permit after the deadline");
            self.audit.fail(Property::L4, self.now, None, what);
        }
        for place in 0..self.live.len() {
            if let Some(mut live) = self.live[place].take() {
                self.let_go(&mut live, false);
                // Whoever went on is refused.
                self.commit(
                    live.key,
                    live.generation,
                    live.operation,
                    live.trigger,
                    None,
                );
            }
        }
        self.count_what_is_left();
        self.forget();
        self.go_down();
    }

    /// What an orderly end leaves: nothing, and everything was told.
    fn count_what_is_left(&mut self) {
        let now = self.now;
        self.close_pools();
        let open = self.operations.open();
        if open > 0 {
            let what = format!("{open} operations are open and nobody has them");
            self.audit.fail(Property::L3, now, None, what);
        }
        for target in &self.targets.all {
            let breaker = target.breaker.as_ref().filter(|_| target.is_shared);
            let trials = breaker.map_or(0, |it| it.snapshot(at(now)).trials_in_flight);
            if trials > 0 {
                let what = format!("{trials} trials are taken and nobody has them");
                self.audit.fail(Property::L3, now, None, what);
            }
        }
        let numbers = self.kernel.numbers(at(now));
        let missed = MissedReason::ALL.map(|reason| numbers.missed.of(reason));
        let (started, told) = self.tally.of_process();
        if (numbers.started_total, missed) != (started, told) {
            let what = format!(
                "{} runs and {missed:?} missed, of which {started} and {told:?} were told",
                numbers.started_total
            );
            self.audit.fail(Property::Record, now, None, what);
        }
    }

    /// What was in memory alone.
    fn forget(&mut self) {
        self.live.clear();
        self.vacant.clear();
        self.holding = 0;
        self.streaks.clear();
        self.trials.iter_mut().for_each(Vec::clear);
        self.forget_effects();
        self.renew_pools();
        self.targets.renew_breakers(self.plan);
        self.tally.end_process();
    }

    fn go_down(&mut self) {
        self.process = Process::Down;
        let down_for = match self.plan.plant {
            // Not even long enough for one due time to pass.
            Some(Plant::RepeatDue) => 1,
            Some(_) => 7 * MINUTE,
            None => self.chance.span(100, 10 * MINUTE),
        };
        self.schedule(self.now + down_for, Event::Fault(Fault::Start));
    }

    /// A new process reads the store, as `monitor-core` does, and goes on from there.
    pub(super) fn start(&mut self) {
        let is_set = self.wall_unix_ms != self.process_unix_ms;
        self.process_unix_ms = self.wall_unix_ms;
        self.process = Process::Up;
        self.operations = Operations::with_seed(self.plan.seed ^ self.now);
        self.kernel = kernel(self.plan, &self.operations, self.wall_unix_ms);
        let mut first = None;
        for place in 0..self.order.len() {
            let key = self.order[place];
            let epoch = self.store.row(key).epoch;
            if !self.plants(Plant::ForgetEpochs) {
                // A registry that is new takes any epoch.
                let _ = self.operations.register(key, epoch);
            }
            if self.store.row(key).life == Life::Active && first.is_none() {
                first = Some(key);
                if self.plants(Plant::ForgetMonitor) {
                    self.books[key as usize].place = None;
                    continue;
                }
            }
            self.reload(key, is_set);
        }
        self.collect();
        self.look_for_bunches();
    }

    /// Schedules what the store has; what was due since the end of its history is on record first.
    fn reload(&mut self, key: u32, is_set: bool) {
        let row = self.store.row(key).clone();
        let accounted = self.make_up_for(key, is_set);
        let Some(terms) = (row.life != Life::Gone).then(|| self.terms(key, row.edited)) else {
            return;
        };
        let mut spec = self.spec(key, row.edited);
        if let Some(after) = accounted.filter(|_| !self.plants(Plant::RepeatDue)) {
            spec = spec.after(Duration::from_millis(u64::try_from(after).unwrap_or(0)));
        }
        if self.plants(Plant::StartAtOnce) {
            spec = spec.phase(Phase::Offset(Duration::ZERO));
        }
        let Ok(spec) = spec.build() else { return };
        let now = at(self.now);
        let _ = match row.life {
            Life::Paused => self.kernel.schedule_paused(key, spec, now),
            Life::Active | Life::Gone => self.kernel.schedule(key, spec, now),
        };
        let planned = self.kernel.timer(&key).map(ms);
        let book = &mut self.books[key as usize];
        book.terms = terms;
        book.plan(planned);
        self.unsettle(key);
    }

    /// Puts the due times at which no process ran on record, and says up to which time, in unix
    /// milliseconds, everything is.
    fn make_up_for(&mut self, key: u32, is_set: bool) -> Option<i64> {
        let (now, unix) = (self.now, self.process_unix_ms);
        let row = self.store.row(key);
        let spec = self.spec(key, row.edited).build().ok();
        let absent = spec.filter(|_| row.life == Life::Active).and_then(|spec| {
            absence(
                row,
                &spec,
                key,
                unix + i64::try_from(now).unwrap_or(i64::MAX),
            )
        });
        let absent = absent.filter(|_| !self.plants(Plant::LoseAbsence));
        let end = row.last.map(|last| last.end_unix_ms());
        let since_start = |unix_ms: i64| u64::try_from(unix_ms - unix).unwrap_or(0);
        // By another clock nothing can be said of what was, nor while the history is ahead of one
        // that was set back.
        let ahead = now + self.books[key as usize].terms.interval;
        let known = end.filter(|end| !is_set && since_start(*end) <= ahead);
        let history = known.map(|end| History {
            last: since_start(end),
            absent: absent.map(|it| {
                let (first, last) = (it.due_unix_ms, it.end_unix_ms());
                (since_start(first), since_start(last))
            }),
        });
        self.books[key as usize].reloaded(history, now, key, &mut self.audit);
        if let Some(it) = absent {
            self.tally.absent(it.slots, now);
            self.store.record(key, it, now);
        }
        absent.map(|it| it.end_unix_ms()).or(end)
    }

    /// A restart sets nobody off at the same time as all others: by second, timers are as even as
    /// they ever were.
    fn look_for_bunches(&mut self) {
        let mut by_second = std::collections::BTreeMap::<Ms, u32>::new();
        let mut each_second = 0.0;
        for key in 0..self.plan.targets {
            if let Some(timer) = self.kernel.timer(&key) {
                *by_second.entry(ms(timer) / SECOND).or_default() += 1;
                each_second += 1000.0 / self.books[key as usize].terms.interval as f64;
            }
        }
        let most = 2.0 * each_second + 20.0;
        let bunch = by_second
            .into_iter()
            .find(|(_, count)| f64::from(*count) > most);
        if let Some((second, count)) = bunch {
            let what = format!(
                "{count} checks are to begin in second {second}, of {each_second:.1} in each"
            );
            self.audit.fail(Property::Spread, self.now, None, what);
        }
    }

    /// How a key is to run.
    pub(super) fn spec(&self, key: u32, edited: bool) -> SpecBuilder {
        let terms = self.terms(key, edited);
        let target = &self.targets.all[key as usize];
        let template = &self.plan.templates[usize::from(target.template)];
        let settings = &template.settings;
        let class = if template.is_one_class {
            settings.class
        } else {
            class(key)
        };
        let backoff = match self.plan.plant {
            Some(Plant::HurryBackoff) => Policy::socket(),
            _ => settings.backoff,
        };
        Spec::builder(at(terms.interval))
            .timeout(settings.effective_timeout())
            .backoff(backoff)
            .trigger_resets_backoff(settings.trigger_resets_backoff)
            .phase(Phase::Offset(at(phase(key, terms.interval))))
            .class(class)
    }

    /// A record is written.
    pub(super) fn write(&mut self, key: u32, due: Ms, slots: u32) {
        let due_unix_ms = self.process_unix_ms + i64::try_from(due).unwrap_or(i64::MAX / 2);
        let interval = self.books[key as usize].terms.interval;
        let record = LastDue {
            due_unix_ms,
            slots,
            interval_ms: i64::try_from(interval).unwrap_or(i64::MAX),
        };
        self.store.record(key, record, self.now);
    }

    /// A change of a monitor is written, with the epoch that it has now.
    pub(super) fn write_change(&mut self, key: u32, life: Life) {
        let epoch = self.operations.epoch(&key).unwrap_or_default();
        self.store.change(key, life, epoch);
    }

    /// A resumed monitor is written: its due times count from now on.
    pub(super) fn write_resumed(&mut self, key: u32) {
        self.write_change(key, Life::Active);
        let unix_ms = self.process_unix_ms + i64::try_from(self.now).unwrap_or(i64::MAX / 2);
        self.store.resume(key, unix_ms);
    }

    /// What follows from the last steps is not carried out any more; what they did is noted.
    fn forget_effects(&mut self) {
        for (key, note) in self.take_notes() {
            if !matches!(note, Note::Ended { .. }) {
                self.books[key as usize].note(note);
            }
        }
        for book in &mut self.books {
            book.place = None;
            book.plan(None);
        }
    }

    fn plants(&self, plant: Plant) -> bool {
        self.plan.plant == Some(plant)
    }
}

/// Where in its interval a key has its slots: the same for ever, and each somewhere else.
pub(super) const fn phase(key: u32, interval: Ms) -> Ms {
    let spread = (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    spread % interval
}

/// How much a key matters: three in twenty more than others, three less.
fn class(key: u32) -> Class {
    match key % 20 {
        0..3 => Class::Critical,
        3..6 => Class::Optional,
        _ => Class::Normal,
    }
}
