//! The daemon is killed at random instants under load; whatever it showed as committed is in its
//! file, and the next one goes on from there.
//!
//! `MONITOR_KILL_ROUNDS` sets the number of kills (10), `MONITOR_KILL_SEED` repeats the choices of
//! a run.

#![expect(clippy::unwrap_used, reason = "tests panic")]

mod process;

use std::collections::HashSet;
use std::env;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use monitor_store::SqliteStore;
use monitor_testkit::targets::{Refusing, Target};
use process::{HANG, Running, command, config};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;

const MONITORS: usize = 50;
/// A round shows some hundreds of results a second.
const MOST_RESULTS: u64 = 500;

/// OPS-18, OPS-27: after a kill at any instant every result that was shown is in the file, no state
/// is without its line of history, and the same file serves the next process.
#[test]
fn inv_store_4_a_killed_daemon_loses_nothing_it_showed() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let rounds = number("MONITOR_KILL_ROUNDS").unwrap_or(10);
    let seed =
        number("MONITOR_KILL_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("MONITOR_KILL_SEED={seed} MONITOR_KILL_ROUNDS={rounds}");
    let mut random = Random(seed);
    let targets = Targets::start();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("monitord.db");
    let config = config(folder.path(), &targets.config());
    let mut shown = HashSet::new();
    for round in 0..rounds {
        let instant = Instant::choose(&mut random);
        let before = shown.len();
        shown.extend(run_and_kill(&config, instant));
        let results = shown.len() - before;
        println!("round {round}: killed {instant:?}, {results} results shown");
        if database.exists() {
            check(&database, &shown);
        }
    }
    // And one that may end in order.
    let mut daemon = start(&config);
    let stream = Stream::open(&mut daemon);
    daemon.signal(Signal::TERM);
    shown.extend(stream.results());
    let (status, log) = daemon.end();
    assert!(status.success(), "{status}\n{log}");
    check(&database, &shown);
    assert!(
        shown.len() as u64 >= rounds,
        "{} results in all",
        shown.len()
    );
}

/// When to kill.
#[derive(Debug, Clone, Copy)]
enum Instant {
    /// While it opens its file and defines its monitors.
    Starting,
    /// When it has just begun to check.
    Ready,
    /// When so many results have been shown, and a moment later, in the middle of whatever it does
    /// then.
    AfterResults(u64, Duration),
}

impl Instant {
    fn choose(random: &mut Random) -> Self {
        match random.below(10) {
            0 => Self::Starting,
            1 => Self::Ready,
            _ => Self::AfterResults(
                1 + random.below(MOST_RESULTS),
                Duration::from_micros(random.below(20_000)),
            ),
        }
    }
}

/// A result as it was shown: all that makes it this one and no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Shown {
    monitor: String,
    due_unix_ms: i64,
    epoch: i64,
    slots: i64,
    outcome: String,
    operation: Option<[u8; 16]>,
}

fn start(config: &str) -> Running {
    let arguments = ["run", "--config", config, "--listen", "127.0.0.1:0"];
    Running::start(command(
        &[&arguments[..], &["--log-format", "json"]].concat(),
    ))
}

fn run_and_kill(config: &str, instant: Instant) -> Vec<Shown> {
    let mut daemon = start(config);
    let mut shown = Vec::new();
    match instant {
        Instant::Starting => {
            daemon.until(r#""message":"starting""#);
            kill(daemon);
        }
        Instant::Ready => {
            let stream = Stream::open(&mut daemon);
            kill(daemon);
            shown.extend(stream.results());
        }
        Instant::AfterResults(count, moment) => {
            let mut results = Stream::open(&mut daemon).results();
            for _ in 0..count {
                shown.push(results.next().expect("the stream ended before the kill"));
            }
            std::thread::sleep(moment);
            kill(daemon);
            // What it sent before it died.
            shown.extend(results);
        }
    }
    shown
}

fn kill(daemon: Running) {
    daemon.signal(Signal::KILL);
    let (status, log) = daemon.end();
    assert_eq!(status.signal(), Some(9), "{status}\n{log}");
}

/// The live stream of a daemon.
struct Stream(BufReader<TcpStream>);

impl Stream {
    /// Waits until the daemon is ready and listens.
    fn open(daemon: &mut Running) -> Self {
        let ready: Value = serde_json::from_str(&daemon.until(r#""message":"ready""#)).unwrap();
        let page = ready["page"].as_str().unwrap();
        let address = page.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        // Of version 1.0, so that the answer is not cut into chunks.
        write!(stream, "GET /events HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
        let mut stream = Self(BufReader::new(stream));
        let head: Vec<_> = stream.lines().take_while(|line| !line.is_empty()).collect();
        assert!(head[0].ends_with(" 200 OK"), "{head:?}");
        stream
    }

    /// The whole lines, until the other side is gone.
    fn lines(&mut self) -> impl Iterator<Item = String> {
        std::iter::from_fn(|| {
            let mut line = String::new();
            // A killed process resets the connection: that is an end like any other.
            let length = self.0.read_line(&mut line).unwrap_or(0);
            (length > 0 && line.ends_with('\n')).then(|| line.trim_end().to_owned())
        })
    }

    fn results(mut self) -> impl Iterator<Item = Shown> {
        let mut is_result = false;
        std::iter::from_fn(move || {
            for line in self.lines() {
                if let Some(event) = line.strip_prefix("event: ") {
                    is_result = event == "result";
                } else if let Some(data) = line.strip_prefix("data: ")
                    && is_result
                {
                    return Some(Shown::read(&serde_json::from_str(data).unwrap()));
                }
            }
            None
        })
    }
}

impl Shown {
    fn read(data: &Value) -> Self {
        let operation = data["operation"].as_str();
        Self {
            monitor: data["monitor"].as_str().unwrap().to_owned(),
            due_unix_ms: data["due_unix_ms"].as_i64().unwrap(),
            epoch: data["epoch"].as_i64().unwrap(),
            slots: data["slots"].as_i64().unwrap(),
            outcome: data["outcome"].as_str().unwrap().to_owned(),
            operation: operation.map(|hex| u128::from_str_radix(hex, 16).unwrap().to_be_bytes()),
        }
    }
}

/// Everything shown is in the file, and the file agrees with itself.
fn check(database: &Path, shown: &HashSet<Shown>) {
    let sql = Connection::open(database).unwrap();
    let is_stored: i64 = one(
        &sql,
        "SELECT count(*) FROM sqlite_schema WHERE name = 'history'",
    );
    if is_stored == 0 {
        // Killed before its first write.
        assert!(shown.is_empty());
        return;
    }
    assert_eq!(one::<String>(&sql, "PRAGMA integrity_check"), "ok");
    assert_eq!(
        one::<i64>(&sql, "SELECT count(*) FROM pragma_foreign_key_check"),
        0
    );
    let lone = "SELECT count(*) FROM status WHERE last_due_unix_ms IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM history WHERE monitor = status.monitor AND due_unix_ms = last_due_unix_ms)";
    assert_eq!(
        one::<i64>(&sql, lone),
        0,
        "states without their line of history"
    );
    let verdicts = "SELECT count(*) FROM status WHERE outcome IS NOT (
        SELECT outcome FROM line WHERE monitor = status.monitor
            AND outcome IN ('up', 'degraded', 'down', 'unknown')
        ORDER BY sequence DESC LIMIT 1)";
    assert_eq!(
        one::<i64>(&sql, verdicts),
        0,
        "states that are not the last verdict"
    );
    let defects = SqliteStore::examine(database).unwrap();
    assert!(defects.is_empty(), "{defects:?}");
    let mut find = sql
        .prepare(
            "SELECT count(*) FROM line JOIN monitor ON number = monitor
             WHERE id = ?1 AND due_unix_ms = ?2 AND line.epoch = ?3 AND slots = ?4
                 AND outcome = ?5 AND operation IS ?6",
        )
        .unwrap();
    for result in shown {
        let Shown {
            monitor,
            due_unix_ms,
            epoch,
            slots,
            outcome,
            operation,
        } = result;
        let key = (monitor, due_unix_ms, epoch, slots, outcome, operation);
        let found: i64 = find.query_row(key, |row| row.get(0)).unwrap();
        assert_eq!(found, 1, "was shown and is not in the file: {result:?}");
    }
}

fn one<T: rusqlite::types::FromSql>(sql: &Connection, query: &str) -> T {
    sql.query_row(query, [], |row| row.get(0)).unwrap()
}

/// What is watched: well, slow, failing, silent and refusing, so that the load is mixed.
struct Targets {
    healthy: Target,
    slow: Target,
    failing: Target,
    silent: Target,
    refusing: Refusing,
    // Dropped last: the others work in it.
    _runtime: Runtime,
}

impl Targets {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        Self {
            healthy: runtime.block_on(Target::healthy()).unwrap(),
            slow: runtime
                .block_on(Target::slow(Duration::from_millis(50)))
                .unwrap(),
            failing: runtime.block_on(Target::status(500)).unwrap(),
            silent: runtime.block_on(Target::silent()).unwrap(),
            refusing: Refusing::new().unwrap(),
            _runtime: runtime,
        }
    }

    /// All at 100 to 200 ms, also while they fail.
    fn config(&self) -> String {
        let mut text = String::from(
            "[defaults]\npreset = \"socket\"\ntimeout = \"80ms\"\n\
             backoff_base_interval = \"100ms\"\nbackoff_max_interval = \"200ms\"\n",
        );
        for number in 0..MONITORS {
            let target = match number % 10 {
                0..=4 => format!("url = \"{}\"", self.healthy.url()),
                5 => format!("url = \"{}\"", self.slow.url()),
                6 => format!("url = \"{}\"", self.failing.url()),
                7 => format!("url = \"{}\"", self.silent.url()),
                8 => format!("tcp = \"{}\"", self.refusing.addr()),
                // With a breaker, whose refusals are on record too.
                _ => format!(
                    "url = \"{}\"\ncircuit_breaker_failure_threshold = 3\n\
                     circuit_breaker_recovery_timeout = \"500ms\"",
                    self.refusing.url()
                ),
            };
            let interval = 100 + 10 * (number % 11);
            write!(
                text,
                "[[monitor]]\nid = \"m{number}\"\n{target}\ninterval = \"{interval}ms\"\n"
            )
            .unwrap();
        }
        text
    }
}

/// SplitMix64: enough to choose instants, and the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}
