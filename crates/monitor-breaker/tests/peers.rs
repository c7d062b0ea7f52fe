//! What was measured to be wrong in other breakers, one test each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    task::{Context, Waker},
    thread,
    time::Duration,
};

use monitor_breaker::{Breaker, Builder, Caller, Clock, Config, Mode, State, TickClock, Verdict};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn breaker(builder: Builder) -> Breaker {
    Breaker::new(builder.build().expect("valid"))
}

fn call(breaker: &Breaker, verdict: Verdict, now: Duration) -> bool {
    let permit = breaker.try_acquire(now);
    permit.map(|permit| permit.record(verdict, now)).is_ok()
}

/// Returns how many failures open it.
fn failures_to_open(breaker: &Breaker, now: Duration) -> u32 {
    (0..20_000)
        .find(|_| !call(breaker, Verdict::Failure, now))
        .expect("opens")
}

/// ROB-13: after 10 000 successes, three "sliding" windows of 100 calls at 50 % needed 10 000
/// failures to open, because they never forgot a success. Ours needs 50.
#[test]
fn a_count_window_slides() {
    let breaker = breaker(Config::builder().count_window(100).failure_rate(0.5));
    for _ in 0..10_000 {
        assert!(call(&breaker, Verdict::Success, seconds(1)));
    }
    assert_eq!(failures_to_open(&breaker, seconds(1)), 50);
}

/// ROB-13: a time window that nothing fed never opened; others never forgot. Ours forgets 10 000
/// successes when they are older than its span, and needs only the minimum of calls then.
#[test]
fn a_time_window_slides() {
    let builder = Config::builder().time_window(seconds(10)).failure_rate(0.5);
    let breaker = breaker(builder.minimum_calls(20));
    for _ in 0..10_000 {
        assert!(call(&breaker, Verdict::Success, seconds(100)));
    }
    (0..19).for_each(|_| assert!(call(&breaker, Verdict::Failure, seconds(105))));
    assert_eq!(breaker.state(seconds(105)), State::Closed);
    // The successes are gone, the 19 failures are not.
    assert_eq!(failures_to_open(&breaker, seconds(111)), 1);
}

/// ROB-13: time windows that keep a record per call cost more with each. Ours holds the same few
/// counters after a million calls, and still counts each of them.
#[test]
fn a_time_window_is_as_large_as_ever_after_a_million_calls() {
    let breaker = breaker(Config::builder().time_window(seconds(10)));
    for _ in 0..1_000_000 {
        call(&breaker, Verdict::Success, seconds(1));
    }
    let window = breaker.snapshot(seconds(1)).window.expect("closed");
    assert_eq!((window.calls, window.failures), (1_000_000, 0));
}

/// ROB-17, S5: half-open, two breakers admitted everybody: 100 of 100 and 1000 of 1000. Ours
/// admits its trials, and no more once they are in flight.
#[test]
fn half_open_admits_its_trials_only() {
    let breaker = breaker(Config::mail().to_builder().half_open_trials(5));
    breaker.trip(seconds(0));
    let now = seconds(60);
    let admitted: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..1000)
            .map(|_| scope.spawn(|| breaker.try_acquire(now).ok()))
            .collect();
        let permits = callers.into_iter();
        permits
            .filter_map(|caller| caller.join().expect("no panic"))
            .collect()
    });
    assert_eq!(admitted.len(), 5, "INV-BREAKER-1");
}

/// ROB-23: 50 calls that a timeout cut off left a breaker closed that was to open after one
/// failure: a dropped future was never counted. Ours counts it by how long it took.
#[test]
fn a_call_that_was_timed_out_counts() {
    let config = Config::mail()
        .to_builder()
        .failure_threshold(1)
        .slow_call_threshold(seconds(2));
    let clock = TickClock::new();
    let caller = Caller::with_clock(Arc::new(breaker(config)), clock.clone());
    let cancelled_after = |patience| {
        let mut call = Box::pin(caller.call_async(std::future::pending::<Result<(), ()>>));
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        clock.advance(patience);
    };
    for _ in 0..50 {
        cancelled_after(Duration::from_millis(1999));
    }
    assert_eq!(caller.breaker().state(clock.now()), State::Closed);
    cancelled_after(seconds(2));
    assert_eq!(caller.breaker().state(clock.now()), State::Open);
}

/// ROB-17: a cancelled trial closed a circuit, because what is not a handled failure was taken for
/// a success. Ours is half-open as before, with the trial's place free again.
#[test]
fn a_cancelled_trial_does_not_close() {
    let clock = TickClock::new();
    let caller = Caller::with_clock(Arc::new(Breaker::new(Config::mail())), clock.clone());
    caller.breaker().trip(clock.now());
    clock.advance(seconds(60));
    for _ in 0..10 {
        let mut trial = Box::pin(caller.call_async(std::future::pending::<Result<(), ()>>));
        let polled = trial.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        assert_eq!(caller.breaker().snapshot(clock.now()).trials_in_flight, 1);
        drop(trial);
        let snapshot = caller.breaker().snapshot(clock.now());
        assert_eq!(
            (snapshot.state, snapshot.trials_in_flight),
            (State::HalfOpen, 0)
        );
    }
    assert_eq!(caller.call(|| Ok::<_, ()>(1)), Ok(1));
    assert_eq!(caller.breaker().state(clock.now()), State::Closed);
}

/// ROB-17, L6: half-open for ever, because a permit was taken and its verdict never delivered. In
/// ours a permit that is leaked, ignored, abandoned, rejected locally or unwound gives its place
/// back, at its trial's deadline at the latest.
#[test]
#[expect(clippy::mem_forget, reason = "the leak is what is tested")]
fn half_open_is_never_stuck() {
    let breaker = Breaker::new(Config::mail());
    breaker.trip(seconds(0));
    let trial = |now| breaker.try_acquire(seconds(now)).expect("a trial");
    trial(60).ignore();
    trial(60).local_reject();
    trial(60).abandon(seconds(61));
    drop(trial(61));
    std::mem::forget(trial(61));
    assert!(breaker.try_acquire(seconds(120)).is_err());
    // Overdue at 121 s, so open until 181 s.
    assert_eq!(breaker.retry_after(seconds(121)), Some(seconds(60)));
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _trial = trial(181);
        panic!("the call panics");
    }));
    assert!(unwound.is_err());
    assert_eq!(breaker.state(seconds(181)), State::Open);
    trial(241).success(seconds(242));
    assert_eq!(breaker.state(seconds(242)), State::Closed);
}

/// ROB-13: a lock-free count window crashed at the size of one call. Ours opens at one failure.
#[test]
fn a_window_of_one_call_works() {
    let breaker = breaker(Config::builder().count_window(1).failure_rate(1.0));
    for _ in 0..3 {
        assert!(call(&breaker, Verdict::Success, seconds(1)));
    }
    assert_eq!(failures_to_open(&breaker, seconds(1)), 1);
}

/// ROB-26: calls that began while closed decided the half-open state, or the next closed one.
/// INV-BREAKER-2: in ours they decide nothing, in every way of counting.
#[test]
fn inv_breaker_2_stale_verdicts_decide_nothing() {
    let one = Config::mail().to_builder();
    let ways = [
        one.clone().failure_threshold(1),
        one.clone().count_window(1),
        one.time_window(seconds(1)).minimum_calls(1),
    ];
    for builder in ways {
        let breaker = breaker(builder);
        let stale = [(); 4].map(|()| breaker.try_acquire(seconds(0)).expect("closed"));
        let [failed, failed_again, succeeded, in_next] = stale;
        assert!(call(&breaker, Verdict::Failure, seconds(0)));
        failed.failure(seconds(1));
        let trial = breaker.try_acquire(seconds(60)).expect("a trial");
        succeeded.success(seconds(60));
        failed_again.failure(seconds(60));
        assert_eq!(breaker.state(seconds(60)), State::HalfOpen, "INV-BREAKER-2");
        trial.success(seconds(60));
        in_next.failure(seconds(60));
        assert_eq!(breaker.state(seconds(60)), State::Closed, "INV-BREAKER-2");
        assert_eq!(breaker.snapshot(seconds(60)).stale_verdicts, 4);
    }
}

/// ROB-22: a callback under the lock deadlocked as soon as it asked the breaker anything. Ours may
/// do all that a caller may.
#[test]
fn a_listener_may_call_everything() {
    let breaker = Arc::new_cyclic(|weak: &Weak<Breaker>| {
        let weak = weak.clone();
        Breaker::with_listener(Config::mail(), move |transition| {
            let Some(breaker) = weak.upgrade().filter(|_| transition.sequence == 1) else {
                return;
            };
            assert_eq!(breaker.snapshot(transition.at).state, State::Open);
            assert!(breaker.try_acquire(transition.at).is_err());
            breaker.push_back(seconds(1), transition.at);
            breaker.set_mode(Mode::Shadow, transition.at);
            call(&breaker, Verdict::Failure, transition.at);
            breaker.reset(transition.at);
        })
    });
    (0..5).for_each(|_| assert!(call(&breaker, Verdict::Failure, seconds(0))));
    let snapshot = breaker.snapshot(seconds(0));
    assert_eq!(
        (snapshot.state, snapshot.mode),
        (State::Closed, Mode::Shadow)
    );
}

/// ROB-16, ROB-21: rejections of one's own were counted as failures of the target. A refusal of
/// ours, and a call that its caller rejected locally, count as nothing.
#[test]
fn a_local_rejection_never_counts() {
    let config = Config::mail().to_builder();
    let breaker = breaker(config.slow_call_threshold(seconds(1)).failure_threshold(1));
    for _ in 0..100 {
        breaker
            .try_acquire(seconds(0))
            .expect("closed")
            .local_reject();
    }
    assert_eq!(breaker.snapshot(seconds(0)).consecutive_failures, 0);
    breaker.trip(seconds(0));
    let before = breaker.snapshot(seconds(1));
    assert!((0..100).all(|_| !call(&breaker, Verdict::Failure, seconds(1))));
    assert_eq!(breaker.snapshot(seconds(1)), before);
}

/// ROB-20: one success closed, and one late failure of many calls reopened. Ours asks for as many
/// successes as it is told to.
#[test]
fn one_success_need_not_close() {
    let breaker = breaker(Config::mail().to_builder().success_threshold(3));
    breaker.trip(seconds(0));
    for successes in 1..=3 {
        assert_eq!(breaker.state(seconds(60)), State::HalfOpen, "{successes}");
        assert!(call(&breaker, Verdict::Success, seconds(60)));
    }
    assert_eq!(breaker.state(seconds(60)), State::Closed);
}
