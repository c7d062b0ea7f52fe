//! Keys that come once and never again: nothing is left of them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{sync::Arc, time::Duration};

use common::secs;
use monitor_operation::{Epoch, Operations};
use monitor_scheduler::{Class, Config, Run, Scheduler, Spec, Verdict};
use tokio::time::sleep;

fn spec(turn: usize) -> Spec {
    let spec = Spec::builder(secs(60)).class(Class::ALL[turn % 3]);
    spec.build().unwrap()
}

async fn nothing(_run: Run<String>) -> Verdict {
    Verdict::Success
}

fn strings() -> Scheduler<String> {
    Scheduler::new(Config::default(), Operations::new(), Arc::new(()))
}

/// Room that is kept for keys: of sixteen parts each has some for those still to be found out.
const FEW: usize = 16 * 64;

/// PRB-14, PRB-17, OPS-48: adds and removes of keys that were never there before leave no
/// key, no place and no epoch behind, and a key that stays is run all the while.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_names_leave_nothing() {
    let scheduler = strings();
    let stays = "stays".to_owned();
    scheduler.schedule(stays.clone(), spec(0), nothing).unwrap();
    let mut peak = 0;
    for turn in 0..100_000 {
        let key = turn.to_string();
        let placed = scheduler.schedule(key.clone(), spec(turn), nothing);
        assert!(placed.unwrap().is_created());
        if turn % 4 == 0 {
            assert!(scheduler.pause(&key).is_some());
        }
        assert!(scheduler.cancel(&key).is_some() && scheduler.cancel(&key).is_none());
        peak = peak.max(scheduler.operations().kept());
        // What was taken out is dropped by the driver, under no lock.
        if turn % 50 == 0 {
            tokio::task::yield_now().await;
        }
        if turn % 10_000 == 0 {
            sleep(secs(60)).await;
        }
    }
    assert!(peak <= FEW, "{peak} keys were kept of one");
    let status = scheduler.status();
    assert_eq!((status.states.len(), scheduler.page(0).next), (1, None));
    assert!(status.states[0].successes_total >= 9);
}

/// PRB-17, PRB-18, PRB-23: the same with keys whose runs are going on when they are taken out: gone
/// once these have ended, and not before.
#[tokio::test(start_paused = true)]
async fn names_with_runs_leave_nothing_when_these_have_ended() {
    let scheduler = strings();
    let at_once = || Spec::builder(secs(60)).immediate(true).build().unwrap();
    for turn in 0..500 {
        for key in 0..20 {
            let handler = |run: Run<String>| async move {
                sleep(secs(5)).await;
                let late = run.operation.commit(|| ());
                assert!(late.is_err(), "its key was taken out");
                Verdict::Success
            };
            scheduler
                .schedule(format!("{turn}-{key}"), at_once(), handler)
                .unwrap();
        }
        sleep(Duration::from_millis(10)).await;
        assert!(scheduler.status().current_concurrency > 0);
        if turn % 2 == 0 {
            assert_eq!(scheduler.clear(), 20);
        } else {
            for key in 0..20 {
                assert!(scheduler.cancel(&format!("{turn}-{key}")).is_some());
            }
        }
        sleep(secs(10)).await;
        assert_eq!(scheduler.status().current_concurrency, 0);
    }
    assert!(scheduler.status().states.is_empty());
    assert!(scheduler.operations().kept() <= FEW);
    assert_eq!(scheduler.operations().open(), 0);
}

/// PRB-18, OPS-31: a key that comes back is in an epoch that it never was in; one that somebody
/// else has registered stays known to him when it leaves the schedule.
#[tokio::test(start_paused = true)]
async fn who_comes_back_is_in_a_new_epoch() {
    let scheduler = strings();
    let operations = scheduler.operations().clone();
    let (key, mut last) = ("a".to_owned(), None);
    for turn in 0..2000 {
        let epoch = scheduler.schedule(key.clone(), spec(turn), nothing);
        let epoch = epoch.unwrap().epoch();
        assert!(Some(epoch) > last, "{epoch} after {last:?}");
        last = Some(epoch);
        let fence = scheduler.cancel(&key).unwrap();
        assert!(fence.epoch() > epoch);
        tokio::task::yield_now().await;
        for other in 0..5 {
            let other = format!("{turn}-{other}");
            scheduler
                .schedule(other.clone(), spec(turn), nothing)
                .unwrap();
            assert!(scheduler.cancel(&other).is_some());
        }
    }
    let kept = operations.kept();
    assert!(kept <= FEW, "{kept} keys were kept of none");
    operations.register(key.clone(), Epoch::default()).unwrap();
    scheduler.schedule(key.clone(), spec(0), nothing).unwrap();
    assert!(scheduler.cancel(&key).is_some());
    for turn in 0..2000 {
        scheduler
            .schedule(turn.to_string(), spec(turn), nothing)
            .unwrap();
        assert!(scheduler.cancel(&turn.to_string()).is_some());
    }
    assert!(operations.begin(&key).unwrap().commit(|| ()).is_ok());
}
