//! A database that does not answer, or that is busy with something else, on virtual time.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Call, Trouble, flaky, job, worker};
use monitor_jobs::{Backend, Context, Drained, JobState, Jobs, Upkeep, Worker};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn builder(jobs: &Jobs) -> Worker {
    Worker::builder(jobs, "worker").lease(10 * SECOND)
}

/// Whoever waits as long as can be said waits, and does not panic.
#[tokio::test(start_paused = true)]
async fn the_longest_wait_is_one() {
    let database = flaky();
    let jobs = Jobs::new(database.clone());
    let registered = jobs.register(worker("w")).await.unwrap();
    let id = database.put(job("work")).await;
    let claimed = registered.claim(1, Duration::MAX).await.unwrap();
    claimed.into_iter().for_each(drop);
    registered.close().await;
    let running = builder(&jobs)
        .handler("work", |_| async { Ok(None) })
        .start()
        .await
        .unwrap();
    while database.state(id).await != JobState::Completed {
        sleep(SECOND).await;
    }
    assert_eq!(running.drain(Duration::MAX).await.finished, 1);
}

/// A rescue that finds all jobs of a dead worker locked comes back at the next look, and looks
/// after the other workers meanwhile.
#[tokio::test(start_paused = true)]
async fn a_rescue_of_what_is_locked_does_not_spin() {
    let database = flaky();
    let jobs = Jobs::new(database.clone());
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
    let database = flaky();
    let jobs = Jobs::new(database.clone());
    let running = builder(&jobs)
        .handler("work", |_| async { Ok(None) })
        .start()
        .await
        .unwrap();
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
    let database = flaky();
    let jobs = Jobs::new(database.clone());
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
    let database = flaky();
    let jobs = Jobs::new(database.clone());
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
    let database = flaky();
    let jobs = Jobs::new(database.clone());
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
