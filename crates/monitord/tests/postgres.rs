//! The daemon on a real PostgreSQL: late results are refused, a killed one loses nothing that it
//! showed, a second one is refused, one that was taken over ends, and no password is ever told.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;
mod served;

use monitor_jobs::{Backend, NewJob, Payload, PgJobs, PgOptions};
use monitor_pool::managers::postgres::tokio_postgres::{Client, NoTls, connect};
use monitor_testkit::services::{Postgres, Shutdown};
use monitor_testkit::targets::Target;
use process::{HANG, Running, command, config, run};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use served::{Served, Stream};

const BYSTANDER: &str =
    "[[monitor]]\nid = \"bystander\"\ntcp = \"127.0.0.1:9\"\ninterval = \"1d\"\n";

/// Starts the daemon on this server.
fn start(server: &Postgres, monitors: &str) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\ndatabase = {:?}\n{monitors}",
        server.url()
    );
    let path = config(folder.path(), &text);
    let mut process = Running::start(command(&["run", "--config", &path, "--log-format", "json"]));
    let ready = process.until("\"ready\"");
    let (_, rest) = ready.split_once("http://").unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    Served {
        base: format!("http://{address}"),
        client: reqwest::Client::builder().timeout(HANG).build().unwrap(),
        process,
        folder,
    }
}

async fn sql(server: &Postgres) -> Client {
    let (client, connection) = connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn count(sql: &Client, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    sql.query_one(&count, &[]).await.unwrap().get(0)
}

/// Ends it in order, and returns all that it said, of which none is the password.
fn end(served: Served) -> String {
    served.process.signal(Signal::TERM);
    let (status, said) = served.process.end();
    assert_eq!(status.code(), Some(0), "{said}");
    silent(&said);
    said
}

fn silent(said: &str) {
    assert!(!said.contains("correct-horse"), "a password in {said}");
}

/// A check of the monitor `slow` that is in flight: the target has the request, and no answer yet.
async fn in_flight(served: &Served, target: &Target) -> Stream {
    let stream = served.stream().await;
    let spec = json!({ "id": "slow", "url": target.url(), "interval": "1d", "timeout": "1h" });
    served.define(spec).await;
    target.until(|seen| seen.requests == 1).await;
    stream
}

/// OPS-16, OPS-17, OPS-19, OPS-30, OPS-31, OPS-32: pause, edit and delete on PostgreSQL, each while
/// a check is in flight: nothing of it is written.
#[tokio::test(flavor = "multi_thread")]
async fn pause_edit_and_delete_fence_the_check_in_flight() {
    let server = Postgres::start().unwrap();
    let served = start(&server, BYSTANDER);
    let sql = sql(&server).await;
    let lines = "history JOIN monitor ON number = monitor WHERE id = 'slow'";

    let target = Target::held().await.unwrap();
    let mut stream = in_flight(&served, &target).await;
    served.act("slow", "pause").await;
    assert_eq!(stream.event("fenced", "slow").await["cause"], "paused");
    assert_eq!(count(&sql, lines).await, 0);
    assert_eq!(served.monitor("slow").await["outcome"], Value::Null);
    served.act("slow", "resume").await;
    served.act("slow", "trigger").await;
    target.until(|seen| seen.requests == 2).await;
    target.set_up(true);
    stream.result("slow", "up").await;
    assert_eq!(count(&sql, lines).await, 1);
    target.set_up(false);

    // Its next check is in flight while it is moved to another target.
    let other = Target::healthy().await.unwrap();
    served.act("slow", "trigger").await;
    target.until(|seen| seen.requests == 3).await;
    let spec = json!({ "url": other.url(), "interval": "1d", "name": "Moved" });
    let edited = served
        .send(Method::PUT, "/api/v1/monitors/slow", &spec)
        .await;
    assert_eq!(edited.status(), StatusCode::OK);
    assert_eq!(stream.event("fenced", "slow").await["cause"], "edited");
    stream.result("slow", "up").await;
    assert_eq!(count(&sql, lines).await, 2);
    let others = format!("{lines} AND history.epoch > (SELECT max(epoch) FROM status)");
    assert_eq!(count(&sql, &others).await, 0);

    // And one while it is deleted.
    let spec = json!({ "url": target.url(), "interval": "1d", "timeout": "1h" });
    served
        .send(Method::PUT, "/api/v1/monitors/slow", &spec)
        .await;
    target.until(|seen| seen.requests == 4).await;
    let gone = served
        .send(Method::DELETE, "/api/v1/monitors/slow", &json!({}))
        .await;
    assert!(gone.status().is_success(), "{gone:?}");
    assert_eq!(stream.event("fenced", "slow").await["cause"], "deleted");
    assert_eq!(
        count(&sql, "monitor WHERE id = 'slow' AND NOT ended").await,
        0
    );
    assert_eq!(count(&sql, "grave WHERE id = 'slow'").await, 1);
    assert!(
        count(&sql, lines).await <= 2,
        "what is left is not removed yet, and nothing came"
    );
    end(served);
}

/// OPS-18, OPS-27: killed in the middle of its work, again and again; each result that was shown is
/// in the database, no state is without its line, and the next daemon starts at once.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_4_a_killed_daemon_loses_nothing_it_showed_on_postgres() {
    let server = Postgres::start().unwrap();
    let target = Target::healthy().await.unwrap();
    let monitors: String = (0..20)
        .map(|n| {
            format!(
                "[[monitor]]\nid = \"m{n}\"\nurl = {:?}\ninterval = \"1s\"\n",
                target.url()
            )
        })
        .collect();
    let sql = sql(&server).await;
    for round in 0..3 {
        let served = start(&server, &monitors);
        let mut stream = served.stream().await;
        let mut shown = Vec::new();
        while shown.len() < 10 + 7 * round {
            let result = stream.until(|message| message.event == "result").await.data;
            let id = result["monitor"].as_str().unwrap().to_owned();
            shown.push((id, result["due_unix_ms"].as_i64().unwrap()));
        }
        served.process.signal(Signal::KILL);
        silent(&served.process.end().1);
        for (id, due) in shown {
            let found = "SELECT count(*) FROM history JOIN monitor ON number = monitor
                WHERE id = $1 AND due_unix_ms = $2";
            let found = sql.query_one(found, &[&id, &due]).await.unwrap();
            assert_eq!(found.get::<_, i64>(0), 1, "{id} at {due} was shown");
        }
        let bare = "status WHERE outcome IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM history WHERE history.monitor = status.monitor)";
        assert_eq!(count(&sql, bare).await, 0);
    }
    let url = server.url();
    let report = process::run(&["doctor", "--database", &url]);
    assert_eq!(process::stdout(&report), "nothing is wrong\n");
    assert_eq!(report.status.code(), Some(0));
    end(start(&server, &monitors));
}

/// A second daemon on the same database is told who has it. The doctor may look meanwhile, and says
/// what is wrong, as a table and as JSON, with exit code 1.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_is_refused_and_the_doctor_is_not() {
    let server = Postgres::start().unwrap();
    let served = start(&server, BYSTANDER);
    let path = served.folder.path().join("monitord.toml");
    let path = path.to_str().unwrap();
    let second = process::run(&["run", "--config", path]);
    let said = process::stderr(&second);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(
        said.contains("has it open") && said.contains("monitord on "),
        "{said}"
    );
    silent(&said);

    let sql = sql(&server).await;
    sql.batch_execute("INSERT INTO grave VALUES ('bystander', 9000)")
        .await
        .unwrap();
    let report = process::run(&["doctor", "--config", path]);
    let said = process::stdout(&report);
    assert_eq!(report.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("epoch  monitor \"bystander\"  its epoch is "),
        "{said}"
    );
    let report = process::run(&["doctor", "--config", path, "--json"]);
    let json: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(json[0]["kind"], "epoch");
    assert_eq!(report.status.code(), Some(1));
    end(served);
}

/// S2: taken over, it can write nothing any more, says so, and ends by itself with code 1.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_7_a_daemon_that_was_taken_over_ends() {
    let server = Postgres::start().unwrap();
    let target = Target::healthy().await.unwrap();
    let monitors = format!(
        "[[monitor]]\nid = \"a\"\nurl = {:?}\ninterval = \"1s\"\n",
        target.url()
    );
    let served = start(&server, &monitors);
    served.stream().await.result("a", "up").await;
    let sql = sql(&server).await;
    let take = "UPDATE owner SET epoch = epoch + 1, name = 'another daemon'";
    sql.batch_execute(take).await.unwrap();
    let before = count(&sql, "history").await;
    let (status, said) = served.process.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("another daemon") && said.contains("has taken the store over"),
        "{said}"
    );
    assert_eq!(count(&sql, "history").await, before);
    silent(&said);
}

/// OPS-19: the database goes away while a result is on its way to it, and comes back: the result is
/// stored then, once, and what was due meanwhile is on record as missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_costs_no_result() {
    let mut server = Postgres::start().unwrap();
    let target = Target::healthy().await.unwrap();
    let monitors = format!(
        "[[monitor]]\nid = \"a\"\nurl = {:?}\ninterval = \"1s\"\n",
        target.url()
    );
    let served = start(&server, &monitors);
    let mut stream = served.stream().await;
    stream.result("a", "up").await;
    server.stop(Shutdown::Immediate).unwrap();
    let seen = target.seen().requests;
    target.until(|now| now.requests > seen).await;
    server.start_again().unwrap();
    for _ in 0..2 {
        stream.result("a", "up").await;
    }
    end(served);
    let sql = sql(&server).await;
    let doubles = "(SELECT operation FROM history WHERE operation IS NOT NULL
        GROUP BY operation HAVING count(*) > 1) AS doubled";
    assert_eq!(count(&sql, doubles).await, 0);
    let seen = i64::try_from(target.seen().requests).unwrap();
    let written = count(&sql, "history WHERE operation IS NOT NULL").await;
    assert!(
        written == seen || written + 1 == seen,
        "{written} of {seen} checks are on record"
    );
}

/// What is wrong with the place of the results is told with file and line, and never quoted.
#[test]
fn a_database_that_cannot_be_is_told_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = "[[monitor]]\nid = \"a\"\ntcp = \"127.0.0.1:9\"\n";
    for (lines, problem) in [
        (
            "database = \"postgres://u:hun@ter2@h/d\"",
            "has to be written as %40",
        ),
        (
            "path = \"postgres://u:hunter2@h/d\"",
            "a URL goes into store.database",
        ),
        (
            "database = \"postgres://u:hunter2@h/d\"\nmax_size_mb = 7",
            "limits a file, and the database is one of a server",
        ),
        ("path = \"a\"\ndatabase = \"b\"", "store.path does already"),
    ] {
        let path = config(folder.path(), &format!("[store]\n{lines}\n{monitor}"));
        let refused = process::run(&["run", "--config", &path]);
        let said = process::stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(
            said.contains(problem) && said.contains("monitord.toml:"),
            "{said}"
        );
        assert!(
            !said.contains("hunter2") && !said.contains("ter2"),
            "{said}"
        );
    }
    let path = config(folder.path(), monitor);
    let refused = process::run(&[
        "run",
        "--config",
        &path,
        "--database",
        "postgres://u:hunter2@h",
    ]);
    let said = process::stderr(&refused);
    assert!(
        said.contains("--database") && !said.contains("hunter2"),
        "{said}"
    );
}

/// The daemon's own jobs are beside its results, each with a schema of its own; `monitord jobs`
/// finds them by the configuration, and the end leaves no worker behind.
#[tokio::test]
async fn its_own_jobs_are_in_the_same_database() {
    let server = Postgres::start().unwrap();
    let doctor = "[doctor]\nschedule = \"0 3 1 1 *\"\n";
    let mut served = start(&server, &format!("{doctor}{BYSTANDER}"));
    let config = server.url().parse().unwrap();
    let jobs = PgJobs::connect(config, PgOptions::default()).await.unwrap();
    let job = NewJob::new("doctor", Payload::default()).queue("monitord");
    let id = jobs.enqueue(&[job]).await.unwrap()[0].id();
    let done = served.process.until("job done");
    assert!(done.contains("nothing is wrong"), "{done}");
    while served
        .metric("jobs{queue=\"monitord\",state=\"completed\"}")
        .await
        < 1.0
    {
        tokio::task::yield_now().await;
    }
    // Counted by the worker a moment after the database has it.
    let settled = "jobs_settled_total{outcome=\"completed\"}";
    while served.metric(settled).await != 1.0 {
        tokio::task::yield_now().await;
    }
    let file = served.folder.path().join("monitord.toml");
    let file = file.to_str().unwrap();
    let listed = run(&["jobs", "list", "--json", "--config", file]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["kind"]),
        (&json!(id.0), &json!("doctor"))
    );
    jobs.close().await.unwrap();
    end(served);
    let sql = sql(&server).await;
    assert_eq!(count(&sql, "schema_version").await, 2);
    assert_eq!(count(&sql, "job_worker WHERE retired_ms IS NULL").await, 0);
}
