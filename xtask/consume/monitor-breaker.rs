//! A breaker opens, admits one trial, and closes again; a window sees what a streak does not.
//> 3 of 10 calls admitted, then Open
//> one trial, second caller refused: true
//> Closed
//> failures that are values: 5 of 8 made, then circuit open

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use monitor_breaker::{Breaker, Caller, Config, TickClock, Verdict};

fn main() -> Result<(), Box<dyn Error>> {
    let config = Config::builder()
        .failure_threshold(3)
        .success_threshold(1)
        .open_duration(Duration::from_secs(60))
        .build()?;
    let breaker = Breaker::new(config);
    let mut now = Duration::ZERO;
    let mut admitted = 0;
    for _ in 0..10 {
        if let Ok(permit) = breaker.try_acquire(now) {
            admitted += 1;
            permit.failure(now);
        }
    }
    println!(
        "{admitted} of 10 calls admitted, then {:?}",
        breaker.state(now)
    );

    now += breaker
        .retry_after(now)
        .ok_or("it is open, so it says when to try")?;
    let trial = breaker.try_acquire(now)?;
    println!(
        "one trial, second caller refused: {}",
        breaker.try_acquire(now).is_err()
    );
    trial.success(now);
    println!("{:?}", breaker.state(now));

    let config = Config::builder()
        .count_window(10)
        .failure_rate(0.5)
        .minimum_calls(5)
        .build()?;
    let caller = Caller::with_clock(Arc::new(Breaker::new(config)), TickClock::new());
    let judge = |healthy: &bool| match healthy {
        true => Verdict::Success,
        false => Verdict::Failure,
    };
    let made = (0..8).filter(|_| caller.run(|| false, judge).is_ok());
    let made = made.count();
    let refusal = caller.refusal().ok_or("it is open")?;
    println!(
        "failures that are values: {made} of 8 made, then circuit {}",
        refusal.state
    );
    Ok(())
}
