//! Eight worker processes on one file, killed at random instants: every job is completed once,
//! with its effect, and nothing is lost.
//!
//! The test starts itself as those processes. `MONITOR_JOBS_KILLS` sets how many are killed,
//! `MONITOR_JOBS_SEED` repeats the choice of whom and when, as far as processes can be repeated.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use monitor_jobs::rusqlite::Connection;
use monitor_jobs::{
    Backend, ClaimRequest, Claimed, JobId, Jobs, NewJob, Outcome, Parent, Payload, Register,
    Settle, Settled, SqliteJobs, SqliteOptions, WorkerId,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const CHILD: &str = "MONITOR_JOBS_PROCESS_CHILD";
const PROCESSES: usize = 8;

/// JOB-1, JOB-15, JOB-22, JOB-34, JOB-35, JOB-36, S6, S7, F4, F6, W6, R7: after kills at any
/// instant no job is missing and none was completed twice, each effect is there once, and no
/// reference points to nothing.
#[test]
fn killed_processes_lose_nothing_and_double_nothing() {
    if let Some(path) = env::var_os(CHILD) {
        return work_until_all_is_done(Path::new(&path));
    }
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let kills = number("MONITOR_JOBS_KILLS").unwrap_or(12);
    let seed = number("MONITOR_JOBS_SEED").unwrap_or_else(random_seed);
    println!("MONITOR_JOBS_SEED={seed} MONITOR_JOBS_KILLS={kills}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.sqlite");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let jobs = SqliteJobs::open(&SqliteOptions::new(&path)).unwrap();
    let gate = runtime.block_on(prepare(&jobs));
    let mut chaos = Chaos::new(path, seed);
    let rescued: u32 = (0..kills)
        .map(|_| {
            let worker = chaos.kill_one();
            // So much that the next one is killed at work too.
            runtime.block_on(put_in(&jobs, 2));
            runtime.block_on(rescue(&jobs, worker))
        })
        .sum();
    runtime.block_on(open(&jobs, gate));
    let answers = chaos.end();
    let doubled = answers.values().filter(|times| **times > 1).count();
    assert_eq!(doubled, 0, "told twice that a job was completed");
    let completed = check(&chaos.path);
    let broken = runtime.block_on(jobs.doctor()).unwrap();
    assert!(broken.iter().all(|finding| !finding.broken), "{broken:?}");
    println!(
        "{completed} jobs, {kills} kills, {rescued} rescued, {} answers",
        answers.len()
    );
}

/// From the operating system, by way of the keys that the standard library hashes with.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// A table for effects, some work, and a job that none of the processes serves: as long as it is
/// not completed, not all is done.
async fn prepare(jobs: &SqliteJobs) -> WorkerId {
    let tables = "CREATE TABLE effect (job INTEGER); CREATE TABLE orders (job INTEGER)";
    let made = jobs.transact(|write| write.sql().execute_batch(tables));
    made.await.unwrap().unwrap();
    let register = Register {
        name: "gate".to_owned(),
        queues: vec!["gate".to_owned()],
        capacity: 1,
        lease: Duration::from_secs(60),
    };
    jobs.enqueue(&[work().queue("gate")]).await.unwrap();
    put_in(jobs, 8).await;
    jobs.register(&register).await.unwrap()
}

async fn open(jobs: &SqliteJobs, worker: WorkerId) {
    let request = ClaimRequest {
        worker,
        limit: 1,
        history: true,
    };
    let claimed = jobs.claim(&request).await.unwrap().jobs.remove(0);
    let end = Settle {
        job: claimed.id,
        epoch: claimed.epoch,
        outcome: Outcome::Complete { result: None },
    };
    let settled = jobs.settle(worker, &[end]).await.unwrap();
    assert_eq!(settled, [Settled::Done]);
}

/// Diamonds: a first, twenty in the middle, a last that waits for all of them and on whom the next
/// first waits. And as many that wait for nothing, so that everybody has something to do.
async fn put_in(jobs: &SqliteJobs, diamonds: usize) {
    let mut graph: Vec<NewJob> = Vec::new();
    for diamond in 0..diamonds {
        let first = graph.len();
        graph.push(match diamond {
            0 => work(),
            _ => work().after(Parent::Earlier(first - 1)),
        });
        graph.extend((0..20).map(|_| work().after(Parent::Earlier(first))));
        let last = (1..=20).fold(work(), |job, middle| {
            job.after(Parent::Earlier(first + middle))
        });
        graph.push(last);
    }
    graph.extend((0..diamonds * 22).map(|_| work()));
    jobs.enqueue(&graph).await.unwrap();
}

fn work() -> NewJob {
    let mut job = NewJob::new("work", Payload::default());
    job.max_crashes = 1000;
    job
}

/// What an observer does that has seen a pulse stand still. This one knows: the process is dead.
async fn rescue(jobs: &SqliteJobs, worker: WorkerId) -> u32 {
    let pulses = jobs.pulses().await.unwrap();
    let Some(pulse) = pulses.iter().find(|pulse| pulse.worker == worker) else {
        return 0;
    };
    let rescued = jobs.rescue(pulse, 1000).await.unwrap();
    assert!(!rescued.alive && rescued.retired);
    rescued.requeued
}

enum Said {
    Is(WorkerId),
    Did(JobId),
}

struct Chaos {
    path: PathBuf,
    random: SmallRng,
    children: HashMap<usize, (Child, Option<WorkerId>)>,
    next: usize,
    said: Receiver<(usize, Said)>,
    say: Sender<(usize, Said)>,
    listeners: Vec<JoinHandle<()>>,
    answers: HashMap<JobId, u32>,
}

impl Chaos {
    fn new(path: PathBuf, seed: u64) -> Self {
        let (say, said) = channel();
        let mut chaos = Self {
            path,
            random: SmallRng::seed_from_u64(seed),
            children: HashMap::new(),
            next: 0,
            said,
            say,
            listeners: Vec::new(),
            answers: HashMap::new(),
        };
        for _ in 0..PROCESSES {
            chaos.start();
        }
        chaos
    }

    fn start(&mut self) {
        let number = self.next;
        self.next += 1;
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "--quiet"])
            .arg("killed_processes_lose_nothing_and_double_nothing")
            .env(CHILD, &self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let say = self.say.clone();
        self.listeners.push(std::thread::spawn(move || {
            for said in lines.map_while(Result::ok).filter_map(|line| parse(&line)) {
                say.send((number, said)).unwrap();
            }
        }));
        self.children.insert(number, (child, None));
    }

    /// Kills one of them, after some lines from all of them. Says who it was, and starts another.
    fn kill_one(&mut self) -> WorkerId {
        let mut patience = self.random.random_range(1..40);
        loop {
            let known = self.known();
            if patience <= 0 && !known.is_empty() {
                let victim = known[self.random.random_range(0..known.len())];
                let worker = self.kill(victim);
                self.start();
                return worker;
            }
            let (number, said) = self.said.recv().unwrap();
            if matches!(said, Said::Did(_)) {
                patience -= 1;
            }
            self.hear(number, &said);
        }
    }

    fn hear(&mut self, number: usize, said: &Said) {
        match said {
            Said::Is(worker) => {
                if let Some((_, id)) = self.children.get_mut(&number) {
                    *id = Some(*worker);
                }
            }
            Said::Did(job) => *self.answers.entry(*job).or_default() += 1,
        }
    }

    /// Those that have said who they are.
    fn known(&self) -> Vec<usize> {
        let known = self.children.iter().filter(|(_, (_, id))| id.is_some());
        let mut known: Vec<usize> = known.map(|(number, _)| *number).collect();
        known.sort_unstable();
        known
    }

    fn kill(&mut self, number: usize) -> WorkerId {
        let (mut child, worker) = self.children.remove(&number).unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it was alive");
        worker.unwrap()
    }

    /// Waits for those that are left; what was said meanwhile counts too.
    fn end(&mut self) -> HashMap<JobId, u32> {
        for (mut child, _) in std::mem::take(&mut self.children).into_values() {
            assert!(child.wait().unwrap().success());
        }
        for listener in std::mem::take(&mut self.listeners) {
            listener.join().unwrap();
        }
        let said: Vec<_> = self.said.try_iter().collect();
        for (number, said) in said {
            self.hear(number, &said);
        }
        std::mem::take(&mut self.answers)
    }
}

fn parse(line: &str) -> Option<Said> {
    let (what, number) = line.strip_suffix('.')?.split_once(' ')?;
    let number = number.parse().ok()?;
    match what {
        "is" => Some(Said::Is(WorkerId(number))),
        "did" => Some(Said::Did(JobId(number))),
        _ => None,
    }
}

fn tell(what: &str, number: i64) {
    // One write of a short line to a pipe is never torn.
    let line = format!("{what} {number}.\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// Seen by SQL alone. Returns how many jobs there are.
fn check(path: &Path) -> i64 {
    let sql = Connection::open(path).unwrap();
    let ask = |query: &str| -> i64 { sql.query_row(query, [], |row| row.get(0)).unwrap() };
    let integrity = sql.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(integrity.unwrap(), "ok");
    assert_eq!(ask("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    let jobs = ask("SELECT count(*) FROM job");
    assert_eq!(ask("SELECT count(*) FROM job WHERE state = 5"), jobs);
    let completed = "FROM job_execution WHERE outcome = 0";
    assert_eq!(ask(&format!("SELECT count(*) {completed}")), jobs);
    assert_eq!(
        ask(&format!("SELECT count(DISTINCT job) {completed}")),
        jobs
    );
    assert_eq!(
        ask("SELECT count(*) FROM job_execution WHERE outcome IS NULL"),
        0
    );
    let with_effect = ask("SELECT count(*) FROM job WHERE id % 2 = 1 AND queue = 'default'");
    assert_eq!(ask("SELECT count(*) FROM effect"), with_effect);
    assert_eq!(ask("SELECT count(DISTINCT job) FROM effect"), with_effect);
    let orders = ask("SELECT count(*) FROM orders");
    assert_ne!(orders, 0);
    assert_eq!(
        ask("SELECT count(*) FROM job WHERE kind = 'extra'"),
        3 * orders
    );
    // No child began before its parents had completed.
    let early = "SELECT count(*) FROM job_edge
        JOIN job_execution AS child ON child.job = job_edge.child
        JOIN job AS parent ON parent.id = job_edge.parent
        WHERE child.started_ms < parent.ended_ms";
    assert_eq!(ask(early), 0);
    jobs
}

/// The child: claims and completes until nothing is left that is not completed.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn work_until_all_is_done(path: &Path) {
    let store = SqliteJobs::open(&SqliteOptions::new(path)).unwrap();
    let register = Register {
        name: "child".to_owned(),
        queues: vec!["default".to_owned()],
        capacity: 4,
        lease: Duration::from_secs(60),
    };
    let worker = Jobs::new(store.clone()).register(register).await.unwrap();
    tell("is", worker.id().0);
    loop {
        let claimed = worker.claim(4, Duration::from_millis(50)).await.unwrap();
        if claimed.is_empty() && all_is_done(&store).await {
            break worker.close().await;
        }
        for claimed in claimed {
            let id = claimed.job().id;
            if claimed.job().kind == "work" && id.0 % 10 == 3 {
                order(&store, id).await;
            }
            complete(&store, claimed).await;
            tell("did", id.0);
        }
    }
}

/// A row of the worker's own and three jobs for it, all or none: also when the job is run again.
async fn order(store: &SqliteJobs, job: JobId) {
    let put_in = store.transact(move |write| {
        let order = "INSERT INTO orders VALUES (?1)";
        write.sql().execute(order, [job.0]).unwrap();
        let extra = || NewJob {
            kind: "extra".to_owned(),
            ..work()
        };
        let after = |place| extra().after(Parent::Earlier(place));
        write.enqueue(&[extra(), after(0), after(1)])
    });
    put_in.await.unwrap().unwrap();
}

async fn all_is_done(store: &SqliteJobs) -> bool {
    let queues = store.queues().await.unwrap();
    // Completed is the sixth state.
    queues
        .iter()
        .all(|queue| queue.counts.iter().sum::<u64>() == queue.counts[5])
}

/// With an effect in the same transaction, or by itself.
async fn complete(store: &SqliteJobs, claimed: Claimed) {
    let job = claimed.job().id.0;
    if job % 2 == 0 {
        return claimed.complete(None).await.unwrap();
    }
    let mut transaction = store.begin().await.unwrap();
    transaction
        .run(move |sql| sql.execute("INSERT INTO effect VALUES (?1)", [job]))
        .await
        .unwrap();
    let permit = claimed.complete_in(&mut transaction, None).await.unwrap();
    transaction.commit(permit).await.unwrap();
}
