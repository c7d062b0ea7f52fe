//! The server crashes, connections are cut, and whatever was acknowledged is there, once and whole.
//!
//! `MONITOR_CHAOS_ROUNDS` sets how often something goes wrong, `MONITOR_CHAOS_SEED` repeats the
//! choices.

#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests panic, and show their numbers"
)]

#[path = "common/postgres.rs"]
mod postgres;

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use monitor_model::conformance::{down, id, monitor, up};
use monitor_model::{Commit, Incident, Lifecycle, Record, Store, StoreErrorKind};
use monitor_operation::{Epoch, OperationId};
use monitor_store::{PostgresOptions, PostgresStore};
use monitor_testkit::proxy::{Direction, Effect, Fault, Proxy};
use monitor_testkit::services::Shutdown;
use postgres::Schema;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const MONITORS: usize = 8;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn plan() -> (u64, SmallRng) {
    use std::hash::{BuildHasher, Hasher};
    let random = || std::hash::RandomState::new().build_hasher().finish();
    let seed = number("MONITOR_CHAOS_SEED").unwrap_or_else(random);
    let rounds = number("MONITOR_CHAOS_ROUNDS").unwrap_or(6);
    println!("MONITOR_CHAOS_SEED={seed} MONITOR_CHAOS_ROUNDS={rounds}");
    (rounds, SmallRng::seed_from_u64(seed))
}

/// What was acknowledged: sequence and outcome by due time, for each monitor.
type Acknowledged = BTreeMap<i64, (u64, Record)>;

/// Commits records of one monitor until told to stop, each until it is acknowledged, as a scheduler
/// does that must not lose one.
struct Committer {
    store: Arc<PostgresStore>,
    name: String,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    failures: Arc<AtomicU64>,
}

impl Committer {
    async fn run(self) -> Acknowledged {
        let mut acknowledged = Acknowledged::new();
        let mut due = 0;
        while !self.stop.load(Ordering::Relaxed) {
            due += 1000;
            let make = if due / 5000 % 2 == 0 { up } else { down };
            let mut record = make(&self.name, 1, due);
            record.operation = OperationId::new(u128::try_from(due).unwrap());
            let sequence = loop {
                match self.store.commit(record.clone()).await {
                    Ok(Commit::Applied(applied)) => break applied.sequence,
                    Ok(Commit::Refused(refusal)) => panic!("{due} of {}: {refusal:?}", self.name),
                    Err(error) => {
                        let may_pass = [StoreErrorKind::Unreachable, StoreErrorKind::Busy];
                        assert!(may_pass.contains(&error.kind), "{error}");
                        self.failures.fetch_add(1, Ordering::Relaxed);
                    }
                }
            };
            acknowledged.insert(due, (sequence, record));
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
        acknowledged
    }
}

/// Commits from all sides while `wreak` does its worst, round after round; then checks everything.
async fn survive(
    schema: &Schema,
    options: PostgresOptions,
    mut wreak: impl AsyncFnMut(&mut SmallRng),
) {
    let (rounds, mut random) = plan();
    let store = Arc::new(PostgresStore::open(options).await.unwrap());
    let (answers, failures) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let names: Vec<_> = (0..MONITORS).map(|number| format!("m{number}")).collect();
    let mut tasks = Vec::new();
    for name in &names {
        store.define(monitor(name), Epoch::new(1)).await.unwrap();
        let committer = Committer {
            store: Arc::clone(&store),
            name: name.clone(),
            stop: Arc::clone(&stop),
            answers: Arc::clone(&answers),
            failures: Arc::clone(&failures),
        };
        tasks.push(tokio::spawn(committer.run()));
    }
    for _ in 0..rounds {
        // In the middle of whatever the store does then.
        let more = answers.load(Ordering::Relaxed) + random.random_range(1..300);
        while answers.load(Ordering::Relaxed) < more {
            assert!(
                !tasks.iter().any(|task| task.is_finished()),
                "one has failed"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        wreak(&mut random).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut total = 0;
    for (name, task) in names.iter().zip(tasks) {
        let acknowledged = task.await.unwrap();
        total += acknowledged.len();
        check(&*store, name, &acknowledged).await;
    }
    assert_eq!(store.doctor().await.unwrap(), []);
    let (failures, stats) = (failures.load(Ordering::Relaxed), store.stats());
    println!("rounds {rounds}, acknowledged {total}, failed answers {failures}, {stats:?}");
    store.close().await.unwrap();
    // And after everything, to another store.
    let again = schema.open().await;
    assert_eq!(again.load().await.unwrap().monitors.len(), MONITORS);
    again.close().await.unwrap();
}

/// Everything acknowledged is there once, nothing else is, and the state is that of the last line.
async fn check(store: &dyn Store, name: &str, acknowledged: &Acknowledged) {
    let rows = store.history(&id(name), u32::MAX >> 1).await.unwrap();
    let written: Acknowledged = rows
        .into_iter()
        .map(|row| (row.record.due_unix_ms, (row.sequence, row.record)))
        .collect();
    assert_eq!(&written, acknowledged, "{name}");
    let tally = store.tally(&id(name), 0).await.unwrap();
    assert_eq!(tally.due, acknowledged.len() as u64, "{name}: counted once");
    let loaded = store.load().await.unwrap();
    let stored = loaded
        .monitors
        .iter()
        .find(|stored| stored.monitor.id == id(name));
    let status = &stored.unwrap().status;
    let mut replayed = monitor_model::Status::new(id(name), status.lifecycle, status.epoch);
    let (mut open, mut incidents) = (None, Vec::new());
    for (sequence, record) in acknowledged.values() {
        replayed = replayed.after(record);
        let incident = Incident::after(open.as_ref(), Lifecycle::Active, record, *sequence);
        if let Some(incident) = incident {
            match incident.closed {
                None => open = Some(incident),
                Some(_) => {
                    open = None;
                    incidents.push(incident);
                }
            }
        }
    }
    incidents.extend(open);
    assert_eq!(
        status, &replayed,
        "{name}: each record moved the state once"
    );
    assert_eq!(
        store.incidents(&id(name), u32::MAX >> 1).await.unwrap(),
        incidents,
        "{name}"
    );
}

/// OPS-18, OPS-27, OPS-29: the server crashes while commits run, again and again. No acknowledged
/// result is lost, none is half there, none is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_4_a_crashed_server_loses_nothing_that_was_acknowledged() {
    let schema = Schema::alone("").await;
    let options = schema.options();
    survive(&schema, options, async |_| {
        let mut server = schema.server();
        tokio::task::block_in_place(|| server.restart(Shutdown::Immediate).unwrap());
    })
    .await;
}

/// OPS-18, OPS-19: connections are cut, go silent or are slow at any byte. What the store says of a
/// record is true, although it often does not hear the server say so.
#[tokio::test(flavor = "multi_thread")]
async fn inv_store_4_a_cut_connection_neither_loses_nor_doubles_a_record() {
    let schema = Schema::alone("").await;
    let proxy = Proxy::start(schema.address()).await.unwrap();
    let mut options = PostgresOptions::new(&schema.url_at(proxy.addr())).unwrap();
    options.statement_timeout = Duration::from_millis(500);
    options.wait_for_owner = Duration::from_secs(60);
    survive(&schema, options, async |random| {
        proxy.heal();
        let direction = match random.random() {
            true => Direction::ToServer,
            false => Direction::ToClient,
        };
        let effect = match random.random_range(0..5) {
            0 => Effect::Fin,
            1 | 2 => Effect::Rst,
            3 => Effect::HalfOpen,
            _ => Effect::Delay(Duration::from_millis(random.random_range(1..=20))),
        };
        proxy.inject_all(Fault::new(direction, random.random_range(0..4000), effect));
    })
    .await;
}
