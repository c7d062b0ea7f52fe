//! The kernel: the whole breaker as a sequential state machine.
//!
//! It owns no clock. Its timers (the end of the open interval, the deadline of a trial) are played
//! by whichever call comes next, in order and dated when they were due, so that what it does
//! depends on nothing but its inputs.

use std::{num::NonZeroU64, time::Duration};

use monitor_backoff::Verdict;
use rand::{SeedableRng, rngs::SmallRng};

use crate::{
    Cause, Config, Rejected, Snapshot, State, Transition,
    word::{Bits, Word},
};

/// The right to bring one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// INV-BREAKER-2: a verdict counts only in the epoch that admitted its call.
    pub(crate) epoch: u64,
    /// The trial's id, when the call was admitted half-open.
    pub(crate) trial: Option<NonZeroU64>,
}

#[derive(Debug)]
pub(crate) struct Machine {
    config: Config,
    rng: SmallRng,
    /// The latest time any caller brought. Callers read their clocks before they take the lock, so
    /// their times may arrive out of order; the machine's never runs backwards.
    clock: Duration,
    /// INV-BREAKER-4: every transition begins an epoch of its own.
    epoch: u64,
    phase: Phase,
    next_trial: NonZeroU64,
    opened_total: u64,
    opened_in_a_row: u32,
    stale_verdicts: u64,
}

/// What each state has to remember. A rate window will be a sibling of `failures`.
#[derive(Debug)]
enum Phase {
    Closed { failures: u32 },
    Open { retry_at: Duration },
    HalfOpen { successes: u32, trials: Trials },
}

/// The trials in flight, oldest first.
///
/// INV-BREAKER-1: never more than `half_open_trials`.
/// INV-BREAKER-3: each leaves by its verdict, by its permit's drop, or by its deadline.
#[derive(Debug, Default)]
struct Trials(Vec<Trial>);

#[derive(Debug)]
struct Trial {
    id: NonZeroU64,
    deadline: Duration,
}

/// The transitions of one call, in order, to be told to the listener after the lock is released.
pub(crate) type Log = Vec<Transition>;

impl Machine {
    pub(crate) fn new(config: Config) -> Machine {
        Machine {
            rng: SmallRng::seed_from_u64(config.seed()),
            config,
            clock: Duration::ZERO,
            epoch: 0,
            phase: Phase::Closed { failures: 0 },
            next_trial: NonZeroU64::MIN,
            opened_total: 0,
            opened_in_a_row: 0,
            stale_verdicts: 0,
        }
    }

    /// Admits a call, or says when the next one has a chance.
    pub(crate) fn admit(&mut self, now: Duration, log: &mut Log) -> Result<Ticket, Rejected> {
        self.play_timers(now, log);
        if let Some(retry_after) = self.retry_after() {
            return Err(Rejected {
                state: self.state(),
                retry_after,
            });
        }
        let trial = match &mut self.phase {
            Phase::HalfOpen { trials, .. } => {
                let id = self.next_trial;
                self.next_trial = id.saturating_add(1);
                let deadline = self.clock.saturating_add(self.config.trial_deadline);
                trials.0.push(Trial { id, deadline });
                Some(id)
            }
            Phase::Closed { .. } | Phase::Open { .. } => None,
        };
        Ok(Ticket {
            epoch: self.epoch,
            trial,
        })
    }

    /// Takes the verdict of a call, or drops it when the ticket is of an older epoch.
    pub(crate) fn settle(
        &mut self,
        ticket: Ticket,
        verdict: Verdict,
        now: Duration,
        log: &mut Log,
    ) {
        self.play_timers(now, log);
        if ticket.epoch != self.epoch {
            self.stale_verdicts += u64::from(verdict != Verdict::Ignore);
            return;
        }
        match &mut self.phase {
            Phase::Closed { failures } => match verdict {
                Verdict::Success => *failures = 0,
                Verdict::Failure => {
                    *failures = failures.saturating_add(1);
                    if *failures >= self.config.failure_threshold {
                        self.open(Cause::FailureThreshold, self.clock, log);
                    }
                }
                Verdict::Ignore => {}
            },
            Phase::HalfOpen { successes, trials } => {
                trials.0.retain(|trial| Some(trial.id) != ticket.trial);
                match verdict {
                    Verdict::Success => {
                        *successes += 1;
                        if *successes >= self.config.success_threshold {
                            self.close(Cause::SuccessThreshold, log);
                        }
                    }
                    Verdict::Failure => self.open(Cause::TrialFailed, self.clock, log),
                    Verdict::Ignore => {}
                }
            }
            // No ticket is given out while open, so none carries an open epoch.
            Phase::Open { .. } => {}
        }
    }

    /// Opens by hand; `false` when it was open already.
    pub(crate) fn trip(&mut self, now: Duration, log: &mut Log) -> bool {
        self.play_timers(now, log);
        if matches!(self.phase, Phase::Open { .. }) {
            return false;
        }
        self.open(Cause::Manual, self.clock, log);
        true
    }

    /// Closes by hand and forgets the failures; `false` when there was nothing to do.
    pub(crate) fn reset(&mut self, now: Duration, log: &mut Log) -> bool {
        self.play_timers(now, log);
        match &mut self.phase {
            Phase::Closed { failures } => std::mem::take(failures) > 0,
            Phase::Open { .. } | Phase::HalfOpen { .. } => {
                self.close(Cause::Manual, log);
                true
            }
        }
    }

    pub(crate) fn snapshot(&mut self, now: Duration, log: &mut Log) -> Snapshot {
        self.play_timers(now, log);
        let (consecutive_failures, trials_in_flight, trial_successes) = match &self.phase {
            Phase::Closed { failures } => (*failures, 0, 0),
            Phase::Open { .. } => (0, 0, 0),
            Phase::HalfOpen { successes, trials } => (0, trials.len(), *successes),
        };
        Snapshot {
            state: self.state(),
            epoch: self.epoch,
            consecutive_failures,
            trials_in_flight,
            trial_successes,
            retry_after: self.retry_after(),
            opened_total: self.opened_total,
            opened_in_a_row: self.opened_in_a_row,
            stale_verdicts: self.stale_verdicts,
        }
    }

    /// Returns the word that tells the fast paths about this machine.
    pub(crate) fn word(&self) -> Word {
        let bits = match &self.phase {
            Phase::Closed { failures: 0 } => Bits::Clean,
            Phase::Closed { .. } => Bits::Failing,
            Phase::Open { .. } => Bits::Open,
            Phase::HalfOpen { .. } => Bits::HalfOpen,
        };
        Word::new(self.epoch, bits)
    }

    /// Returns the end of the open interval, while open.
    pub(crate) fn retry_at(&self) -> Option<Duration> {
        match self.phase {
            Phase::Open { retry_at } => Some(retry_at),
            Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { retry_at } => Some(retry_at.saturating_sub(self.clock)),
            Phase::HalfOpen { trials, .. } => {
                (trials.len() >= self.config.half_open_trials).then(|| {
                    trials
                        .next_deadline()
                        .unwrap_or_default()
                        .saturating_sub(self.clock)
                })
            }
        }
    }

    /// Moves the clock to `now` and plays every timer that was due by then. Ends: a half-open
    /// breaker that a timer has just made has no trial, hence no timer.
    fn play_timers(&mut self, now: Duration, log: &mut Log) {
        self.clock = self.clock.max(now);
        loop {
            match &self.phase {
                Phase::Open { retry_at } if *retry_at <= self.clock => {
                    let phase = Phase::HalfOpen {
                        successes: 0,
                        trials: Trials::default(),
                    };
                    self.enter(phase, Cause::IntervalElapsed, *retry_at, log);
                }
                Phase::HalfOpen { trials, .. } => match trials.next_deadline() {
                    Some(at) if at <= self.clock => self.open(Cause::TrialOverdue, at, log),
                    _ => return,
                },
                Phase::Closed { .. } | Phase::Open { .. } => return,
            }
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
        self.enter(
            Phase::Open {
                retry_at: at.saturating_add(wait),
            },
            cause,
            at,
            log,
        );
    }

    fn close(&mut self, cause: Cause, log: &mut Log) {
        self.opened_in_a_row = 0;
        self.enter(Phase::Closed { failures: 0 }, cause, self.clock, log);
    }

    fn enter(&mut self, phase: Phase, cause: Cause, at: Duration, log: &mut Log) {
        let from = self.state();
        self.phase = phase;
        self.epoch += 1;
        log.push(Transition {
            sequence: self.epoch,
            from,
            to: self.state(),
            cause,
            at,
        });
    }
}

impl Trials {
    fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// All trials have the same time, so the oldest is due first.
    fn next_deadline(&self) -> Option<Duration> {
        self.0.first().map(|trial| trial.deadline)
    }
}
