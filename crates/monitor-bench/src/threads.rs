//! Work of a few nanoseconds, repeated on one thread or on several at once.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::allocations;
use crate::noise::thread_cpu;
use crate::plan::{Sample, Subject};

/// How long one measurement takes.
const CELL: Duration = Duration::from_millis(25);

/// Takes a value that was computed only to be computed.
pub(crate) fn keep<T>(value: T) {
    black_box(value);
}

/// The threads' functions, and how often each does its work in one measurement.
pub(crate) struct Threads<W> {
    workers: Vec<W>,
    times: u64,
}

/// What one thread used for its share of the operations.
#[derive(Clone, Copy)]
struct Share {
    wall: Duration,
    cpu: Duration,
}

impl<W: FnMut(u64) + Send> Threads<W> {
    pub(crate) fn new(mut workers: Vec<W>) -> Self {
        let times = workers.first_mut().map_or(1, calibrate);
        Self { workers, times }
    }

    /// How often each thread does its work in one measurement.
    pub(crate) const fn times(&self) -> u64 {
        self.times
    }

    /// Lets all workers do their work at once.
    fn run(&mut self) -> Vec<Share> {
        let times = self.times;
        let start = Barrier::new(self.workers.len());
        thread::scope(|scope| {
            let running: Vec<_> = self
                .workers
                .iter_mut()
                .map(|work| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        share(work, times)
                    })
                })
                .collect();
            running
                .into_iter()
                .map(|thread| thread.join().expect("a worker panicked"))
                .collect()
        })
    }
}

impl<W: FnMut(u64) + Send> Subject for Threads<W> {
    fn sample(&mut self) -> Sample {
        let shares = self.run();
        let (times, all) = (
            self.times as f64,
            self.times as f64 * self.workers.len() as f64,
        );
        let slowest = shares.iter().map(|share| share.wall).max();
        let cpu: Duration = shares.iter().map(|share| share.cpu).sum();
        Sample {
            ns: slowest.unwrap_or_default().as_secs_f64() * 1e9 / times,
            cpu_ns: cpu.as_secs_f64() * 1e9 / all,
        }
    }

    /// On one thread, where nothing else allocates meanwhile.
    fn observe(&mut self) -> Vec<(&'static str, f64)> {
        let times = self.times.min(10_000);
        allocations::start();
        if let Some(work) = self.workers.first_mut() {
            work(times);
        }
        vec![("allocs", allocations::stop() as f64 / times as f64)]
    }

    fn about(&self) -> Value {
        json!({ "threads": self.workers.len(), "operations": self.times })
    }
}

/// How many operations take about as long as a measurement should.
fn calibrate(work: &mut impl FnMut(u64)) -> u64 {
    let mut times = 16;
    loop {
        let start = Instant::now();
        work(times);
        let took = start.elapsed();
        if took >= CELL / 4 {
            let wanted = times as f64 * CELL.as_secs_f64() / took.as_secs_f64();
            return (wanted as u64).max(1);
        }
        times *= 2;
    }
}

fn share(work: &mut impl FnMut(u64), times: u64) -> Share {
    let (cpu, wall) = (thread_cpu(), Instant::now());
    work(times);
    Share {
        wall: wall.elapsed(),
        cpu: thread_cpu() - cpu,
    }
}
