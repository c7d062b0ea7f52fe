//! A breaker opens, admits one trial, and closes again.
//> 3 of 10 calls admitted, then Open
//> one trial, second caller refused: true
//> Closed

use std::error::Error;
use std::time::Duration;

use monitor_breaker::{Breaker, Config};

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
    Ok(())
}
