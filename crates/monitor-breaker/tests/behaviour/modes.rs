//! Normal, shadow, forced open, disabled.

use std::time::Duration;

use monitor_breaker::{Breaker, Cause, Config, Mode, State, Verdict};

use crate::{fail, listened, seconds};

fn in_mode(mode: Mode) -> Breaker {
    let builder = Config::mail().to_builder().mode(mode);
    Breaker::new(builder.build().expect("valid"))
}

/// ROB-26: forced open, it refuses until it is told otherwise, whatever the time.
#[test]
fn forced_open_refuses_for_ever() {
    let breaker = in_mode(Mode::ForcedOpen);
    let centuries = Duration::from_secs(500 * 365 * 86_400);
    for now in [seconds(0), seconds(3600), centuries] {
        let rejected = breaker.try_acquire(now).expect_err("forced open");
        assert_eq!(rejected.state, State::Open);
        assert!(rejected.retry_after > seconds(86_400));
        assert!(!breaker.reset(now) && !breaker.trip(now));
    }
    assert!(breaker.set_mode(Mode::Normal, seconds(0)));
    breaker
        .try_acquire(seconds(0))
        .expect("closed")
        .success(seconds(0));
}

/// ROB-26: disabled, it admits all and counts nothing; not even a panic.
#[test]
fn disabled_counts_nothing() {
    let breaker = in_mode(Mode::Disabled);
    for _ in 0..100 {
        let permit = breaker.try_acquire(seconds(0)).expect("disabled");
        assert!(!permit.is_counted());
        permit.failure(seconds(0));
    }
    assert!(!breaker.trip(seconds(0)));
    let snapshot = breaker.snapshot(seconds(0));
    assert_eq!((snapshot.state, snapshot.opened_total), (State::Closed, 0));
    assert_eq!(snapshot.stale_verdicts, 0);
    assert_eq!(breaker.retry_after(seconds(0)), None);
}

/// ROB-26: a shadow does what the real one would, from the same calls, but refuses none.
#[test]
fn a_shadow_does_what_the_real_one_would() {
    let (real, shadow) = (in_mode(Mode::Normal), in_mode(Mode::Shadow));
    let mut refused = 0;
    for second in 0..1000 {
        let now = seconds(second);
        let verdict = match second % 300 {
            0..150 => Verdict::Failure,
            _ => Verdict::Success,
        };
        let admitted = real.try_acquire(now);
        let shadowed = shadow.try_acquire(now).expect("never refuses");
        assert_eq!(shadowed.is_counted(), admitted.is_ok());
        refused += u64::from(admitted.is_err());
        let _refused = admitted.map(|permit| permit.record(verdict, now));
        shadowed.record(verdict, now);
        assert_eq!(shadow.state(now), real.state(now), "{second}");
        assert_eq!(shadow.retry_after(now), None);
    }
    assert!(refused > 0);
    let snapshot = shadow.snapshot(seconds(1000));
    assert_eq!(
        (snapshot.shadow_rejected, snapshot.admitted_percent),
        (refused, 100)
    );
    assert_eq!(snapshot.epoch, real.snapshot(seconds(1000)).epoch);
}

/// ROB-22, ROB-26: a change of mode is told, and begins an epoch: calls in flight are stale.
#[test]
fn a_change_of_mode_is_told() {
    let (breaker, told) = listened(Config::mail());
    let late = breaker.try_acquire(seconds(0)).expect("closed");
    fail(&breaker, 4, seconds(0));
    assert!(breaker.set_mode(Mode::Shadow, seconds(1)));
    assert!(!breaker.set_mode(Mode::Shadow, seconds(2)), "already");
    late.failure(seconds(2));
    fail(&breaker, 4, seconds(2));
    assert_eq!(breaker.state(seconds(2)), State::Closed);
    assert!(breaker.set_mode(Mode::ForcedOpen, seconds(3)));
    let told = told.lock().expect("listener");
    let told: Vec<_> = told.iter().map(|t| (t.to, t.cause, t.mode)).collect();
    let expected = [
        (State::Closed, Cause::ModeChanged, Mode::Shadow),
        (State::Open, Cause::ModeChanged, Mode::ForcedOpen),
    ];
    assert_eq!(told, expected);
}
