//! A pool runs full and is emptied: optional work is suspended, and comes back in steps.
//> optional work: keep -> suspend, pressure normal -> critical by pool:db: 10 of 10
//> normal work: keep -> stretch x4, pressure normal -> critical by pool:db: 10 of 10
//> optional work: suspend -> stretch x4, pressure critical -> degraded by pool:db: 1 of 10
//> normal work: stretch x4 -> stretch x2, pressure critical -> degraded by pool:db: 1 of 10
//> ready: true

use std::error::Error;
use std::time::Duration;

use monitor_pressure::{Config, Plan, Pressure, Reading, Source, Usage};

fn main() -> Result<(), Box<dyn Error>> {
    let config = Config::builder().memory_limit_mb(512).build()?;
    let interval = config.resource_check_interval();
    let (mut pressure, plan) = (Pressure::new(config), Plan::default());
    let mut now = Duration::ZERO;
    for used in [1, 10, 1, 1, 1] {
        now += interval;
        let reading = Reading::new(Source::pool("db"), Usage::count(used, 10));
        for transition in pressure.observe([reading], now) {
            for decision in plan.decide(&transition) {
                println!("{decision}");
            }
        }
    }
    println!("ready: {}", pressure.level().is_ready());
    Ok(())
}
