//! An operation from begin to commit, and the end of a thousand at once, with many others open.

use std::collections::HashMap;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use monitor_operation::{Cause, Epoch, Key, Operation, Operations};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::allocations;
use crate::noise::{process_cpu, thread_cpu};
use crate::plan::{Plan, Sample, Subject, Subjects};
use crate::threads::Threads;

const KEYS: u64 = 1000;

pub(crate) fn plan(plan: &mut Plan) {
    for open in [1_000, 100_000, 1_000_000] {
        for threads in [1, 2] {
            let workload = format!("begin, commit, end; {open} others open, {threads}T");
            plan.workload(workload, move |subjects| {
                ours(subjects, open, threads);
                token(subjects, open, threads);
                seed(subjects, open, threads);
            });
        }
    }
    for open in [1_000, 1_000_000] {
        let workload = format!("stop a key of 1000 who listen, each; {open} others open");
        plan.workload(workload, move |subjects| {
            subjects.add("monitor-operation", StopOurs::new(open));
            subjects.add("CancellationToken parent", StopTokens::new(open));
        });
    }
}

/// So many operations open beside those that are measured, spread over all keys.
fn others(operations: &Operations<u64>, open: u64) -> Vec<Operation<u64>> {
    for key in 0..KEYS {
        let registered = operations.register(key, Epoch::new(1));
        registered.expect("an epoch with room above");
    }
    (0..open)
        .map(|n| operations.begin(&(n % KEYS)).expect("a known key"))
        .collect()
}

fn ours(subjects: &mut Subjects, open: u64, threads: usize) {
    let operations = Operations::with_seed(1);
    let others = Arc::new(others(&operations, open));
    let mut thread = 0..;
    let share = |thread: &mut std::ops::RangeFrom<u64>| -> Vec<Key<u64>> {
        let first = thread.next().unwrap_or(0) % threads as u64;
        let keys = (first..KEYS).step_by(threads);
        keys.filter_map(|key| operations.key(&key)).collect()
    };
    let shares: Vec<_> = (0..3 * threads).map(|_| share(&mut thread)).collect();
    let next = std::cell::Cell::new(0);
    let take = || {
        next.set(next.get() + 1);
        (shares[next.get() - 1].clone(), Arc::clone(&others))
    };
    subjects.threads(threads, "monitor-operation", || {
        let (keys, others) = take();
        move |times| {
            for key in keys.iter().cycle().take(times as usize) {
                let operation = key.begin().expect("a known key");
                black_box(operation.finish(|| black_box(1))).expect("the epoch is current");
            }
            black_box(&others);
        }
    });
    subjects.threads(threads, "monitor-operation, looked up", || {
        let (keys, others) = take();
        let operations = operations.clone();
        move |times| {
            for key in keys.iter().cycle().take(times as usize) {
                let operation = operations.begin(key.get()).expect("a known key");
                black_box(operation.finish(|| black_box(1))).expect("the epoch is current");
            }
            black_box(&others);
        }
    });
    subjects.threads(threads, "monitor-operation, with its cancellation", || {
        let (keys, others) = take();
        move |times| {
            for key in keys.iter().cycle().take(times as usize) {
                let operation = key.begin().expect("a known key");
                black_box(operation.cancellation());
                black_box(operation.finish(|| black_box(1))).expect("the epoch is current");
            }
            black_box(&others);
        }
    });
}

/// Nothing but the cancellation: a child token made and dropped, of one parent for each key.
fn token(subjects: &mut Subjects, open: u64, threads: usize) {
    let parents: Vec<_> = (0..KEYS).map(|_| CancellationToken::new()).collect();
    let others: Vec<_> = parents
        .iter()
        .cycle()
        .take(open as usize)
        .map(CancellationToken::child_token)
        .collect();
    let (parents, others) = (Arc::new(parents), Arc::new(others));
    let first = std::cell::Cell::new(0);
    subjects.threads(threads, "tokio-util CancellationToken child", || {
        let (parents, others) = (Arc::clone(&parents), Arc::clone(&others));
        first.set(first.get() + 1);
        let first = first.get() % threads;
        move |times| {
            let parents = parents.iter().skip(first).step_by(threads).cycle();
            for parent in parents.take(times as usize) {
                black_box(parent.child_token());
            }
            black_box(&others);
        }
    });
}

/// The design that this one replaces: a table of operations by random id behind one lock, and a
/// task for each that marks it cancelled when its time is up.
fn seed(subjects: &mut Subjects, open: u64, threads: usize) {
    let table = Arc::new(Mutex::new(HashMap::new()));
    let mut rng = SmallRng::seed_from_u64(1);
    let id = move || u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    {
        let mut id = id.clone();
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        table.extend((0..open).map(|n| (id(), (n % KEYS, false))));
    }
    let runtime = Runtime::new().expect("a runtime");
    let runtime = Arc::new(runtime);
    let seed = std::cell::Cell::new(1);
    let make = || {
        let (table, runtime) = (Arc::clone(&table), Arc::clone(&runtime));
        seed.set(seed.get() + 1);
        let mut rng = SmallRng::seed_from_u64(seed.get());
        move |times| {
            for n in 0..times {
                let id = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
                lock(&table).insert(id, (n % KEYS, false));
                let timeout = {
                    let table = Arc::clone(&table);
                    runtime.spawn(async move {
                        tokio::time::sleep(Duration::from_secs(30)).await;
                        if let Some(operation) = lock(&table).get_mut(&id) {
                            operation.1 = true;
                        }
                    })
                };
                let current = lock(&table)
                    .get(&id)
                    .is_some_and(|(_, cancelled)| !cancelled);
                assert!(black_box(current));
                timeout.abort();
                lock(&table).remove(&id);
            }
        }
    };
    let workers = (0..threads).map(|_| make()).collect();
    subjects.add(SEED, WithItsTasks(Threads::new(workers), threads));
}

const SEED: &str = "mutex, map, random id, timeout task";

/// Work of which a part is done by other threads of the process: all of their time counts.
struct WithItsTasks<W>(Threads<W>, usize);

impl<W: FnMut(u64) + Send> Subject for WithItsTasks<W> {
    fn sample(&mut self) -> Sample {
        let before = process_cpu();
        let sample = self.0.sample();
        let cpu = process_cpu() - before;
        let all = self.0.times() as f64 * self.1 as f64;
        Sample {
            cpu_ns: cpu.as_secs_f64() * 1e9 / all,
            ..sample
        }
    }

    fn observe(&mut self) -> Vec<(&'static str, f64)> {
        self.0.observe()
    }

    fn about(&self) -> Value {
        self.0.about()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many listen for the stop that is measured.
const LISTENERS: usize = 1000;
/// How many stops make one measurement.
const STOPS: usize = 40;

/// Somebody who waits for the end, polled once so that it is waited for.
type Listener = Pin<Box<dyn Future<Output = ()> + Send>>;

fn wait(mut listener: Listener) -> Listener {
    let polled = listener
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    listener
}

/// That each has heard.
fn woken(listeners: Vec<Listener>) {
    for mut listener in listeners {
        let polled = listener
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(())));
    }
}

/// Measures `stop` alone; what it is done to is prepared before and looked at after it.
fn sample<T>(
    mut prepare: impl FnMut() -> T,
    mut stop: impl FnMut(&T),
    mut end: impl FnMut(T),
) -> Sample {
    let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..STOPS {
        let prepared = prepare();
        let (cpu_before, before) = (thread_cpu(), Instant::now());
        stop(&prepared);
        wall += before.elapsed();
        cpu += thread_cpu() - cpu_before;
        end(prepared);
    }
    let all = (STOPS * LISTENERS) as f64;
    Sample {
        ns: wall.as_secs_f64() * 1e9 / all,
        cpu_ns: cpu.as_secs_f64() * 1e9 / all,
    }
}

struct StopOurs {
    key: Key<u64>,
    _others: Vec<Operation<u64>>,
}

impl StopOurs {
    fn new(open: u64) -> Self {
        let operations = Operations::with_seed(1);
        let _others = others(&operations, open);
        operations
            .register(KEYS, Epoch::new(1))
            .expect("room above");
        let key = operations.key(&KEYS).expect("registered just now");
        Self { key, _others }
    }

    fn prepare(&self) -> (Vec<Operation<u64>>, Vec<Listener>) {
        let operations: Vec<_> = (0..LISTENERS)
            .map(|_| self.key.begin().expect("a known key"))
            .collect();
        let listeners = operations
            .iter()
            .map(|operation| {
                let cancellation = operation.cancellation();
                wait(Box::pin(async move {
                    black_box(cancellation.cancelled().await);
                }))
            })
            .collect();
        (operations, listeners)
    }

    fn stop(&self) {
        drop(black_box(self.key.fence(Cause::Stopped)));
    }
}

impl Subject for StopOurs {
    fn sample(&mut self) -> Sample {
        sample(
            || self.prepare(),
            |_| self.stop(),
            |(_, listeners)| woken(listeners),
        )
    }

    fn observe(&mut self) -> Vec<(&'static str, f64)> {
        let prepared = self.prepare();
        allocations::start();
        self.stop();
        let allocs = allocations::stop() as f64 / LISTENERS as f64;
        woken(prepared.1);
        vec![("allocs", allocs)]
    }

    fn about(&self) -> Value {
        json!({ "threads": 1, "operations": STOPS * LISTENERS })
    }
}

struct StopTokens {
    _others: Vec<CancellationToken>,
}

impl StopTokens {
    fn new(open: u64) -> Self {
        let parents: Vec<_> = (0..KEYS).map(|_| CancellationToken::new()).collect();
        let others = parents.iter().cycle().take(open as usize);
        Self {
            _others: others.map(CancellationToken::child_token).collect(),
        }
    }

    fn prepare() -> (CancellationToken, Vec<Listener>) {
        let parent = CancellationToken::new();
        let listeners = (0..LISTENERS)
            .map(|_| {
                let child = parent.child_token();
                wait(Box::pin(async move { child.cancelled().await }))
            })
            .collect();
        (parent, listeners)
    }
}

impl Subject for StopTokens {
    fn sample(&mut self) -> Sample {
        sample(
            Self::prepare,
            |(parent, _)| parent.cancel(),
            |(_, listeners)| woken(listeners),
        )
    }

    fn observe(&mut self) -> Vec<(&'static str, f64)> {
        let (parent, listeners) = Self::prepare();
        allocations::start();
        parent.cancel();
        let allocs = allocations::stop() as f64 / LISTENERS as f64;
        woken(listeners);
        vec![("allocs", allocs)]
    }

    fn about(&self) -> Value {
        json!({ "threads": 1, "operations": STOPS * LISTENERS })
    }
}
