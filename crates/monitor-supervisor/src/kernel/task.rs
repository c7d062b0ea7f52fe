//! All that is known about one task.

use std::{sync::Arc, time::Duration};

use rand::Rng;

use super::{alarm::Alarm, cadence::Cadence};
use crate::{Counts, Depth, Event, FailureKind, Outcome, TaskSpec, TaskStatus, Tick, event::What};

/// One task: its cadence, its alarm, and its figures.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) name: Arc<str>,
    pub(crate) timeout: Duration,
    cadence: Cadence,
    alarm: Alarm,
    deep_every: Option<u64>,
    ticks: u64,
    state: State,
    last: Option<(Duration, Outcome)>,
    counts: Counts,
    took: Took,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    /// Timed out, dropped, and not at its end.
    Stuck,
}

/// How long ticks took.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    last: Duration,
    longest: Duration,
    total: Duration,
}

impl Task {
    pub(crate) fn new(spec: &TaskSpec, now: Duration) -> Self {
        Self {
            name: spec.name.as_str().into(),
            timeout: spec.timeout,
            cadence: Cadence::new(spec, now),
            alarm: Alarm::new(spec),
            deep_every: spec.deep_every.map(|every| u64::from(every.get())),
            ticks: 0,
            state: State::Waiting,
            last: None,
            counts: Counts::default(),
            took: Took::default(),
        }
    }

    pub(crate) fn due(&self) -> Duration {
        self.cadence.due()
    }

    pub(crate) fn set_interval(&mut self, interval: Duration, now: Duration) {
        self.cadence.set_interval(interval);
        // The first tick is due when it is due, and one under way settles the next at its end.
        if self.ticks > 0 && self.state != State::Running {
            self.cadence.wait_anew(now);
        }
    }

    /// A tick starts.
    pub(crate) fn begin(&mut self, now: Duration) -> Tick {
        self.cadence.begin(now);
        self.state = State::Running;
        let before = self.ticks;
        self.ticks = self.ticks.saturating_add(1);
        let deep = match self.deep_every {
            Some(every) => before.is_multiple_of(every),
            None => before == 0,
        };
        Tick {
            number: self.ticks,
            depth: if deep { Depth::Deep } else { Depth::Light },
        }
    }

    /// It has an outcome, after so long. Returns what is to be told.
    pub(crate) fn end(
        &mut self,
        outcome: Outcome,
        took: Duration,
        now: Duration,
        rng: &mut impl Rng,
    ) -> Vec<Event> {
        self.state = State::Waiting;
        self.took.last = took;
        self.took.longest = self.took.longest.max(took);
        self.took.total = self.took.total.saturating_add(took);
        self.counts.add(outcome.failure());
        let tell = self.alarm.record(&outcome, now);
        self.cadence.end(self.alarm.failures(), now, rng);
        self.last = Some((now, outcome));
        tell.into_iter().map(|what| self.event(what)).collect()
    }

    /// The number of the tick that is under way and has its time, as far as the loop knows.
    pub(crate) fn running(&self) -> Option<u64> {
        (self.state == State::Running).then_some(self.ticks)
    }

    /// It has timed out and does not end.
    pub(crate) fn stuck(&mut self) -> Event {
        self.state = State::Stuck;
        self.event(What::Stuck)
    }

    /// What timed out has come to its end.
    pub(crate) fn over(&mut self, now: Duration) {
        self.state = State::Waiting;
        self.cadence.delayed(now);
    }

    pub(crate) fn status(&self, now: Duration) -> TaskStatus {
        let interval = self.cadence.interval();
        let age = self.last.as_ref().map(|(at, _)| now.saturating_sub(*at));
        // A task that was not seen yet is as old as it should have been by now.
        let unseen = now.saturating_sub(self.cadence.due());
        let ended = u32::try_from(self.counts.total()).unwrap_or(u32::MAX);
        TaskStatus {
            name: Arc::clone(&self.name),
            interval,
            ticks: self.ticks,
            is_running: self.state != State::Waiting,
            is_stuck: self.state == State::Stuck,
            last: self.last.as_ref().map(|(_, outcome)| outcome.clone()),
            checked_at: self.last.as_ref().map(|(at, _)| *at),
            age,
            is_stale: age.unwrap_or(unseen) > interval.saturating_mul(2),
            failures_in_a_row: self.alarm.failures(),
            is_alerting: self.alarm.is_raised(),
            counts: self.counts,
            missed: self.cadence.missed(),
            due_in: self.cadence.due().saturating_sub(now),
            last_took: self.took.last,
            longest_took: self.took.longest,
            mean_took: self.took.total.checked_div(ended).unwrap_or_default(),
        }
    }

    fn event(&self, what: What) -> Event {
        Event {
            task: Arc::clone(&self.name),
            tick: self.ticks,
            what,
        }
    }
}

impl Counts {
    fn add(&mut self, failure: Option<FailureKind>) {
        let count = match failure {
            None => &mut self.healthy,
            Some(FailureKind::Unhealthy) => &mut self.unhealthy,
            Some(FailureKind::Error) => &mut self.error,
            Some(FailureKind::Panic) => &mut self.panic,
            Some(FailureKind::Timeout) => &mut self.timeout,
        };
        *count = count.saturating_add(1);
    }
}
