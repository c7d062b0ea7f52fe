//! What the tests of the shell share.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod ends;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use monitor_backoff::{Floor, Jitter, Policy, Schedule};
use monitor_operation::Operations;
use monitor_scheduler::{
    Config, Finished, Missed, Observer, Phase, Run, Saturation, Scheduler, Spec, Verdict,
};
use tokio::time::sleep;

pub(crate) type Key = &'static str;

/// Remembers everything.
#[derive(Default)]
pub(crate) struct Ear {
    pub(crate) missed: Mutex<Vec<Missed<Key>>>,
    pub(crate) finished: Mutex<Vec<Finished<Key>>>,
}

impl Observer<Key> for Ear {
    fn missed(&self, missed: Missed<Key>) {
        self.missed.lock().unwrap().push(missed);
    }

    fn finished(&self, finished: Finished<Key>) {
        self.finished.lock().unwrap().push(finished);
    }
}

pub(crate) fn scheduler(limit: usize, saturation: Saturation) -> (Scheduler<Key>, Arc<Ear>) {
    let config = Config {
        max_concurrent: limit.try_into().unwrap(),
        saturation,
        ..Config::default()
    };
    let ear = Arc::new(Ear::default());
    (
        Scheduler::new(config, Operations::with_seed(1), ear.clone()),
        ear,
    )
}

/// A spec whose slots are whole multiples of the interval, with waits of 2, 5 and 10 s after
/// failures and no jitter.
pub(crate) fn spec(interval: Duration) -> Spec {
    spec_with_timeout(interval, Duration::from_secs(30))
}

pub(crate) fn spec_with_timeout(interval: Duration, timeout: Duration) -> Spec {
    let steps = [2, 5, 10].map(Duration::from_secs).to_vec();
    let backoff = Policy::builder()
        .schedule(Schedule::Steps(steps.into()))
        .floor(Floor::Absolute)
        .jitter(Jitter::NONE)
        .build()
        .unwrap();
    Spec::builder(interval)
        .timeout(timeout)
        .phase(Phase::Offset(Duration::ZERO))
        .backoff(backoff)
        .build()
        .unwrap()
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Counts the handlers that run at once, per key and in all.
#[derive(Clone, Default)]
pub(crate) struct Gauge(Arc<Inner>);

#[derive(Default)]
struct Inner {
    now: AtomicUsize,
    most: AtomicUsize,
    keys: Mutex<HashMap<Key, usize>>,
    starts: Mutex<Vec<(Key, Duration)>>,
}

impl Gauge {
    /// Counts a run in; the run is over when what is returned is dropped.
    pub(crate) fn enter(&self, run: &Run<Key>) -> Inside {
        let key = *run.operation.key();
        let now = self.0.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(now, Ordering::SeqCst);
        let mut keys = self.0.keys.lock().unwrap();
        let runs = keys.entry(key).or_default();
        *runs += 1;
        assert_eq!(*runs, 1, "two runs of {key} at once");
        self.0.starts.lock().unwrap().push((key, run.started));
        Inside {
            gauge: self.clone(),
            key,
        }
    }

    pub(crate) fn most(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }

    pub(crate) fn inside(&self) -> usize {
        self.0.now.load(Ordering::SeqCst)
    }

    /// When the runs of a key were started, in milliseconds.
    pub(crate) fn starts(&self, key: Key) -> Vec<u128> {
        let starts = self.0.starts.lock().unwrap();
        starts
            .iter()
            .filter(|(k, _)| *k == key)
            .map(|(_, at)| at.as_millis())
            .collect()
    }
}

pub(crate) struct Inside {
    gauge: Gauge,
    key: Key,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.gauge.0.now.fetch_sub(1, Ordering::SeqCst);
        *self.gauge.0.keys.lock().unwrap().get_mut(self.key).unwrap() -= 1;
    }
}

/// Schedules a key whose handler takes so long and says so.
pub(crate) fn schedule(
    scheduler: &Scheduler<Key>,
    gauge: &Gauge,
    key: Key,
    spec: Spec,
    takes: Duration,
    verdict: Verdict,
) {
    let gauge = gauge.clone();
    let handler = move |run: Run<Key>| {
        let inside = gauge.enter(&run);
        async move {
            let _inside = inside;
            sleep(takes).await;
            verdict
        }
    };
    scheduler.schedule(key, spec, handler).unwrap();
}
