//! Many monitors against a real nginx on the loopback: every due time is accounted for.
//!
//! `MONITOR_LOAD_MONITORS` (60), `MONITOR_LOAD_INTERVAL_MS` (1000) and `MONITOR_LOAD_SECONDS` (15)
//! set the load; `cargo xtask load` has a large one. The figures that are printed are for people;
//! nothing is asserted about time.

#![expect(clippy::unwrap_used, reason = "tests panic")]

mod process;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use monitor_model::{Outcome, Record, Store};
use monitor_store::{Options, SqliteStore};
use monitor_testkit::services::Nginx;
use process::{Running, command, config};
use rustix::process::{Resource, Signal, getrlimit, setrlimit};

/// What is asked of the daemon.
struct Load {
    monitors: u64,
    interval_ms: i64,
    seconds: u64,
}

/// PRB-1, PRB-42, OPS-18: every due time of every monitor, from its first to its last, has exactly
/// one line of history, a result or a reason why there is none; no two checks of one overlap.
#[tokio::test]
async fn every_due_time_is_on_record_once() {
    let number = |name| env::var(name).ok().map(|text| text.parse().unwrap());
    let load = Load {
        monitors: number("MONITOR_LOAD_MONITORS").unwrap_or(60),
        interval_ms: number("MONITOR_LOAD_INTERVAL_MS").map_or(1000, |it| it.try_into().unwrap()),
        seconds: number("MONITOR_LOAD_SECONDS").unwrap_or(15),
    };
    make_room_for_descriptors();
    let nginx = Nginx::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("monitord.db");
    let config = config(folder.path(), &configuration(&nginx, &load));
    let arguments = ["run", "--config", &config, "--listen", "127.0.0.1:0"];
    let mut daemon = Running::start(command(&arguments));
    daemon.until(" ready ");
    let usage_before = Usage::of(&database);
    thread::sleep(Duration::from_secs(load.seconds));
    let usage = Usage::of(&database);
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.end();
    assert!(status.success(), "{status}\n{log}");
    let bytes = fs::metadata(&database).unwrap().len();

    let rows = read(&database, &load).await;
    let mut seen = Seen::default();
    for (monitor, rows) in &rows {
        assert!(!rows.is_empty(), "{monitor} has no history");
        let grid = grid(rows);
        let due_times = check(monitor, rows, grid, &load);
        check_overlaps(monitor, rows);
        let least = (load.seconds * 1000 / load.interval_ms.unsigned_abs()).saturating_sub(1);
        assert!(
            due_times >= least,
            "{monitor}: {due_times} due times in {} s",
            load.seconds
        );
        rows.iter().for_each(|row| seen.add(row, grid));
    }
    let Load {
        monitors,
        interval_ms,
        seconds,
    } = load;
    println!("{monitors} monitors every {interval_ms} ms for {seconds} s");
    println!("{}", seen.told());
    let cpu = usage.cpu_seconds - usage_before.cpu_seconds;
    println!(
        "daemon: {cpu:.2} s of CPU ({:.1} % of one core), {:.2} s before it was ready; \
         RSS {:.1} MiB, at most {:.1} MiB; database {:.1} MiB",
        cpu / seconds as f64 * 100.0,
        usage_before.cpu_seconds,
        usage.rss_kib as f64 / 1024.0,
        usage.most_rss_kib as f64 / 1024.0,
        bytes as f64 / 1_048_576.0
    );
}

/// As many descriptors as this process may have, for it and for the daemon that it starts. A
/// hundred are enough for the daemon's permits, its database and its page.
fn make_room_for_descriptors() {
    const NEEDED: u64 = 256;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < NEEDED) {
        let most = limit.maximum.unwrap_or(NEEDED);
        assert!(
            most >= NEEDED,
            "{NEEDED} file descriptors are needed, and this process may have {most}; \
             `ulimit -Hn` says so, and whoever set it can raise it"
        );
        limit.current = Some(most);
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}

/// Without jitter, so that the lag is the scheduler's own; permits and queue are the daemon's
/// defaults.
fn configuration(nginx: &Nginx, load: &Load) -> String {
    let mut text = format!("[defaults]\ninterval = \"{}ms\"\n", load.interval_ms);
    for number in 0..load.monitors {
        let url = nginx.url("/");
        write!(
            text,
            "[[monitor]]\nid = \"m{number}\"\nurl = \"{url}\"\npreset = \"socket\"\n"
        )
        .unwrap();
    }
    text
}

/// The history of each monitor, in the order of its due times.
async fn read(database: &Path, load: &Load) -> BTreeMap<String, Vec<Record>> {
    let store = SqliteStore::open(Options::new(database)).unwrap();
    let mut all = BTreeMap::new();
    for number in 0..load.monitors {
        let id = format!("m{number}").parse().unwrap();
        let rows = store.history(&id, 1_000_000).await.unwrap();
        let mut rows: Vec<_> = rows.into_iter().map(|row| row.record).collect();
        rows.sort_by_key(|row| row.due_unix_ms);
        all.insert(format!("m{number}"), rows);
    }
    store.close().await.unwrap();
    all
}

/// What became of a due time, in words.
fn what(row: &Record) -> String {
    let outcome = row.outcome().as_str();
    let fault = row.fault().map(|fault| fault.reason().as_str());
    match row.reason().map(|reason| reason.as_str()).or(fault) {
        Some(reason) => format!("{outcome} ({reason})"),
        None => outcome.to_owned(),
    }
}

/// Where in the interval the due times of a monitor lie.
fn grid(rows: &[Record]) -> i64 {
    let mut phases = BTreeMap::new();
    for row in rows {
        let phase = row.due_unix_ms.rem_euclid(row.interval_ms);
        *phases.entry(phase).or_insert(0) += row.slots;
    }
    let most = phases.into_iter().max_by_key(|(_, slots)| *slots);
    most.unwrap().0
}

/// Each line begins exactly where the one before it ended: no due time is left out, none is there
/// twice. Returns their number.
///
/// A new monitor is looked at once right away, and after a failure the next look comes after a
/// wait; from each of these it goes back to the monitor's own grid, to the first due time that is
/// at least half an interval ahead.
fn check(monitor: &str, rows: &[Record], grid: i64, load: &Load) -> u64 {
    let interval_ms = load.interval_ms;
    let is_on_grid = |due: i64| due.rem_euclid(interval_ms) == grid;
    for row in rows {
        let (due, what) = (row.due_unix_ms, what(row));
        assert_eq!(row.interval_ms, interval_ms, "{monitor} at {due}: {what}");
        assert!(row.slots >= 1, "{monitor} at {due}: {what}");
    }
    let mut looked = 0..0;
    for pair in rows.windows(2) {
        let [before, after] = pair else {
            unreachable!("windows of two")
        };
        let last = before.due_unix_ms + i64::from(before.slots - 1) * interval_ms;
        let gap = after.due_unix_ms - last;
        let between = || {
            let (before, after) = (what(before), what(after));
            format!("{monitor}: {gap} ms from {before} at {last} to {after}")
        };
        assert!(gap > 0, "two lines for one due time: {}", between());
        if before.outcome() == Outcome::Down {
            continue;
        }
        // A look beside the grid stands for a slot less than half an interval ahead of it; those
        // that passed while it waited have their own lines.
        if !is_on_grid(last) && before.took.is_some() {
            looked = before.started_unix_ms..before.started_unix_ms + interval_ms / 2;
        }
        let slot_from = |from: i64| from + (grid - from).rem_euclid(interval_ms);
        let mut next = slot_from(last + 1);
        if looked.contains(&next) {
            next = slot_from(looked.end);
        }
        assert_eq!(after.due_unix_ms, next, "not the next slot: {}", between());
    }
    rows.iter().map(|row| u64::from(row.slots)).sum()
}

/// A check begins when the one before it has ended. Starts are kept in whole milliseconds.
fn check_overlaps(monitor: &str, rows: &[Record]) {
    let mut free_us = i64::MIN;
    for row in rows {
        let Some(took) = row.took else { continue };
        let started_us = row.started_unix_ms * 1000;
        let at = row.due_unix_ms;
        assert!(
            started_us + 999 >= free_us,
            "{monitor}: two checks at once at {at}"
        );
        free_us = started_us + i64::try_from(took.as_micros()).unwrap();
    }
}

/// What all histories come to.
#[derive(Default)]
struct Seen {
    due_times: BTreeMap<String, u64>,
    /// How late checks began: those in their slots, and the first ones, which all want to begin at
    /// the start.
    in_slots_ms: Vec<i64>,
    beside_ms: Vec<i64>,
}

impl Seen {
    fn add(&mut self, row: &Record, grid: i64) {
        *self.due_times.entry(what(row)).or_default() += u64::from(row.slots);
        if row.took.is_some() {
            let lag = row.started_unix_ms - row.due_unix_ms;
            match row.due_unix_ms.rem_euclid(row.interval_ms) == grid {
                true => self.in_slots_ms.push(lag),
                false => self.beside_ms.push(lag),
            }
        }
    }

    fn told(&mut self) -> String {
        let mut told = format!("due times on record: {:?}", self.due_times);
        let lags = [
            ("in their slots", &mut self.in_slots_ms),
            ("beside them, most of them the first", &mut self.beside_ms),
        ];
        for (which, lags) in lags {
            lags.sort_unstable();
            let quantile = |share: f64| {
                let index = lags.len().saturating_sub(1) as f64 * share;
                lags.get(index as usize).copied().unwrap_or(0)
            };
            write!(
                told,
                "\nstart lag of {} checks {which}: p50 {} ms, p99 {} ms, p99.9 {} ms, max {} ms",
                lags.len(),
                quantile(0.5),
                quantile(0.99),
                quantile(0.999),
                quantile(1.0)
            )
            .unwrap();
        }
        told
    }
}

/// What the daemon has used, as the kernel counts it.
struct Usage {
    cpu_seconds: f64,
    rss_kib: u64,
    most_rss_kib: u64,
}

impl Usage {
    /// Of the process that has `database` open: the store's lock file names it.
    fn of(database: &Path) -> Self {
        let mut lock = database.as_os_str().to_owned();
        lock.push("-lock");
        let id = fs::read_to_string(lock).unwrap();
        let proc = Path::new("/proc").join(id.trim());
        let stat = fs::read_to_string(proc.join("stat")).unwrap();
        // After the name, which may hold anything: user and system time are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let kib = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Self {
            // In ticks of 10 ms on every Linux that there is.
            cpu_seconds: ticks as f64 / 100.0,
            rss_kib: kib("VmRSS:"),
            most_rss_kib: kib("VmHWM:"),
        }
    }
}
