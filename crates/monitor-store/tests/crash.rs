//! The process is killed at random instants; whatever it acknowledged is in the file.
//!
//! The test starts itself as a child that commits as fast as it can and writes a line for every
//! answer it was given. `MONITOR_KILL_ROUNDS` sets the number of kills, `MONITOR_KILL_SEED` repeats
//! a run.

#![expect(clippy::unwrap_used, reason = "tests panic")]

mod common;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use common::Place;
use monitor_model::conformance::{down, id, monitor, up};
use monitor_model::{Commit, Lifecycle, Loaded, Record, Refusal, Store, Unobserved};
use monitor_operation::Epoch;
use monitor_store::{Options, SqliteStore};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const CHILD: &str = "MONITOR_STORE_CRASH_CHILD";
const MONITORS: usize = 8;

/// OPS-18, OPS-27, OPS-31, S2: after a kill at any instant nothing acknowledged is missing, no
/// state is without its line of history, and nothing is left over that would keep a monitor busy.
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
    let one = |query: &str| -> String {
        let value = sql.query_row(query, [], |row| row.get::<_, rusqlite::types::Value>(0));
        format!("{:?}", value.unwrap())
    };
    assert_eq!(one("PRAGMA integrity_check"), r#"Text("ok")"#);
    assert_eq!(
        one("SELECT count(*) FROM pragma_foreign_key_check"),
        "Integer(0)"
    );
    let lone = "SELECT count(*) FROM status WHERE last_due_unix_ms IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM history WHERE monitor = status.monitor AND due_unix_ms = last_due_unix_ms)";
    assert_eq!(
        one(lone),
        "Integer(0)",
        "no status without its line of history"
    );
    let verdicts = "SELECT count(*) FROM status WHERE outcome IS NOT (
        SELECT outcome FROM line WHERE monitor = status.monitor AND outcome <> 'missed'
        ORDER BY due_unix_ms DESC LIMIT 1)";
    assert_eq!(
        one(verdicts),
        "Integer(0)",
        "the status is that of the last verdict"
    );
    let mut find = sql
        .prepare(
            "SELECT count(*) FROM history JOIN monitor ON number = monitor
             WHERE id = ?1 AND history.epoch = ?2 AND due_unix_ms = ?3 AND sequence = ?4",
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
        assert_eq!(found, 1, "{told:?} was acknowledged and is not there");
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
    let store = Arc::new(SqliteStore::open(Options::new(path)).unwrap());
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
    let mut due = last.map_or(0, |last| last.end_unix_ms() + 1000);
    // Nothing of the former process stands in the way: the next epoch writes at once.
    let mut epoch = old + 1;
    store
        .define(monitor(&name), Epoch::new(epoch))
        .await
        .unwrap();
    store
        .set_lifecycle(&id(&name), Lifecycle::Active, Epoch::new(epoch + 1))
        .await
        .unwrap();
    epoch += 1;
    // And nothing of it can write any more.
    let late = store.commit(down(&name, old, due)).await.unwrap();
    assert_eq!(late, Commit::Refused(Refusal::Stale));
    loop {
        let record = match due / 1000 % 5 {
            0 => down(&name, epoch, due),
            1 => Record::unobserved(id(&name), Epoch::new(epoch), due, 2, Unobserved::Overload),
            2 => {
                epoch += 1;
                let new = Epoch::new(epoch);
                store
                    .set_lifecycle(&id(&name), Lifecycle::Active, new)
                    .await
                    .unwrap();
                up(&name, epoch, due)
            }
            _ => up(&name, epoch, due),
        };
        match store.commit(record).await.unwrap() {
            Commit::Applied(applied) => tell(&Acknowledged {
                monitor: name.clone(),
                epoch,
                due,
                sequence: applied.sequence,
            }),
            Commit::Refused(refusal) => panic!("{name} {due}: {refusal:?}"),
        }
        due += 1000;
    }
}
