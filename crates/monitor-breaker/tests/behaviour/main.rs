//! What a breaker does, state by state.

mod clocks;
mod closed_and_open;
mod half_open;
mod listener;
mod modes;
mod recovering;
mod windows;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use monitor_breaker::{Breaker, Config, State, Transition};

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
