//! Breaker and backoff together: the next run is due when both agree.

use std::time::Duration;

use monitor_backoff::{FailureStreak, Policy, Verdict};
use monitor_breaker::{Breaker, Config, State};
use rand::{SeedableRng, rngs::SmallRng};

/// One run and the time until the next, in seconds: the later of backoff and breaker.
struct Monitor {
    breaker: Breaker,
    policy: Policy,
    streak: FailureStreak,
    interval: Duration,
    now: Duration,
}

impl Monitor {
    fn new(policy: Policy, interval: Duration) -> Monitor {
        let breaker = Breaker::new(Config::mail());
        Monitor {
            breaker,
            policy,
            streak: FailureStreak::new(),
            interval,
            now: Duration::ZERO,
        }
    }

    fn run(&mut self, verdict: Verdict) -> (State, u64) {
        let permit = self
            .breaker
            .try_acquire(self.now)
            .expect("due only when admitted");
        permit.record(verdict, self.now);
        let mut rng = SmallRng::seed_from_u64(0);
        let backoff = self
            .policy
            .delay(self.streak.record(verdict), self.interval, &mut rng);
        let state = self.breaker.state(self.now);
        let wait = backoff.max(self.breaker.retry_after(self.now).unwrap_or_default());
        self.now += wait;
        (state, wait.as_secs())
    }
}

fn without_jitter(policy: &Policy) -> Policy {
    policy
        .to_builder()
        .jitter(monitor_backoff::Jitter::NONE)
        .build()
        .expect("valid")
}

/// ROB-49, ROB-51: opening reset the backoff, so a dead service was probed every 300 s instead of
/// every 3600 s. Closed, open, half-open and open again: the waits only grow, until it recovers.
#[test]
fn opening_does_not_reset_the_backoff() {
    let mut monitor = Monitor::new(without_jitter(&Policy::mail()), Duration::from_secs(300));
    let run = [Verdict::Failure; 7].map(|verdict| monitor.run(verdict));
    let (closed, open) = (State::Closed, State::Open);
    assert_eq!(
        run,
        [
            (closed, 600),
            (closed, 1200),
            (closed, 2400),
            (closed, 3600),
            (open, 3600),
            (open, 3600),
            (open, 3600),
        ]
    );
    assert_eq!(monitor.run(Verdict::Success), (closed, 300));
}

/// ROB-14, ROB-51: where the backoff is quicker than the breaker, the breaker decides.
#[test]
fn an_open_breaker_holds_a_quick_backoff_back() {
    let mut monitor = Monitor::new(without_jitter(&Policy::gate2()), Duration::from_secs(60));
    let waits = [Verdict::Failure; 7].map(|verdict| monitor.run(verdict).1);
    assert_eq!(waits, [2, 5, 10, 10, 60, 60, 60]);
}
