//! The kernel: the whole breaker as a sequential state machine.
//!
//! It owns no clock. Its timers (the end of the open interval, the deadline of a trial, the end of
//! the ramp) are played by whichever call comes next, in order and dated when they were due, so
//! that what it does depends on nothing but its inputs.

mod phase;

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use monitor_backoff::Verdict;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use self::phase::{Phase, Tally};
use crate::{
    Cause, Config, Counts, Mode, Snapshot, State, Transition,
    error::Refusal,
    quota::{Place, Quota},
    ramp::Ramp,
    window::Record,
    word::{Bits, Word, nanos},
};

/// The right to bring one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// INV-BREAKER-2: a verdict counts only in the epoch that admitted its call.
    pub(crate) epoch: u64,
    /// The trial's id, when the call was admitted half-open.
    pub(crate) trial: Option<NonZeroU64>,
}

/// What a call ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) verdict: Verdict,
    /// Whether it took at least the slow-call threshold.
    pub(crate) slow: bool,
}

#[derive(Debug)]
pub(crate) struct Machine {
    config: Config,
    rng: SmallRng,
    /// The latest time any caller brought. Callers read their clocks before they take the lock, so
    /// their times may arrive out of order; the machine's never runs backwards.
    clock: Duration,
    mode: Mode,
    /// INV-BREAKER-4: every transition begins an epoch of its own.
    epoch: u64,
    phase: Phase,
    /// What was counted since it closed; nothing in any other phase.
    tally: Tally,
    next_trial: NonZeroU64,
    /// Since when calls are admitted; `None` while open or half-open.
    healthy_since: Option<Duration>,
    /// Until when the target has asked to be left alone.
    pushed_back_until: Duration,
    /// Whether it is open by hearsay only.
    opened_by_peers: bool,
    quota: Option<Arc<Quota>>,
    /// INV-BREAKER-10: held from opening by itself until calls are admitted again.
    place: Option<Place>,
    opened_total: u64,
    opened_in_a_row: u32,
    suppressed_openings: u64,
    shadow_rejected: u64,
    stale_verdicts: u64,
}

/// The transitions of one call, in order, to be told to the listener after the lock is released.
pub(crate) type Log = Vec<Transition>;

/// The end of an interval that has none: the last moment that the state word's readers can tell.
const FOREVER: Duration = Duration::from_nanos(u64::MAX);

impl Ticket {
    /// The ticket of a call that nobody counts; no breaker reaches this epoch.
    pub(crate) const UNCOUNTED: Ticket = Ticket {
        epoch: u64::MAX,
        trial: None,
    };
}

impl Machine {
    pub(crate) fn new(config: Config, quota: Option<Arc<Quota>>) -> Machine {
        let phase = Phase::of_mode(config.mode);
        Machine {
            rng: SmallRng::seed_from_u64(config.seed()),
            tally: Tally::new(&config),
            mode: config.mode,
            config,
            clock: Duration::ZERO,
            epoch: 0,
            phase,
            next_trial: NonZeroU64::MIN,
            healthy_since: Some(Duration::ZERO),
            pushed_back_until: Duration::ZERO,
            opened_by_peers: false,
            quota,
            place: None,
            opened_total: 0,
            opened_in_a_row: 0,
            suppressed_openings: 0,
            shadow_rejected: 0,
            stale_verdicts: 0,
        }
    }

    /// Admits a call, or says when the next one has a chance. In shadow mode it admits all.
    pub(crate) fn admit(&mut self, now: Duration, log: &mut Log) -> Result<Ticket, Refusal> {
        self.play_timers(now, log);
        if let Some(trial) = self.claim() {
            let epoch = self.epoch;
            return Ok(Ticket { epoch, trial });
        }
        match self.mode {
            Mode::Disabled => Ok(Ticket::UNCOUNTED),
            Mode::Shadow => {
                self.shadow_rejected = self.shadow_rejected.saturating_add(1);
                Ok(Ticket::UNCOUNTED)
            }
            Mode::Normal | Mode::ForcedOpen => Err(Refusal {
                state: self.state(),
                retry_after_nanos: self.retry_after().map_or(0, nanos),
            }),
        }
    }

    /// Returns the right to a call that counts, as a trial or not; `None` when there is none.
    fn claim(&mut self) -> Option<Option<NonZeroU64>> {
        match &mut self.phase {
            Phase::Closed => Some(None),
            Phase::Recovering(ramp) => ramp.admits(self.clock).then_some(None),
            Phase::HalfOpen { trials, .. } if trials.len() < self.config.half_open_trials => {
                let id = self.next_trial;
                self.next_trial = id.saturating_add(1);
                trials.begin(id, self.clock.saturating_add(self.config.trial_deadline));
                Some(Some(id))
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } | Phase::Disabled => None,
        }
    }

    /// Takes the verdict of a call, or drops it when the ticket is of an older epoch.
    pub(crate) fn settle(&mut self, ticket: Ticket, ending: Ending, now: Duration, log: &mut Log) {
        self.play_timers(now, log);
        if ticket.epoch != self.epoch {
            self.stale_verdicts += u64::from(ending.verdict != Verdict::Ignore);
            return;
        }
        match &mut self.phase {
            Phase::Closed | Phase::Recovering(_) => {
                let failed = match ending.verdict {
                    Verdict::Success => false,
                    Verdict::Failure => true,
                    Verdict::Ignore => return,
                };
                let slow = ending.slow;
                if let Some(cause) = self.tally.record(Record { failed, slow }) {
                    self.open_if_allowed(cause, log);
                }
            }
            Phase::HalfOpen { successes, trials } => {
                trials.end(ticket.trial);
                let failed_slowly = ending.slow && self.config.slow_trials_fail();
                match ending.verdict {
                    Verdict::Success if !failed_slowly => {
                        *successes += 1;
                        if *successes >= self.config.success_threshold {
                            self.close(Cause::SuccessThreshold, log);
                        }
                    }
                    Verdict::Success | Verdict::Failure => {
                        self.open(Cause::TrialFailed, self.clock, log);
                    }
                    Verdict::Ignore => {}
                }
            }
            // No ticket of such an epoch is given out.
            Phase::Open { .. } | Phase::Disabled => {}
        }
    }

    /// Opens because the time window met a rate, if that was in the present epoch.
    pub(crate) fn open_by_rate(&mut self, epoch: u64, cause: Cause, now: Duration, log: &mut Log) {
        self.play_timers(now, log);
        if epoch == self.epoch {
            self.open_if_allowed(cause, log);
        }
    }

    /// Opens by hand; `false` when it was open already, or has no say.
    pub(crate) fn trip(&mut self, now: Duration, log: &mut Log) -> bool {
        self.play_timers(now, log);
        if matches!(self.phase, Phase::Open { .. } | Phase::Disabled) {
            return false;
        }
        self.open(Cause::Manual, self.clock, log);
        true
    }

    /// Closes by hand, forgets everything, and goes by `now` from now on, even if that is earlier;
    /// `false` when there was nothing to forget, or it has no say.
    pub(crate) fn reset(&mut self, now: Duration, log: &mut Log) -> bool {
        self.play_timers(now, log);
        self.clock = now;
        if matches!(self.mode, Mode::ForcedOpen | Mode::Disabled) {
            return false;
        }
        self.pushed_back_until = Duration::ZERO;
        let is_clean = matches!(self.phase, Phase::Closed) && self.tally.is_clean();
        if !is_clean {
            self.enter(Phase::Closed, Cause::Manual, now, log);
        }
        self.healthy_since = Some(now);
        self.opened_in_a_row = 0;
        !is_clean
    }

    /// Changes the mode, and begins anew in it; `false` when it was in it already.
    pub(crate) fn set_mode(&mut self, mode: Mode, now: Duration, log: &mut Log) -> bool {
        self.play_timers(now, log);
        if mode == self.mode {
            return false;
        }
        let from = self.state();
        self.mode = mode;
        self.phase = Phase::of_mode(mode);
        self.healthy_since = Some(self.clock);
        self.opened_in_a_row = 0;
        self.begin_epoch(from, Cause::ModeChanged, self.clock, log);
        true
    }

    /// The target asked to be left alone: extends the open interval, this one or the next.
    pub(crate) fn push_back(&mut self, wait: Duration, now: Duration, log: &mut Log) {
        self.play_timers(now, log);
        let until = self
            .clock
            .saturating_add(wait.min(self.config.push_back_max));
        self.pushed_back_until = self.pushed_back_until.max(until);
        if let Phase::Open { until: Some(end) } = &mut self.phase {
            *end = (*end).max(until);
        }
    }

    /// Opens because others found the target down; `false` when it does not admit calls anyway.
    pub(crate) fn heed(&mut self, wait: Duration, now: Duration, log: &mut Log) -> bool {
        self.play_timers(now, log);
        if !matches!(self.phase, Phase::Closed | Phase::Recovering(_)) || !self.take_place() {
            return false;
        }
        let wait = wait.min(self.config.longest_open());
        let until = self.clock.saturating_add(wait).max(self.pushed_back_until);
        let phase = Phase::Open { until: Some(until) };
        self.opened_total = self.opened_total.saturating_add(1);
        self.enter(phase, Cause::Peers, self.clock, log);
        self.opened_by_peers = true;
        true
    }

    /// Returns how much longer it is open by what it found out itself.
    pub(crate) fn own_open_interval(&mut self, now: Duration, log: &mut Log) -> Option<Duration> {
        self.play_timers(now, log);
        match self.phase {
            Phase::Open { until: Some(until) }
                if self.mode == Mode::Normal && !self.opened_by_peers =>
            {
                Some(until.saturating_sub(self.clock))
            }
            _ => None,
        }
    }

    /// Returns a view of everything but the time window, which is not under this lock.
    pub(crate) fn snapshot(&mut self, now: Duration, log: &mut Log) -> Snapshot {
        self.play_timers(now, log);
        let (trials_in_flight, trial_successes) = match &self.phase {
            Phase::HalfOpen { successes, trials } => (trials.len(), *successes),
            _ => (0, 0),
        };
        let retry_after = self.retry_after();
        Snapshot {
            state: self.state(),
            mode: self.mode,
            epoch: self.epoch,
            consecutive_failures: self.tally.consecutive_failures(),
            window: self.window_counts(),
            admitted_percent: match &self.phase {
                Phase::Recovering(ramp) if self.mode != Mode::Shadow => ramp.percent(self.clock),
                _ if retry_after.is_some() => 0,
                _ => 100,
            },
            trials_in_flight,
            trial_successes,
            retry_after,
            opened_total: self.opened_total,
            opened_in_a_row: self.opened_in_a_row,
            suppressed_openings: self.suppressed_openings,
            shadow_rejected: self.shadow_rejected,
            stale_verdicts: self.stale_verdicts,
        }
    }

    /// Returns the word that tells the fast paths about this machine.
    pub(crate) fn word(&self) -> Word {
        let bits = match &self.phase {
            Phase::Closed if self.tally.is_clean() => Bits::Clean,
            Phase::Closed => Bits::Counting,
            Phase::Recovering(_) => Bits::Recovering,
            Phase::Open { .. } => Bits::Open,
            Phase::HalfOpen { .. } => Bits::HalfOpen,
            Phase::Disabled => Bits::Disabled,
        };
        Word::new(self.epoch, bits).in_shadow(self.mode == Mode::Shadow)
    }

    /// Returns the end of the open interval, while open; the end of time if it has none.
    pub(crate) fn retry_at(&self) -> Option<Duration> {
        match self.phase {
            Phase::Open { until } => Some(until.unwrap_or(FOREVER)),
            _ => None,
        }
    }

    /// Returns the latest time that it was told.
    pub(crate) fn clock(&self) -> Duration {
        self.clock
    }

    fn state(&self) -> State {
        match self.phase {
            Phase::Closed | Phase::Disabled => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::Recovering(_) => State::Recovering,
        }
    }

    /// Returns the exact window's counts; zeros stand in for the time window's.
    fn window_counts(&self) -> Option<Counts> {
        match (&self.phase, &self.tally) {
            (Phase::Closed | Phase::Recovering(_), tally) => tally.counts(),
            _ => None,
        }
    }

    /// Returns how long no call has a chance. A shadow refuses none.
    fn retry_after(&self) -> Option<Duration> {
        match &self.phase {
            _ if self.mode == Mode::Shadow => None,
            Phase::Closed | Phase::Disabled | Phase::Recovering(_) => None,
            Phase::Open { until } => Some(until.unwrap_or(FOREVER).saturating_sub(self.clock)),
            Phase::HalfOpen { trials, .. } => {
                (trials.len() >= self.config.half_open_trials).then(|| {
                    let deadline = trials.next_deadline().unwrap_or_default();
                    deadline.saturating_sub(self.clock)
                })
            }
        }
    }

    /// Moves the clock to `now` and plays every timer that was due by then. Ends: a half-open
    /// breaker that a timer has just made has no trial, hence no timer; a closed one has none.
    fn play_timers(&mut self, now: Duration, log: &mut Log) {
        self.clock = self.clock.max(now);
        loop {
            match &self.phase {
                Phase::Open { until: Some(until) } if *until <= self.clock => {
                    let (phase, at) = (Phase::half_open(), *until);
                    self.enter(phase, Cause::IntervalElapsed, at, log);
                }
                Phase::HalfOpen { trials, .. } => match trials.next_deadline() {
                    Some(at) if at <= self.clock => self.open(Cause::TrialOverdue, at, log),
                    _ => break,
                },
                Phase::Recovering(ramp) if ramp.end() <= self.clock => {
                    let at = ramp.end();
                    self.enter(Phase::Closed, Cause::RampOver, at, log);
                }
                _ => break,
            }
        }
        self.forget_openings_if_healthy();
    }

    /// A target that failed as soon as it was closed upon is not yet well: the open interval goes
    /// on growing.
    fn forget_openings_if_healthy(&mut self) {
        let healthy_for = self.healthy_since.map(|at| self.clock.saturating_sub(at));
        if healthy_for.is_some_and(|healthy_for| healthy_for >= self.config.healthy_after) {
            self.opened_in_a_row = 0;
        }
    }

    fn open_if_allowed(&mut self, cause: Cause, log: &mut Log) {
        if self.take_place() {
            self.open(cause, self.clock, log);
        } else {
            self.suppressed_openings = self.suppressed_openings.saturating_add(1);
        }
    }

    /// Returns whether the group lets it open. A shadow refuses no call, so it needs no place.
    fn take_place(&mut self) -> bool {
        match &self.quota {
            Some(quota) if self.mode == Mode::Normal && self.place.is_none() => {
                self.place = quota.take();
                self.place.is_some()
            }
            _ => true,
        }
    }

    fn open(&mut self, cause: Cause, at: Duration, log: &mut Log) {
        self.opened_total = self.opened_total.saturating_add(1);
        self.opened_in_a_row = self.opened_in_a_row.saturating_add(1);
        let Config {
            open_policy,
            open_duration,
            ..
        } = &self.config;
        let wait = open_policy.delay(self.opened_in_a_row, *open_duration, &mut self.rng);
        let until = at.saturating_add(wait).max(self.pushed_back_until);
        self.enter(Phase::Open { until: Some(until) }, cause, at, log);
    }

    fn close(&mut self, cause: Cause, log: &mut Log) {
        let Config {
            ramp, ramp_from, ..
        } = self.config;
        let phase = if ramp.is_zero() {
            Phase::Closed
        } else {
            Phase::Recovering(Ramp::new(self.clock, ramp, ramp_from, self.rng.next_u32()))
        };
        self.enter(phase, cause, self.clock, log);
    }

    fn enter(&mut self, phase: Phase, cause: Cause, at: Duration, log: &mut Log) {
        let from = self.state();
        self.phase = phase;
        self.healthy_since = match &self.phase {
            Phase::Open { .. } | Phase::HalfOpen { .. } => None,
            _ => self.healthy_since.or(Some(at)),
        };
        self.begin_epoch(from, cause, at, log);
    }

    fn begin_epoch(&mut self, from: State, cause: Cause, at: Duration, log: &mut Log) {
        self.epoch += 1;
        self.tally.clear();
        self.opened_by_peers = false;
        if self.healthy_since.is_some() {
            self.place = None;
        }
        log.push(Transition {
            sequence: self.epoch,
            from,
            to: self.state(),
            cause,
            mode: self.mode,
            at,
        });
    }
}
