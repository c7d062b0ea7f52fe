//! What a breaker does, state by state.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use monitor_breaker::{Breaker, Cause, Config, State, Transition, Verdict};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Fails `times` calls at `now`.
fn fail(breaker: &Breaker, times: u32, now: Duration) {
    for _ in 0..times {
        breaker.try_acquire(now).expect("admitted").failure(now);
    }
}

/// Returns a breaker that was opened at `now`.
fn open(config: Config, now: Duration) -> Breaker {
    let breaker = Breaker::new(config);
    fail(&breaker, 5, now);
    assert_eq!(breaker.state(now), State::Open);
    breaker
}

/// Returns a breaker, and what its listener is told.
fn listened(config: Config) -> (Breaker, Arc<Mutex<Vec<Transition>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let told = Arc::clone(&told);
        move |transition| told.lock().expect("listener").push(transition)
    };
    (Breaker::with_listener(config, listener), told)
}

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

/// ROB-14: the interval grows with each failed trial, and starts anew after a recovery.
#[test]
fn the_open_interval_grows_until_the_breaker_closes() {
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
    now += breaker.retry_after(now).expect("open");
    for _ in 0..2 {
        breaker.try_acquire(now).expect("a trial").success(now);
    }
    fail(&breaker, 5, now);
    assert!(breaker.retry_after(now).expect("open") <= seconds(72));
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
    let breaker = Arc::new_cyclic(|weak: &std::sync::Weak<Breaker>| {
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
    assert!(told.len() == 2 && told.iter().all(|t| t.cause == Cause::Manual));
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
