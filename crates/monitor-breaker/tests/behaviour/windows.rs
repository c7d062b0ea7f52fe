//! Rates: by count, by time, of failures and of slow calls.

use std::{thread, time::Duration};

use monitor_breaker::{Breaker, Builder, Cause, Config, State, Verdict};

use crate::{listened, seconds};

/// Makes a call that takes `elapsed`; returns whether it was admitted.
fn call(breaker: &Breaker, verdict: Verdict, start: Duration, elapsed: Duration) -> bool {
    let permit = breaker.try_acquire(start);
    permit
        .map(|permit| permit.record(verdict, start + elapsed))
        .is_ok()
}

fn both_windows() -> [Builder; 2] {
    let builder = Config::mail().to_builder().minimum_calls(10);
    [
        builder.clone().count_window(20),
        builder.time_window(seconds(10)),
    ]
}

/// ROB-13: "4 failures + 1 success for ever" never opens by consecutive failures; a rate does.
#[test]
fn a_rate_sees_what_a_streak_does_not() {
    for builder in both_windows() {
        let (breaker, told) = listened(builder.failure_rate(0.8).build().expect("valid"));
        let verdicts = (0..10).map(|n| match n % 5 {
            0 => Verdict::Success,
            _ => Verdict::Failure,
        });
        let now = seconds(1);
        let admitted = verdicts.filter(|verdict| call(&breaker, *verdict, now, seconds(0)));
        // Too few calls to tell before the tenth; then 8 of 10 is 80 %, and equality opens.
        assert_eq!(admitted.count(), 10);
        assert_eq!(breaker.state(now), State::Open);
        assert_eq!(told.lock().expect("listener")[0].cause, Cause::FailureRate);
    }
}

/// ROB-13: below the minimum of calls no rate is looked at; a success never opens.
#[test]
fn the_minimum_of_calls_is_kept() {
    for builder in both_windows() {
        let breaker = Breaker::new(builder.failure_rate(0.1).build().expect("valid"));
        let now = seconds(1);
        (0..9).for_each(|_| assert!(call(&breaker, Verdict::Failure, now, seconds(0))));
        assert!(call(&breaker, Verdict::Ignore, now, seconds(0)));
        assert!(call(&breaker, Verdict::Success, now, seconds(0)));
        assert_eq!(breaker.state(now), State::Closed, "the tenth was a success");
        assert!(call(&breaker, Verdict::Failure, now, seconds(0)));
        assert_eq!(breaker.state(now), State::Open);
    }
}

/// ROB-13: calls that succeed, but slowly, open by their own rate; a slow trial has failed.
#[test]
fn slow_calls_open() {
    for builder in both_windows() {
        let builder = builder
            .slow_call_threshold(Duration::from_millis(500))
            .slow_call_rate(0.5);
        let (breaker, told) = listened(builder.build().expect("valid"));
        let (fast, slow) = (Duration::from_millis(499), Duration::from_millis(500));
        (0..5).for_each(|_| assert!(call(&breaker, Verdict::Success, seconds(1), fast)));
        (0..5).for_each(|_| assert!(call(&breaker, Verdict::Success, seconds(1), slow)));
        assert_eq!(breaker.state(seconds(2)), State::Open);
        assert_eq!(told.lock().expect("listener")[0].cause, Cause::SlowCallRate);
        // Open since 1.5 s, for 60 s.
        assert!(call(&breaker, Verdict::Success, seconds(62), slow));
        assert_eq!(breaker.state(seconds(63)), State::Open);
        assert!(call(&breaker, Verdict::Success, seconds(123), fast));
        assert_eq!(breaker.state(seconds(124)), State::Closed);
    }
}

/// ROB-23: in any way of counting, a call that was given up after the slow-call threshold has
/// failed, and one that was given up before says nothing.
#[test]
fn an_abandoned_call_counts_by_its_time() {
    let streak = Config::mail().to_builder().failure_threshold(1);
    let [count, time] = both_windows().map(|builder| builder.minimum_calls(1));
    for builder in [streak, count, time] {
        let builder = builder.slow_call_threshold(seconds(5));
        let breaker = Breaker::new(builder.build().expect("valid"));
        let permit = |now| breaker.try_acquire(now).expect("closed");
        permit(seconds(1)).abandon(seconds(5));
        assert_eq!(breaker.state(seconds(5)), State::Closed);
        permit(seconds(1)).abandon(seconds(6));
        assert_eq!(breaker.state(seconds(6)), State::Open);
    }
}

/// ROB-13: calls of eight threads are all counted, whatever the shards they land on.
#[test]
fn no_call_of_any_thread_is_lost() {
    let many = Config::builder().failure_rate(1.0);
    let windows = [
        many.clone().count_window(10_000),
        many.time_window(seconds(10)),
    ];
    for builder in windows {
        let breaker = Breaker::new(builder.minimum_calls(2000).build().expect("valid"));
        thread::scope(|scope| {
            for thread in 0..8 {
                let breaker = &breaker;
                scope.spawn(move || {
                    for n in 0..1000 {
                        let verdict = if (n + thread) % 4 == 0 {
                            Verdict::Failure
                        } else {
                            Verdict::Success
                        };
                        assert!(call(breaker, verdict, seconds(1), seconds(0)));
                    }
                });
            }
        });
        let window = breaker.snapshot(seconds(1)).window.expect("closed");
        assert_eq!((window.calls, window.failures), (8000, 2000));
    }
}

/// ROB-20, ROB-26: what was counted before it opened is forgotten when it closes.
#[test]
fn a_closed_breaker_begins_with_an_empty_window() {
    for builder in both_windows() {
        let breaker = Breaker::new(builder.build().expect("valid"));
        (0..10).for_each(|_| assert!(call(&breaker, Verdict::Failure, seconds(1), seconds(0))));
        assert_eq!(breaker.state(seconds(1)), State::Open);
        assert_eq!(breaker.snapshot(seconds(1)).window, None);
        assert!(breaker.reset(seconds(2)));
        let window = breaker.snapshot(seconds(2)).window.expect("closed");
        assert_eq!(window.calls, 0);
        assert!(call(&breaker, Verdict::Failure, seconds(2), seconds(0)));
        assert_eq!(breaker.state(seconds(2)), State::Closed);
    }
}
