//! What a worker thinks of itself, from how its attempts end.

use std::time::Duration;

use crate::WorkerState;

/// How much the latest result counts.
const WEIGHT: f64 = 0.1;
/// Results before there is a judgement.
const ENOUGH: u32 = 5;
/// The share of own failures from which it is degraded, and failing, and up to which it is well.
const DEGRADED: f64 = 0.4;
const FAILING: f64 = 0.8;
const WELL: f64 = 0.15;
/// How long a failing worker claims nothing before it tries itself again; doubled each time it
/// fails at that, up to 32 times.
const REST: Duration = Duration::from_secs(30);

/// Judges by failures that are the worker's own: panics, time-outs, resources. What a job or its
/// target did wrong says nothing about the worker.
#[derive(Debug, Default)]
pub(crate) struct Health {
    rate: f64,
    results: u32,
    level: Level,
    /// Rests in a row: flapping makes them longer.
    rests: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Level {
    #[default]
    Well,
    Degraded,
    /// Until then.
    Failing(Duration),
}

impl Health {
    /// An attempt ended at `now`; `own` when its failure was the worker's.
    pub(crate) fn record(&mut self, now: Duration, own: bool) {
        self.rate += WEIGHT * (f64::from(u8::from(own)) - self.rate);
        self.results = self.results.saturating_add(1);
        if self.results < ENOUGH {
            return;
        }
        self.level = match self.level {
            Level::Failing(until) => Level::Failing(until),
            _ if self.rate >= FAILING => {
                let rest = REST * 2_u32.pow(self.rests.min(5));
                self.rests = self.rests.saturating_add(1);
                Level::Failing(now + rest)
            }
            _ if self.rate >= DEGRADED => Level::Degraded,
            Level::Degraded if self.rate > WELL => Level::Degraded,
            _ => {
                self.rests = 0;
                Level::Well
            }
        };
    }

    /// How it stands at `now`: `Idle` stands for well. After its rest a failing worker is degraded,
    /// one failure away from the next rest.
    pub(crate) fn state(&mut self, now: Duration) -> WorkerState {
        if let Level::Failing(until) = self.level
            && now >= until
        {
            self.level = Level::Degraded;
            self.rate = FAILING - WEIGHT / 5.0;
        }
        match self.level {
            Level::Well => WorkerState::Idle,
            Level::Degraded => WorkerState::Degraded,
            Level::Failing(_) => WorkerState::Failing,
        }
    }

    /// The share of own failures, smoothed: what [`predict`](super::predict) looks at.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn failures(health: &mut Health, now: Duration, count: u32) {
        (0..count).for_each(|_| health.record(now, true));
    }

    /// JOB-51: from well to degraded to failing, and back by way of a rest.
    #[test]
    fn a_worker_that_fails_rests_and_tries_again() {
        let mut health = Health::default();
        failures(&mut health, S(0), 4);
        assert_eq!(health.state(S(0)), WorkerState::Idle, "too few to judge");
        failures(&mut health, S(0), 6);
        assert_eq!(health.state(S(0)), WorkerState::Degraded);
        failures(&mut health, S(0), 10);
        assert_eq!(health.state(S(29)), WorkerState::Failing);
        assert_eq!(health.state(S(30)), WorkerState::Degraded);
        (0..30).for_each(|_| health.record(S(31), false));
        assert_eq!(health.state(S(31)), WorkerState::Idle);
        assert!(health.rate() < 0.1);
    }

    /// JOB-51: whoever fails again right after its rest rests longer; a long good time forgives.
    #[test]
    fn flapping_makes_the_rests_longer() {
        let mut health = Health::default();
        failures(&mut health, S(0), 20);
        assert_eq!(health.state(S(30)), WorkerState::Degraded);
        failures(&mut health, S(30), 1);
        assert_eq!(health.state(S(89)), WorkerState::Failing, "60 s this time");
        assert_eq!(health.state(S(90)), WorkerState::Degraded);
    }

    /// JOB-51: failures of jobs and their targets are not the worker's.
    #[test]
    fn what_jobs_do_wrong_is_not_the_workers() {
        let mut health = Health::default();
        (0..100).for_each(|_| health.record(S(0), false));
        assert_eq!(health.state(S(0)), WorkerState::Idle);
    }
}
