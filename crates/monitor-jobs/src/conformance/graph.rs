//! Dependencies and the urgency that runs along them.

use std::sync::Arc;

use super::{Bench, Rig, complete, fail, job, priority, settle, worker};
use crate::{
    ClaimRequest, Edge, JobId, JobState, NewJob, On, Outcome, Parent, Priority, Settled, Unmet,
};

/// Down to children, up to whatever is waited for, never to siblings; told why.
pub async fn job_18_priority_inheritance(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let at = |level| job("work").priority(priority(level));
    let effective = async |id| bench.view(id).await.effective_priority.get();
    for (parents, own, inherit, expected) in [
        (vec![5], 3, true, 5),
        (vec![1], 3, true, 3),
        (vec![1, 4, 2], 0, true, 4),
        (vec![5], 3, false, 3),
    ] {
        let jobs: Vec<_> = parents.iter().map(|level| at(*level)).collect();
        let parents = bench.put_all(&jobs).await;
        let waits = parents.iter().fold(at(own), |new, id| new.after(*id));
        let child = bench.put(waits.inherit_priority(inherit)).await;
        assert_eq!(effective(child).await, expected);
    }
    bench.claim(99).await;

    let root = bench.put(at(1)).await;
    let middle = bench.put(at(1).after(root)).await;
    let sibling = bench.put(at(0).after(root)).await;
    let unrelated = bench.put(at(3)).await;
    let urgent = bench.put(at(5).after(middle)).await;
    let chain = [
        effective(root).await,
        effective(middle).await,
        effective(sibling).await,
    ];
    assert_eq!(
        chain,
        [5, 5, 1],
        "P1: up the chain; a sibling has what its parent has by itself"
    );
    let why = bench.backend.why_priority(root).await.unwrap().unwrap();
    assert_eq!(
        (why.effective.get(), why.own.get(), why.from_parent),
        (5, 1, false)
    );
    assert_eq!(why.from, Some((urgent, Priority::MAX)));
    let why = bench.backend.why_priority(sibling).await.unwrap().unwrap();
    assert_eq!(
        (why.from, why.from_parent),
        (Some((root, priority(1))), true)
    );
    let why = bench.backend.why_priority(urgent).await.unwrap().unwrap();
    assert_eq!(why.from, None);
    assert!(
        bench
            .backend
            .why_priority(JobId(-1))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        bench.claim_ids(1).await,
        [root],
        "P3: before the unrelated one"
    );
    assert_eq!(bench.claim_ids(1).await, [unrelated]);
}

/// When the urgent one is cancelled, made less urgent, or has a new parent's priority.
pub async fn p1_urgency_is_taken_back(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let at = |level| job("work").priority(priority(level));
    let root = bench.put(at(1)).await;
    let first = bench.put(at(5).after(root)).await;
    let second = bench.put(at(4).after(root)).await;
    let below = bench.put(at(0).after(second)).await;
    let effective = async |id| bench.view(id).await.effective_priority.get();
    let key = bench.view(root).await.sort_key;
    assert_eq!(key, bench.view(first).await.sort_key);
    assert_eq!(bench.backend.cancel(first).await.unwrap(), Some(true));
    assert_eq!((effective(root).await, effective(first).await), (4, 5));
    assert!(bench.view(root).await.sort_key > key);
    let changed = bench.backend.reprioritise(second, priority(2)).await;
    assert_eq!(changed.unwrap(), Some(true));
    assert_eq!(
        [
            effective(root).await,
            effective(second).await,
            effective(below).await
        ],
        [2, 2, 2]
    );
    bench.backend.reprioritise(root, priority(5)).await.unwrap();
    assert_eq!(
        [effective(second).await, effective(below).await],
        [5, 5],
        "followed down"
    );
    assert_eq!(bench.view(second).await.priority.get(), 2);
    let missing = bench.backend.reprioritise(JobId(-1), Priority::MIN).await;
    assert_eq!(missing.unwrap(), None);
    bench.healthy().await;
}

/// Up to 64 parents, each ended in a transaction of its own at the same time.
pub async fn job_23_fan_in_releases_once(rig: &dyn Rig) {
    for parents in [2, 5, 64] {
        let bench = Bench::new(rig).await;
        let ids = bench.put_all(&vec![job("parent"); parents]).await;
        let waits = ids.iter().fold(job("child"), |new, id| new.after(*id));
        let children = bench.put_all(&[waits.clone(), waits]).await;
        let held = bench.claim(99).await;
        assert_eq!(held.len(), parents, "S7: a child before its parents");
        let ends = held.iter().map(|held| {
            let (backend, end) = (Arc::clone(&bench.backend), settle(held, complete()));
            let worker = bench.worker;
            tokio::spawn(async move { backend.settle(worker, &[end]).await })
        });
        for end in ends.collect::<Vec<_>>() {
            assert_eq!(end.await.unwrap().expect("D9"), [Settled::Done]);
        }
        bench.release().await;
        let pending = bench.view(children[0]).await.pending;
        assert_eq!(pending, 0, "D1");
        assert_eq!(bench.claim_ids(99).await, children, "each once");
        assert!(bench.claim(99).await.is_empty());
        bench.healthy().await;
    }
}

/// The enqueue and the end run side by side, fifty times.
pub async fn job_24_a_child_put_in_while_its_parent_completes(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    for _ in 0..50 {
        let parent = bench.put(job("parent")).await;
        let held = bench.claim(1).await.remove(0);
        let late = tokio::spawn({
            let backend = Arc::clone(&bench.backend);
            async move { backend.enqueue(&[job("child").after(parent)]).await }
        });
        let end = tokio::spawn({
            let (backend, end) = (Arc::clone(&bench.backend), settle(&held, complete()));
            let worker = bench.worker;
            async move { backend.settle(worker, &[end]).await }
        });
        let child = late.await.unwrap().unwrap()[0].id();
        assert_eq!(end.await.unwrap().unwrap(), [Settled::Done]);
        bench.release().await;
        let view = bench.view(child).await;
        assert_eq!((view.state, view.pending), (JobState::Ready, 0), "D5");
        bench.run(child, complete()).await;
    }
    bench.healthy().await;
}

/// Three ends, three edges, four policies; put in before and after the end.
pub async fn job_26_every_policy_for_every_end(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let ends = [
        (complete(), JobState::Completed),
        (fail(None), JobState::Dead),
        (Outcome::Cancelled, JobState::Cancelled),
    ];
    let policies = [
        (Unmet::Hold, JobState::Held),
        (Unmet::Cancel, JobState::Cancelled),
        (Unmet::Fail, JobState::Dead),
        (Unmet::Run, JobState::Ready),
    ];
    for (outcome, end) in ends {
        let parent = bench.put(job("parent").priority(Priority::MAX)).await;
        let mut table: Vec<(NewJob, JobState)> = Vec::new();
        for on in [On::Success, On::Finished, On::Failure] {
            for (unmet, otherwise) in policies {
                let met = match on {
                    On::Success => end == JobState::Completed,
                    On::Finished => true,
                    On::Failure => end == JobState::Dead,
                };
                let edge = Edge { parent, on, unmet };
                let new = job("child").inherit_priority(false).edge(edge);
                table.push((new, if met { JobState::Ready } else { otherwise }));
            }
        }
        let jobs: Vec<_> = table.iter().map(|(new, _)| new.clone()).collect();
        let before = bench.put_all(&jobs).await;
        bench.run(parent, outcome).await;
        let after = bench.put_all(&jobs).await;
        let expected: Vec<_> = table.iter().map(|(_, state)| *state).collect();
        assert_eq!(bench.states(&before).await, expected, "{end:?}");
        assert_eq!(
            bench.states(&after).await,
            expected,
            "{end:?}, put in after it"
        );
        for id in before.into_iter().chain(after) {
            bench.backend.cancel(id).await.unwrap();
        }
    }
    bench.healthy().await;
}

/// Retrying the parent makes the child wait again; retrying the child dismisses the parent.
pub async fn job_26_held_jobs_wait_for_people(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let parent = bench.put(job("parent")).await;
    let other = bench.put(job("other").queue("elsewhere")).await;
    let child = bench.put(job("child").after(parent)).await;
    let both = bench.put(job("both").after(parent).after(other)).await;
    bench.run(parent, fail(None)).await;
    assert_eq!(bench.states(&[child, both]).await, [JobState::Held; 2]);
    assert!(bench.claim(9).await.is_empty());
    assert_eq!(bench.backend.retry(parent).await.unwrap(), Some(true));
    assert_eq!(bench.states(&[child, both]).await, [JobState::Blocked; 2]);
    assert_eq!(bench.view(both).await.pending, 2);
    bench.run(parent, fail(None)).await;
    assert_eq!(bench.backend.retry(child).await.unwrap(), Some(true));
    assert_eq!(bench.backend.retry(both).await.unwrap(), Some(true));
    assert_eq!(
        bench.states(&[child, both]).await,
        [JobState::Ready, JobState::Blocked],
        "the other parent is still waited for"
    );
    bench.backend.retry(parent).await.unwrap();
    assert_eq!(
        bench.state(child).await,
        JobState::Ready,
        "it was dismissed"
    );
    bench.run(parent, complete()).await;
    bench.run(child, complete()).await;

    let failing = bench.put(job("failing")).await;
    let cascade = Edge::success(Parent::Job(failing)).unmet(Unmet::Cancel);
    let dropped = bench.put(job("dropped").edge(cascade)).await;
    let dropped_too = bench.put(job("dropped").after(dropped)).await;
    bench.run(failing, fail(None)).await;
    assert_eq!(
        bench.states(&[dropped, dropped_too]).await,
        [JobState::Cancelled, JobState::Held]
    );
    bench.backend.retry(failing).await.unwrap();
    bench.backend.retry(dropped).await.unwrap();
    assert_eq!(
        bench.states(&[dropped, dropped_too]).await,
        [JobState::Blocked; 2],
        "S7"
    );
    bench.run(failing, complete()).await;
    bench.run(dropped, complete()).await;
    assert_eq!(bench.state(dropped_too).await, JobState::Ready);
    bench.healthy().await;
}

/// An id can only be named once it was given out, and a place of a call only after it.
pub async fn job_27_no_cycles(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let last = bench.put(job("last")).await;
    for guess in 1..=3 {
        let next = JobId(last.0 + guess);
        let call = [job("a").after(next), job("b").after(Parent::Earlier(0))];
        assert!(bench.backend.enqueue(&call).await.is_err(), "D6: {next}");
    }
    for call in [
        vec![job("self").after(Parent::Earlier(0))],
        vec![
            job("a").after(Parent::Earlier(1)),
            job("b").after(Parent::Earlier(0)),
        ],
        vec![job("a"), job("b").after(Parent::Earlier(7))],
    ] {
        assert!(bench.backend.enqueue(&call).await.is_err(), "D6");
    }
    let ids = bench
        .put_all(&[job("a"), job("b").after(Parent::Earlier(0))])
        .await;
    assert!(ids[0] < ids[1]);
    assert_eq!(bench.view(ids[1]).await.parents, [Edge::success(ids[0])]);
}

async fn claim_all(bench: &Bench) -> Vec<JobId> {
    let request = ClaimRequest {
        worker: bench.worker,
        limit: 10_000,
        history: false,
    };
    let claimed = bench.backend.claim(&request).await.unwrap().jobs;
    claimed.into_iter().map(|job| job.id).collect()
}

/// Without a further call.
pub async fn job_28_fan_out_of_fifty(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let parent = bench.put(job("parent").priority(Priority::MAX)).await;
    let child = job("child").after(parent).inherit_priority(false);
    let children = bench.put_all(&vec![child; 50]).await;
    let held = bench.claim(99).await;
    assert_eq!(held.len(), 1, "S7");
    assert_eq!(
        (held[0].id, bench.end(&held[0], complete()).await),
        (parent, Settled::Done)
    );
    assert_eq!(
        claim_all(&bench).await,
        children,
        "with the commit, not later"
    );
    bench.healthy().await;
}

/// Eight nodes see the same five ticks, twice.
pub async fn r5_one_job_for_each_tick(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let nodes = (0..8).map(|_| {
        let backend = Arc::clone(&bench.backend);
        tokio::spawn(async move {
            let mut put_in = Vec::new();
            for tick in (1..=5).chain(1..=5) {
                put_in.extend(backend.tick("nightly", tick, &job("tick")).await.unwrap());
            }
            put_in
        })
    });
    let mut put_in = Vec::new();
    for node in nodes.collect::<Vec<_>>() {
        put_in.extend(node.await.unwrap());
    }
    put_in.sort();
    assert_eq!(put_in.len(), 5, "R5: {put_in:?}");
    assert_eq!(bench.claim_ids(99).await, put_in);
    assert_eq!(bench.backend.last_tick("nightly").await.unwrap(), Some(5));
    assert_eq!(bench.backend.last_tick("other").await.unwrap(), None);
    assert!(
        bench
            .backend
            .tick("nightly", 6, &job("No Name"))
            .await
            .is_err()
    );
    assert_eq!(
        bench.backend.last_tick("nightly").await.unwrap(),
        Some(5),
        "none, none"
    );
    let first = bench
        .backend
        .tick("nightly", 6, &job("tick"))
        .await
        .unwrap();
    assert!(first.is_some() && bench.backend.register(&worker("x")).await.is_ok());
}
