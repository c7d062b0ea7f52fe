//! The process is killed at random instants; whatever it acknowledged is in the file.
//!
//! The test starts itself as a child that commits as fast as it can and writes a line for every
//! answer it was given. `MONITOR_KILL_ROUNDS` sets the number of kills, `MONITOR_KILL_SEED` repeats
//! a run.

#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "tests panic")]

mod common;

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::Place;
use monitor_model::conformance::{down, id, monitor, up};
use monitor_model::{
    Bucket, Commit, Lifecycle, Loaded, Record, Refusal, Resolution, Store, Unobserved,
};
use monitor_operation::Epoch;
use monitor_store::{Options, SqliteStore};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const CHILD: &str = "MONITOR_STORE_CRASH_CHILD";
const MONITORS: usize = 8;
/// From one due time to the next: hours of records in a second.
const STEP_MS: i64 = 20_000;

/// Little is kept, so that there is always something to roll up and to remove.
fn options(path: &Path) -> Options {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    Options {
        retain_history: minutes(10),
        retain_minutes: minutes(30),
        retain_hours: minutes(24 * 60),
        ..Options::new(path)
    }
}

/// OPS-18, OPS-27, OPS-31, S2: after a kill at any instant nothing acknowledged is missing; no state
/// is without its line of history, no incident without its state, no notice without its incident;
/// counts are those of all that was ever committed, though its lines are being rolled up and removed
/// meanwhile; and nothing is left over that would keep a monitor busy.
#[test]
fn inv_store_4_a_killed_process_loses_nothing_it_acknowledged() {
    if let Some(path) = env::var_os(CHILD) {
        commit_until_killed(Path::new(&path));
    }
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let rounds = number("MONITOR_KILL_ROUNDS").unwrap_or(10);
    let seed = number("MONITOR_KILL_SEED").unwrap_or_else(rand_seed);
    println!("MONITOR_KILL_SEED={seed} MONITOR_KILL_ROUNDS={rounds}");
    let mut random = SmallRng::seed_from_u64(seed);
    let place = Place::new();
    let mut acknowledged = Vec::new();
    for round in 0..rounds {
        let answers = random.random_range(1..600);
        let before = acknowledged.len();
        acknowledged.extend(run_and_kill(&place, answers));
        println!(
            "round {round}: killed after {} answers",
            acknowledged.len() - before
        );
        check(&place, &acknowledged);
    }
    let rolled: i64 = place.ask("SELECT count(*) FROM status WHERE mark_unix_ms > 0");
    assert!(rolled > 0 || rounds < 10, "lines were rolled up meanwhile");
}

/// From the operating system, by way of the keys that the standard library hashes with.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// What the child says it was told: the due time and sequence of a record of a monitor, or the
/// epoch of a change.
#[derive(Debug, Clone, PartialEq)]
struct Acknowledged {
    monitor: String,
    epoch: u64,
    due: i64,
    sequence: u64,
}

/// Kills the child once it has answered this many times. It goes on answering meanwhile, so that
/// the kill comes somewhere in the middle of a batch.
fn run_and_kill(place: &Place, answers: usize) -> Vec<Acknowledged> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--quiet"])
        .arg("inv_store_4_a_killed_process_loses_nothing_it_acknowledged")
        .env(CHILD, place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    while acknowledged.len() < answers {
        let line = lines.next().expect("the child ended by itself").unwrap();
        acknowledged.extend(parse(&line));
    }
    kill(&mut child);
    // What it wrote before it died is still in the pipe; a last line may be cut off.
    acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line)));
    acknowledged
}

fn kill(child: &mut Child) {
    use std::os::unix::process::ExitStatusExt;
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9), "it was alive");
}

fn parse(line: &str) -> Option<Acknowledged> {
    let words: Vec<_> = line
        .strip_prefix("told ")?
        .strip_suffix('.')?
        .split(' ')
        .collect();
    let [monitor, epoch, due, sequence] = words[..] else {
        panic!("{line}");
    };
    Some(Acknowledged {
        monitor: monitor.into(),
        epoch: epoch.parse().unwrap(),
        due: due.parse().unwrap(),
        sequence: sequence.parse().unwrap(),
    })
}

/// Everything acknowledged is there, seen by SQL alone and by a store.
fn check(place: &Place, acknowledged: &[Acknowledged]) {
    let sql = place.sql();
    let is_ok = |query: &str, what: &str| {
        let found: i64 = sql.query_row(query, [], |row| row.get(0)).unwrap();
        assert_eq!(found, 0, "{what}");
    };
    let check: String = sql
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    is_ok("SELECT count(*) FROM pragma_foreign_key_check", "keys hold");
    is_ok(
        "SELECT count(*) FROM status WHERE last_due_unix_ms IS NOT NULL AND NOT EXISTS
         (SELECT 1 FROM history WHERE monitor = status.monitor AND due_unix_ms = last_due_unix_ms)",
        "no status without its line of history",
    );
    is_ok(
        "SELECT count(*) FROM status WHERE outcome IS NOT (
             SELECT outcome FROM line WHERE monitor = status.monitor AND outcome <> 'missed'
             ORDER BY due_unix_ms DESC LIMIT 1)",
        "the status is that of the last verdict",
    );
    is_ok(
        "SELECT count(*) FROM status WHERE (outcome = 'down') IS NOT EXISTS
             (SELECT 1 FROM incident WHERE monitor = status.monitor AND closed_unix_ms IS NULL)",
        "no incident without its status, and none left out",
    );
    // Nobody takes notices here, so that all of them are there.
    is_ok(
        "SELECT count(*) FROM outbox WHERE NOT EXISTS
             (SELECT 1 FROM incident WHERE id = outbox.incident
                  AND (kind = 'opened' OR incident.closed_unix_ms IS outbox.closed_unix_ms))",
        "no notice without its incident",
    );
    is_ok(
        "SELECT count(*) FROM incident WHERE 1 + (closed_unix_ms IS NOT NULL)
             <> (SELECT count(*) FROM outbox WHERE outbox.incident = incident.id)",
        "no incident without its notices",
    );
    let mut find = sql
        .prepare(
            "SELECT count(*) FROM history JOIN monitor ON number = monitor JOIN head
             WHERE id = ?1 AND due_unix_ms = ?3
                 AND (history.epoch = ?2 AND history.sequence = ?4)
             OR ?3 < history_from_unix_ms",
        )
        .unwrap();
    for told in acknowledged {
        let key = (
            &told.monitor,
            told.epoch.cast_signed(),
            told.due,
            told.sequence.cast_signed(),
        );
        let found: i64 = find.query_row(key, |row| row.get(0)).unwrap();
        assert!(found >= 1, "{told:?} was acknowledged and is not there");
    }
    counts(place, acknowledged);
}

/// What was ever committed follows from the last due time alone, whether or not its lines are there
/// and its answers were read.
#[tokio::main(flavor = "current_thread")]
async fn counts(place: &Place, acknowledged: &[Acknowledged]) {
    let store = SqliteStore::open(options(&place.path())).unwrap();
    assert_eq!(store.doctor().await.unwrap(), []);
    let monitors = store.load().await.unwrap().monitors;
    let last = monitors.iter().filter_map(|stored| stored.last_due);
    let newest = last.map(|last| last.due_unix_ms).max().unwrap_or(0);
    for stored in monitors {
        let id = &stored.monitor.id;
        let Some(last) = stored.last_due else {
            continue;
        };
        let told = acknowledged
            .iter()
            .filter(|told| told.monitor == id.as_str());
        assert!(told.map(|told| told.due).max() <= Some(last.due_unix_ms));
        let due_times = (0..=last.due_unix_ms).step_by(STEP_MS as usize);
        let all: Vec<_> = due_times.map(|due| record(id.as_str(), 1, due)).collect();
        for resolution in Resolution::ALL {
            let mut folded = BTreeMap::new();
            for record in &all {
                let start = resolution.start_of(record.due_unix_ms);
                folded
                    .entry(start)
                    .or_insert_with(|| Bucket::new(start))
                    .add(record);
            }
            let kept = store.buckets(id, resolution, 0..i64::MAX).await.unwrap();
            // Horizons rise: an answer is complete from its first bucket on.
            let first = kept.first().map_or(0, |bucket| bucket.start_unix_ms);
            let age = match resolution {
                Resolution::Minute => 30 * 60_000,
                Resolution::Hour => 86_400_000,
                Resolution::Day => i64::MAX,
            };
            assert!(
                first <= newest.saturating_sub(age).max(0),
                "{id} {resolution} from {first}"
            );
            let expected: Vec<_> = folded
                .into_values()
                .filter(|b| b.start_unix_ms >= first)
                .collect();
            assert_eq!(kept, expected, "{id} by {resolution}");
        }
    }
    store.close().await.unwrap();
}

/// What becomes of a due time follows from the due time.
fn record(name: &str, epoch: u64, due: i64) -> Record {
    match due / STEP_MS % 5 {
        0 => down(name, epoch, due),
        1 => Record::unobserved(id(name), Epoch::new(epoch), due, 2, Unobserved::Overload),
        _ => up(name, epoch, due),
    }
}

fn tell(told: &Acknowledged) {
    let Acknowledged {
        monitor,
        epoch,
        due,
        sequence,
    } = told;
    // One write of a short line to a pipe is never torn.
    let line = format!("told {monitor} {epoch} {due} {sequence}.\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// The child: takes over from the one before it, and commits until it is killed.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn commit_until_killed(path: &Path) -> ! {
    let store = Arc::new(SqliteStore::open(options(path)).unwrap());
    let loaded = store.load().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..MONITORS {
        tasks.spawn(drive(
            Arc::clone(&store),
            format!("m{number}"),
            loaded.clone(),
        ));
    }
    tasks.join_next().await.unwrap().unwrap();
    unreachable!("no task ends");
}

async fn drive(store: Arc<SqliteStore>, name: String, loaded: Loaded) {
    let stored = loaded
        .monitors
        .into_iter()
        .find(|stored| stored.monitor.id == id(&name));
    let old = stored
        .as_ref()
        .map_or(0, |stored| stored.status.epoch.get());
    let last = stored.and_then(|stored| stored.last_due);
    let mut due = last.map_or(0, |last| last.due_unix_ms + STEP_MS);
    // Nothing of the former process stands in the way: the next epoch writes at once.
    let mut epoch = old + 1;
    store
        .define(monitor(&name), Epoch::new(epoch))
        .await
        .unwrap();
    store
        .set_lifecycle(&id(&name), Lifecycle::Active, Epoch::new(epoch + 1), None)
        .await
        .unwrap();
    epoch += 1;
    // And nothing of it can write any more.
    let late = store.commit(down(&name, old, due)).await.unwrap();
    assert_eq!(late, Commit::Refused(Refusal::Stale));
    loop {
        if due / STEP_MS % 5 == 2 {
            epoch += 1;
            let new = Epoch::new(epoch);
            store
                .set_lifecycle(&id(&name), Lifecycle::Active, new, None)
                .await
                .unwrap();
        }
        match store.commit(record(&name, epoch, due)).await.unwrap() {
            Commit::Applied(applied) => tell(&Acknowledged {
                monitor: name.clone(),
                epoch,
                due,
                sequence: applied.sequence,
            }),
            Commit::Refused(refusal) => panic!("{name} {due}: {refusal:?}"),
        }
        due += STEP_MS;
    }
}
