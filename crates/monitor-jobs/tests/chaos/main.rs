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
mod zombie;

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use monitor_jobs::{
    Backend, Execution, JobFilter, JobId, JobState, JobView, NewJob, Parent, Payload, PgJobs,
    PgOptions, StoreError,
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
    let mut report = Report {
        seed,
        seconds,
        ..Report::default()
    };
    let mut log = String::new();
    let mut put = Vec::new();
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        if let Ok(ids) = enqueue(&jobs, &put).await {
            put.extend(ids);
        }
        if random.random_range(0..4) == 0 {
            let fenced = zombie::is_fenced(&jobs, job("work")).await;
            report.fenced += usize::from(fenced.unwrap_or(false));
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
    // At least once: the server may be on its way up.
    let until = Instant::now() + PATIENCE;
    while !zombie::is_fenced(&jobs, job("work")).await.unwrap_or(false) {
        assert!(Instant::now() < until, "nobody is fenced");
        sleep(Duration::from_millis(100)).await;
    }
    report.fenced += 1;
    all_ended(&jobs, &mut fleet).await;
    fleet.end();
    log.push_str(&server.log());

    report.fenced += fleet.fenced();
    report.deaths = fleet.deaths();
    report.foreign_keys = log.matches("violates foreign key").count();
    report.deadlocks = log.matches("deadlock detected").count();
    let wrong = audit(&jobs, &url, &put, &mut report).await;
    report.write();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((report.lost, report.doubled), (0, 0));
    assert_eq!(report.foreign_keys, 0, "W1: {log}");
    assert_eq!(report.deadlocks, 0, "D9: {log}");
    assert!(report.kills > 0 && report.jobs > 0, "nothing happened");
}

async fn make_effects(url: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    // No unique constraint: it is the jobs that promise.
    let table = "CREATE TABLE effect (job bigint NOT NULL, epoch bigint NOT NULL)";
    client.batch_execute(table).await.unwrap();
}

/// Whoever shares a worker with a poisonous job, or is killed by us, is not to blame.
fn job(kind: &str) -> NewJob {
    NewJob {
        max_crashes: 1000,
        ..NewJob::new(kind, Payload::default()).max_attempts(1000)
    }
}

/// Some more jobs: alone, after others, failing at first, and now and then a poisonous one. An
/// ambiguous answer is told as an error; what came in all the same is found at the end.
async fn enqueue(
    jobs: &PgJobs,
    before: &[JobId],
) -> Result<Vec<JobId>, monitor_jobs::EnqueueError> {
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

/// Compares what the jobs say with what the handlers did, counts, and says what is wrong.
async fn audit(jobs: &PgJobs, url: &str, put: &[JobId], report: &mut Report) -> Vec<String> {
    let all = everything(jobs).await.unwrap();
    let effects = effects(url).await;
    report.jobs = all.len();
    let known: BTreeMap<JobId, &JobView> = all.iter().map(|job| (job.id, job)).collect();
    let mut wrong = Vec::new();
    for id in put.iter().filter(|id| !known.contains_key(id)) {
        report.lost += 1;
        wrong.push(format!("R7: job {id} was acknowledged and is gone"));
    }
    for job in &all {
        let attempts = jobs.executions(job.id).await.unwrap();
        let effect = effects.get(&job.id.0).map_or(&[][..], Vec::as_slice);
        report.attempts += attempts.len();
        let lost = |one: &&Execution| one.outcome == Some("lost");
        report.rescues += attempts.iter().filter(lost).count();
        judge(job, &attempts, effect, report, &mut wrong);
    }
    let strange = effects
        .keys()
        .filter(|job| !known.contains_key(&JobId(**job)));
    wrong.extend(strange.map(|job| format!("an effect of no job: {job}")));
    let findings = jobs.doctor().await.unwrap();
    let broken = findings.iter().filter(|finding| finding.broken);
    wrong.extend(broken.map(|finding| finding.what.clone()));
    wrong
}

/// One job: in one final state, by rising epochs, with the effect of its completion and no other.
fn judge(
    job: &JobView,
    attempts: &[Execution],
    effect: &[i64],
    report: &mut Report,
    wrong: &mut Vec<String>,
) {
    let rise = attempts.is_sorted_by(|a, b| a.epoch < b.epoch);
    if !rise || attempts.iter().any(|one| one.outcome.is_none()) {
        wrong.push(format!("F2: job {}: {attempts:?}", job.id));
    }
    let done = attempts
        .iter()
        .filter(|one| one.outcome == Some("completed"));
    let done: Vec<i64> = done.map(|one| one.epoch.0).collect();
    if done != effect || done.len() > 1 {
        report.doubled += 1;
        let what = format!(
            "F1, F4: job {}: completed {done:?}, effects {effect:?}",
            job.id
        );
        wrong.push(what);
    }
    match (job.kind.as_str(), job.state) {
        ("poison", JobState::Dead) if job.crashes == POISON => report.buried += 1,
        ("work" | "flaky", JobState::Completed) if done.len() == 1 => report.completed += 1,
        _ => {
            report.lost += 1;
            wrong.push(format!("job {}: {job:?}: {attempts:?}", job.id));
        }
    }
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
