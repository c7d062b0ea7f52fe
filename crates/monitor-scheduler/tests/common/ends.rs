//! Ends of runs as they come, on real threads.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use monitor_operation::Operations;
use monitor_scheduler::{Config, Ended, Finished, Missed, Observer, Scheduler, Spec};

/// Passes on how runs end.
pub(crate) struct Ends(Mutex<mpsc::Sender<(u32, Ended)>>);

/// Ends of runs, in order.
pub(crate) type EndedRuns = mpsc::Receiver<(u32, Ended)>;

impl Ends {
    pub(crate) fn channel() -> (Arc<Self>, EndedRuns) {
        let (ends, ended) = mpsc::channel();
        (Arc::new(Self(Mutex::new(ends))), ended)
    }
}

impl Observer<u32> for Ends {
    fn missed(&self, _: Missed<u32>) {}

    fn finished(&self, finished: Finished<u32>) {
        // The test may have heard enough.
        let _ = self.0.lock().unwrap().send((finished.key, finished.how));
    }
}

/// A scheduler of so many permits that gives runs up 50 ms after their deadlines.
pub(crate) fn hasty(permits: usize) -> (Scheduler<u32>, EndedRuns) {
    patient(permits, Duration::from_millis(50))
}

/// The same, with so much patience.
pub(crate) fn patient(permits: usize, cleanup_grace: Duration) -> (Scheduler<u32>, EndedRuns) {
    let config = Config {
        max_concurrent: permits.try_into().unwrap(),
        cleanup_grace,
        ..Config::default()
    };
    let (ends, ended) = Ends::channel();
    (Scheduler::new(config, Operations::new(), ends), ended)
}

/// Once now, and then by hand only, with a timeout of so long.
pub(crate) fn at_once(timeout_ms: u64) -> Spec {
    let spec = Spec::builder(Duration::from_secs(3600)).timeout(Duration::from_millis(timeout_ms));
    spec.immediate(true).build().unwrap()
}

/// The next end of a run, awaited without a worker of the runtime.
pub(crate) async fn next(ended: EndedRuns) -> (EndedRuns, (u32, Ended)) {
    tokio::task::spawn_blocking(move || {
        let next = ended.recv().unwrap();
        (ended, next)
    })
    .await
    .unwrap()
}
