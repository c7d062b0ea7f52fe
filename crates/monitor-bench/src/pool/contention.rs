//! Many tasks that share few connections, each holding one for a turn of the runtime.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::yield_now;

use super::histogram::Histogram;
use super::{Guard, Pool, filled};
use crate::allocations;
use crate::noise::process_cpu;
use crate::plan::{Sample, Subject};

/// How long one measurement takes.
const WINDOW: Duration = Duration::from_millis(100);

/// How long tasks are counted: so long that one turn more or less is nothing.
const OBSERVED: Duration = Duration::from_millis(400);

/// Tasks of which none has finished for so long after the end never will.
const HUNG: Duration = Duration::from_millis(500);

/// One pool under contention.
pub(super) struct Contention<P> {
    pub(super) runtime: Runtime,
    pub(super) tasks: usize,
    pub(super) size: usize,
    pub(super) pool: PhantomData<P>,
}

/// What the tasks of one run share. They write nothing here, so it costs them nothing.
struct Shared {
    start: Semaphore,
    stop: AtomicBool,
    waits: Option<Histogram>,
}

/// What one run used, and how often each task that came to an end was served.
struct Run {
    wall: Duration,
    cpu: Duration,
    allocations: u64,
    served: Vec<u64>,
    shared: Arc<Shared>,
}

impl<P: Pool> Contention<P> {
    fn run(&mut self, waits: Option<Histogram>) -> Run {
        let pool: &'static P = self.runtime.block_on(filled(self.size));
        let observed = waits.is_some();
        let shared = Arc::new(Shared {
            start: Semaphore::new(0),
            stop: AtomicBool::new(false),
            waits,
        });
        let (done, finished) = mpsc::channel();
        let tasks: Vec<_> = (0..self.tasks)
            .map(|_| {
                let task = task(pool, Arc::clone(&shared), done.clone());
                self.runtime.spawn(task)
            })
            .collect();
        // Until all of them wait for the start.
        thread::sleep(Duration::from_millis(5));
        if observed {
            allocations::start();
        }
        let (cpu, wall) = (process_cpu(), Instant::now());
        shared.start.close();
        thread::sleep(if observed { OBSERVED } else { WINDOW });
        let allocations = if observed { allocations::stop() } else { 0 };
        shared.stop.store(true, Ordering::Relaxed);
        let (served, cpu_end, wall_end) = collect(&finished, self.tasks);
        tasks.iter().for_each(|task| task.abort());
        Run {
            wall: wall_end - wall,
            cpu: cpu_end - cpu,
            allocations,
            served,
            shared,
        }
    }
}

impl<P: Pool> Subject for Contention<P> {
    fn sample(&mut self) -> Sample {
        let run = self.run(None);
        let cycles = run.served.iter().sum::<u64>().max(1) as f64;
        Sample {
            ns: run.wall.as_secs_f64() * 1e9 / cycles,
            cpu_ns: run.cpu.as_secs_f64() * 1e9 / cycles,
        }
    }

    fn observe(&mut self) -> Vec<(&'static str, f64)> {
        let run = self.run(Some(Histogram::default()));
        let hung = self.tasks - run.served.len();
        let (least, most) = (run.served.iter().min(), run.served.iter().max());
        let fairness = match (least, most) {
            (Some(least), Some(most)) if hung == 0 => *most as f64 / *least as f64,
            _ => f64::INFINITY,
        };
        let cycles = run.served.iter().sum::<u64>().max(1) as f64;
        let mut seen = vec![
            ("allocs", run.allocations as f64 / cycles),
            ("hung_tasks", hung as f64),
            ("fairness", fairness),
        ];
        if let Some(waits) = &run.shared.waits {
            let micros = |time: Duration| time.as_secs_f64() * 1e6;
            seen.push(("wait_p50_us", micros(waits.quantile(0.5))));
            seen.push(("wait_p99_us", micros(waits.quantile(0.99))));
            seen.push(("wait_max_us", micros(waits.quantile(1.0))));
        }
        seen
    }

    fn about(&self) -> Value {
        json!({ "tasks": self.tasks, "size": self.size, "workers": 2, "milliseconds": WINDOW.as_millis() })
    }
}

async fn task<P: Pool>(pool: &'static P, shared: Arc<Shared>, done: Sender<u64>) {
    let mut served = 0;
    // An error: the start is the closing of the semaphore.
    let _ = shared.start.acquire().await;
    while !shared.stop.load(Ordering::Relaxed) {
        let asked = shared.waits.as_ref().map(|waits| (waits, Instant::now()));
        let guard = pool.acquire().await;
        if let Some((waits, asked)) = asked {
            waits.record(asked.elapsed());
        }
        yield_now().await;
        guard.release().await;
        served += 1;
    }
    // Nobody listens any more when others hung.
    let _ = done.send(served);
}

/// Waits for the tasks' counts, and notes the time of the last one.
fn collect(finished: &Receiver<u64>, tasks: usize) -> (Vec<u64>, Duration, Instant) {
    let mut served = Vec::with_capacity(tasks);
    let mut end = (process_cpu(), Instant::now());
    while served.len() < tasks {
        match finished.try_recv() {
            Ok(count) => served.push(count),
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                end = (process_cpu(), Instant::now());
                match finished.recv_timeout(HUNG) {
                    Ok(count) => served.push(count),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                        return (served, end.0, end.1);
                    }
                }
            }
        }
    }
    end = end.max((process_cpu(), Instant::now()));
    (served, end.0, end.1)
}
