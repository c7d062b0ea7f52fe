//! Results on disk: how many a second, with what durability, and how many bytes are left of them.
//!
//! Each result is a check over HTTPS as a probe records it: five phases, a note, an operation. A
//! caller is answered when its result is flushed, so what is measured is acknowledged results:
//!
//! - SQLite: WAL, `synchronous = FULL`, one `fsync` of the log for each transaction;
//! - PostgreSQL: `synchronous_commit = on`, a server with its default settings on the same disk.
//!
//! The files are in the folder for temporary files (`TMPDIR`), which should be on a disk.

mod load;
mod month;

use std::sync::Arc;
use std::time::Instant;

use monitor_model::Store;
use monitor_store::{Options, PostgresOptions, PostgresStore, SqliteStore};
use monitor_testkit::services::Postgres;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use self::load::Load;
use crate::noise::process_cpu;
use crate::plan::{Plan, Sample, Subject};

const MONITORS: usize = 1000;
/// Results of each monitor in one sample.
const RESULTS: i64 = 20;
const ROUNDS: usize = 5;

pub(crate) fn plan(plan: &mut Plan) {
    plan.workload(
        "results of 1000 monitors, each waits for its own",
        |subjects| {
            subjects.rounds(ROUNDS);
            subjects.add("monitor-store, SQLite", Commits::sqlite(MONITORS, RESULTS));
            match Commits::postgres(MONITORS, RESULTS) {
                Ok(commits) => subjects.add("monitor-store, PostgreSQL", commits),
                Err(error) => eprintln!("no PostgreSQL here: {error}"),
            }
        },
    );
    plan.workload("results of one monitor, one after the other", |subjects| {
        subjects.rounds(ROUNDS);
        subjects.add("monitor-store, SQLite", Commits::sqlite(1, 200));
        match Commits::postgres(1, 200) {
            Ok(commits) => subjects.add("monitor-store, PostgreSQL", commits),
            Err(error) => eprintln!("no PostgreSQL here: {error}"),
        }
    });
    // By name only: millions of results.
    plan.long_workload("30 days of 1000 monitors at 10 s", |subjects| {
        subjects.rounds(1);
        subjects.add("monitor-store, SQLite", month::Month::new());
    });
}

/// A store that takes results of so many monitors at once.
struct Commits {
    runtime: Runtime,
    store: Arc<dyn Store>,
    load: Load,
    results: i64,
    /// Transactions so far.
    flushes: Box<dyn Fn() -> u64 + Send>,
    /// Results and transactions of the last sample, and its nanoseconds for each.
    last: (f64, f64, f64),
    about: &'static str,
    _place: Place,
}

/// What goes when the store goes.
enum Place {
    Folder(#[expect(dead_code, reason = "removed when dropped")] TempDir),
    Server(#[expect(dead_code, reason = "stopped when dropped")] Box<Postgres>),
}

impl Commits {
    fn sqlite(monitors: usize, results: i64) -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let path = folder.path().join("monitor.sqlite");
        let store = SqliteStore::open(Options::new(path)).expect("a new database");
        let store = Arc::new(store);
        let counted = Arc::clone(&store);
        let flushes = Box::new(move || {
            let stats = counted.stats();
            stats.transactions + stats.slices
        });
        let about = "WAL, synchronous=FULL, an fsync a transaction";
        Self::new(
            runtime(),
            store,
            Load::new(monitors),
            results,
            flushes,
            about,
            Place::Folder(folder),
        )
    }

    fn postgres(monitors: usize, results: i64) -> Result<Self, Box<dyn std::error::Error>> {
        let server = Postgres::start()?;
        let options: PostgresOptions = server.url().parse()?;
        let runtime = runtime();
        let store = Arc::new(runtime.block_on(PostgresStore::open(options))?);
        let counted = Arc::clone(&store);
        let flushes = Box::new(move || counted.stats().transactions);
        let about = "synchronous_commit=on, defaults";
        let place = Place::Server(Box::new(server));
        Ok(Self::new(
            runtime,
            store,
            Load::new(monitors),
            results,
            flushes,
            about,
            place,
        ))
    }

    fn new(
        runtime: Runtime,
        store: Arc<dyn Store>,
        load: Load,
        results: i64,
        flushes: Box<dyn Fn() -> u64 + Send>,
        about: &'static str,
        place: Place,
    ) -> Self {
        runtime.block_on(load.define(&*store));
        Self {
            runtime,
            store,
            load,
            results,
            flushes,
            last: (0.0, 0.0, 0.0),
            about,
            _place: place,
        }
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

impl Subject for Commits {
    fn sample(&mut self) -> Sample {
        let (flushes, cpu, wall) = ((self.flushes)(), process_cpu(), Instant::now());
        let results = self
            .runtime
            .block_on(self.load.run(&self.store, self.results));
        let (wall, cpu) = (wall.elapsed(), process_cpu() - cpu);
        let results = results as f64;
        let flushes = ((self.flushes)() - flushes) as f64;
        let ns = wall.as_secs_f64() * 1e9 / results;
        self.last = (results, flushes, ns);
        Sample {
            ns,
            cpu_ns: cpu.as_secs_f64() * 1e9 / results,
        }
    }

    fn observe(&mut self) -> Vec<(&'static str, f64)> {
        self.sample();
        let (results, flushes, ns) = self.last;
        vec![
            ("results_per_s", 1e9 / ns),
            ("us_per_result", ns / 1e3),
            ("results_per_flush", results / flushes),
            ("flushes_per_s", flushes / results * 1e9 / ns),
        ]
    }

    fn about(&self) -> Value {
        json!({ "durability": self.about, "results": self.last.0 })
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        // A store that does not close leaves its files to be removed all the same.
        let _ = self.runtime.block_on(self.store.close());
    }
}
