//! Clocks that jump, and verdicts that come when nobody expects them any more.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use monitor_breaker::{Breaker, Builder, Clock, Config, InstantClock, State, TickClock, Verdict};

use crate::{fail, seconds};

fn ways_of_counting() -> [Builder; 3] {
    let builder = Config::mail().to_builder();
    [
        builder.clone().failure_threshold(3),
        builder.clone().count_window(10).minimum_calls(3),
        builder.time_window(seconds(10)).minimum_calls(3),
    ]
}

/// ROB-14: one caller's clock jumps far ahead and comes back. The breaker believes it: its open
/// interval then ends when the others' clocks get there, unless it is reset, which starts time
/// anew.
#[test]
fn a_clock_that_jumps_ahead_is_believed_until_a_reset() {
    for builder in ways_of_counting() {
        let breaker = Breaker::new(builder.build().expect("valid"));
        let far = seconds(1_000_000);
        assert_eq!(breaker.snapshot(far).state, State::Closed);
        fail(&breaker, 3, seconds(10));
        let rejected = breaker.try_acquire(seconds(100)).expect_err("open");
        assert!(rejected.retry_after > seconds(900_000));
        assert!(breaker.reset(seconds(100)));
        fail(&breaker, 3, seconds(100));
        assert_eq!(breaker.retry_after(seconds(101)), Some(seconds(59)));
        assert_eq!(breaker.state(seconds(160)), State::HalfOpen);
    }
}

/// ROB-14: an older time counts as the latest one: the failure that meets the threshold opens,
/// though its thread read the clock before another's that was counted already.
#[test]
fn a_failure_dated_before_another_still_opens() {
    for builder in ways_of_counting() {
        let breaker = Breaker::new(builder.build().expect("valid"));
        let late = breaker.try_acquire(seconds(9)).expect("closed");
        fail(&breaker, 2, seconds(10));
        late.failure(seconds(9));
        assert_eq!(breaker.state(seconds(10)), State::Open);
    }
}

/// ROB-14: a clock that stood still, ran back, or reached the end of time: never a panic, never
/// more trials than there are, and always the way out.
#[test]
fn no_time_breaks_the_breaker() {
    let times = [0, 5, 3, u64::MAX, 0, 7, 1 << 40, 2].map(Duration::from_secs);
    for builder in ways_of_counting() {
        let builder = builder.slow_call_threshold(seconds(2)).ramp(seconds(5));
        let breaker = Breaker::new(builder.build().expect("valid"));
        let mut held = Vec::new();
        for now in times.into_iter().chain([Duration::MAX]).cycle().take(500) {
            if let Ok(permit) = breaker.try_acquire(now) {
                held.push(permit);
            }
            match held.len() % 4 {
                0 => held.drain(..).for_each(|permit| permit.failure(now)),
                1 => breaker.push_back(now, now),
                2 => held.drain(..1).for_each(|permit| permit.abandon(now)),
                _ => {}
            }
            assert!(breaker.snapshot(now).trials_in_flight <= 1, "INV-BREAKER-1");
        }
        drop(held);
        breaker.reset(seconds(1));
        breaker
            .try_acquire(seconds(1))
            .expect("closed")
            .success(seconds(1));
        assert_eq!(breaker.state(seconds(1)), State::Closed);
    }
}

/// ROB-26: INV-BREAKER-2: a call that began before a reset ends after it: it does not count, even
/// though the breaker was closed before and after.
#[test]
fn inv_breaker_2_a_verdict_after_a_reset_does_not_count() {
    for builder in ways_of_counting() {
        let breaker = Breaker::new(builder.build().expect("valid"));
        let late = [(); 3].map(|()| breaker.try_acquire(seconds(1)).expect("closed"));
        fail(&breaker, 2, seconds(1));
        assert!(breaker.reset(seconds(2)));
        late.into_iter()
            .for_each(|permit| permit.failure(seconds(3)));
        let snapshot = breaker.snapshot(seconds(3));
        assert_eq!(snapshot.state, State::Closed, "INV-BREAKER-2");
        assert_eq!(
            (snapshot.consecutive_failures, snapshot.stale_verdicts),
            (0, 3)
        );
        assert_eq!(snapshot.window.map_or(0, |window| window.calls), 0);
    }
}

/// ROB-23: a bare permit that is dropped knows no time but the latest the breaker was told; where
/// calls are timed it counts by that.
#[test]
fn a_dropped_permit_goes_by_the_latest_time() {
    for builder in ways_of_counting() {
        let builder = builder.slow_call_threshold(seconds(5));
        let breaker = Breaker::new(builder.build().expect("valid"));
        for _ in 0..3 {
            drop(breaker.try_acquire(seconds(1)).expect("closed"));
        }
        assert_eq!(breaker.state(seconds(1)), State::Closed);
        let slow = [(); 3].map(|()| breaker.try_acquire(seconds(1)).expect("closed"));
        assert_eq!(breaker.snapshot(seconds(6)).state, State::Closed);
        drop(slow);
        assert_eq!(breaker.state(seconds(6)), State::Open);
    }
}

/// ROB-23: the breaker may not have been told the time for long, as successes and admissions pass it
/// by: a permit is then dated by its admission, and its failure is in the window.
#[test]
fn a_dropped_permit_is_dated_no_earlier_than_its_admission() {
    for builder in ways_of_counting() {
        let breaker = Breaker::new(builder.build().expect("valid"));
        let now = seconds(105);
        fail(&breaker, 1, now);
        for _ in 0..2 {
            let call = AssertUnwindSafe(|| {
                let _permit = breaker.try_acquire(now).expect("closed");
                panic!("the call panics");
            });
            assert!(catch_unwind(call).is_err());
        }
        assert_eq!(breaker.state(now), State::Open);
    }
}

/// ROB-14: the clocks: monotonic, shared by their clones, and standing where they were put.
#[test]
fn clocks_are_monotonic() {
    let clock = InstantClock::new();
    let (first, second) = (clock.now(), clock.now());
    assert!(first <= second);
    let clock = TickClock::new();
    clock.advance_to(seconds(5));
    clock.advance_to(seconds(3));
    assert_eq!(clock.now(), seconds(5));
    clock.advance(Duration::MAX);
    assert_eq!(clock.clone().now(), Duration::from_nanos(u64::MAX));
    let ticking = TickClock::start(Duration::ZERO).expect("a thread");
    let start = ticking.now();
    while ticking.now() == start {
        std::thread::yield_now();
    }
    let breaker = Breaker::new(Config::mail());
    let permit = breaker.try_acquire(ticking.now()).expect("closed");
    permit.record(Verdict::Success, ticking.now());
}
