//! A million timers of one period: who keeps them at what cost, and how late they are.
//!
//! Each subject runs for so many seconds of real time: lateness can be had in no other way. Other
//! processes disturb lateness, and processor time least.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hierarchical_hash_wheel_timer::wheels::Skip;
use hierarchical_hash_wheel_timer::wheels::quad_wheel::QuadWheelWithOverflow;
use monitor_backoff::Policy;
use monitor_operation::Operations;
use monitor_scheduler::wheel::Wheel;
use monitor_scheduler::{
    Config, Missed, Observer, Phase, Run, Saturation, Scheduler, Spec, Verdict,
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_util::time::DelayQueue;

/// How many timers, how often each fires, and for how long they are watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) keys: u32,
    pub(crate) period_ms: u64,
    pub(crate) seconds: u64,
}

/// Tells how many bytes of heap are in use.
pub(crate) type Heap = fn() -> i64;

/// What is measured: sets all timers, lets them fire until it is over, says what it saw.
type Subject = fn(&Arc<Gauge>) -> Value;

/// The subjects, with the workload each belongs to.
const SUBJECTS: [(&str, &str, Subject); 7] = [
    ("due list", "task and tokio sleep, 2 workers", tasks),
    ("due list", "DelayQueue, one task", delay_queue),
    ("due list", "BinaryHeap and one sleep", binary_heap),
    ("due list", "hierarchical_hash_wheel_timer", hash_wheel),
    ("due list", "monitor-scheduler, its wheel", wheel),
    ("no-op handlers", "monitor-scheduler, all of it", scheduler),
    ("status in a loop", "monitor-scheduler, all of it", status),
];

/// Measures the subjects that match `wanted`, and hands over a row for each.
pub(crate) fn rows(load: Load, wanted: &str, heap: Heap, mut sink: impl FnMut(Value)) {
    for (workload, subject, run) in SUBJECTS {
        if subject.contains(wanted) || workload.contains(wanted) {
            let gauge = Arc::new(Gauge::new(load, heap));
            let more = run(&gauge);
            sink(json!({
                "group": "scheduler",
                "workload": format!("{workload}; {} keys, {} ms", load.keys, load.period_ms),
                "subject": subject,
                "ns": gauge.insert_ns(),
                "cpu_ns": gauge.cpu_ns(),
                "extra": { "firings": gauge.firings(), "more": more },
            }));
        }
    }
}

/// Counts firings and how late they are.
struct Gauge {
    load: Load,
    heap: Heap,
    origin: Instant,
    bytes_before: i64,
    /// So many for each 32 µs of lateness, up to 131 ms.
    late: Vec<AtomicU64>,
    worst_us: AtomicU64,
    set: OnceLock<Set>,
    over: OnceLock<Duration>,
}

/// When all timers had been set.
struct Set {
    took: Duration,
    bytes: i64,
    cpu: Duration,
    until: Instant,
}

impl Gauge {
    fn new(load: Load, heap: Heap) -> Self {
        Self {
            load,
            heap,
            origin: Instant::now(),
            bytes_before: heap(),
            late: (0..4096).map(|_| AtomicU64::new(0)).collect(),
            worst_us: AtomicU64::new(0),
            set: OnceLock::new(),
            over: OnceLock::new(),
        }
    }

    /// Sets all timers, for due times in the period that begins when that is done, as it is hoped.
    fn insert(&self, mut set: impl FnMut(u32, u64)) {
        let (start, since_ms) = (Instant::now(), self.now_ms() + self.load.period_ms / 5);
        for key in 0..self.load.keys {
            set(key, since_ms + spread(key, self.load.period_ms));
        }
        let now = Instant::now();
        let settled = self.instant(since_ms).max(now);
        let measured = Set {
            took: now - start,
            bytes: (self.heap)() - self.bytes_before,
            cpu: process_cpu(),
            until: settled + Duration::from_secs(self.load.seconds),
        };
        drop(self.set.set(measured));
    }

    fn fired(&self, due: Instant) {
        let late = Instant::now().saturating_duration_since(due);
        let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        let bucket = usize::try_from(late_us / 32)
            .unwrap_or(usize::MAX)
            .min(4095);
        self.late[bucket].fetch_add(1, Ordering::Relaxed);
        if late_us > self.worst_us.load(Ordering::Relaxed) {
            self.worst_us.fetch_max(late_us, Ordering::Relaxed);
        }
    }

    /// Whether the time is over; takes the processor time when it first is.
    fn is_over(&self) -> bool {
        let over = self
            .set
            .get()
            .is_some_and(|set| Instant::now() >= set.until);
        if over {
            self.over.get_or_init(process_cpu);
        }
        over
    }

    fn wait(&self) {
        while !self.is_over() {
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn instant(&self, ms: u64) -> Instant {
        self.origin + Duration::from_millis(ms)
    }

    fn count(&self) -> u64 {
        self.late.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    fn quantile_us(&self, quantile: f64) -> u64 {
        let wanted = (self.count() as f64 * quantile) as u64;
        let mut seen = 0;
        for (bucket, count) in self.late.iter().enumerate() {
            seen += count.load(Ordering::Relaxed);
            if seen > wanted {
                return (bucket as u64 + 1) * 32;
            }
        }
        0
    }

    fn insert_ns(&self) -> Value {
        let per_key = |set: &Set| set.took.as_nanos() as f64 / f64::from(self.load.keys);
        json!(self.set.get().map(|set| per_key(set).round()))
    }

    fn cpu_ns(&self) -> Value {
        let used = self.over.get().zip(self.set.get());
        let each = |cpu: Duration| cpu.as_nanos() as f64 / self.count().max(1) as f64;
        json!(used.map(|(over, set)| each(*over - set.cpu).round()))
    }

    fn firings(&self) -> Value {
        let bytes = self.set.get().map_or(0, |set| set.bytes);
        json!({
            "heap_bytes_per_key": bytes / i64::from(self.load.keys),
            "fired": self.count(),
            "late_us": {
                "p50": self.quantile_us(0.5),
                "p99": self.quantile_us(0.99),
                "max": self.worst_us.load(Ordering::Relaxed),
            },
        })
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(2).enable_time();
    builder.build().expect("threads for a runtime")
}

fn alone() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_time()
        .build()
        .expect("a runtime on this thread")
}

fn tasks(gauge: &Arc<Gauge>) -> Value {
    let runtime = runtime();
    let period = Duration::from_millis(gauge.load.period_ms);
    gauge.insert(|_, first_ms| {
        let gauge = Arc::clone(gauge);
        runtime.spawn(async move {
            let mut due = gauge.instant(first_ms);
            loop {
                tokio::time::sleep_until(due.into()).await;
                gauge.fired(due);
                due += period;
            }
        });
    });
    gauge.wait();
    drop(runtime);
    Value::Null
}

fn delay_queue(gauge: &Arc<Gauge>) -> Value {
    alone().block_on(async {
        let mut queue = DelayQueue::new();
        let period = Duration::from_millis(gauge.load.period_ms);
        gauge.insert(|_, first_ms| {
            let due = gauge.instant(first_ms);
            queue.insert_at(due, due.into());
        });
        while !gauge.is_over() {
            for _ in 0..64 {
                let Some(expired) = poll_fn(|context| queue.poll_expired(context)).await else {
                    return;
                };
                let due = expired.into_inner();
                gauge.fired(due);
                queue.insert_at(due + period, (due + period).into());
            }
        }
    });
    Value::Null
}

fn binary_heap(gauge: &Arc<Gauge>) -> Value {
    alone().block_on(async {
        let mut heap = BinaryHeap::new();
        gauge.insert(|key, first_ms| heap.push(Reverse((first_ms, key))));
        while !gauge.is_over() {
            let now_ms = gauge.now_ms();
            while let Some(Reverse((due_ms, key))) = heap.peek().copied()
                && due_ms <= now_ms
            {
                heap.pop();
                gauge.fired(gauge.instant(due_ms));
                heap.push(Reverse((due_ms + gauge.load.period_ms, key)));
            }
            if let Some(Reverse((due_ms, _))) = heap.peek() {
                tokio::time::sleep_until(gauge.instant(*due_ms).into()).await;
            }
        }
    });
    Value::Null
}

fn hash_wheel(gauge: &Arc<Gauge>) -> Value {
    let mut wheel = QuadWheelWithOverflow::<(u32, u64)>::default();
    let mut tick_ms = gauge.now_ms();
    gauge.insert(|key, first_ms| {
        let delay = Duration::from_millis(first_ms - tick_ms);
        drop(wheel.insert_with_delay((key, first_ms), delay));
    });
    while !gauge.is_over() {
        while tick_ms < gauge.now_ms() {
            tick_ms += 1;
            for (key, due_ms) in wheel.tick() {
                gauge.fired(gauge.instant(due_ms));
                let next_ms = due_ms + gauge.load.period_ms;
                let delay = Duration::from_millis(next_ms - tick_ms);
                drop(wheel.insert_with_delay((key, next_ms), delay));
            }
        }
        let skip = match wheel.can_skip() {
            Skip::Millis(ms) => u64::from(ms),
            Skip::None | Skip::Empty => 0,
        };
        sleep_until(gauge.instant(tick_ms + 1 + skip));
    }
    Value::Null
}

fn wheel(gauge: &Arc<Gauge>) -> Value {
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
            sleep_until(gauge.instant(next_ms));
        }
    }
    Value::Null
}

/// Hears of what is missed.
#[derive(Default)]
struct Ear(AtomicU64);

impl Observer<u32> for Ear {
    fn missed(&self, missed: Missed<u32>) {
        self.0.fetch_add(u64::from(missed.slots), Ordering::Relaxed);
    }
}

fn filled(gauge: &Arc<Gauge>, on: &Runtime, ear: &Arc<Ear>) -> Scheduler<u32> {
    let _context = on.enter();
    let config = Config {
        max_concurrent: (1 << 20).try_into().expect("not zero"),
        saturation: Saturation::Queue { bound: 1 << 20 },
        ..Config::default()
    };
    let scheduler = Scheduler::new(config, Operations::new(), Arc::clone(ear) as _);
    let origin = Instant::now() - scheduler.now();
    let period = Duration::from_millis(gauge.load.period_ms);
    gauge.insert(|key, _| {
        let phase = Duration::from_millis(spread(key, gauge.load.period_ms));
        let spec = Spec::builder(period)
            .phase(Phase::Offset(phase))
            .backoff(Policy::socket());
        let gauge = Arc::clone(gauge);
        let handler = move |run: Run<u32>| {
            gauge.fired(origin + run.due.at);
            async { Verdict::Success }
        };
        let spec = spec.build().expect("a good spec");
        scheduler
            .schedule(key, spec, handler)
            .expect("not shut down");
    });
    scheduler
}

fn scheduler(gauge: &Arc<Gauge>) -> Value {
    let (runtime, ear) = (runtime(), Arc::new(Ear::default()));
    let scheduler = filled(gauge, &runtime, &ear);
    gauge.wait();
    let status = scheduler.status();
    let unaccounted = status.states.iter().filter(|state| {
        let accounted = state.successes_total + state.missed_total;
        accounted < gauge.load.seconds * 1000 / gauge.load.period_ms
    });
    json!({
        "started": status.started_total,
        "missed": status.missed_total,
        "told_as_missed": ear.0.load(Ordering::Relaxed),
        "lost": status.lost,
        "keys_with_less_than_due": unaccounted.count(),
    })
}

fn status(gauge: &Arc<Gauge>) -> Value {
    let (runtime, ear) = (runtime(), Arc::new(Ear::default()));
    let scheduler = filled(gauge, &runtime, &ear);
    let mut pages_us = Vec::new();
    while !gauge.is_over() {
        let mut from = Some(0);
        while let Some(at) = from {
            let start = Instant::now();
            from = scheduler.page(at).next;
            pages_us.push(start.elapsed().as_micros());
        }
        thread::sleep(Duration::from_millis(100));
    }
    pages_us.sort_unstable();
    json!({
        "pages": pages_us.len(),
        "page_us_p50": pages_us[pages_us.len() / 2] as u64,
        "page_us_max": pages_us[pages_us.len() - 1] as u64,
        "missed": ear.0.load(Ordering::Relaxed),
    })
}

/// Where in its period a key fires.
fn spread(key: u32, period_ms: u64) -> u64 {
    (u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % period_ms
}

fn sleep_until(instant: Instant) {
    thread::sleep(instant.saturating_duration_since(Instant::now()));
}

/// The processor time of all threads.
fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(time.tv_sec.unsigned_abs(), nanos)
}
