//! Putting in, order, claiming.

use std::sync::Arc;
use std::time::Duration;

use super::{Bench, Rig, START_MS, complete, job, priority, worker};
use crate::{
    ClaimRequest, EnqueueError, Enqueued, JobFilter, JobId, JobState, Ordering, Parent, Register,
    When,
};

/// Wrong in the last entry of a call.
pub async fn job_3_all_or_none(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let known = bench.put(job("known")).await;
    let bad = [
        job("Not A Name"),
        job("work").max_attempts(0),
        job("work").after(JobId(known.0 + 1_000_000)),
        job("work").after(JobId(-1)),
        job("work").after(Parent::Earlier(1)),
        job("work").after(known).after(known),
        job("work").timeout(Duration::ZERO),
        job("work").unique_key(""),
    ];
    for bad in bad {
        let call = [job("fine").unique_key("fine"), bad];
        assert!(bench.backend.enqueue(&call).await.is_err(), "{:?}", call[1]);
    }
    let unknown = [job("x").after(JobId(known.0 + 1_000_000))];
    assert!(matches!(
        bench.backend.enqueue(&unknown).await,
        Err(EnqueueError::UnknownParent { .. })
    ));
    let all = bench.backend.list(&JobFilter::default()).await.unwrap();
    assert_eq!(all.iter().map(|job| job.id).collect::<Vec<_>>(), [known]);
    let put_in = bench
        .backend
        .enqueue(&[job("x").unique_key("fine")])
        .await
        .unwrap();
    assert!(
        matches!(put_in[0], Enqueued::New(_)),
        "the key of a refused job is free"
    );
}

/// Within a call, later, after the end, and after a retry.
pub async fn job_17_unique_keys(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let keyed = || job("work").unique_key("nightly");
    let put_in = bench
        .backend
        .enqueue(&[keyed(), keyed(), job("other")])
        .await
        .unwrap();
    let id = put_in[0].id();
    assert_eq!(put_in[..2], [Enqueued::New(id), Enqueued::Existing(id)]);
    bench.run(id, super::fail(None)).await;
    let second = bench.backend.enqueue(&[keyed()]).await.unwrap()[0];
    assert!(matches!(second, Enqueued::New(second) if second > id));
    assert_eq!(
        bench.backend.retry(id).await.unwrap(),
        Some(false),
        "its key is taken"
    );
    assert_eq!(bench.backend.cancel(second.id()).await.unwrap(), Some(true));
    assert_eq!(bench.backend.retry(id).await.unwrap(), Some(true));
    let third = bench.backend.enqueue(&[keyed()]).await.unwrap()[0];
    assert_eq!(third, Enqueued::Existing(id), "it bears its key again");
}

/// By priority, then by age, over all queues of the worker.
pub async fn job_20_the_urgent_first_then_the_old(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let both = Register {
        queues: vec!["default".to_owned(), "other".to_owned()],
        ..worker("both")
    };
    let both = bench.backend.register(&both).await.unwrap();
    let levels = [0, 5, 3, 1, 4, 2, 5, 0];
    let jobs: Vec<_> = levels
        .iter()
        .enumerate()
        .map(|(place, level)| {
            let queue = if place % 2 == 0 { "default" } else { "other" };
            job("work").priority(priority(*level)).queue(queue)
        })
        .collect();
    let ids = bench.put_all(&jobs).await;
    let claimed = bench.claim_as(both, 9).await.jobs;
    let order: Vec<_> = claimed.iter().map(|job| job.id).collect();
    assert_eq!(order, [1, 6, 4, 2, 5, 3, 0, 7].map(|place| ids[place]));
}

/// Four and five are high, two and three medium, the rest low.
pub async fn job_20_bands(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let levels = [0, 1, 1, 2, 3, 3, 3, 4, 5, 5];
    let jobs = levels.map(|level| job("work").priority(priority(level)));
    bench.put_all(&jobs).await;
    bench.put(job("work").queue("other")).await;
    let queues = bench.backend.queues().await.unwrap();
    let seen: Vec<_> = queues
        .iter()
        .map(|queue| (queue.name.as_str(), queue.ready_by_band))
        .collect();
    assert_eq!(seen, [("default", [3, 4, 3]), ("other", [0, 1, 0])]);
    let names = levels.map(|level| priority(level).band().as_str());
    assert_eq!(names[..4], ["low", "low", "low", "medium"]);
    assert_eq!(
        names[4..],
        ["medium", "medium", "medium", "high", "high", "high"]
    );
    let claimed = bench.claim(4).await;
    assert_eq!(claimed.len(), 4);
    let queues = bench.backend.queues().await.unwrap();
    assert_eq!(queues[0].ready_by_band, [0, 3, 3], "the high ones first");
}

/// One urgent job a second comes in and one is served; the low one waits for 150 of them at most.
pub async fn job_38_a_low_job_is_served_under_load(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let step = Duration::from_secs(2);
    let aged = |level| {
        job("work")
            .priority(priority(level))
            .ordering(Ordering::Aged { step })
    };
    let low = bench.put(aged(0)).await;
    for second in 0..20 {
        bench.base.set_clock(START_MS + second * 1000).await;
        bench.put(aged(5)).await;
        let claimed = bench.claim(1).await;
        bench.end(&claimed[0], complete()).await;
        if claimed[0].id == low {
            assert!((9..=11).contains(&second), "L7: after {second} s");
            return;
        }
    }
    panic!("L7: the low job starves");
}

/// By default a low job is as urgent as a medium one that comes a minute later, and as a high one
/// that comes two minutes later; two that look at the same moment do not both take it.
pub async fn job_38_a_low_job_rises_in_one_and_two_minutes(rig: &dyn Rig) {
    for (level, minutes) in [(3, 1), (5, 2)] {
        let bench = Bench::new(rig).await;
        let low = bench.put(job("low").priority(priority(1))).await;
        let rises = START_MS + minutes * 60_000;
        bench.base.set_clock(rises - 1).await;
        let before = bench.put(job("before").priority(priority(level))).await;
        bench.base.set_clock(rises + 1).await;
        let after = bench.put(job("after").priority(priority(level))).await;
        assert_eq!(bench.claim_ids(1).await, [before]);
        let request = ClaimRequest {
            worker: bench.worker,
            limit: 1,
            history: true,
        };
        let (one, two) = tokio::join!(bench.backend.claim(&request), bench.backend.claim(&request));
        let mut both = [one, two].map(|claim| claim.unwrap().jobs[0].id);
        both.sort_unstable();
        assert_eq!(both, [low, after], "each once");
        let epoch = async |id| bench.view(id).await.epoch;
        assert_ne!(epoch(low).await, epoch(after).await);
        let key = async |id| bench.view(id).await.sort_key;
        assert!(key(before).await < key(low).await && key(low).await < key(after).await);
        assert!(bench.claim(9).await.is_empty());
    }
}

/// First in first out, strict, by deadline, fair.
pub async fn job_49_orderings(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let fifo = |level| job("f").priority(priority(level)).ordering(Ordering::Fifo);
    let ids = bench.put_all(&[fifo(0), fifo(5)]).await;
    assert_eq!(bench.claim_ids(9).await, ids);

    let strict = |level| {
        job("s")
            .priority(priority(level))
            .ordering(Ordering::Strict)
    };
    let old = bench.put(strict(4)).await;
    bench.base.set_clock(START_MS + 86_400_000_000).await;
    let new = bench.put(strict(5)).await;
    assert_eq!(bench.claim_ids(9).await, [new, old]);

    let due = |unix_ms| job("d").ordering(Ordering::Deadline { unix_ms });
    let ids = bench.put_all(&[due(3_000), due(1_000), due(2_000)]).await;
    assert_eq!(bench.claim_ids(9).await, [ids[1], ids[2], ids[0]]);

    let fair = |tenant: &str, weight| job("t").tenant(tenant).ordering(Ordering::Fair { weight });
    let mut jobs = vec![fair("greedy", 1); 6];
    jobs.extend(vec![fair("modest", 2); 2]);
    let ids = bench.put_all(&jobs).await;
    let order = bench.claim_ids(9).await;
    let place = |id: JobId| order.iter().position(|other| *other == id).unwrap();
    assert!(
        place(ids[6]) <= 1 && place(ids[7]) <= 2,
        "{order:?} of {ids:?}"
    );
}

/// Nor after it was paused again.
pub async fn c3_a_paused_queue_gives_nothing(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    bench.backend.set_paused("default", true).await.unwrap();
    bench.backend.set_paused("default", true).await.unwrap();
    let queues = bench.backend.queues().await.unwrap();
    assert!(queues.len() == 1 && queues[0].paused);
    let id = bench.put(job("work")).await;
    assert!(bench.claim(1).await.is_empty());
    assert_eq!(bench.state(id).await, JobState::Ready);
    bench.backend.set_paused("default", false).await.unwrap();
    assert_eq!(bench.claim_ids(1).await, [id]);
}

/// Also when two claims of the same worker run at the same time.
pub async fn job_39_never_more_than_capacity(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let narrow = Register {
        capacity: 5,
        ..worker("narrow")
    };
    let narrow = bench.backend.register(&narrow).await.unwrap();
    bench.put_all(&vec![job("work"); 30]).await;
    let request = ClaimRequest {
        worker: narrow,
        limit: 4,
        history: false,
    };
    let claims = (0..4).map(|_| {
        let (backend, request) = (Arc::clone(&bench.backend), request.clone());
        tokio::spawn(async move { backend.claim(&request).await.map(|claim| claim.jobs.len()) })
    });
    let mut held = 0;
    for claim in claims.collect::<Vec<_>>() {
        held += claim.await.unwrap().unwrap_or(0);
    }
    assert_eq!(held, 5, "C4");
    assert_eq!(bench.backend.held(narrow).await.unwrap().len(), 5);
}

/// In, at, and at a time that has passed.
pub async fn job_37_scheduled_jobs_wait_for_the_database_clock(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let later = bench
        .put(job("in").when(When::In(Duration::from_secs(10))))
        .await;
    let at = bench.put(job("at").when(When::At(START_MS + 5_000))).await;
    let past = bench.put(job("past").when(When::At(5))).await;
    assert_eq!(bench.view(past).await.run_at_unix_ms, START_MS);
    assert_eq!(
        bench.states(&[later, at, past]).await,
        [JobState::Scheduled, JobState::Scheduled, JobState::Ready]
    );
    assert_eq!(bench.claim_ids(9).await, [past]);
    let none = bench.claim_as(bench.worker, 9).await;
    assert!(none.jobs.is_empty());
    bench.base.set_clock(START_MS + 5_000).await;
    assert_eq!(
        bench.state(at).await,
        JobState::Ready,
        "what is due is shown as ready"
    );
    assert_eq!(bench.claim_ids(9).await, [at]);
    bench.base.set_clock(START_MS + 10_000).await;
    assert_eq!(bench.claim_ids(9).await, [later]);
}

/// What is to come is in the database and not in a timer of the process that asked for it: another
/// process claims it when it is due, and finds what is dead with its history.
pub async fn job_37_a_retry_outlives_its_process(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let ids = bench.put_all(&[job("again"), job("dead")]).await;
    let held = bench.claim(2).await;
    let wait = Duration::from_secs(4);
    bench.end(&held[0], super::fail(Some(wait))).await;
    bench.end(&held[1], super::fail(None)).await;
    bench.backend.deregister(bench.worker).await.unwrap();
    let other = bench.base.reopen().await;
    drop(bench);
    let heir = other.backend().register(&worker("heir")).await.unwrap();
    let request = ClaimRequest {
        worker: heir,
        limit: 9,
        history: true,
    };
    let early = other.backend().claim(&request).await.unwrap();
    assert!(
        early.jobs.is_empty() && early.next_due == Some(wait),
        "{early:?}"
    );
    other.set_clock(START_MS + 3_999).await;
    assert!(
        other
            .backend()
            .claim(&request)
            .await
            .unwrap()
            .jobs
            .is_empty()
    );
    other.set_clock(START_MS + 4_000).await;
    let due = other.backend().claim(&request).await.unwrap().jobs;
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].id, due[0].attempt), (ids[0], 2));
    let dead = other.backend().job(ids[1]).await.unwrap().unwrap();
    assert_eq!(dead.state, JobState::Dead);
    assert_eq!(dead.last_error.as_deref(), Some("it went wrong"));
    let history = other.backend().executions(ids[1]).await.unwrap();
    assert_eq!(history[0].outcome, Some("failed"));
    assert_eq!(other.backend().retry(ids[1]).await.unwrap(), Some(true));
    let again = other.backend().claim(&request).await.unwrap().jobs;
    assert_eq!((again[0].id, again[0].attempt), (ids[1], 2));
}
