//! Workers, on virtual time.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use common::{Call, SECOND, builder, flaky, job, serving};
use monitor_jobs::{
    Backend, Context, Drained, Failure, JobId, JobState, Payload, RetryPolicy, Stop, WorkerState,
};
use tokio::time::{Instant, sleep};

/// JOB-10, JOB-15, JOB-22: results are kept, dependents run after them, all slots come back.
#[tokio::test(start_paused = true)]
async fn a_graph_runs_to_its_end() {
    let (database, jobs) = flaky();
    let doubles = |context: Context| async move {
        let number: u64 = context.payload().read()?;
        context.progress(50, "doubling").await?;
        Ok(Some(Payload::of(&(number * 2))?))
    };
    let worker = builder(&jobs)
        .handler("double", doubles)
        .start()
        .await
        .unwrap();
    let number = |n: u64| monitor_jobs::NewJob::new("double", Payload::of(&n).unwrap());
    let parents = database
        .enqueue(&[number(1), number(2), number(3)])
        .await
        .unwrap();
    let child = parents
        .iter()
        .fold(number(21), |new, parent| new.after(parent.id()));
    let child = database.put(child).await;
    database.until(child, JobState::Completed).await;
    let view = database.view(child).await;
    assert_eq!(
        (view.result.as_deref(), view.progress.unwrap().0),
        (Some("42"), 50)
    );
    assert_eq!(
        worker.drain(SECOND).await,
        Drained {
            finished: 4,
            handed_back: 0
        }
    );
    assert!(database.workers().await.unwrap().is_empty());
}

/// JOB-5, JOB-37, JOB-50: a passing failure is retried after 1 and 2 s by its policy, a permanent
/// one is not, one that a typed error calls permanent is not either.
#[tokio::test(start_paused = true)]
async fn failures_are_retried_by_their_policy() {
    let (database, jobs) = flaky();
    let exact = RetryPolicy::new(monitor_backoff::Policy::jobs_retry());
    let worker = builder(&jobs)
        .handler_with("flaky", exact, None, |context| async move {
            match context.job().attempt {
                3 => Ok(None),
                _ => Err(Failure::new("not yet")),
            }
        })
        .handler("hopeless", |_| async { Err(Failure::permanent("never")) })
        .handler("denied", |context| async move {
            let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
            let _ = context;
            Err(denied)?
        })
        .start()
        .await
        .unwrap();
    let begun = Instant::now();
    let flaky_one = database.put(job("flaky")).await;
    let hopeless = database.put(job("hopeless")).await;
    let denied = database.put(job("denied")).await;
    database.until(hopeless, JobState::Dead).await;
    database.until(denied, JobState::Dead).await;
    assert_eq!(database.view(hopeless).await.attempt, 1);
    database.until(flaky_one, JobState::Completed).await;
    let waited = begun.elapsed();
    assert!(waited >= 3 * SECOND && waited < 5 * SECOND, "{waited:?}");
    assert_eq!(database.executions(flaky_one).await.unwrap().len(), 3);
    worker.drain(SECOND).await;
}

/// JOB-35: a panic, and a handler that takes too long and ignores being told so, end their own
/// attempt and nothing else.
#[tokio::test(start_paused = true)]
async fn a_bad_handler_harms_nobody_else() {
    let (database, jobs) = flaky();
    let worker = builder(&jobs)
        .handler("panics", |_| async { panic!("on purpose") })
        .handler("hangs", |_| std::future::pending())
        .handler("works", |_| async { Ok(None) })
        .start()
        .await
        .unwrap();
    let panics = database.put(job("panics").max_attempts(1)).await;
    let hangs = database
        .put(job("hangs").max_attempts(1).timeout(SECOND))
        .await;
    let works = database.put(job("works")).await;
    for (id, state) in [
        (panics, JobState::Dead),
        (hangs, JobState::Dead),
        (works, JobState::Completed),
    ] {
        database.until(id, state).await;
    }
    let panicked = database.view(panics).await.last_error.unwrap();
    assert_eq!(panicked, "the handler panicked: on purpose");
    assert!(
        database
            .view(hangs)
            .await
            .last_error
            .unwrap()
            .contains("too long")
    );
    worker.drain(SECOND).await;
}

/// R3: a running job is cancelled within one beat: its handler is told, and may tidy up.
#[tokio::test(start_paused = true)]
async fn a_running_job_is_cancelled() {
    let (database, jobs) = flaky();
    let stops = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&stops);
    let worker = builder(&jobs)
        .handler("waits", move |context| {
            let seen = Arc::clone(&seen);
            async move {
                assert_eq!(context.stopped().await, Stop::Requested);
                seen.fetch_add(1, SeqCst);
                Err(Failure::new("interrupted"))
            }
        })
        .start()
        .await
        .unwrap();
    let id = database.put(job("waits")).await;
    database.until(id, JobState::Running).await;
    let begun = Instant::now();
    assert_eq!(database.cancel(id).await.unwrap(), Some(true));
    database.until(id, JobState::Cancelled).await;
    assert!(begun.elapsed() <= 3 * SECOND, "one beat is 2 s");
    assert_eq!(stops.load(SeqCst), 1);
    worker.drain(SECOND).await;
}

/// JOB-40: a drain waits for what is running, up to its deadline, and hands the rest back.
#[tokio::test(start_paused = true)]
async fn a_drain_has_a_deadline() {
    let (database, jobs) = flaky();
    let worker = builder(&jobs)
        .grace(SECOND)
        .handler("short", |_| async {
            sleep(3 * SECOND).await;
            Ok(None)
        })
        .handler("long", |_| async {
            sleep(600 * SECOND).await;
            Ok(None)
        })
        .start()
        .await
        .unwrap();
    let short = database.put(job("short")).await;
    let long = database.put(job("long")).await;
    database.until(long, JobState::Running).await;
    let late = tokio::spawn({
        let database = database.clone();
        async move {
            sleep(SECOND).await;
            database.put(job("short")).await
        }
    });
    let drained = worker.drain(5 * SECOND).await;
    assert_eq!(
        drained,
        Drained {
            finished: 1,
            handed_back: 1
        }
    );
    assert_eq!(database.state(short).await, JobState::Completed);
    assert_eq!(database.view(long).await.attempt, 0, "handed back");
    assert_eq!(
        database.state(late.await.unwrap()).await,
        JobState::Ready,
        "never claimed"
    );
}

/// JOB-40: asked to drain through the database, it finishes what it holds and ends.
#[tokio::test(start_paused = true)]
async fn it_can_be_drained_from_outside() {
    let (database, jobs) = flaky();
    let handler = |_| async {
        sleep(4 * SECOND).await;
        Ok(None)
    };
    let mut worker = builder(&jobs)
        .handler("work", handler)
        .start()
        .await
        .unwrap();
    let id = database.put(job("work")).await;
    database.until(id, JobState::Running).await;
    let me = database.workers().await.unwrap()[0].id;
    assert!(database.drain(me).await.unwrap());
    assert_eq!(worker.ended().await.finished, 1);
    assert_eq!(database.state(id).await, JobState::Completed);
}

/// JOB-7: a job whose kind nobody here knows is left to others, and costs it nothing.
#[tokio::test(start_paused = true)]
async fn an_unknown_kind_is_left_to_others() {
    let (database, jobs) = flaky();
    let ignorant = serving(&jobs, "known").await;
    let id = database.put(job("unknown")).await;
    database.until(id, JobState::Scheduled).await;
    assert_eq!(database.view(id).await.attempt, 0);
    let knowing = serving(&jobs, "unknown").await;
    ignorant.drain(SECOND).await;
    database.until(id, JobState::Completed).await;
    knowing.drain(SECOND).await;
}

/// R5, JOB-35: three nodes with the same schedule: one job for each minute; the latest missed one
/// after a time without nodes.
#[cfg(feature = "cron")]
#[tokio::test(start_paused = true)]
async fn three_nodes_tick_once() {
    use monitor_jobs::{Cron, JobFilter, Schedule, Upkeep};
    let (database, jobs) = flaky();
    let cron: Cron = "* * * * *".parse().unwrap();
    let schedule = Schedule::new("minutely", cron, job("tick"));
    let keep = || jobs.keep(Upkeep::default().schedule(schedule.clone()), 10 * SECOND);
    let nodes = [keep(), keep(), keep()];
    sleep(600 * SECOND).await;
    let count = async || database.list(&JobFilter::default()).await.unwrap().len();
    assert_eq!(count().await, 10);
    drop(nodes);
    sleep(600 * SECOND).await;
    assert_eq!(count().await, 10);
    let _node = keep();
    sleep(SECOND).await;
    assert_eq!(count().await, 11, "the latest one that was missed");
}

/// JOB-51: a worker whose attempts fail by itself rests, and says so; what its jobs do wrong is
/// not its own.
#[tokio::test(start_paused = true)]
async fn a_failing_worker_rests() {
    let (database, jobs) = flaky();
    let worker = builder(&jobs)
        .handler("bad", |_| async { Err(Failure::permanent("bad input")) })
        .handler("panics", |_| async { panic!("on purpose") })
        .start()
        .await
        .unwrap();
    let state = async || database.workers().await.unwrap()[0].state;
    database.enqueue(&vec![job("bad"); 40]).await.unwrap();
    sleep(5 * SECOND).await;
    assert_eq!(state().await, WorkerState::Idle);
    database
        .enqueue(&vec![job("panics").max_attempts(1); 60])
        .await
        .unwrap();
    sleep(5 * SECOND).await;
    assert_eq!(state().await, WorkerState::Failing);
    let ready = async || database.queues().await.unwrap()[0].counts[JobState::Ready as usize];
    let left = ready().await;
    assert!(left > 0, "it leaves the rest to others");
    sleep(20 * SECOND).await;
    assert_eq!(ready().await, left, "it rests");
    sleep(600 * SECOND).await;
    assert!(ready().await < left, "it tries itself again");
    worker.drain(SECOND).await;
}

/// JOB-50: a job that was put in too long ago is not tried again; retries are paid from a budget.
#[tokio::test(start_paused = true)]
async fn a_job_is_not_retried_for_ever() {
    let (database, jobs) = flaky();
    let policy = RetryPolicy::default().max_elapsed(20 * SECOND);
    let worker = builder(&jobs)
        .handler_with("fails", policy, None, |_| async { Err(Failure::new("no")) })
        .start()
        .await
        .unwrap();
    let id = database.put(job("fails").max_attempts(1000)).await;
    database.until(id, JobState::Dead).await;
    let attempts = database.view(id).await.attempt;
    assert!((4..10).contains(&attempts), "{attempts}");
    worker.drain(SECOND).await;
}

/// Effects and completion in one transaction, from within a handler.
/// JOB-36
#[tokio::test(start_paused = true)]
async fn a_handler_completes_in_a_transaction() {
    let (database, jobs) = flaky();
    let (memory, handle) = (database.memory.clone(), jobs.clone());
    let worker = builder(&jobs)
        .handler("work", move |context| {
            let (memory, jobs) = (memory.clone(), handle.clone());
            async move {
                let mut transaction = memory.begin()?;
                jobs.enqueue_in(&mut transaction, &[job("effect").queue("effects")])
                    .await?;
                let permit = context.complete_in(&mut transaction, None).await?;
                transaction.commit(permit)?;
                Ok(None)
            }
        })
        .start()
        .await
        .unwrap();
    let id = database.put(job("work")).await;
    database.until(id, JobState::Completed).await;
    assert_eq!(database.state(JobId(id.0 + 1)).await, JobState::Ready);
    assert_eq!(database.executions(id).await.unwrap().len(), 1);
    worker.drain(SECOND).await;
}

/// JOB-30, JOB-48: two thousand jobs are claimed by halves of the capacity and settled by hundreds:
/// the calls to the database do not grow with the jobs.
#[tokio::test(start_paused = true)]
async fn a_busy_worker_claims_and_settles_in_batches() {
    let (database, jobs) = flaky();
    database.enqueue(&vec![job("work"); 2_000]).await.unwrap();
    let worker = builder(&jobs)
        .capacity(200)
        .handler("work", |_| async { Ok(None) });
    let worker = worker.upkeep(None).start().await.unwrap();
    let done = async || {
        let counts = database.queues().await.unwrap()[0].counts;
        counts[JobState::Completed as usize] == 2_000
    };
    while !done().await {
        sleep(Duration::from_millis(10)).await;
    }
    let (claims, settles) = (database.count(Call::Claim), database.count(Call::Settle));
    assert!(
        claims <= 30 && settles <= 40,
        "{claims} claims, {settles} settles"
    );
    worker.drain(SECOND).await;
}

/// Whoever waits for a worker that has ended hears the same as whoever waited first.
#[tokio::test(start_paused = true)]
async fn an_ended_worker_can_be_asked_again() {
    let (database, jobs) = flaky();
    let mut running = serving(&jobs, "work").await;
    let id = database.put(job("work")).await;
    database.until(id, JobState::Completed).await;
    for worker in database.workers().await.unwrap() {
        assert!(database.drain(worker.id).await.unwrap());
    }
    let first = running.ended().await;
    assert_eq!(first.finished, 1);
    assert_eq!(running.ended().await, first);
    assert_eq!(running.drain(SECOND).await, first);
}
