//! What the guides show is true: configurations are valid, commands say what is quoted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use monitor_jobs::{
    Backend, ClaimRequest, Clock, Edge, JobId, JobState, NewJob, Outcome, Parent, Payload, PgJobs,
    PgOptions, Priority, Register, Settle, SqliteJobs, SqliteOptions, StoreErrorKind, When,
    WorkerId, WorkerPulse, WorkerState,
};
use monitor_pool::managers::postgres::tokio_postgres::{Client, Config as PgConfig, NoTls};
use monitor_testkit::services::Postgres;
use monitord::cli::Cli;
use monitord::config::{Config, Overrides};

/// The guides with their texts.
fn guides() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let entries = fs::read_dir(&folder).unwrap();
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    entries.map(|entry| read(entry.unwrap().path())).collect()
}

fn guide(name: &str) -> String {
    let named = |(path, _): &(PathBuf, String)| path.file_name().is_some_and(|file| file == name);
    guides().into_iter().find(named).unwrap().1
}

/// The fenced blocks of that language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

/// Every block of TOML in every guide is a configuration that the daemon takes as it stands.
#[test]
fn what_the_guides_show_is_valid() {
    let mut shown = 0;
    for (path, text) in guides() {
        for block in blocks(&text, "toml") {
            let read = Config::parse(&path, block.as_bytes(), &Overrides::default(), |_| None);
            if let Err(report) = read {
                panic!("{}: {report}\n{block}", path.display());
            }
            shown += 1;
        }
    }
    assert!(shown > 0);
}

/// JOB-55: the sessions in the guides, run one after the other on a file made for the guide, say
/// what is quoted; spaces and times apart.
#[tokio::test]
async fn job_55_what_the_guides_run_says_what_they_show() {
    let (mut commands, mut differences) = (0, Vec::new());
    for (path, text) in guides() {
        let folder = tempfile::tempdir().unwrap();
        let scene = Scene::new(&folder.path().join("jobs.sqlite"));
        match path.file_stem().unwrap().to_str().unwrap() {
            "priority-inheritance" => scene.urgent().await,
            "jobs-troubleshooting" => scene.troubled().await,
            _ => scene.plain().await,
        }
        for session in blocks(&text, "console") {
            for step in format!("\n{session}").split("\n$ ").skip(1) {
                let (command, shown) = step.split_once('\n').unwrap_or((step, ""));
                let said = shell(folder.path(), command);
                if plain_words(&said) != plain_words(shown) {
                    let guide = path.display();
                    differences.push(format!("{guide} should show:\n$ {command}\n{said}"));
                }
                commands += 1;
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(commands > 0);
}

/// JOB-55: the commands that the text of a guide speaks of exist, with these arguments.
#[test]
fn job_55_the_commands_that_the_guides_name_exist() {
    let mut named = 0;
    for (path, text) in guides() {
        for line in text.lines() {
            let quoted = line.split('`').skip(1).step_by(2);
            for command in quoted.filter(|code| code.starts_with("monitord jobs ")) {
                let words = command.split_whitespace().map(|word| match word {
                    "ID" => "1",
                    word => word,
                });
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{}: {command}: {error}", path.display());
                }
                named += 1;
            }
        }
    }
    assert!(named > 0);
}

/// JOB-55: each metric that a guide names is one that the crate or the daemon documents, or one
/// that an example of the same guide writes.
#[test]
fn job_55_the_metrics_that_the_guides_name_exist() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documented = ["../monitor-jobs/src/stats.rs", "README.md"];
    let documented = documented.map(|path| fs::read_to_string(here.join(path)).unwrap());
    let documented = documented.concat();
    let mut named = 0;
    for (path, text) in guides() {
        let code = blocks(&text, "rust").concat();
        let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        for name in text.split(|letter| !is_part(letter)) {
            let ours = name.starts_with("jobs_") || name.starts_with("claim_conflicts");
            let ending = ["_total", "_seconds"].iter().any(|end| name.ends_with(end));
            if ours && ending {
                let known = documented.contains(name) || code.contains(name);
                assert!(known, "{}: {name}", path.display());
                named += 1;
            }
        }
    }
    assert!(named > 0);
}

/// JOB-55: the alerts of the runbook are rules that Prometheus takes.
#[test]
fn job_55_the_alerts_of_the_runbook_are_rules() {
    let text = guide("jobs-runbook.md");
    let rules = blocks(&text, "yaml").concat();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yml"), &rules).unwrap();
    let said = shell(folder.path(), "promtool check rules rules.yml");
    assert!(said.contains("SUCCESS"), "{said}");
    let alerts = rules.lines().filter_map(|line| line.split_once("alert: "));
    for (_, alert) in alerts {
        assert!(text.contains(&format!("| `{alert}` |")), "{alert}");
    }
}

/// JOB-53, JOB-55: the copy that the runbook makes, put back as it says, holds the jobs.
#[tokio::test]
async fn job_53_what_the_runbook_copies_can_be_put_back() {
    let text = guide("jobs-runbook.md");
    let copy = text
        .lines()
        .find(|line| line.starts_with("VACUUM INTO"))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.sqlite");
    let scene = Scene::new(&path);
    let [first, ..] = scene.put([new("mail"), new("mail")]).await;
    let live = rusqlite::Connection::open(&path).unwrap();
    let backup = folder.path().join("backup.sqlite");
    let copy = copy.replace("backup.sqlite", backup.to_str().unwrap());
    live.execute_batch(&copy).unwrap();
    drop(live);
    assert_eq!(scene.jobs.cancel(first).await.unwrap(), Some(true));
    scene.jobs.close().await.unwrap();

    for file in ["jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm"] {
        let file = folder.path().join(file);
        if file.exists() {
            fs::remove_file(file).unwrap();
        }
    }
    fs::copy(&backup, &path).unwrap();
    let restored = SqliteJobs::open(&SqliteOptions::new(&path)).unwrap();
    let job = restored.job(first).await.unwrap().unwrap();
    assert_eq!(job.state, JobState::Ready);
    let broken = restored.doctor().await.unwrap();
    assert!(broken.iter().all(|finding| !finding.broken), "{broken:?}");
}

/// JOB-55: the roles of the runbook suffice: one that makes the tables, one that works with them.
#[tokio::test]
async fn job_55_the_roles_of_the_runbook_suffice() {
    let server = Postgres::start().unwrap();
    let admin = session(&server.url()).await;
    let text = guide("jobs-runbook.md");
    let [roles, watch, version] = blocks(&text, "sql")[..] else {
        panic!("the blocks of SQL have changed: say here what each is");
    };
    admin.batch_execute(roles).await.unwrap();
    let mut config: PgConfig = server.url().parse().unwrap();
    config.user("jobs_app").password("change-me-too");
    let quiet = PgOptions::default();
    let early = PgJobs::connect(config.clone(), quiet.clone()).await;
    assert_eq!(early.unwrap_err().kind, StoreErrorKind::Denied);

    config.user("jobs_owner").password("change-me");
    let owner = PgJobs::connect(config.clone(), quiet.clone())
        .await
        .unwrap();
    owner.close().await.unwrap();
    config.user("jobs_app").password("change-me-too");
    let jobs = PgJobs::connect(config, quiet).await.unwrap();
    let parent = jobs.enqueue(&[new("mail")]).await.unwrap()[0].id();
    let child = new("mail").after(parent).unique_key("once");
    jobs.enqueue(&[child]).await.unwrap();
    let worker = jobs
        .register(&register("host-1", "default", 5))
        .await
        .unwrap();
    let claim = claim_as(&jobs, worker).await;
    assert!(jobs.beat(worker).await.unwrap().is_some());
    let outcome = Outcome::Complete { result: None };
    let (job, epoch) = (claim[0].0, claim[0].1);
    let end = [Settle {
        job,
        epoch,
        outcome,
    }];
    jobs.settle(worker, &end).await.unwrap();
    jobs.set_paused("default", true).await.unwrap();
    jobs.prune(Duration::ZERO, 10).await.unwrap();
    assert!(jobs.deregister(worker).await.unwrap());

    // A session that looks at an old state of the database is named to this role, too.
    let pinning = session(&server.url()).await;
    let pin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    pinning.batch_execute(pin).await.unwrap();
    let burn = "DO $$ BEGIN FOR i IN 1..10100 LOOP
        PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    admin.batch_execute(burn).await.unwrap();
    let found = jobs.doctor().await.unwrap();
    let pinned = found
        .iter()
        .find(|finding| finding.check == "pinned_horizon");
    let what = &pinned.unwrap().what;
    assert!(what.contains("SELECT 1"), "{what}");
    let troubles = guide("jobs-troubleshooting.md");
    let quoted = blocks(&troubles, "text").concat();
    let (before, after) = (
        " holds back the removal of dead rows since ",
        what.split("): end").last(),
    );
    for words in [before, after.unwrap()] {
        assert!(what.contains(words) && quoted.contains(words), "{what}");
    }
    admin.batch_execute("SET search_path = jobs").await.unwrap();
    admin.batch_execute(watch).await.unwrap();
    let version = admin.query_one(version.trim(), &[]).await.unwrap();
    assert_eq!(version.get::<_, i64>(0), 1);
}

async fn session(url: &str) -> Client {
    let config: PgConfig = url.parse().unwrap();
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What a command says, in that folder, with the `monitord` that was just built.
fn shell(folder: &Path, command: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_monitord"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let said = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .env("PATH", path)
        .output()
        .unwrap();
    let said = [said.stdout, said.stderr].concat();
    String::from_utf8(said).unwrap()
}

/// The words of a text, with one word in place of each time such as `2 h 3 min`.
fn plain_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let is_number = |word: &&str| word.parse::<u64>().is_ok();
        let is_unit = ["ms", "s", "min", "h", "d"].contains(&word);
        if is_unit && words.last().is_some_and(is_number) {
            words.pop();
            if words.last() != Some(&"TIME") {
                words.push("TIME");
            }
        } else {
            words.push(word);
        }
    }
    words
}

fn new(kind: &str) -> NewJob {
    NewJob::new(kind, Payload::default())
}

fn register(name: &str, queue: &str, capacity: u32) -> Register {
    Register {
        name: name.to_owned(),
        queues: vec![queue.to_owned()],
        capacity,
        // Longer than it takes to run what a guide shows.
        lease: Duration::from_secs(3600),
    }
}

async fn claim_as(jobs: &dyn Backend, worker: WorkerId) -> Vec<(JobId, monitor_jobs::Epoch)> {
    let request = ClaimRequest {
        worker,
        limit: 1,
        history: true,
    };
    let claim = jobs.claim(&request).await.unwrap();
    claim.jobs.iter().map(|job| (job.id, job.epoch)).collect()
}

/// A file of jobs that a guide speaks of, and the clock by which it came to be.
struct Scene {
    jobs: SqliteJobs,
    clock: Arc<AtomicI64>,
}

impl Scene {
    /// An empty one, two hours ago.
    fn new(path: &Path) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_millis()).unwrap();
        let clock = Arc::new(AtomicI64::new(now - 7_200_000));
        let options = SqliteOptions {
            clock: Clock::new({
                let clock = Arc::clone(&clock);
                move || clock.load(Ordering::SeqCst)
            }),
            ..SqliteOptions::new(path)
        };
        let jobs = SqliteJobs::open(&options).unwrap();
        Self { jobs, clock }
    }

    async fn put<const N: usize>(&self, jobs: [NewJob; N]) -> [JobId; N] {
        let put = self.jobs.enqueue(&jobs).await.unwrap();
        let ids: Vec<JobId> = put.iter().map(|job| job.id()).collect();
        ids.try_into().unwrap()
    }

    /// A new worker that claimed one job of that queue.
    async fn claimed(&self, name: &str, queue: &str) -> (WorkerId, JobId, monitor_jobs::Epoch) {
        let worker = self.jobs.register(&register(name, queue, 1)).await.unwrap();
        let claim = claim_as(&self.jobs, worker).await;
        (worker, claim[0].0, claim[0].1)
    }

    /// One job of no interest.
    async fn plain(&self) {
        self.put([new("mail")]).await;
        self.jobs.close().await.unwrap();
    }

    /// An urgent report that waits for idle work.
    async fn urgent(&self) {
        let low = |kind| new(kind).priority(Priority::MIN);
        let report = low("report").priority(Priority::MAX);
        self.put([
            low("extract"),
            report.after(Parent::Earlier(0)),
            low("mail").after(Parent::Earlier(1)),
            low("archive").after(Parent::Earlier(0)),
            low("log").after(Parent::Earlier(1)).inherit_priority(false),
        ])
        .await;
        self.jobs.close().await.unwrap();
    }

    /// Whatever can stand still.
    async fn troubled(&self) {
        let import = new("import").max_attempts(1);
        let report = new("report").edge(Edge::success(Parent::Earlier(0)));
        self.put([import, report]).await;
        let (worker, job, epoch) = self.claimed("host-1", "default").await;
        let outcome = Outcome::Fail {
            error: "the relay said 550".to_owned(),
            retry_in: None,
        };
        let end = [Settle {
            job,
            epoch,
            outcome,
        }];
        self.jobs.settle(worker, &end).await.unwrap();
        self.jobs.deregister(worker).await.unwrap();

        self.put([new("resize").queue("images")]).await;
        for _ in 0..3 {
            self.clock.fetch_add(60_000, Ordering::SeqCst);
            let (worker, ..) = self.claimed("host-2", "images").await;
            let pulse = WorkerPulse {
                worker,
                beats: 0,
                lease: Duration::from_secs(30),
            };
            self.clock.fetch_add(45_000, Ordering::SeqCst);
            assert!(self.jobs.rescue(&pulse, 10).await.unwrap().retired);
        }

        let day = Duration::from_secs(86_400);
        self.put([
            new("newsletter").queue("mail"),
            new("transcode").queue("media"),
            new("invoice").when(When::In(day)),
            new("index"),
            new("index"),
        ])
        .await;
        self.jobs.set_paused("mail", true).await.unwrap();
        self.clock.fetch_add(6_880_000, Ordering::SeqCst);
        self.claimed("host-3", "default").await;
        for (name, queue) in [("host-4", "default"), ("host-5", "default")] {
            self.jobs.register(&register(name, queue, 5)).await.unwrap();
        }
        let workers = self.jobs.workers().await.unwrap();
        let named = |name: &str| {
            workers
                .iter()
                .find(|worker| worker.name == name)
                .unwrap()
                .id
        };
        assert!(self.jobs.drain(named("host-4")).await.unwrap());
        let failing = WorkerState::Failing;
        assert!(
            self.jobs
                .set_health(named("host-5"), failing)
                .await
                .unwrap()
        );
        self.jobs.close().await.unwrap();
    }
}
