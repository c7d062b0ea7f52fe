//! What runs do to each other, and to the scheduler: deadlines, panics, hangs, claims.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    cell::Cell,
    sync::{Arc, mpsc as channel},
    time::Duration,
};

use common::{Ear, Gauge, Key, schedule, scheduler, secs, spec, spec_with_timeout};
use monitor_operation::{Cause, Operations};
use monitor_scheduler::{
    Claim, Completion, Config, Ended, Finished, KeyState, Missed, MissedReason, Observer, Run,
    Saturation, Scheduler, Trigger, Verdict,
};
use tokio::{sync::mpsc, time::sleep};

const QUEUE: Saturation = Saturation::Queue { bound: 100 };

/// PRB-8, OPS-24, OPS-25: at its deadline a run is cancelled, and may still commit that it was.
#[tokio::test(start_paused = true)]
async fn at_its_deadline_a_run_is_cancelled_and_may_commit() {
    let (scheduler, ear) = scheduler(3, QUEUE);
    let (told, mut hears) = mpsc::unbounded_channel();
    let handler = move |run: Run<Key>| {
        let told = told.clone();
        async move {
            let cause = run.operation.cancellation().cancelled().await;
            let late = tokio::time::Instant::now() - run.deadline;
            told.send((cause, late, run.operation.commit(|| ()).is_ok()))
                .unwrap();
            Completion::new(Verdict::Failure).error("timeout")
        }
    };
    scheduler
        .schedule("a", spec_with_timeout(secs(60), secs(30)), handler)
        .unwrap();
    assert_eq!(
        hears.recv().await,
        Some((Cause::Deadline, Duration::ZERO, true))
    );
    assert_eq!(scheduler.now(), secs(30), "not at the end of the grace");
    sleep(secs(1)).await;
    assert_eq!(
        ear.finished.lock().unwrap()[0].how,
        Ended::Returned(Verdict::Failure)
    );
    assert_eq!(
        scheduler.probe_status(&"a").unwrap().last_error.as_deref(),
        Some("timeout")
    );
}

/// PRB-7, PRB-8: three handlers that never end and heed nothing, three permits. In the original
/// nothing ran any more; here they are aborted after the grace, and the fourth key runs.
#[tokio::test(start_paused = true)]
async fn handlers_that_hang_do_not_stop_the_others() {
    let (scheduler, ear) = scheduler(3, QUEUE);
    let gauge = Gauge::default();
    for key in ["a", "b", "c"] {
        let spec = spec_with_timeout(secs(60), secs(10));
        schedule(
            &scheduler,
            &gauge,
            key,
            spec,
            secs(1_000_000),
            Verdict::Success,
        );
    }
    schedule(
        &scheduler,
        &gauge,
        "d",
        spec(secs(20)),
        secs(1),
        Verdict::Success,
    );
    sleep(secs(33)).await;
    assert_eq!(
        gauge.starts("d"),
        [15_000, 32_000],
        "each time that the grace is over"
    );
    let finished = ear.finished.lock().unwrap();
    assert_eq!(
        finished.iter().filter(|f| f.how == Ended::Overdue).count(),
        6
    );
    assert_eq!(
        gauge.most(),
        3,
        "an aborted handler is gone before the next one starts"
    );
}

fn panics() -> Verdict {
    panic!("later")
}

/// PRB-7, PRB-36: a handler that panics, before its first await or after, frees its key and its
/// permit, and counts as a failure.
#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_nothing_else() {
    let (scheduler, ear) = scheduler(1, QUEUE);
    let gauge = Gauge::default();
    let at_once = |_run: Run<Key>| -> std::future::Ready<Verdict> { panic!("at once") };
    scheduler.schedule("a", spec(secs(60)), at_once).unwrap();
    let later = |_run: Run<Key>| async {
        sleep(secs(1)).await;
        panics()
    };
    scheduler.schedule("b", spec(secs(60)), later).unwrap();
    schedule(
        &scheduler,
        &gauge,
        "c",
        spec(secs(60)),
        secs(1),
        Verdict::Success,
    );
    sleep(secs(4)).await;
    assert_eq!(gauge.starts("c").len(), 1);
    for key in ["a", "b"] {
        let status = scheduler.probe_status(&key).unwrap();
        assert!(status.consecutive_failures > 0, "{key}");
        assert_eq!(status.last_error.as_deref(), Some("the handler panicked"));
    }
    let finished = ear.finished.lock().unwrap();
    assert!(finished.iter().filter(|f| f.how == Ended::Panicked).count() >= 2);
}

/// The key stays taken while anybody holds a clone of its claim, and its permit does not.
#[tokio::test(start_paused = true)]
async fn a_claim_outlives_its_handler() {
    let (scheduler, ear) = scheduler(1, QUEUE);
    let (give, mut take) = mpsc::unbounded_channel::<Claim>();
    let handler = move |run: Run<Key>| {
        let give = give.clone();
        async move {
            give.send(run.claim.clone()).unwrap();
            Verdict::Success
        }
    };
    scheduler.schedule("a", spec(secs(10)), handler).unwrap();
    let claim = take.recv().await.unwrap();
    sleep(secs(25)).await;
    assert!(take.try_recv().is_err(), "no second run");
    let status = scheduler.status();
    assert_eq!((status.current_concurrency, status.stuck), (0, vec!["a"]));
    let missed = ear.missed.lock().unwrap().len();
    assert_eq!(missed, 2, "the slots at 10 and 20 s");
    drop(claim);
    assert!(take.recv().await.is_some());
    assert_eq!(scheduler.now(), secs(30));
}

/// PRB-10, PRB-41: the observer hears of slots that passed during a run, with their number.
#[tokio::test(start_paused = true)]
async fn slots_that_pass_during_a_run_are_reported() {
    let (scheduler, ear) = scheduler(3, QUEUE);
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(1)),
        Duration::from_millis(3500),
        Verdict::Success,
    );
    sleep(Duration::from_millis(4100)).await;
    let missed = ear.missed.lock().unwrap().clone();
    assert_eq!(missed.len(), 1);
    let Missed {
        key,
        due,
        slots,
        interval,
        reason,
        ..
    } = missed[0].clone();
    assert_eq!((key, due.at, slots), ("a", secs(1), 3));
    assert_eq!((interval, reason), (secs(1), MissedReason::InFlight));
    assert_eq!(gauge.starts("a"), [0, 4000]);
}

/// PRB-19, PRB-24, PRB-25, PRB-27, PRB-29, PRB-30, PRB-32: the status is one picture.
#[tokio::test(start_paused = true)]
async fn the_status_is_one_picture() {
    let config = Config {
        origin_unix: secs(1_000_000),
        ..Config::default()
    };
    let scheduler = Scheduler::new(config, Operations::new(), Arc::new(()));
    let long = "é\n".repeat(1_000_000);
    let failing = move |_run: Run<Key>| {
        let completion = Completion::new(Verdict::Failure).error(&long);
        async move {
            sleep(secs(1)).await;
            completion
        }
    };
    scheduler.schedule("bad", spec(secs(10)), failing).unwrap();
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "slow",
        spec(secs(10)),
        secs(8),
        Verdict::Success,
    );
    let fresh = scheduler.probe_status(&"bad").unwrap();
    assert_eq!(
        (fresh.current_backoff, fresh.last_probe_at),
        (Duration::ZERO, None)
    );
    sleep(Duration::from_millis(2500)).await;
    let status = scheduler.status();
    assert_eq!(status.ongoing, ["slow"]);
    assert_eq!(status.scheduled, ["bad", "slow"]);
    assert_eq!(
        (status.concurrency_limit, status.current_concurrency),
        (20, 1)
    );
    let bad = &status.states[0];
    assert_eq!(
        (bad.consecutive_failures, bad.current_backoff),
        (1, secs(2))
    );
    assert_eq!(bad.last_probe_at, Some(secs(1_000_000)));
    assert_eq!(bad.last_error_at, Some(secs(1_000_001)));
    assert_eq!(
        (bad.next_due, bad.last_duration),
        (Some(secs(1_000_003)), Some(secs(1)))
    );
    let error = bad.last_error.as_ref().unwrap();
    assert!(error.len() <= 512 && error.starts_with("é é "), "{error}");
    let slow = &status.states[1];
    assert_eq!((slow.state, slow.is_active), (KeyState::Running, true));
    assert_eq!(slow.running_for, Some(Duration::from_millis(2500)));
    assert_eq!(slow.deadline_in, Some(Duration::from_millis(27_500)));
}

/// The observer hears of every run, with what set it off; one that panics is survived.
#[tokio::test(start_paused = true)]
async fn an_observer_may_panic() {
    struct Panics(Ear);
    impl Observer<Key> for Panics {
        fn missed(&self, missed: Missed<Key>) {
            self.0.missed(missed);
            panic!("in missed");
        }
        fn finished(&self, finished: Finished<Key>) {
            self.0.finished(finished);
            panic!("in finished");
        }
    }
    let ear = Arc::new(Panics(Ear::default()));
    let scheduler = Scheduler::new(Config::default(), Operations::new(), ear.clone());
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(1)),
        Duration::from_millis(1500),
        Verdict::Success,
    );
    sleep(secs(3)).await;
    scheduler.trigger(&"a");
    sleep(secs(3)).await;
    assert!(gauge.starts("a").len() > 2);
    assert!(ear.0.missed.lock().unwrap().len() > 1);
    let finished = ear.0.finished.lock().unwrap();
    assert_eq!(finished[0].trigger, Trigger::Timer);
    assert!(
        finished
            .iter()
            .any(|finished| finished.trigger == Trigger::Manual)
    );
    let ids: std::collections::HashSet<_> = finished.iter().map(|f| f.operation).collect();
    assert_eq!(
        ids.len(),
        finished.len(),
        "each has an operation of its own"
    );
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

/// A handler that panics when it is destroyed takes nobody else down.
#[tokio::test(start_paused = true)]
async fn a_destructor_may_panic() {
    let (scheduler, _ear) = scheduler(2, Saturation::Skip);
    let gauge = Gauge::default();
    let bomb = Bomb;
    let handler = move |_run: Run<Key>| {
        let _held = &bomb;
        std::future::ready(Verdict::Success)
    };
    scheduler.schedule("bad", spec(secs(1)), handler).unwrap();
    schedule(
        &scheduler,
        &gauge,
        "good",
        spec(secs(1)),
        Duration::ZERO,
        Verdict::Success,
    );
    assert!(scheduler.cancel(&"bad").is_some());
    sleep(Duration::from_millis(3500)).await;
    assert_eq!(gauge.starts("good").len(), 4);
}

thread_local! {
    /// What is done when this thread clones a key for the next time.
    static AT_CLONE: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Watched(u32);

impl Clone for Watched {
    fn clone(&self) -> Self {
        if let Some(act) = AT_CLONE.take() {
            act();
        }
        Self(self.0)
    }
}

struct Ends(channel::Sender<u32>);

impl Observer<Watched> for Ends {
    fn missed(&self, _: Missed<Watched>) {}

    fn finished(&self, finished: Finished<Watched>) {
        let _ = self.0.send(finished.key.0);
    }
}

/// Whoever looks at the schedule while a key is taken out of it may be left with the last of its
/// handler: a panic of that is not his.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destructor_does_not_panic_in_whoever_looks() {
    let (ends, ended) = channel::channel();
    let ends = Arc::new(Ends(ends));
    let scheduler = Scheduler::new(Config::default(), Operations::new(), ends);
    let good = |_run: Run<Watched>| std::future::ready(Verdict::Success);
    scheduler
        .schedule(Watched(1), spec(secs(3600)), good)
        .unwrap();
    let bomb = Bomb;
    let bad = move |_run: Run<Watched>| {
        let _held = &bomb;
        std::future::ready(Verdict::Success)
    };
    scheduler
        .schedule(Watched(2), spec(secs(3600)), bad)
        .unwrap();
    let others = scheduler.clone();
    AT_CLONE.set(Some(Box::new(move || {
        assert!(others.cancel(&Watched(2)).is_some());
        // When this has run, the driver has done with what was taken out before.
        others.trigger(&Watched(1));
        while ended.recv().unwrap() != 1 {}
    })));
    let status = scheduler.status();
    assert_eq!(status.states.len(), 2, "as it was when it was looked at");
    assert_eq!(scheduler.status().states.len(), 1);
    assert!(scheduler.shutdown(secs(60)).await.aborted.is_empty());
}
