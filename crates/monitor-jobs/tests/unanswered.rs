//! A database that does not answer, is busy with something else or out of reach, on virtual time.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use common::{Call, SECOND, Trouble, builder, flaky, job, serving, worker};
use monitor_jobs::{
    Backend, ClaimRequest, Context, Drained, JobState, Jobs, StoreErrorKind, Upkeep,
};
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

/// L5, W6: workers with a long lease give up one with a short lease after its own.
#[tokio::test(start_paused = true)]
async fn a_short_lease_is_noticed_by_who_has_a_long_one() {
    let (database, jobs) = flaky();
    let id = database.put(job("work")).await;
    let dead = database.register(&worker("dead")).await.unwrap();
    let request = ClaimRequest {
        worker: dead,
        limit: 1,
        history: true,
    };
    assert_eq!(database.claim(&request).await.unwrap().jobs.len(), 1);
    let running = builder(&jobs)
        .lease(600 * SECOND)
        .handler("work", |_| async { Ok(None) })
        .start()
        .await
        .unwrap();
    let again = timeout(60 * SECOND, database.until(id, JobState::Completed)).await;
    assert!(again.is_ok(), "W6: {:?}", database.pulses().await);
    running.drain(SECOND).await;
}

/// W6: one dead worker whose rescue fails each time, or hangs, keeps nobody from the others.
#[tokio::test(start_paused = true)]
async fn one_who_cannot_be_rescued_is_in_nobodys_way() {
    use StoreErrorKind::{Fatal, Transient};
    for trouble in [
        Trouble::Refused(Fatal),
        Trouble::Refused(Transient),
        Trouble::Hangs,
    ] {
        let (database, jobs) = flaky();
        let lost = database.register(&worker("lost")).await.unwrap();
        database.register(&worker("dead")).await.unwrap();
        database.trouble_rescues_of(lost, trouble);
        let keeping = jobs.keep(Upkeep::default(), 10 * SECOND);
        sleep(100 * SECOND).await;
        let left = database.pulses().await.unwrap();
        let left: Vec<_> = left.iter().map(|pulse| pulse.worker).collect();
        assert_eq!(left, [lost], "{trouble:?}");
        drop(keeping);
    }
}

/// W7: while whoever is dead cannot be rescued, since nothing can be written, nobody can beat
/// either: all have a whole lease again afterwards, although everything could be read.
#[tokio::test(start_paused = true)]
async fn an_outage_for_writers_is_nobodys_death() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("alive")).await.unwrap();
    let dead = database.register(&worker("dead")).await.unwrap();
    let keeping = jobs.keep(Upkeep::default(), 10 * SECOND);
    sleep(5 * SECOND).await;
    let away = Trouble::Refused(StoreErrorKind::Transient);
    database.trouble(Call::Beat, away, 10_000);
    database.trouble(Call::Rescue, away, 10_000);
    while database.count(Call::Rescue) < 8 {
        sleep(SECOND / 10).await;
    }
    // Rescues come through again; its beats do half a lease later.
    database.calm();
    database.trouble(Call::Beat, away, 10_000);
    sleep(5 * SECOND).await;
    database.calm();
    sleep(60 * SECOND).await;
    assert!(!registered.is_lost(), "W7");
    let left = database.pulses().await.unwrap();
    assert!(left.iter().all(|pulse| pulse.worker != dead), "W6");
    drop(keeping);
    registered.close().await;
}

/// JOB-9, JOB-48: a claim that waits for a job which is due, and which somebody has locked, asks for
/// it again, and not all the time.
#[tokio::test(start_paused = true)]
async fn a_claim_of_what_is_locked_does_not_spin() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("w")).await.unwrap();
    database.trouble(Call::Claim, Trouble::Busy, 20_000);
    let claimed = registered.claim(1, 10 * SECOND).await.unwrap();
    assert!(claimed.is_empty());
    let claims = database.count(Call::Claim);
    assert!((100..=250).contains(&claims), "{claims} claims in 10 s");
    registered.close().await;
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
