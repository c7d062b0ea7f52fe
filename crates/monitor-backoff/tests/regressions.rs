//! Mistakes that were made elsewhere, each as a test that the mistaken formula fails.

use std::time::Duration;

use monitor_backoff::{
    Base, Cap, ExponentOrigin, FailureStreak, Floor, Jitter, Policy, Schedule, Verdict,
};
use rand::{SeedableRng, rngs::SmallRng};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Waits without jitter after 1, 2, ... `failures` failures.
fn nominal(policy: &Policy, failures: u32, interval: Duration) -> Vec<Duration> {
    (1..=failures)
        .map(|failures| policy.nominal(failures, interval))
        .collect()
}

/// PRB-9, PRB-35: indexed by the failure count itself, the 2 s step is never used: 5, 10, 10.
#[test]
fn the_first_step_belongs_to_the_first_failure() {
    let mut streak = FailureStreak::new();
    let waits =
        [(); 4].map(|()| Policy::gate2().nominal(streak.record(Verdict::Failure), seconds(60)));
    assert_eq!(waits, [2, 5, 10, 10].map(seconds));
}

/// PRB-12: after a success the next gap is the interval, and the next failure starts anew.
#[test]
fn a_success_ends_the_backoff() {
    let (policy, mut streak) = (Policy::gate2(), FailureStreak::new());
    let mut next = |verdict| policy.nominal(streak.record(verdict), seconds(60));
    let gaps = [
        Verdict::Failure,
        Verdict::Failure,
        Verdict::Success,
        Verdict::Failure,
    ]
    .map(&mut next);
    assert_eq!(gaps, [2, 5, 60, 2].map(seconds));
}

/// ROB-43: jitter drawn after the cap makes 4320 s of a maximum of 3600 s.
#[test]
fn jitter_does_not_lift_a_wait_above_the_cap() {
    let (policy, mut rng) = (Policy::mail(), SmallRng::seed_from_u64(1));
    for failures in 1..=10 {
        for _ in 0..1000 {
            let delay = policy.delay(failures, seconds(300), &mut rng);
            assert!(
                delay <= seconds(3600),
                "{delay:?} after {failures} failures"
            );
        }
    }
}

/// ROB-43: clamped after jitter, half of all delays at the cap would be the same instant.
#[test]
fn delays_do_not_pile_up_at_the_cap() {
    let (policy, mut rng) = (Policy::mail(), SmallRng::seed_from_u64(2));
    let delays: Vec<_> = (0..1000)
        .map(|_| policy.delay(9, seconds(300), &mut rng))
        .collect();
    assert!(
        delays
            .iter()
            .all(|delay| (seconds(2880)..=seconds(3600)).contains(delay))
    );
    assert!(
        delays
            .iter()
            .filter(|delay| **delay == seconds(3600))
            .count()
            <= 1
    );
    assert!(delays.iter().any(|delay| *delay > seconds(3590)));
}

/// ROB-44, PRB-13: base 100 s, interval 300 s, one failure: 200 s, sooner than when all is well.
#[test]
fn a_base_below_the_interval_does_not_make_failures_faster() {
    let policy = Policy::mail()
        .to_builder()
        .schedule(Schedule::Exponential {
            base: Base::Fixed(seconds(100)),
            factor: 2.0,
        })
        .floor(Floor::AtLeastInterval)
        .build()
        .expect("valid");
    assert_eq!(*policy.range(1, seconds(300)).start(), seconds(300));
    let as_it_was = policy
        .to_builder()
        .floor(Floor::Absolute)
        .build()
        .expect("valid");
    assert_eq!(as_it_was.nominal(1, seconds(300)), seconds(200));
}

/// ROB-45: a maximum below the interval makes a failing monitor run more often than a healthy one.
#[test]
fn a_cap_below_the_interval_yields_to_it() {
    let two_hours = seconds(7200);
    for policy in [Policy::monitor(), Policy::hardened()] {
        assert!((3..40).all(|failures| *policy.range(failures, two_hours).start() == two_hours));
    }
    let fixed = Policy::builder()
        .cap(Cap::Fixed(seconds(300)))
        .build()
        .expect("valid");
    assert_eq!(fixed.nominal(4, two_hours), two_hours);
}

/// PRB-11: a floor of 100 ms after jitter makes 100 ms of an interval of 50 ms ±20 %.
#[test]
fn the_minimum_delay_leaves_the_normal_interval_alone() {
    let policy = Policy::gate2();
    let range = policy.range(0, Duration::from_millis(50));
    assert_eq!(range, Duration::from_millis(40)..=Duration::from_millis(60));
    assert_eq!(
        policy.range(0, Duration::ZERO),
        Duration::ZERO..=Duration::ZERO
    );
}

/// ROB-52: base 10 s, factor 1.1: the minimum of 30 s holds, also after jitter.
#[test]
fn the_minimum_delay_holds_after_a_failure() {
    let policy = Policy::mail()
        .to_builder()
        .schedule(Schedule::Exponential {
            base: Base::Fixed(seconds(10)),
            factor: 1.1,
        })
        .build()
        .expect("valid");
    assert_eq!(policy.range(1, seconds(300)), seconds(30)..=seconds(36));
    assert_eq!(policy.range(5, seconds(300)), seconds(30)..=seconds(36));
}

/// PRB-11, ROB-43: "±30 %" that was ±15 %, because the ratio was taken as the whole width.
#[test]
fn a_ratio_is_the_share_on_each_side() {
    let policy = Policy::builder()
        .jitter(Jitter::symmetric(0.3))
        .build()
        .expect("valid");
    assert_eq!(policy.range(0, seconds(100)), seconds(70)..=seconds(130));
    let mut rng = SmallRng::seed_from_u64(3);
    let delays: Vec<_> = (0..1000)
        .map(|_| policy.delay(0, seconds(100), &mut rng))
        .collect();
    assert!(delays.iter().any(|delay| *delay < seconds(71)));
    assert!(delays.iter().any(|delay| *delay > seconds(129)));
}

/// PRB-13, ROB-51: visits per hour to a target that is down, at an interval of 60 s.
#[test]
fn a_failing_target_is_not_visited_more_often_than_a_healthy_one() {
    let visits = |policy: &Policy| {
        let (mut now, mut failures) = (Duration::ZERO, 0);
        while now < seconds(3600) {
            failures += 1;
            now += policy.nominal(failures, seconds(60));
        }
        failures
    };
    assert_eq!(visits(&Policy::gate2()), 362); // against 60 when healthy
    assert_eq!(visits(&Policy::monitor()), 5);
    assert_eq!(visits(&Policy::hardened()), 7);
}

/// ROB-47: an exponent capped at 5 makes the sixth failure wait as long as the fifth.
#[test]
fn the_exponent_is_capped() {
    let policy = Policy::mail()
        .to_builder()
        .cap(Cap::Fixed(seconds(86_400)))
        .build();
    let waits = nominal(&policy.expect("valid"), 7, seconds(300));
    assert_eq!(
        waits,
        [600, 1200, 2400, 4800, 9600, 9600, 9600].map(seconds)
    );
}

/// JOB-5: 100, 200, 400 ms. The linear 50, 100 ms that stood there is a policy as well.
#[test]
fn claims_double_from_their_base() {
    let milliseconds = Duration::from_millis;
    let waits = nominal(&Policy::jobs_claim(), 3, seconds(5));
    assert_eq!(waits, [100, 200, 400].map(milliseconds));
    let (base, step) = (Base::Fixed(milliseconds(50)), milliseconds(50));
    let linear = Policy::jobs_claim()
        .to_builder()
        .schedule(Schedule::Linear { base, step })
        .build()
        .expect("valid");
    assert_eq!(
        nominal(&linear, 3, seconds(5)),
        [50, 100, 150].map(milliseconds)
    );
}

/// ROB-42: the exponent is the number of failures, or one less, and the policy says which.
#[test]
fn the_origin_of_the_exponent_is_a_setting() {
    let policy = Policy::builder().jitter(Jitter::NONE);
    let first = |origin| {
        let policy = policy.exponent_origin(origin).build().expect("valid");
        policy.nominal(1, seconds(60))
    };
    assert_eq!(first(ExponentOrigin::Failures), seconds(120));
    assert_eq!(first(ExponentOrigin::FailuresMinusOne), seconds(60));
}
