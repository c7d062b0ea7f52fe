//! Waits as a policy says, and starts again after a success.
//+ rand = { version = "0.10", default-features = false }
//> 2 s after 1
//> 5 s after 2
//> 10 s after 3
//> 10 s after 4
//> 60 s after 0
//> jitter within 20 %
//> a chain of 5 delays, none above 400 ms
//> schedule: base is 5s, longer than the cap of 1s

use std::time::Duration;

use monitor_backoff::{FailureStreak, Policy, Verdict};
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// A contradiction here would be an error of the build.
const QUICK: Policy =
    match Policy::exponential(Duration::from_millis(100), Duration::from_millis(400)).build() {
        Ok(policy) => policy,
        Err(_) => panic!("the policy contradicts itself"),
    };

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
    let chain: Vec<_> = QUICK.delays(Duration::ZERO, rng).take(5).collect();
    let most = Duration::from_millis(400);
    let above = chain.iter().filter(|delay| **delay > most).count();
    assert_eq!(above, 0);
    println!("a chain of {} delays, none above 400 ms", chain.len());
    let refused = Policy::exponential(Duration::from_secs(5), Duration::from_secs(1)).build();
    println!("{}", refused.expect_err("contradicts itself"));
}
