//! Results as a probe over HTTPS records them, of monitors that are checked every ten seconds.

use std::sync::Arc;
use std::time::Duration;

use monitor_fault::{Fault, Layer, Reason};
use monitor_model::{
    Commit, Monitor, MonitorId, Observation, Phase, Phases, Record, Source, Store,
};
use monitor_operation::{Epoch, OperationId};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

const INTERVAL_MS: i64 = 10_000;
const EPOCH: u64 = 300;
/// A midnight in 2023: due times of the past age as those of today would.
const BASE_UNIX_MS: i64 = 1_699_920_000_000;

/// Monitors, and how many results each has had.
pub(super) struct Load {
    ids: Vec<MonitorId>,
    had: i64,
}

impl Load {
    pub(super) fn new(monitors: usize) -> Self {
        let id = |n| format!("monitor-{n}").parse().expect("a valid id");
        let ids = (0..monitors).map(id).collect();
        Self { ids, had: 0 }
    }

    pub(super) async fn define(&self, store: &dyn Store) {
        for id in &self.ids {
            let (name, spec) = (id.to_string(), String::from("{}"));
            let monitor = Monitor {
                id: id.clone(),
                name,
                source: Source::Api,
                spec,
            };
            let defined = store.define(monitor, Epoch::new(EPOCH)).await;
            defined.expect("a new monitor");
        }
    }

    /// So many results of each monitor, all monitors at once, each waits for its result before its
    /// next one. Returns how many that were.
    pub(super) async fn run(&mut self, store: &Arc<dyn Store>, results: i64) -> u64 {
        let mut tasks = JoinSet::new();
        for (n, id) in self.ids.iter().enumerate() {
            let (store, id, had) = (Arc::clone(store), id.clone(), self.had);
            tasks.spawn(async move {
                for at in had..had + results {
                    commit(&*store, record(&id, n, at)).await;
                }
            });
        }
        tasks.join_all().await;
        self.had += results;
        self.ids.len() as u64 * results.unsigned_abs()
    }

    /// The same, but without waiting: results of one monitor follow each other in the queue.
    pub(super) async fn flood(&mut self, store: &Arc<dyn Store>, results: i64) -> u64 {
        let mut tasks = JoinSet::new();
        for at in self.had..self.had + results {
            for (n, id) in self.ids.iter().enumerate() {
                let (store, record) = (Arc::clone(store), record(id, n, at));
                tasks.spawn(async move { commit(&*store, record).await });
            }
        }
        tasks.join_all().await;
        self.had += results;
        self.ids.len() as u64 * results.unsigned_abs()
    }
}

async fn commit(store: &dyn Store, record: Record) {
    match store.commit(record).await {
        Ok(Commit::Applied(_)) => {}
        other => panic!("a result was not written: {other:?}"),
    }
}

/// The result of the `at`th due time of the `n`th monitor. Each is down for five minutes a day.
fn record(id: &MonitorId, n: usize, at: i64) -> Record {
    let due = BASE_UNIX_MS + at * INTERVAL_MS + n as i64 * 13 % INTERVAL_MS;
    let mut random = SmallRng::seed_from_u64(due.unsigned_abs() ^ (n as u64) << 48);
    let mut time = |most: u64| Duration::from_micros(random.random_range(most / 8..most));
    let is_down = (at + n as i64 * 97) % 8640 < 30;
    let mut phases = Phases::default();
    let all = [
        (Phase::Resolve, 3_000),
        (Phase::Connect, 30_000),
        (Phase::Tls, 60_000),
        (Phase::FirstByte, 200_000),
        (Phase::Transfer, 5_000),
    ];
    for (phase, most) in &all[..if is_down { 1 } else { 5 }] {
        phases.set(*phase, time(*most));
    }
    let took = time(300_000);
    let observation = match is_down {
        true => Observation::fault(
            Fault::new(Layer::Connect, Reason::Refused).with_detail("203.0.113.7:443"),
        ),
        false => Observation::up().with_note("200 OK"),
    };
    let mut record = Record::observed(id.clone(), Epoch::new(EPOCH), due, observation, phases);
    record.interval_ms = INTERVAL_MS;
    record.took = Some(took);
    record.started_unix_ms = due + random.random_range(0..20);
    record.operation = OperationId::new(random.random());
    record
}
