//! What a breaker is, as plainly as it can be said: lists of calls, seconds that pass one by one,
//! and no epochs, words, rings or locks. Any transition forgets every permit by hand.

use std::{collections::BTreeMap, time::Duration};

use monitor_backoff::{Cap, ExponentOrigin, Floor, Jitter, Policy};
use monitor_breaker::{Cause, Config, Counts, Mode, State, Verdict};

const OPEN_S: u64 = 10;
const OPEN_MAX_S: u64 = 35;
const TRIAL_S: u64 = 7;
const SLOW_S: u64 = 3;
const PUSH_BACK_MAX_S: u64 = 50;
/// The span of the time window, which is cut into 16 ticks, hence of 1 s.
const SPAN_S: u64 = 16;
/// No breaker closes later than this after the target is well.
pub(crate) const WORST_S: u64 = TRIAL_S + OPEN_MAX_S + PUSH_BACK_MAX_S + 20;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Counting {
    Consecutive(u32),
    Calls(u32),
    Span,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) counting: Counting,
    pub(crate) failure_percent: u32,
    pub(crate) slow_percent: Option<u32>,
    pub(crate) minimum_calls: u32,
    pub(crate) is_timed: bool,
    pub(crate) successes: u32,
    pub(crate) trials: u32,
    pub(crate) ramp_s: u64,
    pub(crate) healthy_s: u64,
}

/// A call that ended while closed or recovering.
#[derive(Clone, Copy)]
struct Call {
    at: u64,
    failed: bool,
    slow: bool,
}

struct Permit {
    admitted: u64,
    deadline: Option<u64>,
}

pub(crate) struct Model {
    settings: Settings,
    pub(crate) now: u64,
    pub(crate) mode: Mode,
    pub(crate) state: State,
    calls: Vec<Call>,
    successes: u32,
    retry_at: u64,
    pushed_back_until: u64,
    ramp_end: u64,
    healthy_since: Option<u64>,
    pub(crate) opened_in_a_row: u32,
    /// The permits that still count.
    current: BTreeMap<u64, Permit>,
    next_permit: u64,
    pub(crate) log: Vec<(State, State, Cause, u64)>,
}

impl Settings {
    pub(crate) fn config(&self) -> Config {
        let open_policy = Policy::builder()
            .exponent_origin(ExponentOrigin::FailuresMinusOne)
            .floor(Floor::AtLeastInterval)
            .cap(Cap::Fixed(Duration::from_secs(OPEN_MAX_S)))
            .jitter(Jitter::NONE)
            .build()
            .expect("valid");
        let share = |percent| f64::from(percent) / 100.0;
        let mut builder = Config::builder()
            .success_threshold(self.successes)
            .half_open_trials(self.trials)
            .trial_deadline(Duration::from_secs(TRIAL_S))
            .open_duration(Duration::from_secs(OPEN_S))
            .open_policy(open_policy)
            .healthy_after(Duration::from_secs(self.healthy_s))
            .push_back_max(Duration::from_secs(PUSH_BACK_MAX_S))
            .ramp(Duration::from_secs(self.ramp_s))
            .ramp_from(1.0);
        if self.is_timed {
            builder = builder.slow_call_threshold(Duration::from_secs(SLOW_S));
        }
        builder = match self.counting {
            Counting::Consecutive(failures) => return done(builder.failure_threshold(failures)),
            Counting::Calls(calls) => builder.count_window(calls),
            Counting::Span => builder.time_window(Duration::from_secs(SPAN_S)),
        };
        if let Some(percent) = self.slow_percent() {
            builder = builder.slow_call_rate(share(percent));
        }
        let builder = builder.failure_rate(share(self.failure_percent));
        done(builder.minimum_calls(self.minimum_calls()))
    }

    fn slow_percent(&self) -> Option<u32> {
        let has_window = !matches!(self.counting, Counting::Consecutive(_));
        self.slow_percent.filter(|_| self.is_timed && has_window)
    }

    fn minimum_calls(&self) -> u32 {
        match self.counting {
            Counting::Calls(calls) => self.minimum_calls.min(calls),
            Counting::Consecutive(_) | Counting::Span => self.minimum_calls,
        }
    }
}

fn done(builder: monitor_breaker::Builder) -> Config {
    builder.build().expect("valid")
}

impl Model {
    pub(crate) fn new(settings: Settings) -> Model {
        Model {
            settings,
            now: 0,
            mode: Mode::Normal,
            state: State::Closed,
            calls: Vec::new(),
            successes: 0,
            retry_at: 0,
            pushed_back_until: 0,
            ramp_end: 0,
            healthy_since: Some(0),
            opened_in_a_row: 0,
            current: BTreeMap::new(),
            next_permit: 0,
            log: Vec::new(),
        }
    }

    fn enter(&mut self, to: State, cause: Cause) {
        self.log.push((self.state, to, cause, self.now));
        self.state = to;
        self.successes = 0;
        self.calls.clear();
        self.current.clear();
        match to {
            State::Open => {
                self.healthy_since = None;
                if self.mode == Mode::ForcedOpen {
                    return;
                }
                self.opened_in_a_row += 1;
                let doublings = (self.opened_in_a_row - 1).min(10);
                let end = self.now + (OPEN_S << doublings).min(OPEN_MAX_S);
                self.retry_at = end.max(self.pushed_back_until);
            }
            State::HalfOpen => self.healthy_since = None,
            State::Recovering => {
                self.ramp_end = self.now + self.settings.ramp_s;
                self.healthy_since = Some(self.now);
            }
            State::Closed => self.healthy_since = self.healthy_since.or(Some(self.now)),
        }
        self.heal();
    }

    fn heal(&mut self) {
        let since = self.healthy_since;
        if since.is_some_and(|since| since + self.settings.healthy_s <= self.now) {
            self.opened_in_a_row = 0;
        }
    }

    /// Lets `seconds` pass, one by one, as a timer thread would.
    pub(crate) fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            let is_forced = self.mode == Mode::ForcedOpen;
            let is_overdue = self.deadlines().any(|deadline| deadline == self.now);
            match self.state {
                State::Open if self.now == self.retry_at && !is_forced => {
                    self.enter(State::HalfOpen, Cause::IntervalElapsed);
                }
                State::HalfOpen if is_overdue => self.enter(State::Open, Cause::TrialOverdue),
                State::Recovering if self.now == self.ramp_end => {
                    self.enter(State::Closed, Cause::RampOver);
                }
                _ => self.heal(),
            }
        }
    }

    fn deadlines(&self) -> impl Iterator<Item = u64> {
        self.current.values().filter_map(|permit| permit.deadline)
    }

    fn refuses(&self) -> bool {
        match self.state {
            State::Closed | State::Recovering => false,
            State::Open => true,
            State::HalfOpen => self.current.len() >= self.settings.trials as usize,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let until = match self.state {
            _ if !self.refuses() || self.mode == Mode::Shadow => return None,
            _ if self.mode == Mode::ForcedOpen => Duration::from_nanos(u64::MAX),
            State::Open => Duration::from_secs(self.retry_at),
            _ => Duration::from_secs(self.deadlines().min().expect("every trial is taken")),
        };
        Some(until - Duration::from_secs(self.now))
    }

    pub(crate) fn acquire(&mut self) -> Result<u64, Duration> {
        if let Some(retry_after) = self.retry_after() {
            return Err(retry_after);
        }
        self.next_permit += 1;
        let is_counted = self.mode != Mode::Disabled && !self.refuses();
        if is_counted {
            let deadline = (self.state == State::HalfOpen).then_some(self.now + TRIAL_S);
            let admitted = self.now;
            let permit = Permit { admitted, deadline };
            self.current.insert(self.next_permit, permit);
        }
        Ok(self.next_permit)
    }

    pub(crate) fn settle(&mut self, permit: u64, verdict: Verdict) {
        if let Some(permit) = self.current.remove(&permit) {
            self.conclude(&permit, verdict);
        }
    }

    pub(crate) fn drop_permit(&mut self, permit: u64) {
        if let Some(permit) = self.current.remove(&permit) {
            let verdict = if self.is_slow(&permit) {
                Verdict::Failure
            } else {
                Verdict::Ignore
            };
            self.conclude(&permit, verdict);
        }
    }

    fn is_slow(&self, permit: &Permit) -> bool {
        self.settings.is_timed && self.now - permit.admitted >= SLOW_S
    }

    fn conclude(&mut self, permit: &Permit, verdict: Verdict) {
        let slow = self.is_slow(permit);
        let failed = match verdict {
            Verdict::Success => false,
            Verdict::Failure => true,
            Verdict::Ignore => return,
        };
        if self.state == State::HalfOpen {
            self.conclude_trial(failed || slow && self.settings.slow_percent().is_some());
            return;
        }
        let at = self.now;
        self.calls.push(Call { at, failed, slow });
        if let Some(cause) = self.cause_to_open(failed, slow) {
            self.enter(State::Open, cause);
        }
    }

    fn conclude_trial(&mut self, failed: bool) {
        if failed {
            return self.enter(State::Open, Cause::TrialFailed);
        }
        self.successes += 1;
        if self.successes == self.settings.successes {
            let to = match self.settings.ramp_s {
                0 => State::Closed,
                _ => State::Recovering,
            };
            self.enter(to, Cause::SuccessThreshold);
        }
    }

    fn cause_to_open(&self, failed: bool, slow: bool) -> Option<Cause> {
        if let Counting::Consecutive(threshold) = self.settings.counting {
            return (self.failures_in_a_row() == threshold).then_some(Cause::FailureThreshold);
        }
        let counts = self.counts();
        let is_met = |part, percent: u32| part * 100 >= u64::from(percent) * counts.2;
        if !(failed || slow) || counts.2 < u64::from(self.settings.minimum_calls()) {
            None
        } else if is_met(counts.0, self.settings.failure_percent) {
            Some(Cause::FailureRate)
        } else {
            let slow = self.settings.slow_percent();
            slow.filter(|slow| is_met(counts.1, *slow))
                .map(|_| Cause::SlowCallRate)
        }
    }

    pub(crate) fn failures_in_a_row(&self) -> u32 {
        if !matches!(self.settings.counting, Counting::Consecutive(_)) {
            return 0;
        }
        let failures = self.calls.iter().rev().take_while(|call| call.failed);
        failures.count() as u32
    }

    /// The failures, the slow calls, and all calls in the window.
    fn counts(&self) -> (u64, u64, u64) {
        let in_window: Vec<_> = match self.settings.counting {
            Counting::Calls(calls) => self.calls.iter().rev().take(calls as usize).collect(),
            _ => {
                let calls = self.calls.iter();
                calls.filter(|call| call.at + SPAN_S > self.now).collect()
            }
        };
        let failures = in_window.iter().filter(|call| call.failed).count();
        let slow = in_window.iter().filter(|call| call.slow).count();
        (failures as u64, slow as u64, in_window.len() as u64)
    }

    /// Compares with the window of a snapshot.
    pub(crate) fn is_window(&self, window: Option<Counts>) -> bool {
        let has_window = !matches!(self.settings.counting, Counting::Consecutive(_));
        let is_counting =
            matches!(self.state, State::Closed | State::Recovering) && self.mode != Mode::Disabled;
        let expected = (has_window && is_counting).then(|| self.counts());
        window.map(|counts| (counts.failures, counts.slow_calls, counts.calls)) == expected
    }

    pub(crate) fn trials(&self) -> (u32, u32) {
        (self.deadlines().count() as u32, self.successes)
    }

    pub(crate) fn trip(&mut self) {
        if self.state != State::Open && self.mode != Mode::Disabled {
            self.enter(State::Open, Cause::Manual);
        }
    }

    pub(crate) fn reset(&mut self) {
        if matches!(self.mode, Mode::ForcedOpen | Mode::Disabled) {
            return;
        }
        self.pushed_back_until = 0;
        let counts_a_run = matches!(self.settings.counting, Counting::Consecutive(_));
        let is_clean = self.state == State::Closed && counts_a_run && self.failures_in_a_row() == 0;
        if !is_clean {
            self.enter(State::Closed, Cause::Manual);
        }
        self.healthy_since = Some(self.now);
        self.opened_in_a_row = 0;
    }

    pub(crate) fn set_mode(&mut self, mode: Mode) {
        if mode == self.mode {
            return;
        }
        self.mode = mode;
        let to = match mode {
            Mode::Normal | Mode::Shadow | Mode::Disabled => State::Closed,
            Mode::ForcedOpen => State::Open,
        };
        self.enter(to, Cause::ModeChanged);
        self.healthy_since = Some(self.now);
        self.opened_in_a_row = 0;
    }

    pub(crate) fn push_back(&mut self, seconds: u64) {
        let until = self.now + seconds.min(PUSH_BACK_MAX_S);
        self.pushed_back_until = self.pushed_back_until.max(until);
        if self.state == State::Open {
            self.retry_at = self.retry_at.max(until);
        }
    }
}
