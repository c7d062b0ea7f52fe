//! Defects that were measured in other crates, each as a test that their formula fails.

use std::time::Duration;

use monitor_backoff::{
    Base, Class, Decision, Disposition, ExponentOrigin, Floor, Jitter, Policy, Retry, RetryBudget,
    RetryToken, Schedule,
};
use rand::{SeedableRng, rngs::SmallRng};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// ROB-43: `backon` adds up to the whole delay as jitter after the cap: 19.99 s of at most 10 s.
/// `tokio-retry2` multiplies by up to 1.5 after it, failsafe-go adds after it.
#[test]
fn no_jitter_lifts_a_delay_above_the_cap() {
    let decorrelated = Schedule::Decorrelated {
        base: Base::Fixed(millis(100)),
        factor: 3.0,
    };
    let exponential = Policy::exponential(millis(100), millis(10_000));
    for builder in [
        exponential.jitter(Jitter::FULL),
        exponential.jitter(Jitter::EQUAL),
        exponential.jitter(Jitter::symmetric(1.0)),
        exponential.schedule(decorrelated),
    ] {
        let policy = builder.build().expect("valid");
        let delays = policy.delays(Duration::ZERO, SmallRng::seed_from_u64(1));
        let longest = delays.take(100_000).max().expect("some");
        assert!(longest <= millis(10_000), "{longest:?}");
        assert!(longest > millis(9_990), "and the cap is used: {longest:?}");
    }
}

/// ROB-42: a delay of 500 ms taken for the base of a power is followed by 250 000 ms
/// (`tokio-retry2`).
#[test]
fn five_hundred_milliseconds_are_followed_by_a_second() {
    let policy = Policy::exponential(millis(500), millis(60_000))
        .build()
        .expect("valid");
    let waits = [1, 2, 3].map(|failures| policy.nominal(failures, Duration::ZERO));
    assert_eq!(waits, [500, 1000, 2000].map(millis));
}

/// ROB-42: delays that were multiplied until the float was infinite panic or wrap elsewhere.
#[test]
fn ten_thousand_failures_are_no_overflow() {
    for factor in [2.0, 1.5, 100.0] {
        let policy = Policy::exponential(millis(100), millis(10_000))
            .schedule(Schedule::Exponential {
                base: Base::Fixed(millis(100)),
                factor,
            })
            .jitter(Jitter::NONE)
            .build()
            .expect("valid");
        let mut delays = policy.delays(Duration::ZERO, SmallRng::seed_from_u64(1));
        assert_eq!(delays.nth(9_999), Some(millis(10_000)));
        assert_eq!(policy.nominal(u32::MAX, Duration::ZERO), millis(10_000));
    }
}

/// ROB-96: a budget of 60 % that rounds the price of a retry grants 100 % (tower's `TpsBudget`,
/// and 33, 50, 100 and 100 % for 30, 40, 70 and 90 %).
#[test]
fn a_budget_of_sixty_percent_grants_sixty_percent() {
    for per_mille in [300, 400, 600, 700, 900] {
        let budget = RetryBudget::builder()
            .ratio_per_mille(per_mille)
            .min_per_second(0)
            .capacity(1000)
            .build()
            .expect("valid");
        let mut granted = 0;
        // Every request fails and asks for a retry at once.
        for _ in 0..1000 {
            budget.deposit();
            let token = budget.withdraw_at(Duration::ZERO, Class::Transient);
            granted += u32::from(token.map(RetryToken::spend).is_ok());
        }
        assert_eq!(granted, per_mille, "of 1000 at {per_mille} per mille");
    }
}

/// ROB-96: a client that was refused is granted again as time passes: a bucket that refills on
/// success alone never recovers from an outage.
#[test]
fn an_empty_budget_recovers_without_a_success() {
    let budget = RetryBudget::builder()
        .min_per_second(5)
        .build()
        .expect("valid");
    let granted = |now| {
        std::iter::from_fn(|| budget.withdraw_at(now, Class::Transient).ok())
            .map(RetryToken::spend)
            .count()
    };
    assert_eq!(granted(millis(0)), 5);
    assert_eq!(granted(millis(0)), 0);
    assert_eq!(granted(millis(1000)), 5);
}

/// ROB-96: a retry that sleeps counts against the budget: a hundred callers that fail together do
/// not all go to sleep towards a retry (Envoy learnt to count them).
#[test]
fn sleeping_retries_hold_their_tokens() {
    let budget = RetryBudget::builder()
        .ratio_per_mille(0)
        .min_per_second(10)
        .build();
    let retry = Retry::builder(Policy::socket()).budget(budget.expect("valid"));
    let retry = retry.build().expect("valid");
    let mut rng = SmallRng::seed_from_u64(1);
    let sleeping: Vec<_> = (0..100)
        .map(|_| {
            retry
                .begin(Duration::ZERO)
                .fail(Duration::ZERO, Disposition::TRANSIENT, &mut rng)
        })
        .filter(|decision| matches!(decision, Decision::Retry { .. }))
        .collect();
    assert_eq!(sleeping.len(), 10);
}

/// ROB-51, PRB-13: a cap below the base, or a floor above the cap, does not make waits fall.
#[test]
fn a_cap_below_the_interval_makes_no_hot_loop() {
    let policy = Policy::exponential(millis(100), millis(1000))
        .floor(Floor::AtLeastInterval)
        .exponent_origin(ExponentOrigin::Failures)
        .build()
        .expect("valid");
    let shortest = (1..50)
        .map(|failures| *policy.range(failures, millis(5000)).start())
        .min();
    assert_eq!(shortest, Some(millis(5000)));
}
