//! What handles promise, over this database.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Bench, Rig, START_MS, job, priority, worker};
use crate::{
    ClaimError, Context, Failure, JobFilter, JobId, JobState, NewJob, Parent, Payload, Register,
    Registered, SettleError, Stop, Upkeep, Worker, WorkerId,
};

/// Long enough never to be waited for in full.
const LONG: Duration = Duration::from_secs(600);

async fn registered(bench: &Bench) -> Registered {
    let queues = ["default", "other"].map(str::to_owned);
    let register = Register {
        queues: queues.into(),
        ..worker("shell")
    };
    bench.jobs().register(register).await.unwrap()
}

/// Put in, also into another of its queues, released by a parent, handed back.
pub async fn job_9_a_waiting_claim_returns_when_work_appears(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let registered = registered(&bench).await;
    assert!(
        registered
            .claim(5, Duration::ZERO)
            .await
            .unwrap()
            .is_empty()
    );
    let other = bench.put(job("work").queue("other"));
    let (claimed, id) = tokio::join!(registered.claim(5, LONG), other);
    let claimed = claimed.unwrap().remove(0);
    assert_eq!(claimed.job().id, id, "one wait for all its queues");
    claimed.complete(None).await.unwrap();
    let (claimed, id) = tokio::join!(registered.claim(5, LONG), bench.put(job("work")));
    let claimed = claimed.unwrap().remove(0);
    assert_eq!(claimed.job().id, id);
    let child = bench.put(job("child").after(id)).await;
    let (next, done) = tokio::join!(registered.claim(5, LONG), claimed.complete(None));
    done.unwrap();
    let next = next.unwrap().remove(0);
    assert_eq!(next.job().id, child);
    let (again, released) = tokio::join!(registered.claim(5, LONG), next.release());
    released.unwrap();
    let again = again.unwrap().remove(0);
    assert_eq!((again.job().id, again.job().attempt), (child, 1));
    again.fail("no", None).await.unwrap();
    registered.close().await;
    let dead = bench.backend.list(&JobFilter::default()).await.unwrap();
    assert_eq!((dead[2].id, dead[2].state), (child, JobState::Dead));
}

/// Committed, dropped, and fenced by a rescue.
pub async fn f4_complete_in_a_transaction(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let registered = registered(&bench).await;
    let id = bench.put(job("work")).await;
    let effect = || vec![job("effect").queue("effects")];
    let count = async || {
        let effects = JobFilter {
            queue: Some("effects".to_owned()),
            ..JobFilter::default()
        };
        bench.backend.list(&effects).await.unwrap().len()
    };

    let claimed = registered.claim(1, LONG).await.unwrap().remove(0);
    bench
        .base
        .in_transaction(claimed, effect(), false)
        .await
        .unwrap();
    let again = registered.claim(1, LONG).await.unwrap().remove(0);
    assert_eq!(
        (again.job().id, count().await),
        (id, 0),
        "F4: rolled back, and handed back"
    );
    bench
        .base
        .in_transaction(again, effect(), true)
        .await
        .unwrap();
    assert_eq!(
        (bench.state(id).await, count().await),
        (JobState::Completed, 1)
    );
    assert_eq!(registered.held(), 0);

    let stolen = bench.put(job("stolen")).await;
    let claimed = registered.claim(1, LONG).await.unwrap().remove(0);
    rescue(&bench, &registered).await;
    let refused = bench.base.in_transaction(claimed, effect(), true).await;
    assert!(
        matches!(refused, Err(SettleError::Stale { .. })),
        "F4: {refused:?}"
    );
    assert_eq!(
        (bench.state(stolen).await, count().await),
        (JobState::Ready, 1),
        "F4"
    );
}

async fn rescue(bench: &Bench, registered: &Registered) {
    loop {
        let pulses = bench.backend.pulses().await.unwrap();
        let pulse = pulses.iter().find(|pulse| pulse.worker == registered.id());
        let Some(pulse) = pulse else { return };
        bench.backend.rescue(pulse, 9).await.unwrap();
    }
}

/// A dozen times whatever can go wrong with a call: more often than there are connections.
pub async fn job_10_no_fault_keeps_a_connection(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let registered = registered(&bench).await;
    bench.put(job("work")).await;
    let refused = [job("refused").after(JobId(1_000_000))];
    let abandoned = [job("abandoned").queue("nobody's")];
    for _ in 0..12 {
        assert!(bench.backend.enqueue(&refused).await.is_err());
        let unknown = bench.backend.beat(WorkerId(1_000_000)).await;
        assert_eq!(unknown.unwrap(), None);
        if bench.base.is_durable() {
            bench.base.fail(Some("INSERT ON job")).await;
            assert!(bench.backend.enqueue(&abandoned).await.is_err());
            bench.base.fail(None).await;
        }
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            put_in = bench.backend.enqueue(&abandoned) => drop(put_in),
        }
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            seen = bench.backend.queues() => drop(seen),
        }
        let claimed = registered.claim(1, LONG).await.unwrap().remove(0);
        let dropped = bench.base.in_transaction(claimed, Vec::new(), false);
        dropped.await.unwrap();
    }
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let backend = std::sync::Arc::clone(&bench.backend);
            tokio::spawn(async move { backend.enqueue(&[job("fine")]).await.map(drop) })
        })
        .collect();
    for call in calls {
        call.await
            .unwrap()
            .expect("JOB-10: a connection for everybody");
    }
    bench.healthy().await;
}

/// One that was claimed, and a call that was abandoned.
pub async fn job_35_a_dropped_handle_hands_its_job_back(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let registered = registered(&bench).await;
    let id = bench.put(job("work")).await;
    drop(registered.claim(1, LONG).await.unwrap());
    for _ in 0..20 {
        let abandoned = registered.claim(1, LONG);
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            claimed = abandoned => drop(claimed),
        }
    }
    let claimed = registered.claim(1, LONG).await.unwrap().remove(0);
    assert_eq!(
        (claimed.job().id, claimed.job().attempt),
        (id, 1),
        "nothing was lost"
    );
    claimed.progress(10, "a tenth").await.unwrap();
    claimed.complete(None).await.unwrap();
    assert_eq!(
        bench.view(id).await.progress,
        Some((10, "a tenth".to_owned()))
    );
}

/// One with a short lease dies beside one with a long one, and the house is kept by somebody who has
/// a day.
pub async fn w6_each_worker_is_judged_by_its_own_lease(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let short = Register {
        lease: Duration::from_millis(400),
        ..worker("short")
    };
    let short = bench.backend.register(&short).await.unwrap();
    let ids = bench.put_all(&[job("a"), job("b")]).await;
    assert_eq!(bench.claim_as(short, 1).await.jobs[0].id, ids[0]);
    assert_eq!(bench.claim_ids(1).await, ids[1..]);
    let day = Duration::from_secs(86_400);
    let keeping = bench.jobs().keep(Upkeep::default(), day);
    while bench.state(ids[0]).await != JobState::Ready {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bench.state(ids[1]).await, JobState::Running, "W5");
    drop(keeping);
}

/// Everything that was claimed through it is told to stop, and it never claims again.
pub async fn w3_a_lost_registration_is_poisoned(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let registered = registered(&bench).await;
    let ids = bench.put_all(&[job("a"), job("b")]).await;
    let mut claimed = registered.claim(2, LONG).await.unwrap();
    rescue(&bench, &registered).await;
    let lost = registered.claim(1, LONG).await;
    assert!(
        matches!(lost, Err(ClaimError::UnknownWorker(_))),
        "{lost:?}"
    );
    assert!(registered.is_lost() && registered.held() == 0);
    for claimed in &claimed {
        assert_eq!(
            (claimed.stopped().await, claimed.lease_left()),
            (Stop::Fenced, Duration::ZERO)
        );
    }
    let refused = claimed.remove(0).complete(None).await;
    assert!(matches!(refused, Err(SettleError::Fenced(_))));
    let refused = claimed[0].progress(1, "late").await;
    assert!(matches!(refused, Err(SettleError::Fenced(_))));
    drop(claimed);
    registered.close().await;
    assert_eq!(bench.states(&ids).await, [JobState::Ready; 2]);
    let again = bench.jobs().register(worker("shell")).await.unwrap();
    assert_eq!(again.claim(9, LONG).await.unwrap().len(), 2);
}

/// Three hundred jobs of three kinds by a seed: some fail once, some for good, some panic; a third
/// wait for others, and each takes its own time. Four workers run them; nothing is left, lost or run
/// twice.
pub async fn job_32_workers_run_a_mixed_load(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    bench.backend.deregister(bench.worker).await.unwrap();
    let mut rng = SmallRng::seed_from_u64(32);
    let mut load: Vec<NewJob> = Vec::new();
    for place in 0..300 {
        let kind = ["fine", "once", "never"][rng.random_range(0..3)];
        let payload = Payload::of(&place).unwrap();
        let mut new = NewJob::new(kind, payload).priority(priority(rng.random_range(0..6)));
        if place > 0 && rng.random_range(0..3) == 0 {
            let parent = Parent::Earlier(rng.random_range(0..place));
            new = new.edge(crate::Edge::finished(parent));
        }
        load.push(new);
    }
    let ids = bench.put_all(&load).await;
    let mut workers = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let handler = |context: Context| async move {
            tokio::time::sleep(Duration::from_millis(context.payload().read::<u64>()? % 4)).await;
            match (context.job().kind.as_str(), context.job().attempt) {
                ("fine", _) | ("once", 2..) => Ok(Some(context.payload().clone())),
                ("once", 1) => Err(Failure::new("once")),
                // Not by a panic: that is the worker's own failure, and after some it rests.
                _ => Err(Failure::new("never")),
            }
        };
        let worker = Worker::builder(&bench.jobs(), name).capacity(8);
        let kinds = ["fine", "once", "never"].into_iter();
        let worker = kinds.fold(worker, |worker, kind| worker.handler(kind, handler));
        workers.push(worker.start().await.unwrap());
    }
    let last = JobFilter {
        limit: 1_000,
        ..JobFilter::default()
    };
    let mut now = START_MS;
    let ended = loop {
        // What failed is due again a minute later at most.
        now += 10_000;
        bench.base.set_clock(now).await;
        let jobs = bench.backend.list(&last).await.unwrap();
        if jobs.iter().all(|job| job.state.is_terminal()) {
            break jobs;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    for worker in workers {
        worker.drain(LONG).await;
    }
    assert_eq!(ended.len(), ids.len(), "R7");
    for (job, new) in ended.iter().zip(&load) {
        let (state, attempts) = match new.kind.as_str() {
            "fine" => (JobState::Completed, 1),
            "once" => (JobState::Completed, 2),
            _ => (JobState::Dead, 3),
        };
        assert_eq!((job.state, job.attempt), (state, attempts), "{job:?}");
        let executions = bench.backend.executions(job.id).await.unwrap();
        assert_eq!(
            executions.len(),
            usize::from(attempts),
            "JOB-16: {executions:?}"
        );
        let result = (state == JobState::Completed).then(|| new.payload.as_str().to_owned());
        assert_eq!(job.result, result);
    }
    bench.healthy().await;
}
