//! Registrations and claims when answers get lost, on virtual time.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::Duration;

use common::{Call, SECOND, Trouble, flaky, job, worker};
use monitor_jobs::{
    Backend, ClaimError, ClaimRequest, JobState, Jobs, Register, RegisterError, SettleError, Stop,
    StoreErrorKind, WorkerId,
};
use tokio::time::{Instant, sleep};

const NOW: Duration = Duration::ZERO;

/// JOB-13, JOB-41, INV-JOBS-2: an id gives no right. Whoever knows one, of the past, the present or
/// the future, cannot claim by it through the handles, and the database refuses those that are no
/// registration. Examples of `Claimed` and `Registered` show that neither can be copied.
#[tokio::test(start_paused = true)]
async fn inv_jobs_2_an_id_that_was_guessed_claims_nothing() {
    let (database, jobs) = flaky();
    let id = database.put(job("work")).await;
    let registered = jobs.register(worker("w")).await.unwrap();
    let known = registered.id();
    registered.close().await;
    for guess in [known, WorkerId(known.0 + 1), WorkerId(-1)] {
        let request = ClaimRequest {
            worker: guess,
            limit: 1,
            history: true,
        };
        let refused = database.claim(&request).await;
        assert!(
            matches!(refused, Err(ClaimError::UnknownWorker(worker)) if worker == guess),
            "{refused:?}"
        );
    }
    assert_eq!(database.state(id).await, JobState::Ready);
}

/// JOB-36, F5: the answer to a completion is lost, it is sent again, and done once.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_an_end_is_no_loss() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("w")).await.unwrap();
    let id = database.put(job("work")).await;
    let claimed = registered.claim(1, NOW).await.unwrap().remove(0);
    database.trouble(Call::Settle, Trouble::ReplyLost, 1);
    database.trouble(Call::Settle, Trouble::Refused(StoreErrorKind::Transient), 2);
    claimed.complete(None).await.unwrap();
    assert_eq!(database.state(id).await, JobState::Completed);
    assert_eq!((database.count(Call::Settle), registered.held()), (4, 0));
    assert_eq!(jobs.stats().already, 1);
    assert_eq!(database.executions(id).await.unwrap().len(), 1);
}

/// F6: the answer to a claim is lost: its jobs are found in the book and handed back.
#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_a_claim_is_no_loss() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("w")).await.unwrap();
    let id = database.put(job("work")).await;
    database.trouble(Call::Claim, Trouble::ReplyLost, 1);
    let lost = registered.claim(1, NOW).await;
    assert!(matches!(lost, Err(ClaimError::Store(_))), "{lost:?}");
    assert_eq!(database.state(id).await, JobState::Running);
    let claimed = registered.claim(1, NOW).await.unwrap().remove(0);
    assert_eq!((claimed.job().id, claimed.job().attempt), (id, 1));
    assert_eq!((jobs.stats().orphans, registered.held()), (1, 1));
    claimed.complete(None).await.unwrap();

    let other = database.put(job("other")).await;
    database.trouble(Call::Claim, Trouble::ReplyLost, 1);
    assert!(registered.claim(1, NOW).await.is_err());
    sleep(3 * SECOND).await;
    assert_eq!(
        database.state(other).await,
        JobState::Ready,
        "by the next beat at the latest"
    );
}

/// JOB-7, JOB-11, JOB-44: passing failures are repeated within the wait, and each is counted.
#[tokio::test(start_paused = true)]
async fn a_claim_recovers_from_passing_failures() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("w")).await.unwrap();
    let id = database.put(job("work")).await;
    database.trouble(Call::Claim, Trouble::Refused(StoreErrorKind::Conflict), 4);
    let claimed = registered.claim(1, 5 * SECOND).await.unwrap();
    assert_eq!(claimed[0].job().id, id);
    database.trouble(Call::Claim, Trouble::Refused(StoreErrorKind::Denied), 1);
    let denied = registered.claim(1, 5 * SECOND).await;
    assert!(
        matches!(denied, Err(ClaimError::Store(error)) if error.kind == StoreErrorKind::Denied)
    );
    let before = database.count(Call::Claim);
    registered_elsewhere_is_unknown(&database, &jobs).await;
    assert!(database.count(Call::Claim) >= before + 3);
    let conflicts = jobs.stats().conflicts;
    assert_eq!(conflicts.get(&("store", true)), Some(&4));
    assert_eq!(
        conflicts.get(&("unknown_worker", false)),
        Some(&3),
        "{conflicts:?}"
    );
}

/// JOB-44: five conflicts, of which four recover: each is counted, whatever came of it.
#[tokio::test(start_paused = true)]
async fn five_conflicts_four_recoveries() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("w")).await.unwrap();
    database.put(job("work")).await;
    database.trouble(Call::Claim, Trouble::Refused(StoreErrorKind::Conflict), 4);
    assert_eq!(registered.claim(1, 5 * SECOND).await.unwrap().len(), 1);
    database.trouble(Call::Claim, Trouble::Refused(StoreErrorKind::Conflict), 1);
    assert!(registered.claim(1, NOW).await.is_err());
    let conflicts = jobs.stats().conflicts;
    let of = |recovered| conflicts.get(&("store", recovered)).copied();
    assert_eq!((of(true), of(false)), (Some(4), Some(1)), "{conflicts:?}");
}

/// JOB-12: a worker claims at once after its registration, by one call; what repetitions cost is
/// counted.
#[tokio::test(start_paused = true)]
async fn a_claim_right_after_the_registration_waits_for_nothing() {
    let (database, jobs) = flaky();
    let ids = database.enqueue(&[job("first"), job("second")]).await;
    let begun = Instant::now();
    let registered = jobs.register(worker("w")).await.unwrap();
    let first = registered.claim(1, 5 * SECOND).await.unwrap();
    assert_eq!(first[0].job().id, ids.unwrap()[0].id());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(database.count(Call::Claim), 1);
    assert_eq!(jobs.stats().repeat_seconds.count, 0);
    database.trouble(Call::Claim, Trouble::Refused(StoreErrorKind::Conflict), 2);
    let begun = Instant::now();
    assert_eq!(registered.claim(1, 5 * SECOND).await.unwrap().len(), 1);
    let repeats = jobs.stats().repeat_seconds;
    assert_eq!((repeats.count, repeats.sum), (2, begun.elapsed()));
    assert_eq!(repeats.sum, Duration::from_millis(300), "100 and 200 ms");
}

/// JOB-42: a cascade takes as long as the database needs for it, by the clock.
#[tokio::test(start_paused = true)]
async fn a_cascade_takes_what_it_takes() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("w")).await.unwrap();
    let parent = database.put(job("parent")).await;
    database
        .enqueue(&vec![job("child").after(parent); 50])
        .await
        .unwrap();
    let claimed = registered.claim(1, NOW).await.unwrap().remove(0);
    let slow = Duration::from_millis(40);
    database.trouble(Call::Settle, Trouble::Slow(slow), 1);
    claimed.complete(None).await.unwrap();
    let cascade = jobs.stats().cascade_seconds;
    assert_eq!((cascade.count, cascade.sum), (1, slow));
    let bucket = monitor_jobs::BUCKETS
        .iter()
        .position(|bound| *bound == 0.05);
    assert_eq!(cascade.buckets[bucket.unwrap()], 1, "{cascade:?}");
}

/// Asked three times, after 100 and 200 ms, then poisoned.
async fn registered_elsewhere_is_unknown(database: &common::Flaky, jobs: &Jobs) {
    let doomed = jobs.register(worker("doomed")).await.unwrap();
    database.memory.deregister(doomed.id()).await.unwrap();
    let begun = Instant::now();
    let unknown = doomed.claim(1, NOW).await;
    assert!(matches!(unknown, Err(ClaimError::UnknownWorker(_))));
    assert_eq!(begun.elapsed(), Duration::from_millis(300));
    assert!(doomed.is_lost());
}

/// JOB-9, R4: nothing comes: it waits as long as it was asked to; a job that becomes due is
/// claimed when it does.
#[tokio::test(start_paused = true)]
async fn a_claim_waits_as_long_as_it_was_asked_to() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("w")).await.unwrap();
    let begun = Instant::now();
    assert!(registered.claim(1, 5 * SECOND).await.unwrap().is_empty());
    assert_eq!(begun.elapsed(), 5 * SECOND);
    let due = job("later").when(monitor_jobs::When::In(Duration::from_millis(1_700)));
    let id = database.put(due).await;
    let begun = Instant::now();
    let claimed = registered.claim(1, 60 * SECOND).await.unwrap();
    assert_eq!(
        (claimed[0].job().id, begun.elapsed()),
        (id, Duration::from_millis(1_700))
    );
}

/// JOB-35, JOB-51: without an answered beat the holder stops itself before anybody else may begin,
/// and refuses everything from then on; when beats come through again it may claim again.
#[tokio::test(start_paused = true)]
async fn a_partition_stops_the_holder_first() {
    let (database, jobs) = flaky();
    let registered = jobs.register(worker("w")).await.unwrap();
    let id = database.put(job("work")).await;
    let claimed = registered.claim(1, NOW).await.unwrap().remove(0);
    sleep(5 * SECOND).await;
    database.trouble(
        Call::Beat,
        Trouble::Refused(StoreErrorKind::Transient),
        1_000,
    );
    let begun = Instant::now();
    assert_eq!(claimed.stopped().await, Stop::LeaseExpired);
    assert!(
        begun.elapsed() < 10 * SECOND,
        "the last answered beat was sent at 4 s"
    );
    assert_eq!(claimed.lease_left(), Duration::ZERO);
    let refused = claimed.complete(None).await;
    assert!(
        matches!(refused, Err(SettleError::LeaseExpired(_))),
        "{refused:?}"
    );
    database.calm();
    sleep(5 * SECOND).await;
    assert_eq!(database.state(id).await, JobState::Ready, "handed back");
    assert_eq!(registered.claim(1, NOW).await.unwrap()[0].job().id, id);
}

/// JOB-43: seven registrations of ten, and the reasons add up.
#[tokio::test(start_paused = true)]
async fn registrations_are_counted_by_result_and_reason() {
    let (database, jobs) = flaky();
    let mut kept = Vec::new();
    for _ in 0..7 {
        kept.push(jobs.register(worker("w")).await.unwrap());
    }
    database.trouble(
        Call::Register,
        Trouble::Refused(StoreErrorKind::Transient),
        2,
    );
    assert!(jobs.register(worker("w")).await.is_err());
    assert!(jobs.register(worker("w")).await.is_err());
    let none = Register {
        capacity: 0,
        ..worker("w")
    };
    assert!(jobs.register(none).await.is_err());
    let stats = jobs.stats();
    let failed: u64 = stats.not_registered.values().sum();
    assert_eq!((stats.registered, failed), (7, 3), "0.7 of them");
    for bad in [
        Register {
            queues: Vec::new(),
            ..worker("w")
        },
        Register {
            lease: SECOND * 1_000_000,
            ..worker("w")
        },
        Register {
            queues: vec!["No Name".to_owned()],
            ..worker("w")
        },
        worker(""),
    ] {
        let refused = jobs.register(bad).await;
        assert!(
            !matches!(refused, Err(RegisterError::Store(_)) | Ok(_)),
            "{refused:?}"
        );
    }
    let stats = jobs.stats();
    assert_eq!(stats.registered, 7);
    assert_eq!(stats.not_registered.get("transient"), Some(&2));
    assert_eq!(stats.not_registered.get("invalid"), Some(&5));
}

/// JOB-39, C4: a slot is free when the database has acknowledged the end, and not before.
#[tokio::test(start_paused = true)]
async fn inv_jobs_5_a_slot_is_free_after_the_acknowledgement() {
    let (database, jobs) = flaky();
    let narrow = Register {
        capacity: 1,
        ..worker("narrow")
    };
    let registered = jobs.register(narrow).await.unwrap();
    let first = database.put(job("first")).await;
    database.put(job("second")).await;
    let claimed = registered.claim(9, NOW).await.unwrap().remove(0);
    assert_eq!(claimed.job().id, first);
    database.trouble(Call::Settle, Trouble::ReplyLost, 3);
    let ending = tokio::spawn(claimed.complete(None));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(
        database.state(first).await,
        JobState::Completed,
        "the answer is lost"
    );
    assert_eq!(registered.free(), 0, "INV-JOBS-5");
    let full = registered.claim(1, NOW).await;
    assert!(
        matches!(full, Err(ClaimError::AtCapacity { held: 1, .. })),
        "{full:?}"
    );
    ending.await.unwrap().unwrap();
    assert_eq!(registered.claim(1, NOW).await.unwrap().len(), 1);
}

/// JOB-42, JOB-48: fifty ends and the release of what waited for them are one call each, however
/// many jobs there are.
#[tokio::test(start_paused = true)]
async fn ends_are_sent_together() {
    let (database, jobs) = flaky();
    let wide = Register {
        capacity: 100,
        ..worker("wide")
    };
    let registered = jobs.register(wide).await.unwrap();
    let parent = database.put(job("parent")).await;
    let children = vec![job("child").after(parent); 50];
    database.enqueue(&children).await.unwrap();
    let claimed = registered.claim(100, NOW).await.unwrap().remove(0);
    claimed.complete(None).await.unwrap();
    assert_eq!(
        (database.count(Call::Claim), database.count(Call::Settle)),
        (1, 1)
    );
    let children = registered.claim(100, NOW).await.unwrap();
    assert_eq!((children.len(), database.count(Call::Claim)), (50, 2));
    let ends: Vec<_> = children
        .into_iter()
        .map(|claimed| tokio::spawn(claimed.complete(None)))
        .collect();
    for end in ends {
        end.await.unwrap().unwrap();
    }
    assert!(
        database.count(Call::Settle) <= 3,
        "{}",
        database.count(Call::Settle)
    );
    let stats = jobs.stats();
    assert_eq!(
        (stats.settled.get("completed"), stats.claimed),
        (Some(&51), 51)
    );
    assert_eq!(
        stats.cascade_seconds.count as usize,
        database.count(Call::Settle)
    );
}
