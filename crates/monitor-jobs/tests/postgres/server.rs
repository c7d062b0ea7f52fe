//! The schema, the failures of a server, the number of calls, wake-ups between processes.

use std::time::Duration;

use monitor_jobs::{Backend, JobState, Parent, PgJobs, Settled, StoreErrorKind, WorkerState};
use monitor_pool::managers::postgres::tokio_postgres::Config;
use monitor_testkit::services::{Postgres, Shutdown};

use crate::call::{self, new};
use crate::support::{open, quiet};

/// Eight start at the same moment on an empty schema: it is made once, and all of them work.
#[tokio::test]
async fn a_first_start_of_many_at_once() {
    let db = open(quiet()).await;
    db.sql
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS empty; DROP SCHEMA empty CASCADE; CREATE SCHEMA empty",
        )
        .await
        .unwrap();
    let mut config = db.config.clone();
    config.options("-c search_path=empty");
    let starts: Vec<_> = (0..8)
        .map(|_| tokio::spawn(PgJobs::connect(config.clone(), quiet())))
        .collect();
    for start in starts {
        start
            .await
            .unwrap()
            .unwrap()
            .enqueue(&[new()])
            .await
            .unwrap();
    }
    let versions = "SELECT count(*) FROM empty.schema_version WHERE component = 'jobs'";
    assert_eq!(db.number(versions).await, 1);
    assert_eq!(db.number("SELECT count(*) FROM empty.job").await, 8);
}

/// JOB-53: a schema of a newer program is refused by name, and left as it is.
#[tokio::test]
async fn a_newer_schema_is_refused() {
    let db = open(quiet()).await;
    let newer =
        "UPDATE schema_version SET version = 99; INSERT INTO schema_version VALUES ('other', 1)";
    db.sql.batch_execute(newer).await.unwrap();
    let error = PgJobs::connect(db.config.clone(), quiet())
        .await
        .unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Schema);
    assert!(error.to_string().contains("version 99"), "{error}");
    assert_eq!(
        db.number("SELECT max(version) FROM schema_version").await,
        99
    );
}

/// JOB-53: a schema that another program has made under the same number, as before a release, is
/// refused by name at the start, and left as it is.
#[tokio::test]
async fn a_schema_made_by_other_steps_is_refused() {
    let db = open(quiet()).await;
    PgJobs::connect(db.config.clone(), quiet()).await.unwrap();
    for mark in ["NULL", "'monitor-jobs 0123456789abcdef'"] {
        let other = format!("COMMENT ON TABLE job IS {mark}");
        db.sql.batch_execute(&other).await.unwrap();
        let error = PgJobs::connect(db.config.clone(), quiet())
            .await
            .unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Schema, "{error}");
        assert!(error.to_string().contains("unreleased"), "{error}");
    }
    let schema = PgJobs::schema(db.config.clone()).await.unwrap();
    assert_eq!((schema.found, schema.supported), (1, 1));
}

/// Who may not write, and who may not even come in: typed, and nothing is half-done.
#[tokio::test]
async fn the_denied_are_told() {
    let db = open(quiet()).await;
    let schema: String = db
        .sql
        .query_one("SELECT current_schema()::text", &[])
        .await
        .unwrap()
        .get(0);
    let role = format!(
        "CREATE ROLE {schema}_guest LOGIN PASSWORD 'guest'; \
        GRANT USAGE ON SCHEMA {schema} TO {schema}_guest; \
        GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {schema}_guest"
    );
    db.sql.batch_execute(&role).await.unwrap();
    let mut guest: Config = db.config.clone();
    guest.user(format!("{schema}_guest")).password("guest");
    let guest = PgJobs::connect(guest, quiet()).await.unwrap();
    let refused = guest.enqueue(&[new()]).await.unwrap_err();
    let monitor_jobs::EnqueueError::Store(error) = refused else {
        panic!("{refused}");
    };
    assert_eq!(error.kind, StoreErrorKind::Denied);
    assert!(error.to_string().contains("42501"), "{error}");

    let mut wrong: Config = db.config.clone();
    wrong.password("wrong");
    let error = PgJobs::connect(wrong, quiet()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");

    assert_eq!(db.number("SELECT count(*) FROM job").await, 0);
}

/// A server that is out of disk says so: typed, with nothing half-done, and the same call succeeds when
/// there is room.
#[tokio::test]
async fn a_full_disk_is_told() {
    let db = open(quiet()).await;
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk AFTER INSERT ON job EXECUTE FUNCTION full_disk()";
    db.sql.batch_execute(full).await.unwrap();
    let refused = db.jobs.enqueue(&[new(), new()]).await.unwrap_err();
    let monitor_jobs::EnqueueError::Store(error) = refused else {
        panic!("{refused}");
    };
    assert_eq!(error.kind, StoreErrorKind::Full, "{error}");
    assert!(error.to_string().contains("53100"), "{error}");
    assert_eq!(db.number("SELECT count(*) FROM job").await, 0);
    let room = "DROP TRIGGER full_disk ON job";
    db.sql.batch_execute(room).await.unwrap();
    assert_eq!(db.jobs.enqueue(&[new(), new()]).await.unwrap().len(), 2);
}

/// A server that goes away and comes back, as in a crash: what was acknowledged is there, and the
/// same handle goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_comes_back() {
    let mut server = Postgres::start().unwrap();
    let mut options = quiet();
    options.acquire_timeout = Duration::from_secs(5);
    let jobs = PgJobs::connect(server.url().parse().unwrap(), options)
        .await
        .unwrap();
    let put_in = jobs.enqueue(&[new()]).await.unwrap()[0].id();
    server.stop(Shutdown::Immediate).unwrap();
    let error = jobs.job(put_in).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Transient, "{error}");
    server.start_again().unwrap();
    let found = loop {
        match jobs.job(put_in).await {
            Ok(found) => break found,
            Err(error) => assert_eq!(error.kind, StoreErrorKind::Transient, "{error}"),
        }
    };
    assert_eq!(found.unwrap().state, JobState::Ready);
}

/// JOB-36, F5: an end whose reply was lost is repeated: it says that it is done, and nothing else
/// does, also when the row is gone.
#[tokio::test]
async fn a_repeated_end_is_known_with_and_without_a_row() {
    for forget in [false, true] {
        let mut options = quiet();
        options.max_connections = 1;
        options.forget_completed = forget;
        let db = open(options).await;
        let worker = db.worker(5).await;
        db.put(new()).await;
        let held = db.claim_as(worker, 1).await.unwrap().jobs;
        assert_eq!(db.complete(worker, &held[0]).await, Settled::Done);
        assert_eq!(db.complete(worker, &held[0]).await, Settled::Already);
        let other = [call::end(&held[0], monitor_jobs::Outcome::Release)];
        assert_eq!(
            db.jobs.settle(worker, &other).await.unwrap(),
            [Settled::Stale]
        );
        let never = [monitor_jobs::Settle {
            epoch: monitor_jobs::Epoch(held[0].epoch.0 + 1),
            ..call::end(&held[0], call::done())
        }];
        assert_eq!(
            db.jobs.settle(worker, &never).await.unwrap(),
            [Settled::Stale]
        );
        let left = i64::from(!forget);
        assert_eq!(db.number("SELECT count(*) FROM job_ended").await, left);
    }
}

/// JOB-48, JOB-28: a claim is one call and a fan-out of fifty another, whatever the length of the
/// queue; a batch of ends is one too.
#[tokio::test]
async fn job_48_calls_do_not_grow() {
    let db = open(quiet()).await;
    let worker = db.worker(1000).await;
    for queued in [0, 5000] {
        db.put_all(queued).await;
        let urgent = new().priority(monitor_jobs::Priority::MAX);
        let parent = db.put(urgent.clone()).await;
        let children: Vec<_> = (0..50).map(|_| new().after(parent)).collect();
        db.jobs.enqueue(&children).await.unwrap();
        let before = db.jobs.round_trips();
        let held = db.claim_as(worker, 1).await.unwrap().jobs;
        assert_eq!(db.jobs.round_trips() - before, 1, "claim");
        assert_eq!(held[0].id, parent);
        assert_eq!(db.complete(worker, &held[0]).await, Settled::Done);
        assert_eq!(db.jobs.round_trips() - before, 2, "fan-out");
        let held = db.claim_as(worker, 50).await.unwrap().jobs;
        db.complete_all(worker, &held).await;
        assert_eq!(db.jobs.round_trips() - before, 4, "fifty ends");
        let plain = db.jobs.round_trips();
        db.put_all(50).await;
        assert_eq!(
            db.jobs.round_trips() - plain,
            4,
            "begin, look, write, commit"
        );
    }
}

/// JOB-48: the plans of the hot statements use their indexes, also when they were made while the
/// tables were empty.
#[tokio::test]
async fn job_48_a_claim_reads_no_more_of_a_long_queue() {
    let db = open(quiet()).await;
    let worker = db.worker(10_000).await;
    db.claim_as(worker, 1).await.unwrap();
    for _ in 0..4 {
        db.put_all(5000).await;
    }
    let read = "SELECT pg_stat_force_next_flush(), seq_tup_read FROM pg_stat_user_tables
        WHERE relid = 'job'::regclass";
    let before = db.sql.query_one(read, &[]).await.unwrap().get::<_, i64>(1);
    for _ in 0..20 {
        let held = db.claim_as(worker, 10).await.unwrap().jobs;
        db.complete_all(worker, &held).await;
    }
    db.jobs.close().await.unwrap();
    let after = db.sql.query_one(read, &[]).await.unwrap().get::<_, i64>(1);
    assert_eq!(after - before, 0, "rows read by sequential scans");
}

/// R4, JOB-9: what one process puts in wakes another; the other need not ask in the meantime.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_is_woken() {
    let db = open(quiet()).await;
    let mut options = quiet();
    options.listen = true;
    let other = PgJobs::connect(db.config.clone(), options.clone())
        .await
        .unwrap();
    let here = PgJobs::connect(db.config.clone(), options).await.unwrap();
    let queues = ["default".to_owned()];
    let listening = "SELECT count(*) FROM pg_stat_activity
        WHERE query = 'LISTEN monitor_jobs' AND application_name = current_schema()";
    while db.number(listening).await < 2 {
        tokio::task::yield_now().await;
    }
    // Longer than the test may take: it ends because it is told.
    let forever = Duration::from_secs(3600);
    // The first telling of a listener is that it listens.
    let waiting = tokio::spawn(async move {
        loop {
            here.wait(&queues, forever).await;
            let ready = here.queues().await.unwrap();
            if ready
                .iter()
                .any(|queue| queue.counts[JobState::Ready as usize] > 0)
            {
                return;
            }
        }
    });
    tokio::task::yield_now().await;
    while !waiting.is_finished() {
        other.enqueue(&[new()]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    waiting.await.unwrap();
    other.close().await.unwrap();
}

/// Jobs that nobody has any more listen no more, also when they were not closed.
#[tokio::test]
async fn a_listener_ends_with_its_jobs() {
    let db = open(quiet()).await;
    let mut options = quiet();
    options.listen = true;
    let jobs = PgJobs::connect(db.config.clone(), options).await.unwrap();
    let listening = "SELECT count(*) FROM pg_stat_activity
        WHERE query = 'LISTEN monitor_jobs' AND application_name = current_schema()";
    while db.number(listening).await < 1 {
        tokio::task::yield_now().await;
    }
    drop(jobs);
    // What it says last is said by its session, which is gone then.
    while db.number(listening).await > 0 {
        tokio::task::yield_now().await;
    }
}

/// JOB-31: a graph of one call, deep and wide, is put in by as many calls as one job with a parent.
#[tokio::test]
async fn a_graph_is_put_in_at_once() {
    let db = open(quiet()).await;
    let chain: Vec<_> = (0..2000)
        .map(|place| match place {
            0 => new(),
            _ => new().after(Parent::Earlier(place - 1)),
        })
        .collect();
    let before = db.jobs.round_trips();
    db.jobs.enqueue(&chain).await.unwrap();
    assert_eq!(db.jobs.round_trips() - before, 5);
    assert_eq!(
        db.number("SELECT count(*) FROM job WHERE state = 0").await,
        1999
    );
    db.healthy().await;
}

/// JOB-27, INV-JOBS-7, D6: whoever writes it, with whatever program.
#[tokio::test]
async fn inv_jobs_7_no_cycle_can_be_written_down() {
    let db = open(quiet()).await;
    let parent = db.put(new()).await;
    let child = db.put(new().after(parent)).await;
    for (parent, child) in [(child, parent), (parent, parent)] {
        let edge = format!("INSERT INTO job_edge VALUES ({parent}, {child}, 0, 0)");
        let refused = db.sql.batch_execute(&edge).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "23514", "{edge}");
    }
    let turned = "UPDATE job_edge SET parent_id = child_id, child_id = parent_id";
    let refused = db.sql.batch_execute(turned).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "23514");
    db.healthy().await;
}

/// The doctor names who pins the horizon, and what is broken.
#[tokio::test]
async fn the_doctor_finds_what_is_broken() {
    let db = open(quiet()).await;
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    db.put(new().after(parent)).await;
    db.claim_as(worker, 1).await.unwrap();
    db.healthy().await;
    for (damage, check) in [
        ("UPDATE job SET pending = 2 WHERE state = 0", "pending"),
        ("DELETE FROM job_claim", "holder"),
        ("INSERT INTO job_unique VALUES ('k', 99)", "unique_key"),
        ("DELETE FROM job WHERE state = 4", "edge_without_parent"),
    ] {
        db.sql.batch_execute(damage).await.unwrap();
        let findings = db.jobs.doctor().await.unwrap();
        assert!(
            findings.iter().any(|it| it.broken && it.check == check),
            "{check}: {findings:?}"
        );
    }
    let pinning = db.session().await;
    let pin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    pinning.batch_execute(pin).await.unwrap();
    let burn = "DO $$ BEGIN FOR i IN 1..10100 LOOP
        PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    db.sql.batch_execute(burn).await.unwrap();
    let findings = db.jobs.doctor().await.unwrap();
    assert!(
        findings.iter().any(|it| it.check == "pinned_horizon"),
        "{findings:?}"
    );
    assert!(
        db.jobs
            .set_health(worker, WorkerState::Degraded)
            .await
            .unwrap()
    );
}
