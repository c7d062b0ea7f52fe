//! Many keys for a long time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::secs;
use monitor_operation::Operations;
use monitor_scheduler::{Config, Missed, Observer, Phase, Run, Scheduler, Spec, Verdict};
use tokio::time::sleep;

/// PRB-41: a thousand keys of the same interval, all scheduled at the same time: their starts are
/// spread over the interval, and after a restart they are where they were.
#[tokio::test(start_paused = true)]
async fn a_thousand_keys_do_not_start_together() {
    let mut before: Option<Vec<(u32, Duration)>> = None;
    for origin in [secs(1_800_000_000), secs(1_800_003_600)] {
        let starts = Arc::new(Mutex::new(Vec::new()));
        let config = Config {
            origin_unix: origin,
            ..Config::default()
        };
        let scheduler = Scheduler::new(config, Operations::new(), Arc::new(()));
        for key in 0..1000_u32 {
            let spec = Spec::builder(secs(10)).phase(Phase::of(&key.to_le_bytes()));
            let starts = Arc::clone(&starts);
            let handler = move |run: Run<u32>| {
                starts
                    .lock()
                    .unwrap()
                    .push((*run.operation.key(), run.due.unix, run.started));
                async { Verdict::Success }
            };
            scheduler
                .schedule(key, spec.build().unwrap(), handler)
                .unwrap();
        }
        sleep(secs(12)).await;
        let starts = starts.lock().unwrap().clone();
        let mut windows = vec![0; 130];
        for (_, _, started) in &starts {
            windows[started.as_millis() as usize / 100] += 1;
        }
        assert!(windows.iter().all(|starts| *starts <= 30), "{windows:?}");
        let mut phases: Vec<(u32, Duration)> = starts
            .iter()
            .map(|(key, due, _)| (*key, Duration::from_millis(due.as_millis() as u64 % 10_000)))
            .collect();
        phases.sort_unstable();
        phases.dedup();
        assert_eq!(phases.len(), 1000, "one phase per key");
        assert!(
            before
                .replace(phases.clone())
                .is_none_or(|before| before == phases)
        );
    }
}

/// Nothing is missed.
struct Never(AtomicUsize);

impl<K> Observer<K> for Never {
    fn missed(&self, _: Missed<K>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// PRB-25: a minute of three hundred keys at one second: every key runs every second, none
/// is lost, none is late enough to miss a slot.
#[tokio::test(start_paused = true)]
async fn three_hundred_keys_a_second_lose_nothing() {
    let never = Arc::new(Never(AtomicUsize::new(0)));
    let scheduler = Scheduler::new(Config::default(), Operations::new(), never.clone());
    for key in 0..300_u32 {
        let spec = Spec::builder(secs(1)).phase(Phase::of(&key.to_le_bytes()));
        let handler = async |_run: Run<u32>| {
            sleep(Duration::from_millis(20)).await;
            Verdict::Success
        };
        scheduler
            .schedule(key, spec.build().unwrap(), handler)
            .unwrap();
    }
    for _ in 0..60 {
        sleep(secs(1)).await;
        assert_eq!(scheduler.status().lost, 0);
    }
    let status = scheduler.status();
    assert!(
        status
            .states
            .iter()
            .all(|state| state.successes_total >= 58),
        "{status:?}"
    );
    assert_eq!(never.0.load(Ordering::SeqCst), 0);
}
