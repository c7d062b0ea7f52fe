//! Ours: the wheel alone, and the whole scheduler with handlers that do nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use monitor_backoff::Policy;
use monitor_operation::Operations;
use monitor_scheduler::wheel::Wheel;
use monitor_scheduler::{
    Config, KeyState, Missed, Observer, Phase, Run, Saturation, Scheduler, Spec, Verdict,
};
use tokio::runtime::Runtime;

use super::gauge::{Gauge, spread};
use super::{Facts, runtime};
use crate::noise::thread_cpu;

pub(super) fn wheel(gauge: &Arc<Gauge>) -> Facts {
    let mut wheel = Wheel::new();
    let mut dues_ms = vec![0_u64; gauge.load.keys as usize];
    gauge.insert(|key, first_ms| {
        dues_ms[key as usize] = first_ms;
        wheel.set(key, first_ms);
    });
    let (mut fired, mut dues) = (Vec::new(), Vec::new());
    while !gauge.is_over() {
        loop {
            wheel.advance(gauge.now_ms(), 1024, &mut fired);
            if fired.is_empty() {
                break;
            }
            dues.extend(fired.iter().map(|key| dues_ms[*key as usize]));
            for (key, due_ms) in fired.drain(..).zip(dues.drain(..)) {
                gauge.fired(gauge.instant(due_ms));
                let next_ms = due_ms + gauge.load.period_ms;
                dues_ms[key as usize] = next_ms;
                wheel.set(key, next_ms);
            }
        }
        if let Some(next_ms) = wheel.next() {
            gauge.sleep_until(next_ms);
        }
    }
    Facts::new()
}

/// Hears of what is missed.
#[derive(Default)]
pub(super) struct Ear(AtomicU64);

impl Observer<u32> for Ear {
    fn missed(&self, missed: Missed<u32>) {
        self.0.fetch_add(u64::from(missed.slots), Ordering::Relaxed);
    }
}

/// A scheduler with room for so many runs at once.
pub(super) fn empty(on: &Runtime, operations: Operations<u32>, ear: &Arc<Ear>) -> Scheduler<u32> {
    let _context = on.enter();
    let config = Config {
        max_concurrent: (1 << 20).try_into().expect("not zero"),
        saturation: Saturation::Queue { bound: 1 << 20 },
        ..Config::default()
    };
    Scheduler::new(config, operations, Arc::clone(ear) as _)
}

/// A scheduler with all its keys, and when they had all been set.
fn filled(gauge: &Arc<Gauge>, on: &Runtime, ear: &Arc<Ear>) -> (Scheduler<u32>, Duration) {
    let scheduler = empty(on, Operations::new(), ear);
    let origin = Instant::now() - scheduler.now();
    let period = Duration::from_millis(gauge.load.period_ms);
    scheduler.reserve(gauge.load.keys as usize);
    gauge.insert(|key, _| {
        let gauge = Arc::clone(gauge);
        let handler = move |run: Run<u32>| {
            gauge.fired(origin + run.due.at);
            async { Verdict::Success }
        };
        let placed = scheduler.schedule(key, spec(key, period), handler);
        placed.expect("not shut down");
    });
    let set = scheduler.now();
    (scheduler, set)
}

pub(super) fn spec(key: u32, period: Duration) -> Spec {
    let period_ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
    let phase = Duration::from_millis(spread(key, period_ms));
    let spec = Spec::builder(period).phase(Phase::Offset(phase));
    let spec = spec.backoff(Policy::socket()).build();
    spec.expect("a good spec")
}

/// Everything: each due time a run, its report to the observer, its accounting.
pub(super) fn scheduler(gauge: &Arc<Gauge>) -> Facts {
    let (runtime, ear) = (runtime(), Arc::new(Ear::default()));
    let (scheduler, set) = filled(gauge, &runtime, &ear);
    gauge.wait();
    let facts = accounts(gauge, &scheduler, &ear, set);
    end(scheduler, &ear);
    facts
}

/// Waits until the last of a scheduler is gone: its driver takes it down on a thread of its own,
/// and who is measured next would pay for that.
pub(super) fn end(scheduler: Scheduler<u32>, ear: &Arc<Ear>) {
    drop(scheduler);
    while Arc::strong_count(ear) > 1 {
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many keys have lost a due time, and how many due times were missed, or missed and not told.
///
/// A key that waits for its next slot has come from its first one to there, once to each: a run or
/// one that was missed. The others are just being run, and can be seen to be.
fn accounts(gauge: &Gauge, scheduler: &Scheduler<u32>, ear: &Ear, set: Duration) -> Facts {
    let status = scheduler.status();
    let period = u128::from(gauge.load.period_ms);
    let lost = status.states.iter().filter(|state| {
        let accounted = state.successes_total + state.failures_total + state.missed_total;
        let waits = state.next_due.filter(|_| state.state == KeyState::Armed);
        let since_set = waits.map_or(0, |due| due.saturating_sub(set).as_millis());
        // The one that it waits for is the last of them.
        u128::from(accounted) < since_set / period
    });
    let missed = status.missed_total as f64;
    vec![
        ("lost", lost.count() as f64 + status.lost as f64),
        ("missed", missed),
        ("untold", missed - ear.0.load(Ordering::Relaxed) as f64),
    ]
}

/// The same, while somebody asks for the status all the time.
pub(super) fn status(gauge: &Arc<Gauge>) -> Facts {
    let (runtime, ear) = (runtime(), Arc::new(Ear::default()));
    let (scheduler, set) = filled(gauge, &runtime, &ear);
    let mut pages_us = Vec::new();
    while !gauge.is_over() {
        assert_eq!(scheduler.status().states.len(), gauge.load.keys as usize);
        let mut from = Some(0);
        while let Some(at) = from {
            let start = thread_cpu();
            from = scheduler.page(at).next;
            pages_us.push((thread_cpu() - start).as_nanos() as f64 / 1000.0);
        }
        thread::sleep(Duration::from_millis(10));
    }
    pages_us.sort_by(f64::total_cmp);
    let mut facts = accounts(gauge, &scheduler, &ear, set);
    facts.push(("page_p50_us", pages_us[pages_us.len() / 2]));
    facts.push(("page_max_us", pages_us[pages_us.len() - 1]));
    end(scheduler, &ear);
    facts
}
