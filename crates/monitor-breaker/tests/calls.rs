//! Callers: one line around a call, with a clock that is read only where it matters.

use std::{
    future::{pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use monitor_breaker::{
    Breaker, Builder, CallError, Caller, Clock, Config, State, TickClock, Verdict,
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Polls once, which is enough for a future that waits for nothing.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing waits"),
    }
}

fn caller(builder: Builder) -> (Caller<TickClock>, TickClock) {
    let (breaker, clock) = (
        Breaker::new(builder.build().expect("valid")),
        TickClock::new(),
    );
    (Caller::with_clock(Arc::new(breaker), clock.clone()), clock)
}

fn mail() -> Builder {
    Config::mail().to_builder()
}

/// ROB-15: a check that returned "failed" as a value, 50 times, left its breaker closed, because
/// only errors were counted. Here a value is judged.
#[test]
fn failures_that_are_values_trip_the_breaker() {
    let judge = |healthy: &bool| match healthy {
        true => Verdict::Success,
        false => Verdict::Failure,
    };
    let (caller, _) = caller(mail());
    let ran = (0..50).filter(|_| caller.run(|| false, judge) == Ok(false));
    assert_eq!(ran.count(), 5);
    let (caller, _) = self::caller(mail());
    let ran = (0..50).filter(|_| now(caller.run_async(|| ready(false), judge)) == Ok(false));
    assert_eq!(ran.count(), 5);
    assert_eq!(caller.breaker().state(seconds(0)), State::Open);
}

/// ROB-16, ROB-25: a refusal and a failure are told apart, and each failure keeps its own error.
#[test]
fn a_refusal_is_not_a_failure() {
    let (caller, clock) = caller(mail());
    for n in 0..5 {
        assert_eq!(caller.call(|| Err::<(), _>(n)), Err(CallError::Failed(n)));
    }
    let called = AtomicU32::new(0);
    let work = || {
        called.fetch_add(1, Ordering::Relaxed);
        Ok::<_, u32>(())
    };
    let Err(CallError::Rejected(rejected)) = caller.call(work) else {
        panic!("it is open");
    };
    assert_eq!(
        (rejected.state, rejected.retry_after),
        (State::Open, seconds(60))
    );
    let refused = now(caller.call_async(|| ready(work())));
    assert_eq!(refused, Err(CallError::Rejected(rejected)));
    assert_eq!(caller.refusal(), Some(rejected));
    assert_eq!(called.load(Ordering::Relaxed), 0, "neither was made");
    clock.advance(seconds(60));
    assert_eq!(now(caller.call_async(|| ready(work()))), Ok(()));
    assert_eq!(caller.breaker().state(clock.now()), State::Closed);
}

/// ROB-21: an error that says nothing about the target is ignored, by type and not by text.
#[test]
fn errors_can_be_excluded() {
    #[derive(Debug, PartialEq)]
    enum Error {
        NotFound,
        Refused,
    }
    let judge = |outcome: &Result<(), Error>| match outcome {
        Ok(()) => Verdict::Success,
        Err(Error::NotFound) => Verdict::Ignore,
        Err(Error::Refused) => Verdict::Failure,
    };
    let (caller, _) = caller(mail());
    let fails = |error| caller.run(|| Err(error), judge).is_ok();
    for _ in 0..4 {
        assert!(fails(Error::Refused));
        assert!((0..10).all(|_| fails(Error::NotFound)));
    }
    assert_eq!(
        caller.breaker().snapshot(seconds(0)).consecutive_failures,
        4
    );
    assert!(fails(Error::Refused));
    assert!(!fails(Error::NotFound));
}

/// ROB-17: a call or a judge that panics has failed, and the panic goes on.
#[test]
fn a_panic_is_a_failure() {
    let (caller, clock) = caller(mail().failure_threshold(3));
    let unwound = |work: &dyn Fn()| catch_unwind(AssertUnwindSafe(work)).is_err();
    assert!(unwound(&|| {
        let _never = caller.call(|| -> Result<(), ()> { panic!("the call") });
    }));
    assert!(unwound(&|| {
        let _never = caller.run(|| (), |_: &()| panic!("the judge"));
    }));
    assert!(unwound(&|| {
        let _never = now(caller.call_async(|| async {
            assert_eq!(1, 2, "the future");
            Ok::<_, ()>(())
        }));
    }));
    assert_eq!(caller.breaker().state(clock.now()), State::Open);
}

/// ROB-23: 1 000 calls at once, none waits for another; each counts on its own.
#[test]
fn concurrent_calls_are_not_serialised() {
    let (caller, _) = caller(mail().count_window(1000).failure_rate(1.0));
    let mut calls: Vec<_> = (0..1000)
        .map(|_| Box::pin(caller.call_async(pending::<Result<(), ()>>)))
        .collect();
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        calls
            .iter_mut()
            .all(|call| call.as_mut().poll(&mut context).is_pending())
    );
    drop(calls);
    assert_eq!(now(caller.call_async(|| ready(Ok::<_, ()>(())))), Ok(()));
    let window = caller
        .breaker()
        .snapshot(seconds(0))
        .window
        .expect("closed");
    assert_eq!(
        (window.calls, window.failures),
        (1, 0),
        "given up at once: counts as nothing"
    );
}

/// A clock that counts how often it is read.
#[derive(Default)]
struct Counted(AtomicU32);

impl Clock for Counted {
    fn now(&self) -> Duration {
        self.0.fetch_add(1, Ordering::Relaxed);
        seconds(1)
    }
}

/// ROB-13: a healthy call reads no clock; a timed one reads it at both ends; a call in a time
/// window reads it once; a refusal once.
#[test]
fn the_clock_is_read_only_where_it_matters() {
    let reads = |builder: Builder| {
        let breaker = Arc::new(Breaker::new(builder.build().expect("valid")));
        let caller = Caller::with_clock(breaker, Counted::default());
        assert_eq!(caller.call(|| Ok::<_, ()>(1)), Ok(1));
        caller.clock().0.load(Ordering::Relaxed)
    };
    assert_eq!(reads(mail()), 0);
    assert_eq!(reads(mail().slow_call_threshold(seconds(1))), 1);
    assert_eq!(reads(mail().time_window(seconds(1))), 1);
    let timed = mail()
        .time_window(seconds(1))
        .slow_call_threshold(seconds(1));
    assert_eq!(reads(timed), 2);
    let breaker = Arc::new(Breaker::new(Config::mail()));
    breaker.trip(seconds(0));
    let caller = Caller::with_clock(breaker, Counted::default());
    assert!(caller.try_acquire().is_err());
    assert_eq!(caller.clock().0.load(Ordering::Relaxed), 1);
}

/// ROB-17: an owned call outlives its caller and settles from another thread.
#[test]
fn an_owned_call_moves_to_another_thread() {
    let (caller, clock) = caller(mail());
    caller.breaker().trip(clock.now());
    clock.advance(seconds(60));
    let trial = caller.try_acquire_owned().expect("a trial");
    assert!(trial.is_trial());
    std::thread::spawn(move || trial.success())
        .join()
        .expect("no panic");
    assert_eq!(caller.breaker().state(clock.now()), State::Closed);
}
