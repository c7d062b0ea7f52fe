//! Many monitors at a short interval against a real nginx: every due time is accounted for.
//!
//! `MONITOR_LOAD_MONITORS` (60) and `MONITOR_LOAD_SECONDS` (15) set the load. The figures that are
//! printed are for people; nothing is asserted about time.

#![expect(clippy::unwrap_used, reason = "tests panic")]

mod process;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use monitor_testkit::services::Nginx;
use process::{Running, command, config};
use rusqlite::Connection;
use rustix::process::Signal;

const INTERVAL_MS: i64 = 1000;

/// PRB-1, PRB-42, OPS-18: every due time of every monitor, from its first to its last, has exactly
/// one line of history, a result or a reason why there is none; no two checks of one overlap.
#[test]
fn every_due_time_is_on_record_once() {
    let number = |name| env::var(name).ok().map(|text| text.parse().unwrap());
    let monitors = number("MONITOR_LOAD_MONITORS").unwrap_or(60);
    let seconds = number("MONITOR_LOAD_SECONDS").unwrap_or(15);
    let nginx = Nginx::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("monitord.db");
    let config = config(folder.path(), &configuration(&nginx, monitors));
    let arguments = ["run", "--config", &config, "--listen", "127.0.0.1:0"];
    let mut daemon = Running::start(command(&arguments));
    daemon.until(" ready ");
    let usage_before = Usage::of(&database);
    thread::sleep(Duration::from_secs(seconds));
    let usage = Usage::of(&database);
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.end();
    assert!(status.success(), "{status}\n{log}");

    let rows = read(&database);
    assert_eq!(rows.len() as u64, monitors, "every monitor has a history");
    let mut counts = BTreeMap::new();
    let mut lags = Vec::new();
    for (monitor, rows) in &rows {
        let due_times = check(monitor, rows);
        check_overlaps(monitor, rows);
        let least = seconds.saturating_sub(1);
        assert!(
            due_times >= least,
            "{monitor}: {due_times} due times in {seconds} s"
        );
        for row in rows {
            *counts.entry(row.what.as_str()).or_insert(0) += row.slots;
            let lag = row.started_unix_ms - row.due_unix_ms;
            lags.extend(row.took_us.map(|_| lag));
        }
    }
    println!("{monitors} monitors at 1 s for {seconds} s");
    println!("due times on record: {counts:?}");
    lags.sort_unstable();
    let quantile = |share: f64| lags[((lags.len() - 1) as f64 * share) as usize];
    println!(
        "start lag of {} checks: p50 {} ms, p99 {} ms, max {} ms",
        lags.len(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
    let cpu = usage.cpu_seconds - usage_before.cpu_seconds;
    println!(
        "daemon: {cpu:.2} s of CPU ({:.1} % of one core), RSS {:.1} MiB, at most {:.1} MiB",
        cpu / seconds as f64 * 100.0,
        usage.rss_kib as f64 / 1024.0,
        usage.most_rss_kib as f64 / 1024.0
    );
}

/// Without jitter, so that the lag is the scheduler's own.
fn configuration(nginx: &Nginx, monitors: u64) -> String {
    let mut text = String::from("[defaults]\npreset = \"socket\"\ninterval = \"1s\"\n");
    for number in 0..monitors {
        let url = nginx.url("/");
        write!(text, "[[monitor]]\nid = \"m{number}\"\nurl = \"{url}\"\n").unwrap();
    }
    text
}

/// A line of history.
struct Row {
    due_unix_ms: i64,
    slots: i64,
    interval_ms: i64,
    is_failure: bool,
    /// The outcome, with its reason if it was not observed.
    what: String,
    started_unix_ms: i64,
    /// How long the check took, if it was started.
    took_us: Option<i64>,
}

/// All lines, by monitor, in the order of their due times.
fn read(database: &Path) -> BTreeMap<String, Vec<Row>> {
    let sql = Connection::open(database).unwrap();
    let mut statement = sql
        .prepare(
            "SELECT id, due_unix_ms, slots, interval_ms, outcome,
                 outcome || coalesce(' (' || coalesce(reason, fault_reason) || ')', ''),
                 started_unix_ms, took_us
             FROM history JOIN monitor ON number = monitor ORDER BY id, due_unix_ms",
        )
        .unwrap();
    let rows = statement.query_map([], |row| {
        let read = Row {
            due_unix_ms: row.get(1)?,
            slots: row.get(2)?,
            interval_ms: row.get(3)?,
            is_failure: row.get::<_, String>(4)? == "down",
            what: row.get(5)?,
            started_unix_ms: row.get(6)?,
            took_us: row.get(7)?,
        };
        Ok((row.get::<_, String>(0)?, read))
    });
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for row in rows.unwrap() {
        let (monitor, row) = row.unwrap();
        all.entry(monitor).or_default().push(row);
    }
    all
}

/// Each line begins exactly where the one before it ended: no due time is left out, none is there
/// twice. Returns their number.
///
/// A new monitor is looked at once right away, and after a failure the next look comes after a
/// wait; from each of these it goes back to the monitor's own grid, to the first due time that is
/// at least half an interval ahead.
fn check(monitor: &str, rows: &[Row]) -> u64 {
    let phase = |row: &Row| row.due_unix_ms.rem_euclid(INTERVAL_MS);
    let mut phases = BTreeMap::new();
    rows.iter()
        .for_each(|row| *phases.entry(phase(row)).or_insert(0) += row.slots);
    let (grid, _) = phases.into_iter().max_by_key(|(_, slots)| *slots).unwrap();
    let is_on_grid = |due: i64| due.rem_euclid(INTERVAL_MS) == grid;
    for row in rows {
        let (due, what) = (row.due_unix_ms, &row.what);
        assert_eq!(row.interval_ms, INTERVAL_MS, "{monitor} at {due}: {what}");
        assert!(row.slots >= 1, "{monitor} at {due}: {what}");
    }
    for pair in rows.windows(2) {
        let [before, after] = pair else {
            unreachable!("windows of two")
        };
        let last = before.due_unix_ms + (before.slots - 1) * INTERVAL_MS;
        let gap = after.due_unix_ms - last;
        let between = format!(
            "{monitor}: {gap} ms from {} at {last} to {}",
            before.what, after.what
        );
        assert!(gap > 0, "two lines for one due time: {between}");
        if before.is_failure {
            continue;
        }
        assert!(is_on_grid(after.due_unix_ms), "off the grid: {between}");
        if is_on_grid(last) {
            assert_eq!(gap, INTERVAL_MS, "a due time without a line: {between}");
        } else {
            // A look beside the grid stands for a slot less than half an interval ahead.
            let from = before.started_unix_ms + INTERVAL_MS / 2;
            let next = from + (grid - from).rem_euclid(INTERVAL_MS);
            assert_eq!(after.due_unix_ms, next, "not the next slot: {between}");
        }
    }
    rows.iter().map(|row| row.slots.unsigned_abs()).sum()
}

/// A check begins when the one before it has ended. Starts are kept in whole milliseconds.
fn check_overlaps(monitor: &str, rows: &[Row]) {
    let mut free_us = i64::MIN;
    for row in rows {
        let Some(took_us) = row.took_us else { continue };
        let started_us = row.started_unix_ms * 1000;
        let at = row.due_unix_ms;
        assert!(
            started_us + 999 >= free_us,
            "{monitor}: two checks at once at {at}"
        );
        free_us = started_us + took_us;
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
