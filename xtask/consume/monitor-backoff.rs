//! Waits as a policy says, and starts again after a success.
//+ rand = { version = "0.10", default-features = false }
//> 2 s after 1
//> 5 s after 2
//> 10 s after 3
//> 10 s after 4
//> 60 s after 0
//> jitter within 20 %

use std::time::Duration;

use monitor_backoff::{FailureStreak, Policy, Verdict};
use rand::SeedableRng;
use rand::rngs::SmallRng;

fn main() {
    let policy = Policy::gate2();
    let interval = Duration::from_secs(60);
    let mut streak = FailureStreak::new();
    let verdicts = [[Verdict::Failure; 4].as_slice(), &[Verdict::Success]].concat();
    for verdict in verdicts {
        let failures = streak.record(verdict);
        println!(
            "{} s after {failures}",
            policy.nominal(failures, interval).as_secs()
        );
    }
    let mut rng = SmallRng::seed_from_u64(7);
    let within = (0..1000).all(|_| {
        let delay = policy.delay(1, interval, &mut rng);
        (1600..=2400).contains(&delay.as_millis())
    });
    println!("jitter {} 20 %", if within { "within" } else { "beyond" });
}
