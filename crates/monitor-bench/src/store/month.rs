//! Thirty days of results, for the bytes that are left of them.
//!
//! A thousand monitors would be 259 million results, hours of work. What the file has grows with
//! each monitor alike, so 20 of them are run through all thirty days, every result through the same
//! commit as in the daemon, and what they add to an empty file is taken times 50.
//! `MONITOR_BENCH_MONITORS` says how many instead: 1000 for all of it.

use std::env;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use monitor_model::Store;
use monitor_store::{Options, SqliteStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::load::Load;
use super::runtime;
use crate::noise::process_cpu;
use crate::plan::{Sample, Subject};

const DAYS: i64 = 30;
const RESULTS_A_DAY: i64 = 8640;
/// As many results as are in flight at once.
const IN_FLIGHT: i64 = 1000;
/// What the target is about.
const MONITORS: f64 = 1000.0;

pub(super) struct Month {
    monitors: i64,
    facts: Vec<(&'static str, f64)>,
}

impl Month {
    pub(super) fn new() -> Self {
        let wanted = env::var("MONITOR_BENCH_MONITORS").ok();
        let monitors = wanted.and_then(|text| text.parse().ok()).unwrap_or(20);
        Self {
            monitors,
            facts: Vec::new(),
        }
    }
}

impl Subject for Month {
    fn sample(&mut self) -> Sample {
        let folder: TempDir = tempfile::tempdir().expect("a folder for temporary files");
        let path = folder.path().join("monitor.sqlite");
        let runtime = runtime();
        let (cpu, wall) = (process_cpu(), Instant::now());
        let mut results = 0;
        let mut sizes: Vec<f64> = Vec::new();
        // What a file has before its first result.
        let mut empty = 0.0;
        let mut load = Load::new(usize::try_from(self.monitors).unwrap_or(1));
        for day in 0..=DAYS {
            // Closed and opened every night, so that the file is all there is.
            let opened = SqliteStore::open(Options::new(&path)).expect("the database");
            let store: Arc<dyn Store> = Arc::new(opened);
            let size = || fs::metadata(&path).map_or(0, |metadata| metadata.len()) as f64;
            if day == 0 {
                runtime.block_on(load.define(&*store));
                runtime.block_on(store.close()).expect("closed in order");
                empty = size();
                continue;
            }
            let (mut had, step) = (0, (IN_FLIGHT / self.monitors).max(1));
            while had < RESULTS_A_DAY {
                let more = step.min(RESULTS_A_DAY - had);
                results += runtime.block_on(load.flood(&store, more));
                had += more;
            }
            runtime.block_on(store.close()).expect("closed in order");
            sizes.push(size());
            eprintln!("day {day}: {} bytes", size());
        }
        let (wall, cpu) = (wall.elapsed(), process_cpu() - cpu);
        let day = (self.monitors * RESULTS_A_DAY) as f64;
        let scale = MONITORS / self.monitors as f64;
        self.facts = vec![
            ("bytes_per_result_after_a_day", sizes[0] / day),
            (
                "bytes_per_result_after_30_days",
                sizes[sizes.len() - 1] / results as f64,
            ),
            (
                "megabytes",
                ((sizes[sizes.len() - 1] - empty) * scale + empty) / 1e6,
            ),
            ("results", results as f64),
        ];
        let each = |time: f64| time * 1e9 / results as f64;
        Sample {
            ns: each(wall.as_secs_f64()),
            cpu_ns: each(cpu.as_secs_f64()),
        }
    }

    fn observe(&mut self) -> Vec<(&'static str, f64)> {
        self.facts.clone()
    }

    fn about(&self) -> Value {
        json!({ "monitors": self.monitors, "days": DAYS, "interval_s": 10 })
    }
}
