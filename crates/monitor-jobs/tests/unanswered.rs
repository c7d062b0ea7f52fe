//! A database that does not answer, is busy with something else or out of reach, on virtual time.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use common::{Call, SECOND, Trouble, builder, flaky, job, serving, worker};
use monitor_jobs::{Backend, Context, Drained, JobState, Jobs, StoreErrorKind, Upkeep};
use tokio::time::{Instant, sleep, timeout};

const HOUR: Duration = Duration::from_secs(3600);

/// Whoever waits as long as can be said waits, and does not panic.
#[tokio::test(start_paused = true)]
async fn the_longest_wait_is_one() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("w")).await.unwrap();
    let id = database.put(job("work")).await;
    let claimed = registered.claim(1, Duration::MAX).await.unwrap();
    claimed.into_iter().for_each(drop);
    registered.close().await;
    let running = serving(&jobs, "work").await;
    database.until(id, JobState::Completed).await;
    assert_eq!(running.drain(Duration::MAX).await.finished, 1);
}

/// A rescue that finds all jobs of a dead worker locked comes back at the next look, and looks
/// after the other workers meanwhile.
#[tokio::test(start_paused = true)]
async fn a_rescue_of_what_is_locked_does_not_spin() {
    let (database, jobs) = flaky();
    database.register(&worker("dead")).await.unwrap();
    database.trouble(Call::Rescue, Trouble::Busy, 10_000);
    let keeping = jobs.keep(Upkeep::default(), 10 * SECOND);
    sleep(100 * SECOND).await;
    let looks = database.count(Call::Rescue);
    assert!((10..50).contains(&looks), "{looks} rescues in 100 s");
    database.calm();
    sleep(10 * SECOND).await;
    assert!(database.pulses().await.unwrap().is_empty());
    drop(keeping);
}

/// An end whose answer never comes is said again, and a drain does not wait for it for ever.
#[tokio::test(start_paused = true)]
async fn an_end_that_is_never_answered_is_said_again() {
    let (database, jobs) = flaky();
    let running = serving(&jobs, "work").await;
    database.trouble(Call::Settle, Trouble::Hangs, 1);
    let id = database.put(job("work")).await;
    while database.count(Call::Settle) == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let drained = timeout(HOUR, running.drain(SECOND)).await.unwrap();
    assert_eq!(database.state(id).await, JobState::Completed);
    let finished = Drained {
        finished: 1,
        handed_back: 0,
    };
    assert_eq!(drained, finished);
}

/// A database that answers nothing any more does not keep a worker from ending.
#[tokio::test(start_paused = true)]
async fn a_drain_ends_without_a_database() {
    let (database, jobs) = flaky();
    let running = builder(&jobs)
        .upkeep(None)
        .handler("work", |_| async { Ok(None) })
        .start()
        .await
        .unwrap();
    database.trouble(Call::Settle, Trouble::Hangs, 10_000);
    database.put(job("work")).await;
    while database.count(Call::Settle) == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    database.trouble(Call::Beat, Trouble::Hangs, 10_000);
    let drained = timeout(HOUR, running.drain(SECOND)).await;
    assert!(drained.is_ok(), "it waits for ever");
}

/// Handing back what nobody holds may take long; the beats go on.
#[tokio::test(start_paused = true)]
async fn an_audit_does_not_stop_the_beats() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("w")).await.unwrap();
    let id = database.put(job("work")).await;
    database.trouble(Call::Claim, Trouble::ReplyLost, 1);
    database.trouble(Call::Settle, Trouble::Hangs, 1);
    let refused = registered.claim(1, Duration::ZERO).await.unwrap_err();
    assert!(refused.to_string().contains("trouble"), "{refused}");
    sleep(60 * SECOND).await;
    let beats = database.count(Call::Beat);
    assert!(beats > 20, "{beats} beats in 60 s");
    assert_eq!(database.state(id).await, JobState::Ready, "handed back");
    registered.close().await;
}

/// Progress that is still on its way when its handler returns takes nothing from its end.
#[tokio::test(start_paused = true)]
async fn progress_on_its_way_does_not_keep_the_right() {
    let (database, jobs) = flaky();
    database.trouble(Call::Progress, Trouble::Hangs, 1);
    let handler = |context: Context| async move {
        let context = Arc::new(context);
        let telling = Arc::clone(&context);
        tokio::spawn(async move { telling.progress(50, "half").await });
        sleep(SECOND).await;
        Ok(None)
    };
    let running = builder(&jobs)
        .handler("work", handler)
        .start()
        .await
        .unwrap();
    let id = database.put(job("work")).await;
    sleep(10 * SECOND).await;
    assert_eq!(database.state(id).await, JobState::Completed);
    running.drain(SECOND).await;
}

/// JOB-35, L5, W6: a worker that cannot reach the database stops by itself; another gives it up
/// within a lease and two looks; both go on, and the job is completed once.
#[tokio::test(start_paused = true)]
async fn a_worker_that_is_cut_off_is_replaced() {
    let (database, cut_off) = flaky();
    let runs = Arc::new(AtomicU32::new(0));
    let handler = |runs: &Arc<AtomicU32>, seconds: u32| {
        let runs = Arc::clone(runs);
        move |_: Context| {
            let runs = Arc::clone(&runs);
            async move {
                sleep(seconds * SECOND).await;
                runs.fetch_add(1, SeqCst);
                Ok(None)
            }
        }
    };
    let first = builder(&cut_off)
        .upkeep(None)
        .handler("work", handler(&runs, 60))
        .start()
        .await
        .unwrap();
    let id = database.put(job("work")).await;
    database.until(id, JobState::Running).await;
    for call in [Call::Beat, Call::Claim, Call::Settle, Call::Register] {
        database.trouble(call, Trouble::Refused(StoreErrorKind::Transient), 10_000);
    }
    // The other goes past the trouble: it has its own way to the same database.
    let other = Jobs::new(database.memory.clone());
    let second = builder(&other)
        .handler("work", handler(&runs, 1))
        .start()
        .await
        .unwrap();
    let begun = Instant::now();
    database.until(id, JobState::Completed).await;
    assert!(begun.elapsed() < 30 * SECOND, "W6: {:?}", begun.elapsed());
    sleep(120 * SECOND).await;
    assert_eq!(
        runs.load(SeqCst),
        1,
        "the one that was cut off stopped before its end"
    );
    let stats = other.stats();
    assert_eq!((stats.rescued, stats.workers_given_up), (1, 1));

    database.calm();
    sleep(60 * SECOND).await;
    assert_eq!(cut_off.stats().registrations_lost, 1);
    assert_eq!(cut_off.stats().registered, 2, "registered anew");
    second.drain(SECOND).await;
    let next = database.put(job("work")).await;
    database.until(next, JobState::Completed).await;
    first.drain(SECOND).await;
}

/// W7: the database is away for ten leases: nobody is given up for that.
#[tokio::test(start_paused = true)]
async fn an_outage_causes_no_mass_rescue() {
    let (database, jobs) = flaky();
    let mut workers = Vec::new();
    for _ in 0..5 {
        workers.push(serving(&jobs, "work").await);
    }
    sleep(20 * SECOND).await;
    for call in [Call::Beat, Call::Claim, Call::Settle, Call::Pulses] {
        database.trouble(call, Trouble::Refused(StoreErrorKind::Transient), 100_000);
    }
    sleep(100 * SECOND).await;
    database.calm();
    sleep(100 * SECOND).await;
    let stats = jobs.stats();
    assert_eq!(
        (
            stats.workers_given_up,
            stats.registrations_lost,
            stats.registered
        ),
        (0, 0, 5)
    );
    for worker in workers {
        worker.drain(SECOND).await;
    }
}
