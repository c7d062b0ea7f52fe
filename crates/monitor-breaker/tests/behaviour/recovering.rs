//! How a breaker that closes lets the calls back in, and what the target may ask for.

use std::time::Duration;

use monitor_breaker::{Breaker, Cause, Config, State};

use crate::{fail, listened, open, seconds};

fn ramped() -> Config {
    let builder = Config::mail().to_builder().ramp(seconds(100)).seed(1);
    builder.build().expect("valid")
}

/// Calls once, successfully if admitted.
fn call(breaker: &Breaker, now: Duration) -> bool {
    let permit = breaker.try_acquire(now);
    permit.map(|permit| permit.success(now)).is_ok()
}

/// ROB-20: INV-BREAKER-9: after the trial the share of admitted calls grows from 10 % to all of
/// them, and each change is told.
#[test]
fn inv_breaker_9_the_admitted_share_grows() {
    let (breaker, told) = listened(ramped());
    fail(&breaker, 5, seconds(0));
    assert!(call(&breaker, seconds(60)));
    assert_eq!(breaker.state(seconds(60)), State::Recovering);
    let shares = [60, 110, 159].map(|second| {
        let percent = breaker.snapshot(seconds(second)).admitted_percent;
        let admitted = (0..1000).filter(|_| call(&breaker, seconds(second)));
        (percent, admitted.count())
    });
    for ((percent, admitted), expected) in shares.into_iter().zip([100, 550, 991_u32]) {
        assert_eq!(percent, expected / 10, "in percent");
        assert!(
            admitted.abs_diff(expected as usize) <= 1,
            "INV-BREAKER-9: {admitted}"
        );
    }
    assert_eq!(breaker.state(seconds(160)), State::Closed);
    assert!((0..1000).all(|_| call(&breaker, seconds(160))));
    let causes: Vec<_> = told
        .lock()
        .expect("listener")
        .iter()
        .map(|t| t.cause)
        .collect();
    let expected = [
        Cause::FailureThreshold,
        Cause::IntervalElapsed,
        Cause::SuccessThreshold,
        Cause::RampOver,
    ];
    assert_eq!(causes, expected);
}

/// ROB-16, ROB-20: a refusal while recovering says that the next call has a chance.
#[test]
fn a_refusal_while_recovering_says_so() {
    let breaker = open(ramped(), seconds(0));
    assert!(call(&breaker, seconds(60)));
    assert_eq!(breaker.retry_after(seconds(60)), None);
    let rejected = (0..10).find_map(|_| breaker.try_acquire(seconds(60)).err());
    let rejected = rejected.expect("one in ten is admitted");
    assert_eq!(
        (rejected.state, rejected.retry_after),
        (State::Recovering, Duration::ZERO)
    );
    assert_eq!(
        rejected.to_string(),
        "circuit recovering: this call was not admitted, the next one may be"
    );
}

/// ROB-14, ROB-20: failures while recovering open it again, and the open interval goes on growing.
#[test]
fn failures_while_recovering_open_again() {
    let config = Config::builder()
        .failure_threshold(5)
        .success_threshold(1)
        .ramp(seconds(1000))
        .ramp_from(1.0)
        .build()
        .expect("valid");
    let breaker = open(config, seconds(0));
    let now = breaker.retry_after(seconds(0)).expect("open");
    assert!(call(&breaker, now));
    fail(&breaker, 5, now);
    assert_eq!(breaker.state(now), State::Open);
    assert_eq!(breaker.snapshot(now).opened_in_a_row, 2);
    assert!(breaker.retry_after(now).expect("open") >= seconds(96));
}

/// ROB-14: what the target asks for extends the open interval, this one and one that begins before
/// it is over; never beyond the limit, and not after a reset.
#[test]
fn push_back_extends_the_open_interval() {
    let breaker = open(Config::mail(), seconds(0));
    breaker.push_back(seconds(30), seconds(0));
    assert_eq!(
        breaker.retry_after(seconds(0)),
        Some(seconds(60)),
        "shorter"
    );
    breaker.push_back(seconds(300), seconds(10));
    assert_eq!(breaker.retry_after(seconds(10)), Some(seconds(300)));
    let rejected = breaker.try_acquire(seconds(110)).expect_err("open");
    assert_eq!(
        rejected.retry_after,
        seconds(200),
        "the lock-free path knows it"
    );
    breaker.push_back(Duration::MAX, seconds(10));
    assert_eq!(
        breaker.retry_after(seconds(10)),
        Some(seconds(3600)),
        "the limit"
    );
    breaker.reset(seconds(200));
    fail(&breaker, 5, seconds(200));
    assert_eq!(breaker.retry_after(seconds(200)), Some(seconds(60)));

    let breaker = Breaker::new(Config::mail());
    breaker.push_back(seconds(90), seconds(0));
    assert_eq!(breaker.state(seconds(0)), State::Closed, "does not open it");
    fail(&breaker, 5, seconds(1));
    assert_eq!(breaker.retry_after(seconds(1)), Some(seconds(89)));
}
