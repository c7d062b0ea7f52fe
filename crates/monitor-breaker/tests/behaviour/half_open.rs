//! Trials: how many, what becomes of each, and what they decide.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use monitor_breaker::{Breaker, Cause, Config, State};

use crate::{fail, listened, open, seconds};

/// ROB-17, S5: 100 callers at the end of the interval: one is admitted, not all of them.
#[test]
fn inv_breaker_1_half_open_admits_no_more_than_its_trials() {
    for trials in [1, 3] {
        let config = Config::mail()
            .to_builder()
            .half_open_trials(trials)
            .build()
            .expect("valid");
        let breaker = open(config, seconds(0));
        let permits: Vec<_> = thread::scope(|scope| {
            let callers: Vec<_> = (0..100)
                .map(|_| scope.spawn(|| breaker.try_acquire(seconds(60)).ok()))
                .collect();
            callers
                .into_iter()
                .filter_map(|caller| caller.join().expect("no panic"))
                .collect()
        });
        assert_eq!(permits.len(), trials as usize, "INV-BREAKER-1");
        assert_eq!(breaker.snapshot(seconds(60)).trials_in_flight, trials);
        let rejected = breaker
            .try_acquire(seconds(60))
            .expect_err("every trial is taken");
        assert_eq!(
            (rejected.state, rejected.retry_after),
            (State::HalfOpen, seconds(60))
        );
    }
}

/// ROB-17: a cancelled trial closed the circuit, or kept its place for ever. It does neither.
#[test]
fn inv_breaker_3_a_cancelled_trial_gives_its_place_back() {
    let breaker = open(Config::mail(), seconds(0));
    for _ in 0..10 {
        drop(breaker.try_acquire(seconds(60)).expect("a trial"));
        breaker.try_acquire(seconds(60)).expect("a trial").ignore();
        assert_eq!(breaker.state(seconds(60)), State::HalfOpen, "INV-BREAKER-3");
    }
}

/// ROB-17, L6: a trial that hangs, or whose permit leaked, opens the breaker at its deadline; the
/// breaker does not wait for it any longer.
#[test]
fn inv_breaker_3_a_hung_trial_is_a_failure_at_its_deadline() {
    let (breaker, told) = listened(Config::mail());
    fail(&breaker, 5, seconds(0));
    let hung = breaker.try_acquire(seconds(60)).expect("a trial");
    assert!(breaker.try_acquire(seconds(119)).is_err());
    // Due at 120 s, so open until 180 s, whoever notices and when.
    assert_eq!(breaker.retry_after(seconds(150)), Some(seconds(30)));
    let next = breaker.try_acquire(seconds(180)).expect("a trial");
    hung.success(seconds(181));
    assert_eq!(
        breaker.state(seconds(181)),
        State::HalfOpen,
        "INV-BREAKER-2"
    );
    next.success(seconds(182));
    assert_eq!(breaker.state(seconds(182)), State::Closed);
    let told: Vec<_> = told
        .lock()
        .expect("listener")
        .iter()
        .map(|t| (t.cause, t.at))
        .collect();
    assert_eq!(
        told,
        [
            (Cause::FailureThreshold, seconds(0)),
            (Cause::IntervalElapsed, seconds(60)),
            (Cause::TrialOverdue, seconds(120)),
            (Cause::IntervalElapsed, seconds(180)),
            (Cause::SuccessThreshold, seconds(182)),
        ]
    );
}

/// ROB-20: two successful trials close; a failure in between opens, and the count starts anew.
#[test]
fn closes_after_the_success_threshold() {
    let config = Config::mail()
        .to_builder()
        .success_threshold(2)
        .build()
        .expect("valid");
    let breaker = open(config, seconds(0));
    let trial = |now| breaker.try_acquire(now).expect("a trial");
    trial(seconds(60)).success(seconds(60));
    assert_eq!(breaker.snapshot(seconds(60)).trial_successes, 1);
    trial(seconds(60)).failure(seconds(61));
    assert_eq!(breaker.retry_after(seconds(61)), Some(seconds(60)));
    trial(seconds(121)).success(seconds(121));
    assert_eq!(breaker.state(seconds(121)), State::HalfOpen);
    trial(seconds(121)).success(seconds(121));
    assert_eq!(breaker.state(seconds(121)), State::Closed);
}

/// ROB-21: what does not count was taken for a success: it reset the count and closed half-open.
#[test]
fn an_ignored_call_changes_nothing() {
    let breaker = Breaker::new(Config::mail());
    fail(&breaker, 4, seconds(0));
    let before = breaker.snapshot(seconds(0));
    breaker.try_acquire(seconds(0)).expect("closed").ignore();
    drop(breaker.try_acquire(seconds(0)).expect("closed"));
    assert_eq!(breaker.snapshot(seconds(0)), before);
    fail(&breaker, 1, seconds(0));
    breaker.try_acquire(seconds(60)).expect("a trial").ignore();
    assert_eq!(breaker.state(seconds(60)), State::HalfOpen);
    assert_eq!(breaker.snapshot(seconds(60)).trial_successes, 0);
}

/// ROB-26: INV-BREAKER-2: overhanging calls decided half-open. A call of an older epoch decides
/// nothing, neither way, and is counted as stale.
#[test]
fn inv_breaker_2_overhanging_calls_decide_nothing() {
    let breaker = Breaker::new(Config::mail());
    let [good, bad] = [(); 2].map(|()| breaker.try_acquire(seconds(0)).expect("closed"));
    fail(&breaker, 5, seconds(0));
    let trial = breaker.try_acquire(seconds(60)).expect("a trial");
    good.success(seconds(61));
    assert_eq!(breaker.state(seconds(61)), State::HalfOpen, "INV-BREAKER-2");
    bad.failure(seconds(61));
    assert_eq!(breaker.state(seconds(61)), State::HalfOpen, "INV-BREAKER-2");
    assert_eq!(breaker.snapshot(seconds(61)).stale_verdicts, 2);
    assert_eq!((trial.epoch(), trial.admitted_at()), (2, seconds(60)));
    trial.success(seconds(62));
    assert_eq!(breaker.state(seconds(62)), State::Closed);
}

/// ROB-17: a permit dropped by a panic is a failure; so is a trial's.
#[test]
fn a_panic_is_a_failure() {
    let breaker = Breaker::new(Config::mail());
    let panicking = |now| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _permit = breaker.try_acquire(now).expect("admitted");
            panic!("the call panics");
        }));
        assert!(caught.is_err());
    };
    (0..5).for_each(|_| panicking(seconds(1)));
    assert_eq!(breaker.state(seconds(1)), State::Open);
    panicking(seconds(61));
    assert_eq!(breaker.snapshot(seconds(61)).opened_in_a_row, 2);
}

/// ROB-17: a drop is told no time. It goes by the latest the breaker knows, so a trial that is
/// dropped before anybody asked after its deadline is abandoned, not overdue.
#[test]
fn a_drop_is_dated_by_the_latest_time_known() {
    let breaker = open(Config::mail(), seconds(0));
    let trial = breaker.try_acquire(seconds(60)).expect("a trial");
    drop(trial); // at 120 s, say
    assert_eq!(breaker.state(seconds(120)), State::HalfOpen);
    let trial = breaker.try_acquire(seconds(120)).expect("a trial");
    assert_eq!(breaker.state(seconds(180)), State::Open);
    drop(trial);
    assert_eq!(breaker.state(seconds(180)), State::Open);
    assert_eq!(
        breaker.snapshot(seconds(180)).stale_verdicts,
        0,
        "a drop is no verdict"
    );
}

/// ROB-17: an owned permit outlives the caller's handle and settles from another thread.
#[test]
fn an_owned_permit_moves_to_another_thread() {
    let breaker = Arc::new(open(Config::mail(), seconds(0)));
    let trial = breaker.try_acquire_owned(seconds(60)).expect("a trial");
    assert!(trial.is_trial());
    thread::spawn(move || trial.success(seconds(61)))
        .join()
        .expect("no panic");
    assert_eq!(breaker.state(seconds(61)), State::Closed);
}
