//! When a task is due.

use std::time::Duration;

use monitor_backoff::Policy;
use rand::Rng;

use crate::TaskSpec;

/// No two ticks of a task are due closer together, whatever is configured.
const MIN_GAP: Duration = TaskSpec::MIN_INTERVAL;

/// The rule of one task: a grid of due times without drift while it is well, and the waits of its
/// policy, counted from the end of a tick, while it fails.
#[derive(Clone, Debug)]
pub(crate) struct Cadence {
    interval: Duration,
    backoff: Option<Policy>,
    max_share_percent: Option<u32>,
    /// INV-SUPERVISOR-1: when the next tick may start: never before the last one has ended, and
    /// at least a second after that was due.
    due: Duration,
    /// When the last tick was due, and when it started. That it was late moves no due time: else
    /// an interval of a second drifts.
    was_due: Duration,
    started: Duration,
    /// Due times that passed during a tick.
    missed: u64,
}

impl Cadence {
    pub(crate) fn new(spec: &TaskSpec, now: Duration) -> Self {
        Self {
            interval: spec.interval,
            backoff: spec.backoff,
            max_share_percent: spec.max_share_percent,
            due: now + spec.first_after,
            was_due: now,
            started: now,
            missed: 0,
        }
    }

    pub(crate) fn due(&self) -> Duration {
        self.due
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// A tick starts. Being late is no reason to hurry the next one.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.was_due = self.due;
        self.started = now;
    }

    /// A tick has ended after so many failures in a row: settles when the next one is due.
    pub(crate) fn end(&mut self, failures: u32, now: Duration, rng: &mut impl Rng) {
        let delay = match &self.backoff {
            Some(policy) => policy.delay(failures, self.interval, rng),
            None => self.interval,
        };
        if failures > 0 && self.backoff.is_some() {
            self.due = now.saturating_add(delay);
        } else {
            self.due = self.due.saturating_add(delay);
            self.skip_passed(now);
        }
        self.due = self.due.max(self.earliest(now));
    }

    /// The work of the last tick is over only now: what was due meanwhile is missed.
    pub(crate) fn delayed(&mut self, now: Duration) {
        self.skip_passed(now);
        self.due = self.due.max(self.earliest(now));
    }

    /// Another interval, for the waits to come.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// The wait that goes on is one interval from the start of the last tick. One that is over by
    /// now is at once.
    pub(crate) fn wait_anew(&mut self, now: Duration) {
        let interval = self.interval;
        self.due = self.started.saturating_add(interval).max(now);
        self.due = self.due.max(self.was_due.saturating_add(MIN_GAP));
    }

    /// Moves on along the grid to the first slot that is not over. It may be now.
    fn skip_passed(&mut self, now: Duration) {
        let late = now.saturating_sub(self.due);
        if late.is_zero() {
            return;
        }
        let passed = late.as_nanos().div_ceil(self.interval.as_nanos().max(1));
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.missed = self.missed.saturating_add(passed);
        let nanos = u128::from(passed) * self.interval.as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.due = self.due.saturating_add(Duration::from_nanos(nanos));
    }

    fn earliest(&self, now: Duration) -> Duration {
        let took = now.saturating_sub(self.started);
        let rested = self.max_share_percent.map_or(Duration::ZERO, |percent| {
            took.saturating_mul(100) / percent.max(1)
        });
        let rested = self.started.saturating_add(rested);
        now.max(rested).max(self.was_due.saturating_add(MIN_GAP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn cadence(interval: u64) -> Cadence {
        let spec = TaskSpec::builder("t").interval(secs(interval));
        Cadence::new(&spec.build().unwrap(), Duration::ZERO)
    }

    fn rng() -> SmallRng {
        SmallRng::seed_from_u64(1)
    }

    /// STB-14: a tick of two and a half intervals misses two and does not move the grid.
    #[test]
    fn what_is_due_during_a_tick_is_missed_and_counted() {
        let mut cadence = cadence(10);
        cadence.begin(secs(0));
        cadence.end(0, secs(25), &mut rng());
        assert_eq!((cadence.due(), cadence.missed()), (secs(30), 2));
        cadence.begin(secs(30));
        cadence.end(0, secs(31), &mut rng());
        assert_eq!((cadence.due(), cadence.missed()), (secs(40), 2));
    }

    /// STB-5: a tick that is late by a hair stays on the grid also when that is as fine as it may
    /// be.
    #[test]
    fn the_shortest_interval_does_not_drift() {
        let mut cadence = cadence(1);
        for tick in 0..10_000 {
            assert_eq!(cadence.due(), secs(tick));
            cadence.begin(secs(tick) + Duration::from_millis(1));
            cadence.end(0, secs(tick) + Duration::from_millis(2), &mut rng());
        }
        assert_eq!(cadence.missed(), 0);
    }

    /// STB-22: a tick that takes more than its share is followed by a longer rest.
    #[test]
    fn a_costly_tick_is_rare() {
        let spec = TaskSpec::builder("t")
            .interval(secs(300))
            .max_share_percent(1);
        let mut cadence = Cadence::new(&spec.build().unwrap(), Duration::ZERO);
        cadence.begin(secs(0));
        cadence.end(0, secs(2), &mut rng());
        assert_eq!(cadence.due(), secs(300), "within its share");
        cadence.begin(secs(300));
        cadence.end(0, secs(306), &mut rng());
        assert_eq!(cadence.due(), secs(900), "ten minutes instead of five");
    }

    /// STB-6: another interval holds from now on, and one that is over is at once.
    #[test]
    fn another_interval() {
        let mut cadence = cadence(300);
        cadence.begin(secs(0));
        cadence.end(0, secs(1), &mut rng());
        cadence.set_interval(secs(60));
        cadence.wait_anew(secs(10));
        assert_eq!(cadence.due(), secs(60));
        cadence.set_interval(secs(5));
        cadence.wait_anew(secs(10));
        assert_eq!(cadence.due(), secs(10));
    }

    fn policies() -> impl Strategy<Value = Option<Policy>> {
        prop_oneof![
            Just(None),
            Just(Some(Policy::hardened())),
            Just(Some(Policy::gate2())),
            Just(Some(Policy::jobs_claim())),
        ]
    }

    proptest! {
        /// STB-6, STB-14: whatever a task is like and does, its next tick is due no earlier than
        /// this one's end and a second after this one was due; and without a policy it stays on
        /// its grid, however late its ticks are.
        #[test]
        fn inv_supervisor_1_no_overlap_and_no_hot_loop(
            interval in 1u64..100,
            policy in policies(),
            share in prop::option::of(1u32..=100),
            ticks in prop::collection::vec((0u64..300_000, 0u64..5000, any::<bool>()), 1..50),
        ) {
            let mut spec = TaskSpec::builder("t").interval(secs(interval));
            if let Some(policy) = policy {
                spec = spec.backoff(policy);
            }
            if let Some(share) = share {
                spec = spec.max_share_percent(share);
            }
            let mut cadence = Cadence::new(&spec.build().unwrap(), Duration::ZERO);
            let (mut rng, mut failures) = (rng(), 0);
            for (took, late, fails) in ticks {
                let due = cadence.due();
                let start = due + Duration::from_millis(late);
                let end = start + Duration::from_millis(took);
                failures = if fails { failures + 1 } else { 0 };
                cadence.begin(start);
                cadence.end(failures, end, &mut rng);
                prop_assert!(cadence.due() >= end && cadence.due() >= due + secs(1));
                if policy.is_none() && share.is_none() {
                    let off = cadence.due().as_nanos() % secs(interval).as_nanos();
                    prop_assert_eq!(off, 0);
                }
            }
        }
    }
}
