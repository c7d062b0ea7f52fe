//! monitor-jobs: the queue that the peers are too, and what no peer has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use monitor_jobs::{
    Backend, Claim, ClaimRequest, ClaimedJob, JobId, Jobs, NewJob, Outcome, Payload, PgJobs,
    PgOptions, Register, Settle, Settled, SqliteJobs, SqliteOptions, Worker, WorkerId,
};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};

use crate::server::{self, Server};
use crate::{BATCH, CONNECTIONS, Run, print_row};

/// How many jobs are put in by one call.
const CALL: usize = 1000;

pub(crate) fn without_history(runtime: &Runtime, server: &Server, jobs: usize) -> Result<Run> {
    runtime.block_on(queue(server, jobs, false, false))
}

pub(crate) fn with_history(runtime: &Runtime, server: &Server, jobs: usize) -> Result<Run> {
    runtime.block_on(queue(server, jobs, true, false))
}

/// While somebody reads the database as it was before the first job: nothing that dies meanwhile
/// can be cleared away.
pub(crate) fn pinned(runtime: &Runtime, server: &Server, jobs: usize) -> Result<Run> {
    runtime.block_on(queue(server, jobs, false, true))
}

async fn queue(server: &Server, jobs: usize, history: bool, pinned: bool) -> Result<Run> {
    let url = server.make_database().await?;
    let mut options = PgOptions::default();
    options.max_connections = CONNECTIONS;
    // As the peer that is fastest does: it deletes what is done.
    options.forget_completed = !history;
    let desk = Jobs::new(PgJobs::connect(url.parse()?, options).await?);
    let reader = server::connect(&url).await?;
    if pinned {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
        reader.batch_execute(begin).await?;
    }

    let began = Instant::now();
    for from in (0..jobs).step_by(CALL) {
        let call: Vec<NewJob> = (from..jobs.min(from + CALL))
            .map(|n| noop("noop", n))
            .collect();
        desk.enqueue(&call).await?;
    }
    let enqueue_ns = began.elapsed().as_nanos() as f64 / jobs as f64;

    let drained = Arc::new(Notify::new());
    let left = Arc::new(AtomicUsize::new(jobs));
    let (ran, mut seen) = mpsc::unbounded_channel();
    let count = {
        let drained = Arc::clone(&drained);
        move |_| {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                drained.notify_one();
            }
            async { Ok(None) }
        }
    };
    let tell = move |_| {
        let _ = ran.send(Instant::now());
        async { Ok(None) }
    };
    let worker = || {
        Worker::builder(&desk, "bench")
            .capacity(BATCH as u32)
            .history(history)
            .handler("noop", count.clone())
            .handler("ping", tell.clone())
    };
    let began = Instant::now();
    let running = worker().start().await?;
    drained.notified().await;
    running.drain(Duration::from_secs(60)).await;
    let drain_ns = began.elapsed().as_nanos() as f64 / jobs as f64;

    let running = worker().start().await?;
    let mut latency_us = Vec::new();
    for n in 0..300 {
        let put = Instant::now();
        desk.enqueue(&[noop("ping", n)]).await?;
        let began = seen.recv().await.context("the worker ended")?;
        latency_us.push(began.duration_since(put).as_secs_f64() * 1e6);
    }
    running.drain(Duration::from_secs(60)).await;
    desk.backend().close().await?;
    Ok(Run {
        enqueue_ns,
        drain_ns,
        latency_us,
    })
}

fn noop(kind: &str, n: usize) -> NewJob {
    // Text of ours: a number in braces is JSON.
    NewJob::new(
        kind,
        Payload::parse(format!("{{\"n\":{n}}}")).unwrap_or_default(),
    )
}

/// Fan-out, fan-in, chains and crowds of workers, on both databases.
pub(crate) async fn graphs(server: &Server, wanted: &str, rounds: usize) -> Result<()> {
    for (workload, kind) in GRAPHS {
        if !workload.contains(wanted) {
            continue;
        }
        for on in ["PostgreSQL", "SQLite"] {
            let mut samples = Vec::new();
            for _ in 0..rounds {
                let folder = tempfile::tempdir()?;
                let store: Arc<dyn Backend> = if on == "SQLite" {
                    let path = folder.path().join("jobs.sqlite");
                    Arc::new(SqliteJobs::open(&SqliteOptions::new(path))?)
                } else {
                    let url = server.make_database().await?;
                    let mut options = PgOptions::default();
                    options.max_connections = CONNECTIONS;
                    Arc::new(PgJobs::connect(url.parse()?, options).await?)
                };
                let sample = kind.measure(&store).await;
                samples.push(sample.with_context(|| format!("{workload}, {on}"))?);
                store.close().await?;
            }
            eprintln!("{workload}, {on}: {samples:.0?} ns");
            print_row(
                workload,
                &format!("monitor-jobs, {on}"),
                &samples,
                &json!({}),
            );
        }
    }
    Ok(())
}

/// A shape of work.
#[derive(Clone, Copy)]
enum Graph {
    /// One parent, so many children; so many times. For one completion.
    FanOut(usize, usize),
    /// So many parents, one child. For one parent.
    FanIn(usize),
    /// So many, each after the one before. For one step.
    Chain(usize),
    /// So many workers that claim and complete one job at a time. For one job.
    Crowd(usize),
}

const GRAPHS: [(&str, Graph); 7] = [
    (
        "complete a parent, release 50 children",
        Graph::FanOut(50, 40),
    ),
    (
        "complete a parent, release 1000 children",
        Graph::FanOut(1000, 5),
    ),
    (
        "complete a parent, release 50000 children",
        Graph::FanOut(50_000, 1),
    ),
    (
        "complete 1000 parents of one child, each",
        Graph::FanIn(1000),
    ),
    ("a chain of 1000, each step", Graph::Chain(1000)),
    ("claim and complete, 16 workers", Graph::Crowd(16)),
    ("claim and complete, 512 workers", Graph::Crowd(512)),
];

impl Graph {
    async fn measure(self, store: &Arc<dyn Backend>) -> Result<f64> {
        match self {
            Self::FanOut(children, times) => fan_out(store, children, times).await,
            Self::FanIn(parents) => fan_in(store, parents).await,
            Self::Chain(length) => chain(store, length).await,
            Self::Crowd(workers) => crowd(store, workers).await,
        }
    }
}

/// The median of so many times, in nanoseconds for a completion: until the last child is ready.
async fn fan_out(store: &Arc<dyn Backend>, children: usize, times: usize) -> Result<f64> {
    let worker = register(store, "parents", 10_000).await?;
    let mut samples = Vec::new();
    for _ in 0..times {
        let parent = put(
            store,
            NewJob::new("noop", Payload::default()).queue("parents"),
        )
        .await?;
        for from in (0..children).step_by(CALL) {
            let child = |n| noop("noop", n).queue("children").after(parent);
            let call: Vec<NewJob> = (from..children.min(from + CALL)).map(child).collect();
            store.enqueue(&call).await?;
        }
        let job = one(claim(store, worker, 1).await?)?;
        let began = Instant::now();
        complete(store, worker, &[job]).await?;
        while store.release(5000).await? > 0 {}
        samples.push(began.elapsed().as_nanos() as f64);
        let queues = store.queues().await?;
        let ready: u64 = queues
            .iter()
            .map(|queue| queue.ready_by_band.iter().sum::<u64>())
            .sum();
        ensure!(
            ready as usize == children * samples.len(),
            "{ready} children are ready"
        );
    }
    samples.sort_by(f64::total_cmp);
    Ok(samples[samples.len() / 2])
}

async fn fan_in(store: &Arc<dyn Backend>, parents: usize) -> Result<f64> {
    let worker = register(store, "parents", 10_000).await?;
    let jobs: Vec<NewJob> = (0..parents)
        .map(|n| noop("noop", n).queue("parents"))
        .collect();
    let ids: Vec<JobId> = store
        .enqueue(&jobs)
        .await?
        .iter()
        .map(|put| put.id())
        .collect();
    let child = ids
        .iter()
        .fold(NewJob::new("noop", Payload::default()), |job, id| {
            job.after(*id)
        });
    let child = put(store, child).await?;
    let jobs = claim(store, worker, parents).await?.jobs;
    ensure!(jobs.len() == parents);
    let began = Instant::now();
    for batch in jobs.chunks(100) {
        complete(store, worker, batch).await?;
    }
    let took = began.elapsed().as_nanos() as f64;
    let child = store.job(child).await?.context("no child")?;
    ensure!(child.pending == 0, "{} parents are open", child.pending);
    Ok(took / parents as f64)
}

async fn chain(store: &Arc<dyn Backend>, length: usize) -> Result<f64> {
    let worker = register(store, "default", 10).await?;
    let links = (0..length).map(|n| match n.checked_sub(1) {
        Some(before) => noop("noop", n).after(monitor_jobs::Parent::Earlier(before)),
        None => noop("noop", n),
    });
    let links: Vec<NewJob> = links.collect();
    store.enqueue(&links).await?;
    let began = Instant::now();
    for _ in 0..length {
        let job = one(claim(store, worker, 1).await?)?;
        complete(store, worker, &[job]).await?;
    }
    Ok(began.elapsed().as_nanos() as f64 / length as f64)
}

async fn crowd(store: &Arc<dyn Backend>, workers: usize) -> Result<f64> {
    const JOBS: usize = 5120;
    let jobs: Vec<NewJob> = (0..JOBS).map(|n| noop("noop", n)).collect();
    for call in jobs.chunks(CALL) {
        store.enqueue(call).await?;
    }
    let mut ids = Vec::new();
    for _ in 0..workers {
        ids.push(register(store, "default", 1).await?);
    }
    let done = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = ids
        .into_iter()
        .map(|worker| tokio::spawn(work(Arc::clone(store), worker, Arc::clone(&done))))
        .collect();
    for task in tasks {
        task.await??;
    }
    let took = began.elapsed().as_nanos() as f64;
    ensure!(done.load(Ordering::Relaxed) == JOBS);
    Ok(took / JOBS as f64)
}

/// Claims and completes one job after the other until none is left.
async fn work(store: Arc<dyn Backend>, worker: WorkerId, done: Arc<AtomicUsize>) -> Result<()> {
    loop {
        let jobs = claim(&store, worker, 1).await?.jobs;
        if jobs.is_empty() {
            return Ok(());
        }
        complete(&store, worker, &jobs).await?;
        done.fetch_add(jobs.len(), Ordering::Relaxed);
    }
}

async fn register(store: &Arc<dyn Backend>, queue: &str, capacity: u32) -> Result<WorkerId> {
    let register = Register {
        name: "bench".to_owned(),
        queues: vec![queue.to_owned()],
        capacity,
        lease: Duration::from_secs(3600),
    };
    Ok(store.register(&register).await?)
}

async fn put(store: &Arc<dyn Backend>, job: NewJob) -> Result<JobId> {
    let put = store.enqueue(&[job]).await?;
    Ok(put.first().context("nothing was put in")?.id())
}

async fn claim(store: &Arc<dyn Backend>, worker: WorkerId, limit: usize) -> Result<Claim> {
    let request = ClaimRequest {
        worker,
        limit: u32::try_from(limit)?,
        history: true,
    };
    Ok(store.claim(&request).await?)
}

fn one(claim: Claim) -> Result<ClaimedJob> {
    claim.jobs.into_iter().next().context("nothing is ready")
}

async fn complete(store: &Arc<dyn Backend>, worker: WorkerId, jobs: &[ClaimedJob]) -> Result<()> {
    let ends: Vec<Settle> = jobs
        .iter()
        .map(|job| Settle {
            job: job.id,
            epoch: job.epoch,
            outcome: Outcome::Complete { result: None },
        })
        .collect();
    let settled = store.settle(worker, &ends).await?;
    ensure!(
        settled.iter().all(|end| *end == Settled::Done),
        "{settled:?}"
    );
    Ok(())
}
