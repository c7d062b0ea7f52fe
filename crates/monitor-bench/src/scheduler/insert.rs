//! What a key costs to add, and to keep.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monitor_operation::{Epoch, Operations};
use monitor_scheduler::wheel::Wheel;
use monitor_scheduler::{Run, Verdict};
use serde_json::{Value, json};

use super::gauge::spread;
use super::ours::{Ear, empty, end, spec};
use super::runtime;
use crate::allocations;
use crate::noise::thread_cpu;
use crate::plan::{Plan, Sample, Subject};

/// Far enough ahead for nothing to fire meanwhile.
const PERIOD: Duration = Duration::from_secs(3600);

/// What the handler takes on the heap, which is not the schedule's: two counts of references, the
/// key at hand and a flag. The id is in the registry of operations.
const HANDLER: i64 = 32;

/// Adds so many keys; the measurement is over when it calls what it is given.
type Inserts = fn(u32, &mut Measures);

pub(super) fn plan(plan: &mut Plan, keys: u32) {
    plan.workload(format!("insert {keys} keys"), move |subjects| {
        subjects.rounds(super::ROUNDS);
        let all: [(&str, Inserts); 4] = [
            ("monitor-scheduler, schedule", schedule),
            ("monitor-scheduler, its wheel", wheel),
            (
                "monitor-scheduler, schedule and register",
                schedule_and_register,
            ),
            ("task and tokio sleep", spawn),
        ];
        for (name, inserts) in all {
            subjects.add(name, Insert { keys, inserts });
        }
    });
}

struct Insert {
    keys: u32,
    inserts: Inserts,
}

/// Takes the time, or the bytes, of what is done in between.
#[derive(Default)]
struct Measures {
    wall: Duration,
    cpu: Duration,
    bytes: i64,
}

impl Measures {
    fn take<R>(&mut self, step: impl FnOnce() -> R) -> R {
        let before = allocations::bytes();
        let (cpu, wall) = (thread_cpu(), Instant::now());
        let result = step();
        (self.wall, self.cpu) = (wall.elapsed(), thread_cpu() - cpu);
        self.bytes = allocations::bytes() - before;
        result
    }
}

impl Subject for Insert {
    fn sample(&mut self) -> Sample {
        let mut measures = Measures::default();
        (self.inserts)(self.keys, &mut measures);
        let each_ns = |time: Duration| time.as_nanos() as f64 / f64::from(self.keys);
        Sample {
            ns: each_ns(measures.wall),
            cpu_ns: each_ns(measures.cpu),
        }
    }

    fn observe(&mut self) -> Vec<(&'static str, f64)> {
        let mut measures = Measures::default();
        allocations::weigh(true);
        (self.inserts)(self.keys, &mut measures);
        allocations::weigh(false);
        vec![(
            "bytes_per_key",
            measures.bytes as f64 / f64::from(self.keys),
        )]
    }

    fn about(&self) -> Value {
        json!({ "keys": self.keys })
    }
}

fn wheel(keys: u32, measures: &mut Measures) {
    let mut wheel = Wheel::new();
    let period_ms = PERIOD.as_millis() as u64;
    measures.take(|| {
        for key in 0..keys {
            wheel.set(key, spread(key, period_ms));
        }
    });
    black_box(wheel);
}

/// The schedule alone: the keys have their operations, and their handlers do not differ.
fn schedule(keys: u32, measures: &mut Measures) {
    let operations = Operations::new();
    for key in 0..keys {
        let registered = operations.register(key, Epoch::default());
        registered.expect("an epoch with room above");
    }
    add(keys, operations, measures);
}

fn schedule_and_register(keys: u32, measures: &mut Measures) {
    add(keys, Operations::new(), measures);
}

fn add(keys: u32, operations: Operations<u32>, measures: &mut Measures) {
    let (runtime, ear) = (runtime(), Arc::new(Ear::default()));
    let scheduler = empty(&runtime, operations, &ear);
    measures.take(|| {
        scheduler.reserve(keys as usize);
        for key in 0..keys {
            let handler = |_: Run<u32>| std::future::ready(Verdict::Success);
            let placed = scheduler.schedule(key, spec(key, PERIOD), handler);
            placed.expect("not shut down");
        }
    });
    measures.bytes -= i64::from(keys) * HANDLER;
    end(scheduler, &ear);
}

fn spawn(keys: u32, measures: &mut Measures) {
    let runtime = runtime();
    let now = tokio::time::Instant::now();
    let period_ms = PERIOD.as_millis() as u64;
    measures.take(|| {
        for key in 0..keys {
            let due = now + PERIOD + Duration::from_millis(spread(key, period_ms));
            runtime.spawn(async move { tokio::time::sleep_until(due).await });
        }
    });
}
