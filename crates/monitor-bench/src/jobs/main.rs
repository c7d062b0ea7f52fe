//! Measures our jobs, two peers and what only ours can do, all on one real PostgreSQL and with
//! SQLite beside it; prints one JSON object for each row.
//!
//! `jobs [WORKLOAD]`: only workloads with this in their names. `MONITOR_BENCH_JOBS` is how many
//! jobs are drained (200 000), `MONITOR_BENCH_ROUNDS` how often (3, and the median counts).
//!
//! The server keeps the durability it comes with: `fsync` and `synchronous_commit` are on. Each
//! measurement has a database of its own. All subjects get the same number of connections.

#![allow(clippy::disallowed_methods, reason = "measuring needs the real clock")]

mod ours;
mod peers;
mod server;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use server::Server;

/// How many connections each subject has.
pub(crate) const CONNECTIONS: usize = 10;

/// How many jobs a subject fetches and completes together, where it can.
pub(crate) const BATCH: usize = 500;

/// How many handlers run at once.
pub(crate) const CONCURRENCY: usize = 24;

/// What one run of a queue showed.
pub(crate) struct Run {
    /// To put all jobs in, a thousand in a call, in nanoseconds for one.
    pub(crate) enqueue_ns: f64,
    /// From the start of the worker until all were run and acknowledged by the database.
    pub(crate) drain_ns: f64,
    /// From putting one in until its handler begins, while the worker idles; in microseconds.
    pub(crate) latency_us: Vec<f64>,
}

fn main() -> ExitCode {
    match measure(&env::args().nth(1).unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(wanted: &str) -> Result<()> {
    let jobs = number("MONITOR_BENCH_JOBS", 200_000)?;
    let rounds = number("MONITOR_BENCH_ROUNDS", 3)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let server = Server::start()?;
    if "queues: enqueue, drain, latency".contains(wanted) {
        queues(&runtime, &server, jobs, rounds)?;
    }
    runtime.block_on(ours::graphs(&server, wanted, rounds))
}

/// A number from the environment.
fn number(name: &str, default: usize) -> Result<usize> {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name} is {text:?}: it must be a whole number")),
        Err(_) => Ok(default),
    }
}

/// A way to run a queue once: a fresh database in, a [`Run`] out.
type Queue = fn(&tokio::runtime::Runtime, &Server, usize) -> Result<Run>;

/// The queues. Those that keep what was done, and those that delete it, say so.
const QUEUES: [(&str, Queue); 6] = [
    ("monitor-jobs, history off", ours::without_history),
    ("monitor-jobs, history kept", ours::with_history),
    (
        "monitor-jobs, history off, an old snapshot held open",
        ours::pinned,
    ),
    ("graphile-worker 0.17, batched", peers::graphile_batched),
    ("graphile-worker 0.17, one by one", peers::graphile_single),
    ("apalis-postgres 1.0", peers::apalis),
];

fn queues(
    runtime: &tokio::runtime::Runtime,
    server: &Server,
    jobs: usize,
    rounds: usize,
) -> Result<()> {
    let mut runs: Vec<Vec<Run>> = QUEUES.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for ((name, queue), runs) in QUEUES.iter().zip(&mut runs) {
            // One by one takes ten times as long for one job: a tenth of them says as much.
            let jobs = if name.ends_with("one by one") {
                jobs / 10
            } else {
                jobs
            };
            let run = queue(runtime, server, jobs).with_context(|| (*name).to_owned())?;
            eprintln!(
                "round {}: {name}: drained {:.0}/s",
                round + 1,
                1e9 / run.drain_ns
            );
            runs.push(run);
        }
    }
    for ((name, _), runs) in QUEUES.iter().zip(&runs) {
        let enqueue: Vec<f64> = runs.iter().map(|run| run.enqueue_ns).collect();
        let drain: Vec<f64> = runs.iter().map(|run| run.drain_ns).collect();
        let mut latency: Vec<f64> = runs
            .iter()
            .flat_map(|run| run.latency_us.iter().copied())
            .collect();
        latency.sort_by(f64::total_cmp);
        print_row("enqueue, 1000 in a call", name, &enqueue, &json!({}));
        print_row("drain of no-op jobs", name, &drain, &json!({}));
        let p50: Vec<f64> = vec![quantile(&latency, 0.5) * 1e3];
        let p99 = quantile(&latency, 0.99) * 1e3;
        print_row(
            "latency of one job, worker idle",
            name,
            &p50,
            &json!({ "p99_ns": p99 }),
        );
    }
    Ok(())
}

/// The value below which that share of the sorted ones lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// Prints a row: the median of the samples, in nanoseconds for one.
pub(crate) fn print_row(workload: &str, subject: &str, samples_ns: &[f64], more: &Value) {
    let mut sorted = samples_ns.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = quantile(&sorted, 0.5);
    let mut extra = json!({
        "ns_each": median,
        "per_second": 1e9 / median,
        "samples_ns": samples_ns,
    });
    if let (Some(extra), Some(more)) = (extra.as_object_mut(), more.as_object()) {
        extra.extend(more.clone());
    }
    println!(
        "{}",
        json!({
            "group": "jobs",
            "workload": workload,
            "subject": subject,
            "ns": median,
            "min_ns": sorted.first(),
            "max_ns": sorted.last(),
            "extra": extra,
        })
    );
}
