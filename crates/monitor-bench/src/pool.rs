//! Acquire and release: ours, its peers, two plain designs and floors.
//!
//! Connections cost nothing and are never broken, so what is measured is the pool alone. Each pool
//! has its own defaults, but room for as many connections as the workload says, all open before.

mod contention;
mod histogram;
mod ours;
mod peers;
mod plain;
mod starvation;

use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Instant;

use parking_lot::Mutex;
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use crate::plan::{Plan, Subjects};
use crate::threads::keep;
use contention::Contention;

/// A pool as its user sees it. It is leaked, so that what it lends can cross threads.
trait Pool: Send + Sync + Sized + 'static {
    /// The name of its row.
    const NAME: &'static str;

    /// Makes a pool for so many connections.
    fn new(size: usize) -> impl Future<Output = Self> + Send;

    /// Waits for a connection.
    fn acquire(&'static self) -> impl Future<Output = impl Guard> + Send;
}

/// What a pool lends.
trait Guard: Send + 'static {
    /// Gives it back.
    fn release(self) -> impl Future<Output = ()> + Send;
}

/// A guard that gives back what it holds by being dropped.
struct Dropped<T>(T);

impl<T: Send + 'static> Guard for Dropped<T> {
    fn release(self) -> impl Future<Output = ()> + Send {
        drop(self.0);
        ready(())
    }
}

/// A connection that costs nothing.
#[derive(Debug, Default)]
struct Connection(#[allow(dead_code, reason = "something to lend")] u64);

/// The error that never is.
type Never = Infallible;

/// Something to do with every pool.
trait Visit {
    fn pool<P: Pool>(&mut self);
}

/// All pools, in the order of their rows.
fn each(visit: &mut impl Visit) {
    visit.pool::<ours::Ours>();
    visit.pool::<peers::DeadpoolManaged>();
    visit.pool::<peers::DeadpoolUnmanaged>();
    visit.pool::<peers::Bb8>();
    visit.pool::<peers::Mobc>();
    visit.pool::<peers::Qp>();
    visit.pool::<plain::Seed>();
    visit.pool::<plain::SemaphoreAndMutex>();
}

/// Then no cache line travels: what is left is the work of the pool itself, on a busy machine too.
const ON_ONE_CPU: &str = ", both workers on one CPU";

pub(crate) fn plan(plan: &mut Plan) {
    plan.workload("uncontended, 1 thread, size 16", |subjects| {
        each(&mut Uncontended(subjects));
        floors(subjects);
    });
    for (tasks, size, place) in [
        (2, 16, ""),
        (64, 8, ""),
        (1000, 4, ""),
        (64, 8, ON_ONE_CPU),
        (1000, 4, ON_ONE_CPU),
    ] {
        let workload = format!("{tasks} tasks, size {size}{place}");
        plan.workload(workload, move |subjects| {
            let mut contended = Contended {
                subjects,
                tasks,
                size,
                pinned: place == ON_ONE_CPU,
            };
            each(&mut contended);
            contended.pool::<plain::NoPool>();
        });
    }
    let name = "one loops get, hold 2 ms, release, size 1: holds until the waiter is served";
    plan.workload(name, |subjects| each(&mut Starved(subjects)));
}

/// A pool whose connections are all open.
async fn filled<P: Pool>(size: usize) -> &'static P {
    let pool: &'static P = Box::leak(Box::new(P::new(size).await));
    let mut guards = Vec::with_capacity(size);
    for _ in 0..size {
        guards.push(pool.acquire().await);
    }
    for guard in guards {
        guard.release().await;
    }
    pool
}

fn multi_thread(pinned: bool) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    if pinned {
        builder.on_thread_start(|| {
            let mut first = CpuSet::new();
            first.set(0);
            sched_setaffinity(None, &first).expect("the first processor may be used");
        });
    }
    let runtime = builder.worker_threads(2).enable_time().build();
    runtime.expect("two threads can be started")
}

struct Uncontended<'a>(&'a mut Subjects);

impl Visit for Uncontended<'_> {
    fn pool<P: Pool>(&mut self) {
        self.0.thread(P::NAME, || {
            let runtime = Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("no thread is needed");
            let pool: &'static P = runtime.block_on(filled(16));
            move |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        let guard = pool.acquire().await;
                        black_box(&guard);
                        guard.release().await;
                    }
                });
            }
        });
    }
}

struct Contended<'a> {
    subjects: &'a mut Subjects,
    tasks: usize,
    size: usize,
    pinned: bool,
}

impl Visit for Contended<'_> {
    fn pool<P: Pool>(&mut self) {
        let subject = Contention::<P> {
            runtime: multi_thread(self.pinned),
            tasks: self.tasks,
            size: self.size,
            pool: PhantomData,
        };
        self.subjects.add(P::NAME, subject);
    }
}

struct Starved<'a>(&'a mut Subjects);

impl Visit for Starved<'_> {
    fn pool<P: Pool>(&mut self) {
        let runtime = multi_thread(false);
        let holds = (0..7).map(|_| runtime.block_on(starvation::holds::<P>()));
        let most = holds.max().unwrap_or(0);
        self.0.fact(P::NAME, "holds", most as f64);
    }
}

fn floors(subjects: &mut Subjects) {
    subjects.thread("floor: two locks with pop and push", || {
        let idle = Mutex::new(Vec::from_iter((0..16).map(Connection)));
        move |times| {
            for _ in 0..times {
                let connection = idle.lock().pop();
                idle.lock().extend(black_box(connection));
            }
        }
    });
    subjects.thread("floor: one lock", || {
        let lock = Mutex::new(0_u64);
        move |times| (0..times).for_each(|_| *lock.lock() += black_box(1))
    });
    subjects.thread("floor: one Instant::now", || {
        |times| (0..times).for_each(|_| keep(Instant::now()))
    });
    subjects.thread("floor: tokio Semaphore", || {
        let runtime = Builder::new_current_thread()
            .build()
            .expect("no thread is needed");
        let semaphore = Semaphore::new(16);
        move |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    keep(semaphore.acquire().await);
                }
            });
        }
    });
}
