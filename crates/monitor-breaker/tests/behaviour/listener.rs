//! What a listener is told, and what it cannot break.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
};

use monitor_breaker::{Breaker, Config, State};

use crate::{fail, listened, seconds};

/// ROB-22: each transition is told once, numbered, outside of the lock: the listener may call back.
#[test]
fn inv_breaker_4_a_listener_hears_each_transition_once() {
    let (breaker, told) = listened(Config::mail());
    fail(&breaker, 5, seconds(0));
    breaker
        .try_acquire(seconds(61))
        .expect("a trial")
        .success(seconds(62));
    let expected = [
        (1, State::Closed, State::Open, seconds(0)),
        (2, State::Open, State::HalfOpen, seconds(60)),
        (3, State::HalfOpen, State::Closed, seconds(62)),
    ];
    let told = told.lock().expect("listener");
    let told: Vec<_> = told
        .iter()
        .map(|t| (t.sequence, t.from, t.to, t.at))
        .collect();
    assert_eq!(told, expected, "INV-BREAKER-4");
}

/// ROB-22: a listener that calls the breaker does not deadlock.
#[test]
fn a_listener_may_call_the_breaker() {
    let breaker = Arc::new_cyclic(|weak: &Weak<Breaker>| {
        let weak = weak.clone();
        Breaker::with_listener(Config::mail(), move |transition| {
            if let Some(breaker) = weak.upgrade()
                && transition.to == State::Open
            {
                breaker.reset(transition.at);
            }
        })
    });
    fail(&breaker, 5, seconds(0));
    assert_eq!(breaker.state(seconds(0)), State::Closed);
}

/// ROB-22: a listener that panics loses its notice, and changes nothing.
#[test]
fn a_panicking_listener_changes_nothing() {
    let breaker = Breaker::with_listener(Config::mail(), |_| panic!("listener"));
    fail(&breaker, 5, seconds(0));
    assert_eq!(breaker.state(seconds(0)), State::Open);
    breaker
        .try_acquire(seconds(60))
        .expect("a trial")
        .success(seconds(60));
    assert_eq!(breaker.state(seconds(60)), State::Closed);
}

/// ROB-22: a listener that panics with something that panics when it is dropped is survived too.
#[test]
fn a_panic_payload_that_panics_is_survived() {
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            panic!("the payload");
        }
    }
    let breaker = Breaker::with_listener(Config::mail(), |_| std::panic::panic_any(Payload));
    fail(&breaker, 5, seconds(0));
    assert_eq!(breaker.state(seconds(0)), State::Open);
}

/// ROB-25: the failure that trips the breaker is still the caller's own: five of five are counted
/// under their category, none is relabelled by the breaker.
#[test]
fn the_failure_that_trips_keeps_its_identity() {
    let (breaker, told) = listened(Config::mail());
    let mut errors = Vec::new();
    for n in 0..8 {
        match breaker.try_acquire(seconds(n)) {
            Ok(permit) => {
                let error = format!("refused {n}");
                permit.failure(seconds(n));
                errors.push(error);
            }
            Err(rejected) => assert_eq!(rejected.state, State::Open),
        }
    }
    assert_eq!(errors.len(), 5);
    assert_eq!(errors[4], "refused 4");
    assert_eq!(told.lock().expect("listener").len(), 1);
}

/// ROB-22: a listener that panics while a permit settles in a panic does not abort the process.
#[test]
fn a_panic_in_a_listener_in_a_panic_is_survived() {
    let config = Config::mail()
        .to_builder()
        .failure_threshold(1)
        .build()
        .expect("valid");
    let breaker = Breaker::with_listener(config, |_| panic!("listener"));
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _permit = breaker.try_acquire(seconds(0)).expect("closed");
        panic!("the call panics");
    }));
    assert!(caught.is_err());
    assert_eq!(breaker.state(seconds(0)), State::Open);
}
