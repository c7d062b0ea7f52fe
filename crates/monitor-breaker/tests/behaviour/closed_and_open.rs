//! What opens a breaker, for how long, and what does not.

use std::time::Duration;

use monitor_breaker::{Breaker, Cause, Config, State, Verdict};

use crate::{fail, listened, open, seconds};

/// ROB-13: four consecutive failures leave it closed, the fifth opens it.
#[test]
fn opens_at_the_threshold() {
    let breaker = Breaker::new(Config::mail());
    fail(&breaker, 4, seconds(1));
    assert_eq!(breaker.state(seconds(1)), State::Closed);
    assert_eq!(breaker.snapshot(seconds(1)).consecutive_failures, 4);
    fail(&breaker, 1, seconds(1));
    assert_eq!(breaker.state(seconds(1)), State::Open);
}

/// ROB-13: failures are counted in a row: a success starts the count anew.
#[test]
fn a_success_forgets_the_failures_before_it() {
    let breaker = Breaker::new(Config::mail());
    for _ in 0..20 {
        fail(&breaker, 4, seconds(1));
        breaker
            .try_acquire(seconds(1))
            .expect("closed")
            .success(seconds(1));
    }
    assert_eq!(breaker.state(seconds(1)), State::Closed);
    assert_eq!(breaker.snapshot(seconds(1)).consecutive_failures, 0);
}

/// ROB-14: an open interval of 60 s: refused after 59.9 s, a trial after 60 s.
#[test]
fn a_trial_is_admitted_when_the_interval_is_over() {
    let breaker = open(Config::mail(), seconds(1000));
    let rejected = breaker
        .try_acquire(Duration::from_millis(1_059_900))
        .expect_err("open");
    assert_eq!(rejected.state, State::Open);
    assert_eq!(rejected.retry_after, Duration::from_millis(100));
    assert!(
        breaker
            .try_acquire(seconds(1060))
            .expect("a trial")
            .is_trial()
    );
}

/// ROB-14: the interval grows with each failed trial, and starts anew once the target was well for
/// a while, not as soon as it is closed upon.
#[test]
fn the_open_interval_grows_until_the_target_is_healthy() {
    let breaker = open(
        Config::builder().seed(3).build().expect("valid"),
        seconds(0),
    );
    let mut now = seconds(0);
    for nominal in [60, 120, 240, 480, 600, 600] {
        let wait = breaker.retry_after(now).expect("open");
        let (low, high) = (seconds(nominal).mul_f64(0.8), seconds(nominal).mul_f64(1.2));
        assert!(
            (low.max(seconds(60))..=high.min(seconds(600))).contains(&wait),
            "{wait:?}"
        );
        now += wait;
        breaker.try_acquire(now).expect("a trial").failure(now);
    }
    let recover = |now| {
        for _ in 0..2 {
            breaker.try_acquire(now).expect("a trial").success(now);
        }
        assert_eq!(breaker.state(now), State::Closed);
    };
    now += breaker.retry_after(now).expect("open");
    recover(now);
    now += seconds(59);
    fail(&breaker, 5, now);
    let wait = breaker.retry_after(now).expect("open");
    assert!(
        wait >= seconds(480),
        "closed for 59 s is not yet healthy: {wait:?}"
    );
    now += wait;
    recover(now);
    now += seconds(60);
    fail(&breaker, 5, now);
    let wait = breaker.retry_after(now).expect("open");
    assert!(wait <= seconds(72), "closed for 60 s: {wait:?}");
}

/// ROB-14: the jitter of the open interval is a function of the seed, and differs without one.
#[test]
fn jitter_follows_the_seed() {
    let wait = |config| open(config, seconds(0)).retry_after(seconds(0));
    let seeded = |seed| Config::builder().seed(seed).build().expect("valid");
    assert_eq!(wait(seeded(1)), wait(seeded(1)));
    assert_ne!(wait(seeded(1)), wait(seeded(2)));
    assert_ne!(wait(Config::hardened()), wait(Config::hardened()));
}

/// ROB-15: 50 calls whose result is the value "failed", not an error, left it closed.
#[test]
fn a_failure_that_is_a_value_counts() {
    let breaker = Breaker::new(Config::mail());
    let check = || false;
    let mut called = 0;
    for _ in 0..50 {
        if let Ok(permit) = breaker.try_acquire(seconds(1)) {
            called += 1;
            let verdict = if check() {
                Verdict::Success
            } else {
                Verdict::Failure
            };
            permit.record(verdict, seconds(1));
        }
    }
    assert_eq!(called, 5);
    assert_eq!(breaker.state(seconds(1)), State::Open);
}

/// ROB-16: a refusal says how long, and counts as nothing.
#[test]
fn a_refusal_counts_as_nothing() {
    let breaker = open(Config::mail(), seconds(10));
    let before = breaker.snapshot(seconds(20));
    for _ in 0..100 {
        let rejected = breaker.try_acquire(seconds(20)).expect_err("open");
        assert_eq!(
            rejected.to_string(),
            "circuit open: no call is admitted for another 50s"
        );
    }
    assert_eq!(breaker.snapshot(seconds(20)), before);
}

/// ROB-12, ROB-18: a breaker starts closed, and two share nothing.
#[test]
fn breakers_are_independent() {
    let [down, up] = [(); 2].map(|()| Breaker::new(Config::hardened()));
    fail(&down, 5, seconds(1));
    assert_eq!(down.state(seconds(1)), State::Open);
    assert_eq!(up.state(seconds(1)), State::Closed);
    assert_eq!(up.snapshot(seconds(1)).consecutive_failures, 0);
}

/// ROB-19: while the target is down it sees one call per open interval.
#[test]
fn a_target_that_is_down_is_left_in_peace() {
    let breaker = Breaker::new(Config::mail());
    let calls = (0..3600).filter(|second| match breaker.try_acquire(seconds(*second)) {
        Ok(permit) => {
            permit.failure(seconds(*second));
            true
        }
        Err(_) => false,
    });
    // Five to open at second 4, then one each 60 s: at 64, 124, ..., 3544.
    assert_eq!(calls.count(), 5 + 59);
}

/// ROB-26: opened and closed by hand, with its own cause; calls in flight no longer count.
#[test]
fn can_be_opened_and_closed_by_hand() {
    let (breaker, told) = listened(Config::mail());
    let permit = breaker.try_acquire(seconds(0)).expect("closed");
    assert!(breaker.trip(seconds(1)));
    assert!(!breaker.trip(seconds(2)), "open already");
    permit.success(seconds(3));
    assert_eq!(breaker.retry_after(seconds(3)), Some(seconds(58)));
    assert!(breaker.reset(seconds(4)));
    assert!(!breaker.reset(seconds(4)), "closed already");
    fail(&breaker, 4, seconds(4));
    assert!(breaker.reset(seconds(4)), "four failures to forget");
    fail(&breaker, 4, seconds(4));
    assert_eq!(breaker.state(seconds(4)), State::Closed);
    let told = told.lock().expect("listener");
    // Opened, closed, and closed anew: that, too, begins an epoch.
    assert!(told.len() == 3 && told.iter().all(|t| t.cause == Cause::Manual));
}

/// ROB-14: callers read their clocks before they reach the breaker: an older time changes nothing.
#[test]
fn time_does_not_run_backwards() {
    let breaker = open(Config::mail(), seconds(100));
    let _trial = breaker.try_acquire(seconds(160)).expect("a trial");
    assert_eq!(breaker.state(seconds(10)), State::HalfOpen);
    assert!(breaker.try_acquire(seconds(10)).is_err());
    assert_eq!(breaker.snapshot(seconds(10)).retry_after, Some(seconds(60)));
}

/// ROB-14: at the end of time an interval that would end later is over at once: no panic, and no
/// timer that is played for ever.
#[test]
fn extreme_times_are_safe() {
    let breaker = Breaker::new(Config::mail());
    fail(&breaker, 5, Duration::MAX);
    assert_eq!(
        breaker.state(Duration::ZERO),
        State::HalfOpen,
        "no time is later than the end"
    );
    breaker
        .try_acquire(Duration::MAX)
        .expect("a trial")
        .success(Duration::MAX);
    assert_eq!(
        breaker.state(Duration::MAX),
        State::HalfOpen,
        "its deadline was the end as well"
    );
}
