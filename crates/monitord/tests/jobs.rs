//! `monitord jobs` as a stranger would use it, on a file and on a real server.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::process::{Command, Output};
use std::sync::Arc;

use common::end_next;
use monitor_jobs::{
    Backend, Edge, JobId, NewJob, Outcome, Payload, PgJobs, PgOptions, Priority, SqliteJobs,
    SqliteOptions,
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
    fail(&*jobs, "host-1", "the relay said 550\nand hung up").await;
    while jobs.release(1000).await.unwrap() > 0 {}
    jobs.close().await.unwrap();
    [first, put[0].id(), put[1].id()]
}

/// The next job fails for good under the worker `name`.
async fn fail(jobs: &dyn Backend, name: &str, error: &str) {
    let (error, retry_in) = (error.to_owned(), None);
    end_next(jobs, name, "default", Outcome::Fail { error, retry_in }).await;
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

/// A job whose error would clear the screen, forge lines and turn the words around.
#[tokio::test]
async fn texts_of_jobs_do_not_steer_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.sqlite");
    let jobs = SqliteJobs::open(&SqliteOptions::new(&path)).unwrap();
    let job = NewJob::new("mail", Payload::default());
    let id = jobs.enqueue(&[job]).await.unwrap()[0].id().to_string();
    let error = "gone\u{1b}[2J\u{9b}1A\r\u{202e}txt\nnext line\u{7}";
    fail(&jobs, "host\u{1b}]0;x\u{7}", error).await;
    jobs.close().await.unwrap();
    let database = path.to_str().unwrap();
    for arguments in [&["list"][..], &["show", &id], &["workers"]] {
        let said = monitord(database, arguments).out;
        let is_plain = |c: char| c == '\n' || (!c.is_control() && c != '\u{202e}');
        assert!(said.chars().all(is_plain), "{said:?}");
    }
    let said = monitord(database, &["show", &id]).out;
    assert!(
        said.contains("gone\\u{1b}[2J\\u{9b}1A\\r\\u{202e}txt\n                next line\\u{7}"),
        "{said}"
    );
}

/// What was done is told, whatever becomes of the rest: here the database refuses one of three.
#[tokio::test]
async fn each_of_several_jobs_has_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.sqlite");
    let jobs = SqliteJobs::open(&SqliteOptions::new(&path)).unwrap();
    let new = || NewJob::new("mail", Payload::default());
    let put = jobs.enqueue(&[new(), new(), new()]).await.unwrap();
    let ids: Vec<_> = put.iter().map(|job| job.id()).collect();
    jobs.close().await.unwrap();
    let trigger = format!(
        "CREATE TRIGGER refuse BEFORE UPDATE ON job WHEN new.id = {}
         BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        ids[1]
    );
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(&trigger).unwrap();
    let database = path.to_str().unwrap();
    let all: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let all = all.iter().map(String::as_str);
    let cancel: Vec<&str> = ["cancel"].into_iter().chain(all).collect();
    let said = monitord(database, &cancel);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!((said.code, lines.len()), (1, 3), "{}{}", said.out, said.err);
    assert_eq!(lines[0], format!("{} is cancelled", ids[0]));
    let refused = lines[1];
    assert!(
        refused.contains("was left as it is: ") && refused.contains("not this one"),
        "{refused}"
    );
    assert_eq!(lines[2], format!("{} is cancelled", ids[2]));

    let json = monitord(database, &[&cancel[..], &["--json"]].concat());
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3, "one array: {json}");
}

/// Looking at an older database leaves it as it is, and says how to bring it up to date.
#[test]
fn only_migrate_migrates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(
        "CREATE TABLE schema_version (component TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;
         INSERT INTO schema_version VALUES ('another', 7)",
    )
    .unwrap();
    let database = path.to_str().unwrap();
    let components = || -> Vec<(String, i64)> {
        let mut all = file
            .prepare("SELECT component, version FROM schema_version")
            .unwrap();
        let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        all.unwrap().map(Result::unwrap).collect()
    };
    for arguments in [&["list"][..], &["doctor"], &["pause", "mail"]] {
        let said = monitord(database, arguments);
        assert_eq!(said.code, 1);
        assert!(said.err.contains("holds no jobs"), "{}", said.err);
        assert!(said.err.contains("`monitord jobs migrate`"), "{}", said.err);
    }
    assert_eq!(components(), [("another".to_owned(), 7)]);
    let migrated = monitord(database, &["migrate"]);
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    assert!(migrated.out.contains("version 0 to "), "{}", migrated.out);
    assert_eq!(components().len(), 2);
    assert!(monitord(database, &["migrate"]).out.contains("already"));
    assert_eq!(monitord(database, &["list"]).out, "no job\n");

    let newer = "UPDATE schema_version SET version = version + 1 WHERE component = 'jobs'";
    file.execute_batch(newer).unwrap();
    let said = monitord(database, &["list"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("newer program"), "{}", said.err);
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
