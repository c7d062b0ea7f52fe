//! Runs one measurement against apalis on PostgreSQL and prints one line of JSON.
//!
//! `apalis-drain CONNECTION JOBS CONNECTIONS BATCH`: as its documents show it, with batches as
//! large as ours. Times are in milliseconds: `enqueue_ms` for putting all jobs in; `drain_ms` from
//! the start of the worker until the database has all of them as done; `latency_us` for jobs put in
//! singly while the worker idles, until their handler begins.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage};
use futures::{StreamExt, stream};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::sync::{Notify, mpsc};

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().context("no CONNECTION")?;
    let mut number = |name: &'static str| -> Result<usize> {
        let text = arguments.next().with_context(|| format!("no {name}"))?;
        Ok(text.parse()?)
    };
    let [jobs, connections, batch] = [number("JOBS")?, number("CONNECTIONS")?, number("BATCH")?];

    let options = PgPoolOptions::new().max_connections(u32::try_from(connections)?);
    let pool = options.connect(&url).await?;
    PostgresStorage::setup(&pool).await?;
    let storage = || {
        let config = Config::default().queue("noop").batch_size(batch);
        PostgresStorage::new(&pool).with_config(config)
    };

    let began = Instant::now();
    let mut items = stream::iter(0..jobs).map(|n| TaskBuilder::new(n).build());
    storage().push_all(&mut items).await.context("enqueue")?;
    let enqueue_ms = began.elapsed().as_secs_f64() * 1e3;

    let drained = Arc::new(Notify::new());
    let left = Arc::new(AtomicUsize::new(jobs));
    let (ran, mut seen) = mpsc::unbounded_channel();
    let handler = {
        let drained = Arc::clone(&drained);
        move |_: usize| {
            let (drained, left, ran) = (Arc::clone(&drained), Arc::clone(&left), ran.clone());
            async move {
                // The first `jobs` are the drain; what comes later is timed singly.
                let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                });
                match before {
                    Ok(1) => drained.notify_one(),
                    Ok(_) => {}
                    Err(_) => drop(ran.send(Instant::now())),
                }
                Ok::<(), BoxDynError>(())
            }
        }
    };
    let worker = WorkerBuilder::new("bench")
        .backend(storage())
        .parallelize(tokio::spawn)
        .build(handler);
    let began = Instant::now();
    let measure = async {
        drained.notified().await;
        acknowledged(&pool, jobs).await?;
        let drain_ms = began.elapsed().as_secs_f64() * 1e3;

        let mut latency_us = Vec::new();
        let mut storage = storage();
        // It polls, further and further apart: a few say enough.
        for n in 0..20 {
            let put = Instant::now();
            storage.push(n).await.context("enqueue")?;
            let began = seen.recv().await.context("the worker ended")?;
            latency_us.push(began.duration_since(put).as_secs_f64() * 1e6);
        }
        anyhow::Ok((drain_ms, latency_us))
    };
    let (drain_ms, latency_us) = tokio::select! {
        measured = measure => measured?,
        ended = worker.run() => bail!("the worker ended: {ended:?}"),
    };
    let line = serde_json::json!({
        "enqueue_ms": enqueue_ms,
        "drain_ms": drain_ms,
        "latency_us": latency_us,
    });
    println!("{line}");
    Ok(())
}

/// Waits until the database has every job as done.
async fn acknowledged(pool: &PgPool, jobs: usize) -> Result<()> {
    let done = "SELECT count(*) FROM apalis.jobs WHERE status = 'Done'";
    loop {
        let done: i64 = sqlx::query_scalar(done).fetch_one(pool).await?;
        if usize::try_from(done)? >= jobs {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
