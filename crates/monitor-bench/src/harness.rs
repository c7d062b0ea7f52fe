//! How a cell is measured.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::allocations;

/// How long one measurement takes.
const CELL: Duration = Duration::from_millis(25);

/// How often a cell is measured after it was warmed up.
const REPEATS: usize = 7;

/// Takes a value that was computed only to be computed.
pub(crate) fn keep<T>(value: T) {
    black_box(value);
}

/// Measures the cells of one group.
pub(crate) struct Harness {
    group: &'static str,
}

/// What one thread used for its share of the operations.
#[derive(Clone, Copy)]
struct Share {
    wall: Duration,
    cpu: Duration,
    allocations: u64,
}

/// What was measured once, for one operation.
struct Sample {
    ns: f64,
    cpu_ns: f64,
    allocs: f64,
}

impl Harness {
    pub(crate) fn new(group: &'static str) -> Self {
        Self { group }
    }

    /// Measures `subject` on one thread and prints the row. `make` makes the function that is
    /// measured; it does its work as many times as it is told.
    pub(crate) fn cell<W: FnMut(u64) + Send>(
        &mut self,
        workload: &str,
        subject: &str,
        make: impl Fn() -> W,
    ) {
        self.cell_on(1, workload, subject, make);
    }

    /// The same with each of `threads` threads doing the work at once, with a function of its own.
    pub(crate) fn cell_on<W: FnMut(u64) + Send>(
        &mut self,
        threads: usize,
        workload: &str,
        subject: &str,
        make: impl Fn() -> W,
    ) {
        let mut workers: Vec<W> = (0..threads).map(|_| make()).collect();
        let times = calibrate(&mut workers[0]);
        run(&mut workers, times); // to warm up
        let mut samples: Vec<Sample> = (0..REPEATS)
            .map(|_| sample(&run(&mut workers, times), times))
            .collect();
        samples.sort_by(|a, b| a.ns.total_cmp(&b.ns));
        let median = &samples[REPEATS / 2];
        let row = json!({
            "group": self.group,
            "workload": workload,
            "subject": subject,
            "ns": rounded(median.ns),
            "cpu_ns": rounded(median.cpu_ns),
            "min_ns": rounded(samples[0].ns),
            "max_ns": rounded(samples[REPEATS - 1].ns),
            "allocs": rounded(median.allocs),
            "extra": { "threads": threads, "operations": times },
        });
        println!("{row}");
    }
}

/// How many operations take about as long as a cell should.
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

/// Lets all workers do their work at once.
fn run<W: FnMut(u64) + Send>(workers: &mut [W], times: u64) -> Vec<Share> {
    let start = Barrier::new(workers.len());
    thread::scope(|scope| {
        let running: Vec<_> = workers
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

fn share(work: &mut impl FnMut(u64), times: u64) -> Share {
    let (allocations, cpu, wall) = (allocations::count(), thread_cpu(), Instant::now());
    work(times);
    Share {
        wall: wall.elapsed(),
        cpu: thread_cpu() - cpu,
        allocations: allocations::count() - allocations,
    }
}

/// The processor time of the current thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

fn sample(shares: &[Share], times: u64) -> Sample {
    let all = times as f64 * shares.len() as f64;
    let slowest = shares
        .iter()
        .map(|share| share.wall)
        .max()
        .unwrap_or_default();
    let cpu: Duration = shares.iter().map(|share| share.cpu).sum();
    let allocations: u64 = shares.iter().map(|share| share.allocations).sum();
    Sample {
        ns: slowest.as_secs_f64() * 1e9 / times as f64,
        cpu_ns: cpu.as_secs_f64() * 1e9 / all,
        allocs: allocations as f64 / all,
    }
}

/// To two digits after the point.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
