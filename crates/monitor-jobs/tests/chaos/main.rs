//! Eight worker processes on one PostgreSQL, killed, suspended, cut off, and the server crashed
//! under them: at the end every job is in exactly one final state and its effect is there once.
//!
//! `MONITOR_CHAOS_SECONDS` is how long it goes on (8). The report is printed, and left as JSON in
//! the folder for what tests leave.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that reports"
)]

mod child;
mod fleet;
mod report;

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use monitor_jobs::{
    Backend, JobFilter, JobId, JobState, JobView, NewJob, Parent, Payload, PgJobs, PgOptions,
    StoreError,
};
use monitor_pool::managers::postgres::tokio_postgres::{self, NoTls};
use monitor_testkit::proxy::{Direction, Effect, Fault, Proxy};
use monitor_testkit::services::{Postgres, Shutdown};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use fleet::Fleet;
use report::Report;

/// How many worker processes.
const PROCESSES: usize = 8;
/// How many workers a poisonous job may take down.
const POISON: u16 = 3;
/// Whatever is left then will never end: far more than a lease, two sweeps and a restart.
const PATIENCE: Duration = Duration::from_secs(240);

/// S6, JOB-1, JOB-14, JOB-15, JOB-33, JOB-34, JOB-35, JOB-36, L5, W1, W6, D4, R7: nothing is lost,
/// nothing is doubled, and a job that kills its workers is buried.
#[test]
fn inv_jobs_1_eight_processes_under_chaos_lose_nothing_and_double_nothing() {
    if let Ok(url) = env::var(child::URL) {
        child::work(&url);
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(chaos());
}

async fn chaos() {
    let seconds = env::var("MONITOR_CHAOS_SECONDS").map_or(8, |text| text.parse().unwrap());
    let seed =
        env::var("MONITOR_CHAOS_SEED").map_or_else(|_| rand::random(), |s| s.parse().unwrap());
    println!("MONITOR_CHAOS_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut server = Postgres::start().unwrap();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let url = server.url();
    let jobs = PgJobs::connect(url.parse().unwrap(), PgOptions::default())
        .await
        .unwrap();
    make_effects(&url).await;

    let mut fleet = Fleet::start(&server.url_at(proxy.addr()), PROCESSES);
    let mut report = Report::default();
    let mut log = String::new();
    let mut put = Vec::new();
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        if let Ok(ids) = enqueue(&jobs, &put).await {
            put.extend(ids);
        }
        sleep(Duration::from_millis(random.random_range(50..250))).await;
        match random.random_range(0..12) {
            0..5 => {
                fleet.kill_one(&mut random);
                report.kills += 1;
            }
            5..8 => {
                fleet.suspend_one(&mut random);
                report.suspensions += 1;
            }
            8..11 => {
                let effect = if random.random() {
                    Effect::Rst
                } else {
                    Effect::Fin
                };
                let after = random.random_range(0..2000);
                report.cuts += proxy.inject_all(Fault::new(Direction::ToClient, after, effect));
            }
            _ => {
                log.push_str(&server.log());
                server = tokio::task::spawn_blocking(move || {
                    server.restart(Shutdown::Immediate).unwrap();
                    server
                })
                .await
                .unwrap();
                report.restarts += 1;
            }
        }
        fleet.wake_those_that_slept();
    }
    proxy.heal();
    fleet.wake_all();
    all_ended(&jobs, &mut fleet).await;
    fleet.end();
    log.push_str(&server.log());

    report.fenced = fleet.fenced();
    report.deaths = fleet.deaths();
    audit(&jobs, &url, &put, &mut report).await;
    assert!(!log.contains("violates foreign key"), "W1: {log}");
    assert!(!log.contains("deadlock detected"), "D9: {log}");
    report.write();
    assert!(report.kills > 0 && report.jobs > 0, "nothing happened");
}

async fn make_effects(url: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    // No unique constraint: it is the jobs that promise.
    let table = "CREATE TABLE effect (job bigint NOT NULL, epoch bigint NOT NULL)";
    client.batch_execute(table).await.unwrap();
}

/// Some more jobs: alone, after others, failing at first, and now and then a poisonous one. An
/// ambiguous answer is told as an error; what came in all the same is found at the end.
async fn enqueue(
    jobs: &PgJobs,
    before: &[JobId],
) -> Result<Vec<JobId>, monitor_jobs::EnqueueError> {
    let job = |kind: &str| {
        let job = NewJob::new(kind, Payload::default());
        NewJob {
            // Whoever shares a worker with a poisonous job, or is killed by us, is not to blame.
            max_crashes: 1000,
            ..job.max_attempts(1000)
        }
    };
    let mut call = Vec::new();
    if before.len() % 200 < 25 {
        call.push(NewJob {
            max_crashes: POISON,
            ..job("poison")
        });
    }
    call.extend((0..20).map(|_| job("work")));
    call.extend((0..3).map(|_| job("flaky")));
    let place = call.len();
    // Nobody waits for a poisonous one: it would be held until people decide.
    let recent = before.iter().rev().take(3);
    call.push(recent.fold(job("work"), |job, parent| job.after(*parent)));
    call.push(job("work").after(Parent::Earlier(place)));
    let put = jobs.enqueue(&call).await?;
    Ok(put.iter().map(|put| put.id()).collect())
}

/// Waits until no job is left that has not ended.
async fn all_ended(jobs: &PgJobs, fleet: &mut Fleet) {
    let until = Instant::now() + PATIENCE;
    loop {
        fleet.replace_the_dead();
        if let Ok(queues) = jobs.queues().await {
            let live = queues.iter().flat_map(|queue| {
                let counts = JobState::ALL.into_iter().zip(queue.counts);
                counts.filter(|(state, _)| !state.is_terminal())
            });
            let live: u64 = live.map(|(_, count)| count).sum();
            if live == 0 {
                return;
            }
            assert!(Instant::now() < until, "{live} jobs never end: {queues:?}");
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Compares what the jobs say with what the handlers did.
async fn audit(jobs: &PgJobs, url: &str, put: &[JobId], report: &mut Report) {
    let all = everything(jobs).await.unwrap();
    let effects = effects(url).await;
    report.jobs = all.len();
    let known: BTreeMap<JobId, &JobView> = all.iter().map(|job| (job.id, job)).collect();
    for id in put {
        assert!(
            known.contains_key(id),
            "R7: job {id} was acknowledged and is gone"
        );
    }
    for (id, job) in &known {
        let attempts = jobs.executions(*id).await.unwrap();
        report.rescues += attempts
            .iter()
            .filter(|one| one.outcome == Some("lost"))
            .count();
        report.attempts += attempts.len();
        let epochs: Vec<_> = attempts.iter().map(|one| one.epoch).collect();
        assert!(
            epochs.is_sorted_by(|a, b| a < b),
            "F2: job {id}: {epochs:?}"
        );
        assert!(
            attempts.iter().all(|one| one.outcome.is_some()),
            "job {id} runs: {attempts:?}"
        );
        let done: Vec<_> = attempts
            .iter()
            .filter(|one| one.outcome == Some("completed"))
            .map(|one| one.epoch.0)
            .collect();
        let effect = effects.get(&id.0).map_or(&[][..], Vec::as_slice);
        assert_eq!(done, effect, "F1, F4: job {id}: completions and effects");
        match job.kind.as_str() {
            "poison" => {
                assert_eq!(job.state, JobState::Dead, "job {id}");
                assert_eq!(job.crashes, POISON, "job {id}");
                report.buried += 1;
            }
            _ => {
                assert_eq!(job.state, JobState::Completed, "job {id}: {job:?}");
                assert_eq!(done.len(), 1, "job {id}: {attempts:?}");
                report.completed += 1;
            }
        }
    }
    for job in effects.keys() {
        assert!(
            known.contains_key(&JobId(*job)),
            "an effect of no job: {job}"
        );
    }
    let findings = jobs.doctor().await.unwrap();
    let broken: Vec<_> = findings.iter().filter(|finding| finding.broken).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

async fn everything(jobs: &PgJobs) -> Result<Vec<JobView>, StoreError> {
    let mut all: Vec<JobView> = Vec::new();
    loop {
        let filter = JobFilter {
            after: all.last().map(|job| job.id),
            limit: 1000,
            ..JobFilter::default()
        };
        let page = jobs.list(&filter).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// The epochs under which the effect of each job was written, in their order.
async fn effects(url: &str) -> BTreeMap<i64, Vec<i64>> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client
        .query("SELECT job, epoch FROM effect ORDER BY job, epoch", &[])
        .await
        .unwrap();
    let mut effects: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for row in rows {
        effects.entry(row.get(0)).or_default().push(row.get(1));
    }
    effects
}
