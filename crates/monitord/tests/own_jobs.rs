//! The daemon's own jobs through the real binary: copies and looks for defects on a schedule, what
//! is shown of them, and what becomes of them when something fails.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod process;
mod served;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use common::end_next;
use monitor_jobs::{Backend, JobId, NewJob, Outcome, Payload, SqliteJobs, SqliteOptions};
use monitor_model::Store;
use monitor_store::{Options, SqliteStore};
use monitor_testkit::services::check_metrics;
use monitor_testkit::targets::{Refusing, Target};
use process::{run, stderr, stdout};
use rustix::process::Signal;
use serde_json::{Value, json};
use served::{Served, file_monitor};
use tempfile::TempDir;

const QUEUE: &str = "monitord";
/// A monitor of no interest.
const DOWN: &str = "[[monitor]]\nid = \"a\"\ntcp = \"127.0.0.1:1\"\ninterval = \"1d\"\n";

fn jobs_file(folder: &TempDir) -> PathBuf {
    folder.path().join("monitord.jobs.db")
}

fn open(folder: &TempDir) -> SqliteJobs {
    SqliteJobs::open(&SqliteOptions::new(jobs_file(folder))).unwrap()
}

fn new(kind: &str) -> NewJob {
    NewJob::new(kind, Payload::default()).queue(QUEUE)
}

/// A folder in which a daemon ran until two days ago: then the schedule of `kind` ticked last.
async fn two_days_ago(kind: &str) -> (TempDir, JobId) {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(&folder);
    let tick = jobs.now_unix_ms().await.unwrap() - 2 * 86_400_000;
    let name = format!("{QUEUE}.{kind}");
    let job = jobs.tick(&name, tick, &new(kind)).await.unwrap().unwrap();
    assert_eq!(jobs.cancel(job).await.unwrap(), Some(true));
    jobs.close().await.unwrap();
    (folder, job)
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn monitord_jobs(arguments: &[&str]) -> String {
    let output = run(&[&["jobs"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

/// What `/health` says of the jobs of that kind, as soon as `wanted` holds for it.
async fn health(served: &Served, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let health = served.json("/health?verbose").await;
        let jobs = health["jobs"].as_array().unwrap();
        let found = jobs.iter().find(|job| job["kind"] == kind).unwrap();
        if wanted(found) {
            return found.clone();
        }
        tokio::task::yield_now().await;
    }
}

/// Waits until the worker has counted one end of that kind: a moment after the database has it.
async fn until_counted(served: &Served, outcome: &str) {
    let settled = format!("jobs_settled_total{{outcome=\"{outcome}\"}}");
    while served.metric(&settled).await != 1.0 {
        tokio::task::yield_now().await;
    }
}

fn is_completed(job: &Value) -> bool {
    job["last"]["state"] == "completed"
}

/// JOB-42, JOB-43: a copy that was due while no daemon ran is made at the start, once; the oldest
/// give way; it is listed, shown in `/health` and counted; it can be opened; the end leaves no
/// worker behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_42_43_a_missed_copy_is_made_at_the_start() {
    let target = Target::healthy().await.unwrap();
    let (folder, earlier) = two_days_ago("backup").await;
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let old = [
        "monitord-20260101T030000Z.db",
        "monitord-20260102T030000Z.db",
    ];
    for name in [old[0], old[1], "monitord-mine.db"] {
        fs::write(copies.join(name), "old").unwrap();
    }
    let config = format!(
        "[backup]\nschedule = \"0 3 * * *\"\nfolder = \"copies\"\nkeep = 2\n{}",
        file_monitor("web", &target)
    );
    let mut served = Served::within(folder, "127.0.0.1:0", &config);
    let done = served.process.until_said("job done");
    assert!(done.contains("1 older removed"), "{done}");
    let shown = health(&served, "backup", is_completed).await;
    assert_eq!(shown["healthy"], true);
    assert_eq!(shown["schedule"], "0 3 * * *");
    assert!(shown["next_unix_ms"].as_i64() > shown["last"]["ended_unix_ms"].as_i64());
    let made = shown["last"]["result"]["file"].as_str().unwrap();
    let made = Path::new(made).to_owned();
    let name = made.file_name().unwrap().to_str().unwrap();
    assert_eq!(files(&copies), [old[1], name, "monitord-mine.db"]);

    until_counted(&served, "completed").await;
    let metrics = served.text("/metrics").await;
    check_metrics(&metrics).unwrap();
    for series in [
        "jobs_registrations_total{result=\"ok\"} 1",
        "jobs_claimed_total 1",
        "jobs_settled_total{outcome=\"completed\"} 1",
        "jobs_cascade_seconds_count 1",
        "jobs_cascade_seconds_bucket{le=\"+Inf\"} 1",
        "jobs_released_later_total 0",
        "jobs{queue=\"monitord\",state=\"completed\"} 1",
    ] {
        let is_there = metrics.lines().any(|line| line == series);
        assert!(is_there, "{series} is not in:\n{metrics}");
    }
    let when = "jobs_last_completed_timestamp_seconds{kind=\"backup\"}";
    assert!(served.metric(when).await > 1e9);

    let config = served.folder.path().join("monitord.toml");
    let results = served.folder.path().join("monitord.db");
    let [config, results] = [&config, &results].map(|path| path.to_str().unwrap());
    let by_config = monitord_jobs(&["list", "--json", "--config", config]);
    let by_results = monitord_jobs(&["--database", results, "list", "--json"]);
    assert_eq!(by_config, by_results);
    let listed: Value = serde_json::from_str(&by_config).unwrap();
    let listed = listed.as_array().unwrap();
    assert_eq!(
        listed.len(),
        2,
        "one tick of two that were missed: {by_config}"
    );
    assert_eq!(listed[0]["id"], earlier.0);
    assert_eq!(listed[0]["state"], "cancelled");
    assert_eq!(
        (&listed[1]["kind"], &listed[1]["attempt"]),
        (&json!("backup"), &json!(1))
    );
    assert!(monitord_jobs(&["workers", "-c", config]).contains("idle"));
    monitord_jobs(&["doctor", "-c", config]);

    served.process.signal(Signal::TERM);
    let (status, said) = served.process.end();
    assert_eq!(status.code(), Some(0), "{said}");
    let left = files(served.folder.path());
    assert!(!left.iter().any(|name| name.ends_with("-wal")), "{left:?}");
    let workers = monitord_jobs(&["workers", "-c", config]);
    assert_eq!(workers, "no worker is registered\n");
    let copy = SqliteStore::open(Options::new(&made)).unwrap();
    let loaded = copy.load().await.unwrap();
    assert_eq!(loaded.monitors[0].monitor.id.as_str(), "web");
}

/// JOB-26, JOB-37: a copy that cannot be made is told in the log, in `/health`, in the metrics and
/// by `show`, is made again later, and harms nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_fails_is_seen_everywhere_and_harms_nothing() {
    let target = Target::healthy().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let config = format!(
        "[backup]\nschedule = \"0 3 1 1 *\"\nfolder = \"copies\"\n{}",
        file_monitor("web", &target)
    );
    let mut served = Served::within(folder, "127.0.0.1:0", &config);
    fs::remove_dir(&copies).unwrap();
    let jobs = open(&served.folder);
    let id = jobs.enqueue(&[new("backup")]).await.unwrap()[0].id();
    let failed = served.process.until("job failed");
    assert!(failed.contains("create it first"), "{failed}");
    let shown = health(&served, "backup", |job| job["last"]["state"] == "scheduled").await;
    let problem = shown["problem"].as_str().unwrap();
    let expected = format!("backup: attempt 1 of 3 of job {id} failed: ");
    assert!(problem.starts_with(&expected), "{problem}");
    until_counted(&served, "failed").await;
    // What a look has seen is shown before the look is over.
    let task = loop {
        let health = served.json("/health").await;
        let tasks = health["tasks"].as_array().unwrap();
        let task = tasks.iter().find(|task| task["name"] == "jobs").unwrap();
        if task["healthy"] == false {
            break task.clone();
        }
        tokio::task::yield_now().await;
    };
    assert!(task["last"].as_str().unwrap().contains(&expected), "{task}");
    let unhealthy = "health_check_failures_total{component=\"jobs\",kind=\"unhealthy\"}";
    assert!(served.metric(unhealthy).await >= 1.0);
    let mut stream = served.stream().await;
    stream.result("web", "up").await;
    assert_eq!(
        served.get("/health").await.status(),
        200,
        "the targets are well"
    );
    assert_eq!(served.get("/readyz").await.status(), 200);
    let file = jobs_file(&served.folder);
    let file = file.to_str().unwrap();
    let shown = monitord_jobs(&["--database", file, "show", &id.to_string()]);
    assert!(
        shown.contains("create it first") && shown.contains("due"),
        "{shown}"
    );
    jobs.close().await.unwrap();
}

/// STB-17, JOB-40: a copy that is being made when the process is told to end is given up in time:
/// nothing of it is left, its job is handed back, and is done after the next start, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_40_a_copy_that_the_end_interrupts_is_made_after_the_next_start() {
    let (folder, _) = two_days_ago("backup").await;
    let jobs = jobs_file(&folder).to_str().unwrap().to_owned();
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let results = folder.path().join("monitord.db");
    let store = SqliteStore::open(Options::new(&results)).unwrap();
    store.close().await.unwrap();
    let small = fs::read(&results).unwrap();
    make_endless(&results);
    let config = format!("[backup]\nschedule = \"0 3 * * *\"\nfolder = \"copies\"\n{DOWN}");

    let Served {
        process, folder, ..
    } = Served::within(folder, "127.0.0.1:0", &config);
    while !files(&copies).iter().any(|name| name.ends_with(".partial")) {
        tokio::task::yield_now().await;
    }
    process.signal(Signal::TERM);
    let (status, said) = process.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("a job was handed back"), "{said}");
    for late in ["did not end in time", "not closed in time", "job failed"] {
        assert!(!said.contains(late), "{late}: {said}");
    }
    assert_eq!(files(&copies), [] as [&str; 0], "neither whole nor in part");
    assert_eq!(
        states(&jobs),
        [json!(["cancelled", 0]), json!(["ready", 0])]
    );

    fs::write(&results, small).unwrap();
    let mut served = Served::within(folder, "127.0.0.1:0", &config);
    served.process.until_said("job done");
    served.process.signal(Signal::TERM);
    let (status, said) = served.process.end();
    assert_eq!(status.code(), Some(0), "{said}");
    let made = files(&copies);
    assert_eq!(made.len(), 1, "{made:?}");
    let copy = SqliteStore::open(Options::new(copies.join(&made[0]))).unwrap();
    copy.load().await.unwrap();
    assert_eq!(
        states(&jobs),
        [json!(["cancelled", 0]), json!(["completed", 1])]
    );
}

/// The state and the attempts of each job of that file.
fn states(file: &str) -> Vec<Value> {
    let listed: Value =
        serde_json::from_str(&monitord_jobs(&["--database", file, "list", "--json"])).unwrap();
    let jobs = listed.as_array().unwrap().iter();
    jobs.map(|job| json!([job["state"], job["attempt"]]))
        .collect()
}

/// Makes a database look like one of a quarter of a TiB. The rest is a hole, which takes no room and
/// is not copied within any test.
fn make_endless(database: &Path) {
    const PAGE: u64 = 4096;
    const PAGES: u32 = 1 << 26;
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .open(database)
        .unwrap();
    file.set_len(u64::from(PAGES) * PAGE).unwrap();
    // Where the header has the number of pages.
    file.seek(SeekFrom::Start(28)).unwrap();
    file.write_all(&PAGES.to_be_bytes()).unwrap();
}

/// JOB-44: claims that another writer of the file keeps from it are repeated, and each repetition is
/// in the metrics: those that came to nothing, and those after which the claim succeeded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_44_conflicts_and_recoveries_are_in_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[doctor]\nschedule = \"0 3 1 1 *\"\n{DOWN}");
    let log = "info,monitor_jobs=debug";
    let mut served = Served::logging(folder, "127.0.0.1:0", &config, log);
    let jobs = open(&served.folder);
    let other = rusqlite::Connection::open(jobs_file(&served.folder)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The claim that is given up is one more than its repetitions.
    let lost = 1 + repeated_until(&mut served, "nothing can be claimed");
    let mut recovered = 0;
    served.process.until("a claim is repeated");
    recovered += 1;
    other.execute_batch("ROLLBACK").unwrap();
    jobs.enqueue(&[new("doctor")]).await.unwrap();
    recovered += repeated_until(&mut served, "job done");

    let metrics = served.text("/metrics").await;
    check_metrics(&metrics).unwrap();
    for (is_recovered, count) in [(false, lost), (true, recovered)] {
        let series =
            format!("claim_conflicts_total{{kind=\"store\",recovered=\"{is_recovered}\"}} {count}");
        let is_there = metrics.lines().any(|line| line == series);
        assert!(is_there, "{series} is not in:\n{metrics}");
    }
    jobs.close().await.unwrap();
}

/// How many claims are repeated before that is said.
fn repeated_until(served: &mut Served, end: &str) -> u32 {
    let mut repeated = 0;
    loop {
        let line = served.process.until("");
        if line.contains(end) {
            return repeated;
        }
        repeated += u32::from(line.contains("a claim is repeated"));
    }
}

/// JOB-45: by how much jobs became slower, as the last look for defects found against its stored
/// baseline, is a figure in the metrics; slow is no defect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_45_a_slow_down_is_a_figure_in_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(&folder);
    jobs.enqueue(&[new("doctor")]).await.unwrap();
    let samples = json!({ "count": 1000, "mean": 0.002, "squares": 0.001 });
    let seconds = json!({ "claim": samples, "settle": samples });
    let result = json!({
        "defects": 0, "findings": [], "seconds": seconds, "slower": { "claim": 0.32 },
    });
    let result = Some(Payload::of(&result).unwrap());
    let worker = end_next(&jobs, "yesterday", QUEUE, Outcome::Complete { result }).await;
    assert!(jobs.deregister(worker).await.unwrap());
    jobs.close().await.unwrap();
    let config = format!("[doctor]\nschedule = \"0 3 1 1 *\"\n{DOWN}");
    let served = Served::within(folder, "127.0.0.1:0", &config);
    let shown = health(&served, "doctor", is_completed).await;
    assert_eq!(shown["healthy"], true);
    let metrics = served.text("/metrics").await;
    check_metrics(&metrics).unwrap();
    for (operation, ratio) in [("claim", "0.32"), ("settle", "0.0")] {
        let series = format!("jobs_regression_ratio{{operation=\"{operation}\"}} {ratio}");
        assert!(
            metrics.lines().any(|line| line == series),
            "{series}: {metrics}"
        );
    }
}

/// STB-12: a due time for which no job can be put in is not passed over in silence: it is shown until
/// the job is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_stands_still_is_shown() {
    let (folder, _) = two_days_ago("doctor").await;
    let jobs = rusqlite::Connection::open(jobs_file(&folder)).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON job
                  BEGIN SELECT RAISE(ABORT, 'not now'); END";
    jobs.execute_batch(refuse).unwrap();
    let config = format!("[doctor]\nschedule = \"0 3 * * *\"\n{DOWN}");
    let served = Served::within(folder, "127.0.0.1:0", &config);
    let shown = health(&served, "doctor", |job| job["healthy"] == false).await;
    let problem = shown["problem"].as_str().unwrap();
    assert!(problem.starts_with("doctor: was due at 20"), "{problem}");
    assert!(problem.contains("T03:00:00Z, and no job"), "{problem}");
    jobs.execute_batch("DROP TRIGGER refuse").unwrap();
    let shown = health(&served, "doctor", is_completed).await;
    assert_eq!(shown["problem"], Value::Null);
}

/// What a look for defects finds is logged and shown, until a later look finds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_defect_is_shown_until_it_is_mended() {
    let refusing = Refusing::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[doctor]\nschedule = \"0 3 1 1 *\"\n\
         [[monitor]]\nid = \"gone\"\ntcp = \"{}\"\ninterval = \"1d\"\n",
        refusing.addr()
    );
    let mut served = Served::within(folder, "127.0.0.1:0", &config);
    let mut stream = served.stream().await;
    served.act("gone", "trigger").await;
    stream.result("gone", "down").await;
    // Nobody looks again, and opens another incident.
    served.act("gone", "pause").await;
    let results = served.folder.path().join("monitord.db");
    let results = rusqlite::Connection::open(results).unwrap();
    let jobs = open(&served.folder);
    let spoil = "UPDATE incident SET closed_unix_ms = 1, closed_by = 'recovery'";
    assert_eq!(results.execute(spoil, []).unwrap(), 1);
    jobs.enqueue(&[new("doctor")]).await.unwrap();
    let defect = served.process.until("\"defect\"");
    assert!(defect.contains("no incident is open"), "{defect}");
    let shown = health(&served, "doctor", is_completed).await;
    let problem = shown["problem"].as_str().unwrap();
    assert!(problem.contains("found 1 defect: "), "{problem}");
    assert_eq!(shown["last"]["result"]["defects"], 1);
    let mend = "UPDATE incident SET closed_unix_ms = NULL, closed_by = NULL";
    assert_eq!(results.execute(mend, []).unwrap(), 1);
    let id = jobs.enqueue(&[new("doctor")]).await.unwrap()[0].id();
    let is_later = |job: &Value| is_completed(job) && job["last"]["job"] == id.0;
    let shown = health(&served, "doctor", is_later).await;
    assert_eq!(shown["problem"], Value::Null);
    jobs.close().await.unwrap();
}

/// Nothing is started when there is no folder for the copies; and without a schedule there are no
/// jobs at all.
#[test]
fn a_folder_that_is_missing_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{DOWN}[backup]\nschedule = \"@daily\"\nfolder = \"copies\"\n");
    let path = process::config(folder.path(), &text);
    let output = run(&["run", "--config", &path, "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("copies; create it first"), "{said}");
    assert_eq!(files(folder.path()), ["monitord.toml"]);
    let output = run(&["jobs", "list", "--config", &path]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("[backup] or [doctor]"), "{said}");

    let served = Served::start(DOWN);
    assert!(!jobs_file(&served.folder).exists());
}
