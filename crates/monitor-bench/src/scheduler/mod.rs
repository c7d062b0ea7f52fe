//! A million timers of one period: who keeps them at what cost, and how late they are.
//!
//! Timers fire in real time, so a sample is not a loop of 25 ms as elsewhere but some seconds of
//! waiting; and there are three rounds of it, not nine. Other processes disturb lateness most and
//! processor time least.

mod gauge;
mod insert;
mod ours;
mod peers;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use self::gauge::{Gauge, Load, Seen};
use crate::plan::{Plan, Sample, Subject};

/// What else a subject has to say of a sample.
type Facts = Vec<(&'static str, f64)>;

/// Sets all timers, lets them fire until it is over, says what it saw.
type Timers = fn(&Arc<Gauge>) -> Facts;

const TASKS: (&str, Timers) = ("task and tokio sleep", peers::tasks);
const WHEEL: (&str, Timers) = ("monitor-scheduler, its wheel", ours::wheel);
const WHOLE: (&str, Timers) = ("monitor-scheduler, all of it", ours::scheduler);

const MILLION: u32 = 1_000_000;
const PERIOD_MS: u64 = 10_000;
const ROUNDS: usize = 3;

pub(crate) fn plan(plan: &mut Plan) {
    plan.workload("1000000 keys of 10 s", |subjects| {
        subjects.rounds(ROUNDS);
        let second = Duration::from_secs(1);
        // One period, so that each handler has run once: the first run of each is a task.
        let (name, timers) = WHOLE;
        subjects.add(name, Watched::new(MILLION, 10 * second, 4 * second, timers));
        for (name, timers) in [WHEEL, TASKS] {
            subjects.add(name, Watched::new(MILLION, second, 4 * second, timers));
        }
    });
    plan.workload("100000 keys of 10 s, status() in a loop", |subjects| {
        subjects.rounds(ROUNDS);
        let second = Duration::from_secs(1);
        let (name, timers) = WHOLE;
        let loops = "monitor-scheduler, somebody looks";
        for (name, timers) in [(loops, ours::status as Timers), (name, timers)] {
            subjects.add(name, Watched::new(100_000, 10 * second, 4 * second, timers));
        }
    });
    insert::plan(plan, MILLION);
    // By name only: six subjects that take a minute and a half each.
    plan.long_workload("1000000 keys of 10 s, for 90 s", |subjects| {
        subjects.rounds(1);
        let (warm_up, watched) = (Duration::from_secs(10), Duration::from_secs(90));
        let peers: [(&str, Timers); 3] = [
            ("DelayQueue, one task", peers::delay_queue),
            ("BinaryHeap and one sleep", peers::binary_heap),
            ("hierarchical_hash_wheel_timer", peers::hash_wheel),
        ];
        for (name, timers) in [WHOLE, WHEEL, TASKS].into_iter().chain(peers) {
            subjects.add(name, Watched::new(MILLION, warm_up, watched, timers));
        }
    });
}

/// Timers that are made anew for each sample, and watched for a while.
struct Watched {
    load: Load,
    timers: Timers,
    seen: Vec<(Seen, Facts)>,
}

impl Watched {
    fn new(keys: u32, warm_up: Duration, watched: Duration, timers: Timers) -> Self {
        let load = Load {
            keys,
            period_ms: PERIOD_MS,
            warm_up,
            watched,
        };
        Self {
            load,
            timers,
            seen: Vec::new(),
        }
    }
}

impl Subject for Watched {
    fn sample(&mut self) -> Sample {
        let gauge = Arc::new(Gauge::new(self.load));
        let facts = (self.timers)(&gauge);
        let seen = gauge.seen();
        self.seen.push((seen, facts));
        let each_ns = |time: Duration| time.as_nanos() as f64 / seen.fired.max(1) as f64;
        Sample {
            // It is the period that says how long it takes: what it costs is processor time.
            ns: each_ns(seen.cpu),
            cpu_ns: each_ns(seen.cpu),
        }
    }

    /// What was seen in the samples: the median of the rounds for lateness, the worst of the rest.
    fn observe(&mut self) -> Vec<(&'static str, f64)> {
        let median = |of: fn(&Seen) -> u64| {
            let mut values: Vec<u64> = self.seen.iter().map(|(seen, _)| of(seen)).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0) as f64
        };
        let mut observed = vec![
            ("fired", median(|seen| seen.fired)),
            ("late_p50_us", median(|seen| seen.late_p50_us)),
            ("late_p99_us", median(|seen| seen.late_p99_us)),
            ("late_max_us", median(|seen| seen.late_max_us)),
        ];
        for (name, value) in self.seen.iter().flat_map(|(_, facts)| facts) {
            match observed.iter_mut().find(|(known, _)| known == name) {
                Some((_, worst)) => *worst = worst.max(*value),
                None => observed.push((name, *value)),
            }
        }
        observed
    }

    fn about(&self) -> Value {
        json!({
            "keys": self.load.keys,
            "period_ms": self.load.period_ms,
            "watched_ms": self.load.watched.as_millis() as u64,
        })
    }
}

/// Two workers, as many as the machine of the documents has.
fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(2).enable_time();
    builder.build().expect("threads for a runtime")
}
