//! What is particular to SQLite: the writer's batches, other processes on the same file, the
//! caller's own statements, and failures in the middle of a statement.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::num::NonZeroUsize;
use std::time::Duration;

use monitor_jobs::rusqlite::{self, Connection};
use monitor_jobs::{
    Backend, Claim, ClaimRequest, Durability, EnqueueError, JobFilter, JobState, JobTransaction,
    Jobs, NewJob, Outcome, Parent, Payload, Priority, Register, Settle, SettleError, Settled,
    SqliteJobs, SqliteOptions, StoreErrorKind, WorkerId,
};
use tempfile::TempDir;

/// One that no test waits for.
const FOR_EVER: Duration = Duration::from_secs(3600);

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn options(&self) -> SqliteOptions {
        SqliteOptions {
            durability: Durability::Process,
            ..SqliteOptions::new(self.folder.path().join("jobs.sqlite"))
        }
    }

    fn open(&self) -> SqliteJobs {
        SqliteJobs::open(&self.options()).unwrap()
    }

    /// As another program sees the file.
    fn sql(&self) -> Connection {
        Connection::open(self.options().path).unwrap()
    }

    fn count(&self, query: &str) -> i64 {
        self.sql().query_row(query, [], |row| row.get(0)).unwrap()
    }
}

fn work() -> NewJob {
    NewJob::new("work", Payload::default())
}

fn after_first() -> NewJob {
    work().after(Parent::Earlier(0))
}

fn register() -> Register {
    Register {
        name: "w".to_owned(),
        queues: vec!["default".to_owned()],
        capacity: 10_000,
        lease: Duration::from_secs(60),
    }
}

async fn claim(jobs: &SqliteJobs, worker: WorkerId, limit: u32) -> Claim {
    let request = ClaimRequest {
        worker,
        limit,
        history: true,
    };
    jobs.claim(&request).await.unwrap()
}

fn completed(claim: &Claim) -> Vec<Settle> {
    let done = |claimed: &monitor_jobs::ClaimedJob| Settle {
        job: claimed.id,
        epoch: claimed.epoch,
        outcome: Outcome::Complete { result: None },
    };
    claim.jobs.iter().map(done).collect()
}

async fn states(jobs: &SqliteJobs) -> Vec<JobState> {
    let views = jobs.list(&JobFilter::default()).await.unwrap();
    views.iter().map(|view| view.state).collect()
}

/// JOB-28, JOB-48: one call to the store for a claim, one for a completion that releases fifty.
#[tokio::test]
async fn a_claim_and_a_fan_out_of_fifty_are_one_call_each() {
    let jobs = Place::new();
    let jobs = jobs.open();
    let worker = jobs.register(&register()).await.unwrap();
    let graph: Vec<_> = [work()]
        .into_iter()
        .chain((0..50).map(|_| after_first()))
        .collect();
    jobs.enqueue(&graph).await.unwrap();
    let before = jobs.stats();
    let parent = claim(&jobs, worker, 1).await;
    assert_eq!(jobs.stats().commands - before.commands, 1);
    jobs.settle(worker, &completed(&parent)).await.unwrap();
    assert_eq!(jobs.stats().commands - before.commands, 2);
    assert_eq!(claim(&jobs, worker, 100).await.jobs.len(), 50);
}

/// JOB-30: what is asked for while the writer is busy becomes durable together.
#[tokio::test]
async fn what_is_queued_becomes_one_transaction() {
    let place = Place::new();
    let jobs = place.open();
    let other = place.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let puts: Vec<_> = (0..100)
        .map(|_| {
            let jobs = jobs.clone();
            tokio::spawn(async move { jobs.enqueue(&[work()]).await.unwrap() })
        })
        .collect();
    // On this one thread: every task sends its command before this goes on.
    tokio::task::yield_now().await;
    other.execute_batch("COMMIT").unwrap();
    for put in puts {
        put.await.unwrap();
    }
    let stats = jobs.stats();
    assert_eq!(stats.commands, 100);
    assert!(
        stats.transactions <= 2,
        "the first, and all others: {stats:?}"
    );
}

/// JOB-6, JOB-44: a file that somebody else writes to is busy, not down; reads go on, nothing is
/// half-done, and the next call succeeds.
#[tokio::test]
async fn a_busy_file_is_a_passing_failure() {
    let place = Place::new();
    let jobs = SqliteJobs::open(&SqliteOptions {
        busy_timeout: Duration::from_millis(20),
        ..place.options()
    })
    .unwrap();
    let other = place.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = jobs.register(&register()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Transient, "{error}");
    assert_eq!(jobs.workers().await.unwrap(), [], "reads go on");
    assert_eq!(jobs.stats().failed_transactions, 1);
    other.execute_batch("COMMIT").unwrap();
    jobs.register(&register()).await.unwrap();
}

/// JOB-6, JOB-36: nothing is acknowledged that goes to a file without a name. When the file is back,
/// so are the jobs, with all that was acknowledged.
#[tokio::test]
async fn a_file_that_is_removed_is_gone_until_it_is_back() {
    let place = Place::new();
    let jobs = place.open();
    jobs.enqueue(&[work()]).await.unwrap();
    let (path, away) = (place.options().path, place.folder.path().join("away"));
    std::fs::rename(&path, &away).unwrap();
    let error = jobs.register(&register()).await.unwrap_err();
    assert!(error.to_string().contains("removed or replaced"), "{error}");
    let begun = jobs.enqueue(&[work()]).await.unwrap_err();
    let EnqueueError::Store(error) = begun else {
        panic!("{begun}");
    };
    assert_eq!(error.kind, StoreErrorKind::Transient, "{error}");
    assert!(!path.exists());
    std::fs::rename(&away, &path).unwrap();
    jobs.enqueue(&[work()]).await.unwrap();
    assert_eq!(place.count("SELECT count(*) FROM job"), 2);
    assert_eq!(place.count("SELECT count(*) FROM job_worker"), 0);
}

/// JOB-9, R4: a commit by another process wakes whoever waits; so does one of this process.
#[tokio::test]
async fn commits_of_all_processes_wake() {
    let place = Place::new();
    let (here, there) = (place.open(), place.open());
    for writer in [&there, &here] {
        let wait = here.wait(&[], FOR_EVER);
        let new = [work()];
        let put_in = writer.enqueue(&new);
        let ((), put_in) = tokio::join!(wait, put_in);
        put_in.unwrap();
    }
}

/// JOB-29, D4, D7, D8: a release in slices goes on where it was when its process ended.
#[tokio::test]
async fn a_release_in_slices_outlives_its_process() {
    let place = Place::new();
    let jobs = place.open();
    let worker = jobs.register(&register()).await.unwrap();
    let graph: Vec<_> = [work()]
        .into_iter()
        .chain((0..3500).map(|_| after_first()))
        .collect();
    jobs.enqueue(&graph).await.unwrap();
    let parent = claim(&jobs, worker, 1).await;
    jobs.settle(worker, &completed(&parent)).await.unwrap();
    assert_eq!(
        place.count("SELECT count(*) FROM job WHERE state = 3"),
        1000
    );
    assert!(
        jobs.doctor()
            .await
            .unwrap()
            .iter()
            .all(|finding| !finding.broken)
    );
    jobs.close().await.unwrap();
    let jobs = place.open();
    let mut slices = Vec::new();
    loop {
        match jobs.release(1000).await.unwrap() {
            0 => break,
            resolved => slices.push(resolved),
        }
    }
    assert_eq!(slices, [1000, 1000, 500]);
    assert_eq!(
        place.count("SELECT count(*) FROM job WHERE state = 3"),
        3500
    );
    assert_eq!(jobs.doctor().await.unwrap(), []);
}

/// JOB-3: the caller's own rows and the jobs for them, all or none; a panic takes its own
/// transaction back and nothing else.
#[tokio::test]
async fn statements_and_jobs_of_a_closure_stand_together() {
    let place = Place::new();
    let jobs = place.open();
    let put_in = |amount: i64, end: End| {
        jobs.transact(move |write| {
            let order = "INSERT INTO orders VALUES (?1)";
            write.sql().execute(order, [amount]).unwrap();
            let put_in = write
                .enqueue(&[work()])
                .map_err(|error| error.to_string())?;
            match end {
                End::Well => Ok(put_in.len()),
                End::Refused => Err("refused".to_owned()),
                End::Panic => panic!("on purpose"),
                End::Commit => {
                    write.sql().execute_batch("COMMIT").unwrap();
                    Ok(0)
                }
            }
        })
    };
    jobs.transact(|write| {
        write
            .sql()
            .execute_batch("CREATE TABLE orders (amount INTEGER)")
    })
    .await
    .unwrap()
    .unwrap();
    assert_eq!(put_in(1, End::Well).await.unwrap(), Ok(1));
    assert_eq!(
        put_in(2, End::Refused).await.unwrap(),
        Err("refused".to_owned())
    );
    let error = put_in(3, End::Panic).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Fatal, "{error}");
    assert_eq!(place.count("SELECT sum(amount) FROM orders"), 1);
    assert_eq!(states(&jobs).await, [JobState::Ready]);
    let error = put_in(4, End::Commit).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Ambiguous, "{error}");
    assert_eq!(
        put_in(5, End::Well).await.unwrap(),
        Ok(1),
        "the writer lives on"
    );
}

#[derive(Clone, Copy)]
enum End {
    Well,
    Refused,
    Panic,
    Commit,
}

/// JOB-3, F4: a transaction that falls silent is rolled back, and nobody waits for it for ever.
#[tokio::test]
async fn a_silent_transaction_is_rolled_back() {
    let place = Place::new();
    let jobs = SqliteJobs::open(&SqliteOptions {
        busy_timeout: Duration::from_millis(20),
        ..place.options()
    })
    .unwrap();
    let mut silent = jobs.begin().await.unwrap();
    silent.enqueue(&[work(), work()]).await.unwrap();
    // Comes to its turn when the silence has lasted too long.
    jobs.enqueue(&[work()]).await.unwrap();
    let error = silent
        .run(|sql| sql.execute_batch("SELECT 1"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Transient, "{error}");
    assert_eq!(states(&jobs).await.len(), 1);
}

/// F4, INV-JOBS-3: what permits one transaction to be committed permits no other.
#[tokio::test]
async fn inv_jobs_3_a_permit_commits_its_own_transaction_only() {
    let place = Place::new();
    let jobs = place.open();
    let shell = Jobs::new(jobs.clone());
    jobs.enqueue(&[work()]).await.unwrap();
    let worker = shell.register(register()).await.unwrap();
    let claimed = worker.claim(1, Duration::ZERO).await.unwrap().remove(0);
    let mut first = jobs.begin().await.unwrap();
    let permit = claimed.complete_in(&mut first, None).await.unwrap();
    drop(first);
    let mut second = jobs.begin().await.unwrap();
    second
        .run(|sql| sql.execute_batch("CREATE TABLE effect (a)"))
        .await
        .unwrap();
    let error = second.commit(permit).await.unwrap_err();
    assert!(error.to_string().contains("another transaction"), "{error}");
    assert_eq!(
        place.count("SELECT count(*) FROM sqlite_schema WHERE name = 'effect'"),
        0
    );
    assert_ne!(states(&jobs).await, [JobState::Completed]);
    worker.close().await;
}

/// JOB-34, F4: effects of a worker that lost its job are never committed.
#[tokio::test]
async fn effects_of_a_lost_job_are_not_committed() {
    let place = Place::new();
    let jobs = place.open();
    jobs.transact(|write| {
        write
            .sql()
            .execute_batch("CREATE TABLE effect (job INTEGER)")
    })
    .await
    .unwrap()
    .unwrap();
    let shell = Jobs::new(jobs.clone());
    jobs.enqueue(&[work()]).await.unwrap();
    let worker = shell.register(register()).await.unwrap();
    let claimed = worker.claim(1, Duration::ZERO).await.unwrap().remove(0);
    let pulse = jobs.pulses().await.unwrap().remove(0);
    assert_eq!(jobs.rescue(&pulse, 10).await.unwrap().requeued, 1);
    let mut late = jobs.begin().await.unwrap();
    let job = claimed.job().id.0;
    late.run(move |sql| sql.execute("INSERT INTO effect VALUES (?1)", [job]))
        .await
        .unwrap();
    let refused = claimed.complete_in(&mut late, None).await.unwrap_err();
    assert!(matches!(refused, SettleError::Stale { .. }), "{refused}");
    drop(late);
    assert_eq!(states(&jobs).await, [JobState::Ready]);
    assert_eq!(place.count("SELECT count(*) FROM effect"), 0);
}

/// A statement of the caller's that fails takes back itself, not the transaction.
#[tokio::test]
async fn a_failing_statement_takes_back_itself() {
    let place = Place::new();
    let jobs = place.open();
    let mut transaction = jobs.begin().await.unwrap();
    let failed = transaction.run(|sql| {
        sql.execute_batch("CREATE TABLE effect (a)")?;
        sql.execute_batch("INSERT INTO nowhere VALUES (1)")
    });
    failed.await.unwrap_err();
    let tables = transaction.run(|sql| -> rusqlite::Result<i64> {
        let query = "SELECT count(*) FROM sqlite_schema WHERE name = 'effect'";
        sql.query_row(query, [], |row| row.get(0))
    });
    assert_eq!(tables.await.unwrap(), 0);
    let refused = transaction
        .enqueue(&[work().after(monitor_jobs::JobId(77))])
        .await;
    assert!(matches!(refused, Err(EnqueueError::UnknownParent { .. })));
    assert_eq!(transaction.enqueue(&[work()]).await.unwrap().len(), 1);
}

/// Every function of the file fails in this statement, until it is dropped again.
fn fail(place: &Place, when: &str) {
    let trigger = format!("CREATE TRIGGER broken {when} BEGIN SELECT raise(ABORT, 'broken'); END");
    place.sql().execute_batch(&trigger).unwrap();
}

fn heal(place: &Place) {
    place.sql().execute_batch("DROP TRIGGER broken").unwrap();
}

/// JOB-22, JOB-36: an error while dependents are released is an error of the completion, which is
/// not done then. The origin reported success, and the child never ran.
#[tokio::test]
async fn an_error_in_the_release_takes_the_completion_back() {
    let place = Place::new();
    let jobs = place.open();
    let worker = jobs.register(&register()).await.unwrap();
    jobs.enqueue(&[work(), after_first(), after_first()])
        .await
        .unwrap();
    let parent = claim(&jobs, worker, 1).await;
    fail(&place, "BEFORE UPDATE OF state ON job WHEN old.id = 3");
    let error = jobs.settle(worker, &completed(&parent)).await.unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
    let before = [JobState::Running, JobState::Blocked, JobState::Blocked];
    assert_eq!(states(&jobs).await, before);
    heal(&place);
    let settled = jobs.settle(worker, &completed(&parent)).await.unwrap();
    assert_eq!(settled, [Settled::Done]);
    assert_eq!(states(&jobs).await[1..], [JobState::Ready; 2]);
}

/// JOB-25: an error while dependencies are written puts nothing in. In the origin the child ran
/// before its parent.
#[tokio::test]
async fn an_error_in_the_dependencies_puts_nothing_in() {
    let place = Place::new();
    let jobs = place.open();
    jobs.enqueue(&[work()]).await.unwrap();
    fail(&place, "BEFORE INSERT ON job_edge WHEN new.child = 4");
    let graph = [work(), after_first(), after_first()];
    jobs.enqueue(&graph).await.unwrap_err();
    assert_eq!(states(&jobs).await, [JobState::Ready]);
    heal(&place);
    jobs.enqueue(&graph).await.unwrap();
    let after = [
        JobState::Ready,
        JobState::Ready,
        JobState::Blocked,
        JobState::Blocked,
    ];
    assert_eq!(states(&jobs).await, after);
}

/// JOB-3, JOB-6, JOB-11: an error in the middle of a claim leaves every job where it was, also one
/// with priority 0. The origin lost them.
#[tokio::test]
async fn an_error_in_a_claim_loses_no_job() {
    let place = Place::new();
    let jobs = place.open();
    let worker = jobs.register(&register()).await.unwrap();
    let low = || work().priority(Priority::MIN);
    jobs.enqueue(&[low(), low(), low()]).await.unwrap();
    fail(&place, "BEFORE INSERT ON job_execution WHEN new.job = 2");
    let request = ClaimRequest {
        worker,
        limit: 3,
        history: true,
    };
    jobs.claim(&request).await.unwrap_err();
    assert_eq!(states(&jobs).await, [JobState::Ready; 3]);
    heal(&place);
    let claimed = jobs.claim(&request).await.unwrap().jobs;
    let attempts: Vec<_> = claimed.iter().map(|job| (job.id.0, job.attempt)).collect();
    assert_eq!(attempts, [(1, 1), (2, 1), (3, 1)]);
}

/// One command's failure is not that of the others in the same transaction.
#[tokio::test]
async fn a_failing_command_takes_back_itself() {
    let place = Place::new();
    let jobs = SqliteJobs::open(&SqliteOptions {
        max_batch: const { NonZeroUsize::new(50).unwrap() },
        ..place.options()
    })
    .unwrap();
    fail(&place, "BEFORE INSERT ON job WHEN new.kind = 'bad'");
    let puts: Vec<_> = (0..40)
        .map(|number| {
            let kind = if number % 4 == 0 { "bad" } else { "good" };
            let (jobs, job) = (jobs.clone(), NewJob::new(kind, Payload::default()));
            tokio::spawn(async move { jobs.enqueue(&[job]).await.is_ok() })
        })
        .collect();
    let mut well = Vec::new();
    for put in puts {
        well.push(put.await.unwrap());
    }
    let expected: Vec<_> = (0..40).map(|number| number % 4 != 0).collect();
    assert_eq!(well, expected);
    assert_eq!(states(&jobs).await.len(), 30);
}

/// Damage that no constraint can forbid is found and named.
#[tokio::test]
async fn the_doctor_names_what_is_wrong() {
    let damages = [
        ("pending", "UPDATE job SET pending = 2 WHERE id = 2"),
        (
            "blocked_on_ended",
            "UPDATE job SET state = 5, ended_ms = 1 WHERE id = 1",
        ),
        ("unique_key", "DELETE FROM job_unique"),
        ("urgency", "UPDATE job SET effective = 5 WHERE id = 2"),
        (
            "foreign_key",
            "PRAGMA foreign_keys = OFF; INSERT INTO job_note (job) VALUES (99)",
        ),
        ("epoch", "UPDATE job SET epoch = 1000 WHERE id = 3"),
    ];
    for (check, damage) in damages {
        let place = Place::new();
        let jobs = place.open();
        let graph = [work(), after_first(), work().unique_key("k")];
        jobs.enqueue(&graph).await.unwrap();
        assert_eq!(jobs.doctor().await.unwrap(), []);
        place.sql().execute_batch(damage).unwrap();
        let found = jobs.doctor().await.unwrap();
        let found: Vec<_> = found.iter().map(|f| (f.check, f.broken)).collect();
        assert_eq!(found, [(check, true)], "{damage}");
    }
}
