//! Scheduling, cancelling, pausing, triggering, shutting down: the shell under a paused clock.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{sync::Arc, time::Duration};

use common::{Ear, Gauge, Key, schedule, scheduler, secs, spec};
use monitor_operation::{Cause, CommitError, Epoch, Operations};
use monitor_scheduler::{
    Config, Ended, MissedReason, Run, Saturation, ScheduleError, Scheduled, Scheduler,
    TriggerOutcome, Verdict,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

const QUEUE: Saturation = Saturation::Queue { bound: 100 };

/// PRB-9, PRB-35: the waits after failures, from end to start.
#[tokio::test(start_paused = true)]
async fn failures_wait_two_five_ten_seconds() {
    let (scheduler, _) = scheduler(3, QUEUE);
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(60)),
        secs(1),
        Verdict::Failure,
    );
    sleep(secs(40)).await;
    assert_eq!(gauge.starts("a"), [0, 3000, 9000, 20_000, 31_000]);
}

/// PRB-1, PRB-6, PRB-20, PRB-33: a schedule and any number of triggers at once come to one run,
/// and to one more for the triggers that came while it was going on.
#[tokio::test(start_paused = true)]
async fn schedule_and_trigger_come_to_one_run() {
    let (scheduler, _) = scheduler(3, QUEUE);
    let gauge = Gauge::default();
    sleep(Duration::from_millis(1)).await;
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(60)),
        secs(1),
        Verdict::Success,
    );
    assert_eq!(scheduler.trigger(&"a"), TriggerOutcome::Started);
    assert_eq!(scheduler.trigger(&"a"), TriggerOutcome::Coalesced);
    sleep(secs(30)).await;
    assert_eq!(
        gauge.starts("a"),
        [1],
        "the second joined the one that had not begun"
    );
    scheduler.trigger(&"a");
    sleep(Duration::from_millis(500)).await;
    for _ in 0..5 {
        assert_eq!(scheduler.trigger(&"a"), TriggerOutcome::Coalesced);
    }
    sleep(secs(20)).await;
    assert_eq!(gauge.starts("a").len(), 3);
    assert_eq!(scheduler.trigger(&"nobody"), TriggerOutcome::Unknown);
}

/// PRB-4, PRB-34: five keys are triggered, three run at once, all five run.
#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_run_at_once_and_all_run() {
    let (scheduler, _) = scheduler(3, QUEUE);
    let gauge = Gauge::default();
    for key in ["a", "b", "c", "d", "e"] {
        schedule(
            &scheduler,
            &gauge,
            key,
            spec(secs(60)),
            secs(1),
            Verdict::Success,
        );
        scheduler.trigger(&key);
    }
    sleep(secs(10)).await;
    assert_eq!(gauge.most(), 3);
    for key in ["a", "b", "c", "d", "e"] {
        assert_eq!(gauge.starts(key).len(), 1);
    }
}

/// PRB-5, PRB-34: interval 200 ms, 600 ms handlers, five keys, three permits, six seconds. The
/// original ran them 0, 0, 8, 8 and 8 times.
#[tokio::test(start_paused = true)]
async fn no_key_is_lost_when_permits_are_short() {
    for saturation in [Saturation::Skip, QUEUE] {
        let (scheduler, ear) = scheduler(3, saturation);
        let gauge = Gauge::default();
        let keys = ["a", "b", "c", "d", "e"];
        for key in keys {
            let spec = monitor_scheduler::Spec::builder(Duration::from_millis(200));
            let spec = spec.timeout(secs(10)).build().unwrap();
            schedule(
                &scheduler,
                &gauge,
                key,
                spec,
                Duration::from_millis(600),
                Verdict::Success,
            );
        }
        sleep(secs(6)).await;
        for key in keys {
            assert!(
                gauge.starts(key).len() >= 2,
                "{key}: {:?}, {saturation:?}",
                gauge.starts(key)
            );
        }
        assert!(gauge.most() <= 3);
        assert!(!ear.missed.lock().unwrap().is_empty());
        assert_eq!(scheduler.status().lost, 0);
    }
}

/// PRB-17, PRB-18, PRB-23: clear, add again, trigger, while the old run goes on. The original then
/// ran the key twice at once; the gauge would fail.
#[tokio::test(start_paused = true)]
async fn clear_and_add_again_never_runs_twice() {
    let (scheduler, ear) = scheduler(3, QUEUE);
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(10)),
        secs(4),
        Verdict::Failure,
    );
    sleep(secs(1)).await;
    assert_eq!(scheduler.clear(), 1);
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(10)),
        secs(1),
        Verdict::Success,
    );
    assert_eq!(scheduler.trigger(&"a"), TriggerOutcome::Coalesced);
    sleep(secs(8)).await;
    assert_eq!(gauge.starts("a"), [0, 4000]);
    assert_eq!(ear.finished.lock().unwrap()[0].how, Ended::Withdrawn);
    assert_eq!(scheduler.probe_status(&"a").unwrap().failures_total, 0);
}

/// A key that is to run at once does so as soon as the run of its former life has ended, once; not
/// a day later.
#[tokio::test(start_paused = true)]
async fn a_new_key_runs_at_once_after_the_run_of_its_former_life() {
    let (scheduler, _) = scheduler(1, Saturation::Skip);
    let gauge = Gauge::default();
    let at_once = || {
        let spec = monitor_scheduler::Spec::builder(secs(24 * 3600));
        spec.immediate(true).build().unwrap()
    };
    let up = Verdict::Success;
    schedule(&scheduler, &gauge, "a", at_once(), secs(4), up);
    sleep(secs(1)).await;
    assert!(scheduler.cancel(&"a").is_some());
    schedule(&scheduler, &gauge, "a", at_once(), secs(1), up);
    sleep(secs(60)).await;
    assert_eq!(gauge.starts("a"), [0, 4000]);
}

/// PRB-17, OPS-1, OPS-30, OPS-32: after a pause returns, nothing that began before can commit, and
/// nothing begins; the run hears of it.
#[tokio::test(start_paused = true)]
async fn a_paused_key_commits_nothing() {
    let (scheduler, _) = scheduler(3, QUEUE);
    let (told, mut hears) = mpsc::unbounded_channel();
    let handler = move |run: Run<Key>| {
        let told = told.clone();
        async move {
            let cause = run.operation.cancellation().cancelled().await;
            let late = run.operation.commit(|| "late");
            told.send((cause, late, Instant::now())).unwrap();
            Verdict::Failure
        }
    };
    let spec = spec(secs(10));
    let created = scheduler.schedule("a", spec, handler).unwrap();
    assert!(created.is_created());
    sleep(secs(1)).await;
    let fence = scheduler.pause(&"a").unwrap();
    let paused_at = Instant::now();
    assert_eq!((fence.epoch(), fence.open()), (Epoch::new(1), 1));
    fence.settled().await;
    let (cause, late, at) = hears.recv().await.unwrap();
    assert_eq!((cause, at), (Cause::Paused, paused_at));
    assert_eq!(
        late,
        Err(CommitError::Fenced {
            epoch: Epoch::new(0),
            cause: Cause::Paused
        })
    );
    sleep(secs(100)).await;
    assert!(hears.try_recv().is_err(), "nothing ran while it was paused");
    assert!(scheduler.resume(&"a"));
    sleep(secs(10)).await;
    assert_eq!(
        scheduler.probe_status(&"a").unwrap().state,
        monitor_scheduler::KeyState::Running
    );
    assert_eq!(scheduler.operations().open(), 1);
    assert!(scheduler.pause(&"nobody").is_none());
    assert!(!scheduler.resume(&"nobody"));
}

/// OPS-31: pause and resume while the first run is alive: its result is still refused, and the key
/// runs again only after it has ended.
#[tokio::test(start_paused = true)]
async fn pause_and_resume_do_not_let_an_old_result_in() {
    let (scheduler, _) = scheduler(3, QUEUE);
    let (told, mut hears) = mpsc::unbounded_channel();
    let handler = move |run: Run<Key>| {
        let told = told.clone();
        async move {
            sleep(secs(3)).await;
            told.send((run.due.at, run.operation.commit(|| ()).is_ok()))
                .unwrap();
            Verdict::Success
        }
    };
    scheduler.schedule("a", spec(secs(10)), handler).unwrap();
    sleep(secs(1)).await;
    drop(scheduler.pause(&"a"));
    scheduler.resume(&"a");
    assert_eq!(hears.recv().await, Some((secs(0), false)));
    assert_eq!(hears.recv().await, Some((secs(10), true)));
}

/// An edit fences, keeps a pause, and can be made under a pause so that it is stored before
/// anything runs.
#[tokio::test(start_paused = true)]
async fn an_edit_brings_a_new_epoch() {
    let (scheduler, _) = scheduler(3, QUEUE);
    let gauge = Gauge::default();
    scheduler.operations().register("a", Epoch::new(7)).unwrap();
    let place = |paused| {
        let gauge = gauge.clone();
        let handler = move |run: Run<Key>| {
            drop(gauge.enter(&run));
            let epoch = run.operation.epoch();
            async move {
                assert_eq!(epoch, Epoch::new(9));
                Verdict::Success
            }
        };
        let spec = spec(secs(10));
        if paused {
            scheduler.schedule_paused("a", spec, handler).unwrap()
        } else {
            scheduler.schedule("a", spec, handler).unwrap()
        }
    };
    assert!(matches!(place(true), Scheduled::Created { epoch } if epoch == Epoch::new(7)));
    assert_eq!(place(true).epoch(), Epoch::new(8));
    let edited = place(false);
    assert!(matches!(edited, Scheduled::Updated { .. }));
    assert_eq!(edited.epoch(), Epoch::new(9));
    sleep(secs(30)).await;
    assert_eq!(gauge.starts("a").len(), 0, "still paused");
    scheduler.resume(&"a");
    sleep(secs(25)).await;
    assert_eq!(gauge.starts("a"), [30_000, 40_000, 50_000]);
}

/// PRB-17: the awaiting cancel ends when the run has.
#[tokio::test(start_paused = true)]
async fn cancel_and_wait_waits_for_the_run() {
    let (scheduler, _) = scheduler(3, QUEUE);
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(10)),
        secs(4),
        Verdict::Success,
    );
    sleep(secs(1)).await;
    assert!(scheduler.cancel_and_wait(&"a").await);
    assert_eq!((scheduler.now(), gauge.inside()), (secs(4), 0));
    assert!(!scheduler.cancel_and_wait(&"a").await);
    assert!(scheduler.cancel(&"a").is_none());
    sleep(secs(60)).await;
    assert_eq!(gauge.starts("a").len(), 1);
}

/// A shutdown lets runs end, reports what waits as missed, and takes nothing more.
#[tokio::test(start_paused = true)]
async fn shutdown_lets_runs_end() {
    let (scheduler, ear) = scheduler(1, QUEUE);
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(10)),
        secs(4),
        Verdict::Success,
    );
    schedule(
        &scheduler,
        &gauge,
        "b",
        spec(secs(10)),
        secs(4),
        Verdict::Success,
    );
    sleep(secs(1)).await;
    let report = scheduler.shutdown(secs(30)).await;
    assert_eq!((report.finished, report.aborted.len()), (1, 0));
    assert_eq!(scheduler.now(), secs(4));
    let missed = ear.missed.lock().unwrap().clone();
    assert_eq!(
        (missed.len(), missed[0].reason),
        (1, MissedReason::Shutdown)
    );
    assert_eq!(
        ear.finished.lock().unwrap()[0].how,
        Ended::Returned(Verdict::Success)
    );
    let late = scheduler.schedule("c", spec(secs(10)), async |_| Verdict::Success);
    assert_eq!(late.unwrap_err(), ScheduleError::ShutDown);
    assert_eq!(scheduler.trigger(&"a"), TriggerOutcome::ShutDown);
    assert_eq!(
        scheduler.shutdown(secs(1)).await.finished,
        0,
        "a second one does no harm"
    );
}

/// A shutdown ends by its deadline: what is left is fenced, aborted and named.
#[tokio::test(start_paused = true)]
async fn shutdown_ends_by_its_deadline() {
    let (scheduler, _) = scheduler(3, QUEUE);
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(100)),
        secs(20),
        Verdict::Success,
    );
    sleep(secs(1)).await;
    let operations = scheduler.operations().clone();
    let report = scheduler.shutdown(secs(3)).await;
    assert_eq!((report.finished, report.aborted), (0, vec!["a"]));
    assert_eq!(scheduler.now(), secs(4));
    assert_eq!(operations.epoch(&"a"), Some(Epoch::new(1)), "fenced");
    sleep(Duration::from_millis(1)).await;
    assert_eq!((gauge.inside(), operations.open()), (0, 0));
}

/// When the last handle is gone nothing is started any more, and the driver ends.
#[tokio::test(start_paused = true)]
async fn without_a_handle_nothing_is_started() {
    let ear = Arc::new(Ear::default());
    let scheduler = Scheduler::new(Config::default(), Operations::new(), ear.clone());
    let gauge = Gauge::default();
    schedule(
        &scheduler,
        &gauge,
        "a",
        spec(secs(10)),
        secs(1),
        Verdict::Success,
    );
    sleep(secs(15)).await;
    let other = scheduler.clone();
    drop(scheduler);
    sleep(secs(10)).await;
    assert_eq!(gauge.starts("a").len(), 3);
    drop(other);
    sleep(secs(100)).await;
    assert_eq!(gauge.starts("a").len(), 3);
    assert_eq!(
        Arc::strong_count(&ear),
        1,
        "the driver and all it held are gone"
    );
}
