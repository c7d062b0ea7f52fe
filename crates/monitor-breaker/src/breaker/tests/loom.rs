//! Models of the real breaker: every interleaving of its word and its lock, up to the bound on
//! preemptions. Each says which one-line change breaks it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use loom::thread;
use monitor_backoff::{Jitter, Policy};

use crate::{Breaker, Cause, Config, State, Transition};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

type Told = Arc<Mutex<Vec<Transition>>>;

/// Returns a breaker that opens for 1 s, then 2 s, 4 s, and so on, trials get 10 s, and one
/// success closes; and what its listener is told.
fn breaker(failure_threshold: u32, half_open_trials: u32) -> (Arc<Breaker>, Told) {
    let open_policy = Policy::builder()
        .exponent_origin(monitor_backoff::ExponentOrigin::FailuresMinusOne)
        .jitter(Jitter::NONE)
        .build()
        .expect("valid");
    let config = Config::builder()
        .failure_threshold(failure_threshold)
        .success_threshold(1)
        .half_open_trials(half_open_trials)
        .trial_deadline(seconds(10))
        .open_duration(seconds(1))
        .open_policy(open_policy)
        .seed(0)
        .build()
        .expect("valid");
    listened(config)
}

fn listened(config: Config) -> (Arc<Breaker>, Told) {
    let told = Told::default();
    let listener = {
        let told = Arc::clone(&told);
        move |transition| told.lock().expect("listener").push(transition)
    };
    (Arc::new(Breaker::with_listener(config, listener)), told)
}

/// The causes that the listener was told, in the order of their sequence numbers, which must be
/// 1, 2, 3, ...
fn causes(told: &Told) -> Vec<Cause> {
    let mut told = told.lock().expect("listener").clone();
    told.sort_by_key(|transition| transition.sequence);
    for (transition, sequence) in told.iter().zip(1..) {
        assert_eq!(transition.sequence, sequence, "INV-BREAKER-4: {told:?}");
    }
    told.iter().map(|transition| transition.cause).collect()
}

/// B1, ROB-17, S5: INV-BREAKER-1: two admissions on the edge of the open interval: one trial.
///
/// Breaks when `Machine::claim` compares `trials.len() <= half_open_trials`.
#[test]
fn inv_breaker_1_one_of_two_callers_on_the_edge_is_admitted() {
    loom::model(|| {
        let (breaker, told) = breaker(1, 1);
        breaker.trip(Duration::ZERO);
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.try_acquire_owned(seconds(1)).ok())
        };
        let mine = breaker.try_acquire_owned(seconds(1)).ok();
        let theirs = other.join().expect("no panic");
        assert_eq!(
            mine.is_some() as u32 + theirs.is_some() as u32,
            1,
            "INV-BREAKER-1"
        );
        assert_eq!(causes(&told), [Cause::Manual, Cause::IntervalElapsed]);
        drop((mine, theirs));
        assert_eq!(
            breaker.snapshot(seconds(1)).trials_in_flight,
            0,
            "INV-BREAKER-3"
        );
    });
}

/// B2, ROB-17, L6: INV-BREAKER-3: one trial brings its verdict, one is dropped, and an admission
/// finds both overdue. Whoever comes first, one story is told and the breaker is not stuck.
///
/// Breaks when `Machine::settle` leaves out the comparison of epochs: the late verdict closes.
#[test]
fn inv_breaker_3_every_trial_leaves() {
    loom::model(|| {
        let (breaker, told) = breaker(1, 2);
        breaker.trip(Duration::ZERO);
        let [verdict, dropped] =
            [(); 2].map(|()| breaker.try_acquire_owned(seconds(1)).expect("a trial"));
        let first = thread::spawn(move || verdict.success(seconds(5)));
        let second = thread::spawn(move || drop(dropped));
        // Due at 11 s; open again until 13 s.
        let late = breaker
            .try_acquire_owned(seconds(13))
            .expect("closed, or half-open again");
        first.join().expect("no panic");
        second.join().expect("no panic");

        let snapshot = breaker.snapshot(seconds(13));
        match causes(&told)[2..] {
            // The verdict came first.
            [Cause::SuccessThreshold] => assert_eq!(snapshot.state, State::Closed),
            // The admission came first: the verdict is of an older epoch.
            [Cause::TrialOverdue, Cause::IntervalElapsed] => {
                assert_eq!(snapshot.state, State::HalfOpen);
                assert_eq!(snapshot.trials_in_flight, 1, "INV-BREAKER-3");
            }
            ref other => panic!("no such story: {other:?}"),
        }
        late.success(seconds(14));
        assert_eq!(breaker.state(seconds(14)), State::Closed, "INV-BREAKER-3");
    });
}

/// B2, ROB-17: a trial is dropped while another admission wants its place: the place is taken or
/// refused, never lost and never doubled.
///
/// Breaks when `PermitOf::drop` does not settle, or `Machine::settle` leaves out `trials.end(..)`.
#[test]
fn inv_breaker_3_a_dropped_trial_gives_its_place_back() {
    loom::model(|| {
        let (breaker, _told) = breaker(1, 1);
        breaker.trip(Duration::ZERO);
        let trial = breaker.try_acquire_owned(seconds(1)).expect("a trial");
        let dropping = thread::spawn(move || drop(trial));
        let next = breaker.try_acquire_owned(seconds(1)).ok();
        dropping.join().expect("no panic");
        let in_flight = breaker.snapshot(seconds(1)).trials_in_flight;
        assert_eq!(in_flight, u32::from(next.is_some()), "INV-BREAKER-3");
        drop(next);
        assert!(breaker.try_acquire(seconds(1)).is_ok(), "INV-BREAKER-3");
    });
}

/// B3, ROB-26: INV-BREAKER-2: a call admitted while closed ends while the breaker opens and tries
/// again: its success decides nothing.
///
/// Breaks when `Machine::settle` leaves out the comparison of epochs.
#[test]
fn inv_breaker_2_a_stale_verdict_is_dropped() {
    loom::model(|| {
        let (breaker, told) = breaker(1, 1);
        let [stale, failing] =
            [(); 2].map(|()| breaker.try_acquire_owned(Duration::ZERO).expect("closed"));
        let other = thread::spawn(move || stale.success(seconds(1)));
        failing.failure(Duration::ZERO);
        // The other thread's clock may have ended the open interval already; not its verdict.
        let trial = breaker.try_acquire_owned(seconds(2)).expect("a trial");
        other.join().expect("no panic");
        let snapshot = breaker.snapshot(seconds(2));
        assert_eq!(snapshot.state, State::HalfOpen, "INV-BREAKER-2");
        assert_eq!(
            (snapshot.trials_in_flight, snapshot.trial_successes),
            (1, 0),
            "INV-BREAKER-2"
        );
        assert_eq!(
            causes(&told),
            [Cause::FailureThreshold, Cause::IntervalElapsed]
        );
        drop(trial);
    });
}

/// B5, ROB-22: INV-BREAKER-4: three failing verdicts with a threshold of two: one transition, told
/// once; and the third verdict is stale.
///
/// Breaks when `Machine::begin_epoch` leaves out `self.epoch += 1`.
#[test]
fn inv_breaker_4_failing_verdicts_make_one_transition() {
    loom::model(|| {
        let (breaker, told) = breaker(2, 1);
        let [mine, one, two] =
            [(); 3].map(|()| breaker.try_acquire_owned(Duration::ZERO).expect("closed"));
        let others = [one, two].map(|permit| thread::spawn(move || permit.failure(Duration::ZERO)));
        mine.failure(Duration::ZERO);
        for other in others {
            other.join().expect("no panic");
        }
        assert_eq!(causes(&told), [Cause::FailureThreshold], "INV-BREAKER-4");
        let snapshot = breaker.snapshot(Duration::ZERO);
        assert_eq!(
            (snapshot.opened_total, snapshot.stale_verdicts),
            (1, 1),
            "INV-BREAKER-4"
        );
    });
}

/// ROB-13: INV-BREAKER-5: a success that takes the fast path races failures: two failures without
/// a success in between open, and a success that saw none of them resets none.
///
/// Breaks when `Word::is_clean_in` takes `Bits::Counting` for clean as well.
#[test]
fn inv_breaker_5_a_fast_success_is_ordered() {
    loom::model(|| {
        let (breaker, told) = breaker(2, 1);
        let [healthy, failing, last] =
            [(); 3].map(|()| breaker.try_acquire_owned(Duration::ZERO).expect("closed"));
        failing.failure(Duration::ZERO);
        let other = thread::spawn(move || last.failure(Duration::ZERO));
        healthy.success(Duration::ZERO);
        other.join().expect("no panic");
        // failure, success, failure: closed with one; failure, failure, success: open.
        let snapshot = breaker.snapshot(Duration::ZERO);
        match snapshot.state {
            State::Closed => assert_eq!(snapshot.consecutive_failures, 1, "INV-BREAKER-5"),
            State::Open => assert_eq!(causes(&told), [Cause::FailureThreshold]),
            State::HalfOpen | State::Recovering => {
                panic!("INV-BREAKER-5: no interval is over")
            }
        }
        if snapshot.state == State::Open {
            assert_eq!(
                snapshot.stale_verdicts, 1,
                "INV-BREAKER-5: the success came second"
            );
        }
    });
}

/// ROB-16: INV-BREAKER-5: whoever sees the word of the second opening sees its interval too.
///
/// Breaks when `Breaker::publish` stores the word with `Ordering::Relaxed`.
#[test]
fn inv_breaker_5_a_refusal_knows_its_interval() {
    loom::model(|| {
        let (breaker, _told) = breaker(1, 1);
        breaker.trip(Duration::ZERO);
        let trial = breaker.try_acquire_owned(seconds(1)).expect("a trial");
        let opening = thread::spawn(move || trial.failure(seconds(1)));
        let second_opening = breaker.word().epoch() == 3;
        // A clock so late that the end of the first interval would still be ahead of it.
        let late = Duration::from_millis(500);
        let rejected = breaker.try_acquire(late).expect_err("not closed");
        if second_opening {
            assert_eq!(
                rejected.retry_after,
                Duration::from_millis(2500),
                "INV-BREAKER-5"
            );
        }
        opening.join().expect("no panic");
    });
}

/// Returns a breaker that opens at two failures within its time window.
fn windowed(ramp: Duration) -> (Arc<Breaker>, Told) {
    let config = Config::builder()
        .time_window(seconds(16))
        .minimum_calls(2)
        .success_threshold(1)
        .open_policy(
            Policy::builder()
                .jitter(Jitter::NONE)
                .build()
                .expect("valid"),
        )
        .open_duration(seconds(1))
        .ramp(ramp)
        .ramp_from(1.0)
        .seed(0)
        .build()
        .expect("valid");
    listened(config)
}

/// B5, ROB-13, ROB-22: INV-BREAKER-4: two verdicts that meet the rate of a time window: both see
/// it, one transition.
///
/// Breaks when `Machine::open_by_rate` leaves out the comparison of epochs: it opens twice.
#[test]
fn inv_breaker_4_a_rate_is_met_once() {
    loom::model(|| {
        let (breaker, told) = windowed(Duration::ZERO);
        let [first, second] =
            [(); 2].map(|()| breaker.try_acquire_owned(Duration::ZERO).expect("closed"));
        let other = thread::spawn(move || first.failure(Duration::ZERO));
        second.failure(Duration::ZERO);
        other.join().expect("no panic");
        assert_eq!(causes(&told), [Cause::FailureRate], "INV-BREAKER-4");
    });
}

/// B3, ROB-26: INV-BREAKER-2: a call that was admitted before the breaker was reset ends while that
/// is done: its failure is in the old window or in none, never in the new one.
///
/// Breaks when `Breaker::publish` clears the window before it stores the `waiting` word, or when
/// `Breaker::record` takes every epoch for the current one.
#[test]
fn inv_breaker_2_a_late_verdict_is_not_in_the_next_window() {
    loom::model(|| {
        let (breaker, _told) = windowed(Duration::ZERO);
        let late = breaker.try_acquire_owned(Duration::ZERO).expect("closed");
        let other = thread::spawn(move || late.failure(Duration::ZERO));
        breaker.reset(Duration::ZERO);
        breaker
            .try_acquire(Duration::ZERO)
            .expect("closed")
            .success(Duration::ZERO);
        other.join().expect("no panic");
        let window = breaker.snapshot(Duration::ZERO).window.expect("closed");
        assert_eq!((window.calls, window.failures), (1, 0), "INV-BREAKER-2");
    });
}

/// ROB-20: INV-BREAKER-2: a failure while recovering races the end of the ramp: it reopens, or it
/// is stale; what began with the ramp does not open the closed breaker.
///
/// Breaks when `Machine::settle` leaves out the comparison of epochs.
#[test]
fn inv_breaker_2_a_failure_of_the_ramp_does_not_open_the_closed() {
    loom::model(|| {
        let (breaker, told) = listened(
            Config::builder()
                .failure_threshold(1)
                .success_threshold(1)
                .ramp(seconds(5))
                .ramp_from(1.0)
                .seed(0)
                .build()
                .expect("valid"),
        );
        breaker.trip(Duration::ZERO);
        let wait = breaker.retry_after(Duration::ZERO).expect("open");
        breaker.try_acquire(wait).expect("a trial").success(wait);
        let late = breaker.try_acquire_owned(wait).expect("a full share");
        let other = thread::spawn(move || late.failure(wait));
        let state = breaker.snapshot(wait + seconds(5)).state;
        other.join().expect("no panic");
        match causes(&told)[3..] {
            [Cause::RampOver] => assert_eq!(state, State::Closed, "INV-BREAKER-2"),
            [Cause::FailureThreshold] => assert_eq!(state, State::Open, "INV-BREAKER-2"),
            ref other => panic!("no such story: {other:?}"),
        }
    });
}

/// ROB-13, ROB-16: what the fast paths promise, with the lock held throughout: waiting for it would
/// be a deadlock, which the model reports.
///
/// Breaks when `Breaker::admit` or `PermitOf::settle` leaves out any of its early returns.
#[test]
fn a_healthy_call_and_a_refusal_need_no_lock() {
    loom::model(|| {
        let (breaker, _told) = breaker(1, 1);
        let held = breaker.machine.lock().expect("nobody else");
        breaker
            .try_acquire(Duration::ZERO)
            .expect("closed")
            .success(Duration::ZERO);
        drop(breaker.try_acquire(Duration::ZERO).expect("closed"));
        drop(held);
        breaker.trip(Duration::ZERO);
        let _held = breaker.machine.lock().expect("nobody else");
        let rejected = breaker
            .try_acquire(Duration::from_millis(400))
            .expect_err("open");
        assert_eq!(rejected.retry_after, Duration::from_millis(600));
    });
}
