//! `monitord jobs` as a stranger would use it, on a file and on a real server.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::{Command, Output};
use std::sync::Arc;

use monitor_jobs::{
    Backend, ClaimRequest, Edge, JobId, NewJob, Outcome, Payload, PgJobs, PgOptions, Priority,
    Register, Settle, SqliteJobs, SqliteOptions,
};
use monitor_testkit::services::Postgres;
use serde_json::Value;

/// What the command said, and its exit code.
struct Said {
    out: String,
    err: String,
    code: i32,
}

fn monitord(database: &str, arguments: &[&str]) -> Said {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_monitord"))
        .args(["jobs", "--database", database])
        .args(arguments)
        .output()
        .unwrap();
    Said {
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
        code: status.code().unwrap(),
    }
}

/// A job that died, one that is held for it, one that is urgent and waits in a queue of its own.
async fn fill(jobs: Arc<dyn Backend>) -> [JobId; 3] {
    let mail = NewJob::new("mail", Payload::parse(r#"{"to":"ops"}"#).unwrap()).max_attempts(1);
    let first = jobs.enqueue(&[mail]).await.unwrap()[0].id();
    let report = NewJob::new("report", Payload::default()).edge(Edge::success(first));
    let urgent = NewJob::new("page", Payload::default())
        .queue("pager")
        .priority(Priority::MAX);
    let put = jobs.enqueue(&[report, urgent]).await.unwrap();
    let register = Register {
        name: "host-1".to_owned(),
        queues: vec!["default".to_owned()],
        capacity: 5,
        lease: std::time::Duration::from_secs(90),
    };
    let worker = jobs.register(&register).await.unwrap();
    let request = ClaimRequest {
        worker,
        limit: 1,
        history: true,
    };
    let claim = jobs.claim(&request).await.unwrap();
    let end = Settle {
        job: claim.jobs[0].id,
        epoch: claim.jobs[0].epoch,
        outcome: Outcome::Fail {
            error: "the relay said 550\nand hung up".to_owned(),
            retry_in: None,
        },
    };
    jobs.settle(worker, &[end]).await.unwrap();
    while jobs.release(1000).await.unwrap() > 0 {}
    jobs.close().await.unwrap();
    [first, put[0].id(), put[1].id()]
}

fn look_and_decide(database: &str, [dead, held, urgent]: [JobId; 3]) {
    let all = monitord(database, &["list"]);
    assert_eq!(all.code, 0, "{}", all.err);
    for words in ["dead", "held", "5 high", "the relay said 550", "1/1"] {
        assert!(all.out.contains(words), "{words} is not in:\n{}", all.out);
    }
    let json = monitord(database, &["list", "--state", "dead", "--json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["id"], dead.0);

    let one = monitord(database, &["show", &dead.to_string()]);
    for words in ["and hung up", "host-1", r#"{"to":"ops"}"#, "failed"] {
        assert!(one.out.contains(words), "{words} is not in:\n{}", one.out);
    }
    let none = monitord(database, &["show", "999999"]);
    assert_eq!(none.code, 1);
    assert!(
        none.err.contains("job 999999 does not exist"),
        "{}",
        none.err
    );

    let retried = monitord(database, &["retry", &dead.to_string(), &urgent.to_string()]);
    assert_eq!(retried.code, 1, "one of the two could not be retried");
    assert!(retried.out.contains(&format!("{dead} runs again")));
    assert!(retried.out.contains(&format!("{urgent} was left as it is")));
    let blocked = monitord(database, &["show", &held.to_string(), "--json"]);
    let blocked: Value = serde_json::from_str(&blocked.out).unwrap();
    assert_eq!(blocked["job"]["state"], "blocked", "its parent runs again");

    assert_eq!(monitord(database, &["pause", "pager"]).code, 0);
    let queues = monitord(database, &["queues"]);
    assert!(queues.out.contains("paused"), "{}", queues.out);
    assert_eq!(monitord(database, &["resume", "pager"]).code, 0);
    let cancelled = monitord(database, &["cancel", &urgent.to_string()]);
    assert_eq!(cancelled.code, 0, "{}", cancelled.out);
    assert_eq!(monitord(database, &["workers"]).code, 0);
    let doctor = monitord(database, &["doctor"]);
    assert_eq!(doctor.code, 0, "{}{}", doctor.out, doctor.err);
}

/// JOB-26, JOB-37: people see what is dead and what is held for it, and decide.
#[tokio::test]
async fn jobs_in_a_file_are_shown_and_decided_upon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.sqlite");
    let jobs = SqliteJobs::open(&SqliteOptions::new(&path)).unwrap();
    let ids = fill(Arc::new(jobs)).await;
    look_and_decide(path.to_str().unwrap(), ids);
}

/// JOB-26, JOB-37.
#[tokio::test]
async fn jobs_in_a_server_are_shown_and_decided_upon() {
    let server = Postgres::start().unwrap();
    let config = server.url().parse().unwrap();
    let jobs = PgJobs::connect(config, PgOptions::default()).await.unwrap();
    let ids = fill(Arc::new(jobs)).await;
    look_and_decide(&server.url(), ids);
}

#[test]
fn what_is_not_there_is_named_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.sqlite");
    let said = monitord(path.to_str().unwrap(), &["list"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("none.sqlite"), "{}", said.err);
    assert!(!path.exists());

    let said = monitord("postgres://me:hush@127.0.0.1:1/none", &["list"]);
    assert_eq!(said.code, 1);
    assert!(!said.err.contains("hush"), "{}", said.err);

    for arguments in [
        ["list", "--limit=0"],
        ["show", "-1"],
        ["list", "--state=odd"],
    ] {
        let said = monitord(path.to_str().unwrap(), &arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.err);
    }
}
