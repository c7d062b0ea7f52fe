//! Registrations, beats, rescues.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Bench, Rig, complete, job, settle, worker};
use crate::{
    Backend, ClaimError, ClaimRequest, JobFilter, JobState, Outcome, Register, Settled, WorkerId,
    WorkerPulse, WorkerState,
};

fn ask(worker: WorkerId, limit: u32) -> ClaimRequest {
    ClaimRequest {
        worker,
        limit,
        history: true,
    }
}

async fn pulse(backend: &Arc<dyn Backend>, worker: WorkerId) -> WorkerPulse {
    let pulses = backend.pulses().await.unwrap();
    *pulses.iter().find(|pulse| pulse.worker == worker).unwrap()
}

/// Twelve workers register, claim, and are deregistered by somebody else meanwhile, over and over.
pub async fn w1_claims_beside_deregistration_never_fail(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    bench.put_all(&vec![job("work"); 60]).await;
    let mut tasks = Vec::new();
    for _ in 0..12 {
        let backend = Arc::clone(&bench.backend);
        tasks.push(tokio::spawn(async move {
            for round in 0..5 {
                let id = backend.register(&worker("same-name")).await.unwrap();
                let farewell = tokio::spawn({
                    let backend = Arc::clone(&backend);
                    async move { backend.deregister(id).await.unwrap() }
                });
                match backend.claim(&ask(id, 3)).await {
                    Ok(claim) if round % 2 == 0 => {
                        let ends: Vec<_> = claim
                            .jobs
                            .iter()
                            .map(|job| settle(job, Outcome::Release))
                            .collect();
                        backend.settle(id, &ends).await.unwrap();
                    }
                    Ok(_) | Err(ClaimError::UnknownWorker(_)) => {}
                    Err(error) => panic!("W1: {error}"),
                }
                assert!(farewell.await.unwrap(), "registered until it says farewell");
                assert!(!backend.deregister(id).await.unwrap());
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let running = JobFilter {
        state: Some(JobState::Running),
        ..JobFilter::default()
    };
    let orphans = bench.backend.list(&running).await.unwrap();
    assert!(orphans.is_empty(), "W2: {orphans:?}");
    assert_eq!(bench.claim(100).await.len(), 60);
    bench.healthy().await;
}

/// `Claimed / Empty / UnknownWorker / Draining / AtCapacity`.
pub async fn job_7_each_reason_for_nothing_is_told(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let backend = &bench.backend;
    let unknown = backend.claim(&ask(WorkerId(987_654_321), 1)).await;
    assert!(matches!(unknown, Err(ClaimError::UnknownWorker(_))));
    assert!(bench.claim(1).await.is_empty());
    bench.put_all(&[job("a"), job("b")]).await;
    let narrow = Register {
        capacity: 1,
        ..worker("narrow")
    };
    let narrow = backend.register(&narrow).await.unwrap();
    assert_eq!(backend.claim(&ask(narrow, 5)).await.unwrap().jobs.len(), 1);
    let full = backend.claim(&ask(narrow, 1)).await;
    assert!(matches!(full, Err(ClaimError::AtCapacity { held: 1, .. })));
    assert!(backend.drain(narrow).await.unwrap());
    let draining = backend.claim(&ask(narrow, 1)).await;
    assert!(matches!(
        draining,
        Err(ClaimError::NotClaiming {
            state: "draining",
            ..
        })
    ));
    assert!(backend.beat(narrow).await.unwrap().unwrap().drain);
    assert!(backend.deregister(narrow).await.unwrap());
    let gone = backend.claim(&ask(narrow, 1)).await;
    assert!(matches!(gone, Err(ClaimError::UnknownWorker(_))));
    assert_eq!(backend.beat(narrow).await.unwrap(), None);
    assert!(!backend.drain(narrow).await.unwrap());
    assert!(
        !backend
            .set_health(narrow, WorkerState::Degraded)
            .await
            .unwrap()
    );
}

/// Two workers with one name are two, and one that comes back is a third.
pub async fn w4_names_are_no_identity(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    bench.put_all(&vec![job("work"); 4]).await;
    let mut seen = BTreeSet::from([bench.worker]);
    for _ in 0..3 {
        let twin = bench.backend.register(&worker("bench")).await.unwrap();
        assert!(seen.insert(twin), "an id was used twice");
        let held = bench.claim_as(twin, 1).await.jobs;
        assert_eq!(
            bench.backend.held(twin).await.unwrap(),
            [(held[0].id, held[0].epoch)]
        );
        let theft = bench
            .backend
            .settle(bench.worker, &[settle(&held[0], complete())])
            .await;
        assert_eq!(theft.unwrap(), [Settled::Stale], "W4: settled by its twin");
        assert!(bench.backend.deregister(twin).await.unwrap());
    }
    assert_eq!(bench.backend.held(bench.worker).await.unwrap(), []);
    assert_eq!(bench.claim(9).await.len(), 4);
}

/// Active, busy, idle, degraded, failing, draining, failed.
pub async fn job_40_worker_states(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let backend = &bench.backend;
    let state = async || {
        let workers = backend.workers().await.unwrap();
        let view = workers.into_iter().find(|view| view.id == bench.worker);
        view.map(|view| (view.state, view.held))
    };
    bench.put(job("work")).await;
    assert_eq!(state().await, Some((WorkerState::Active, 0)));
    let claimed = bench.claim(1).await;
    assert_eq!(state().await, Some((WorkerState::Busy, 1)));
    bench.end(&claimed[0], Outcome::Release).await;
    assert_eq!(state().await, Some((WorkerState::Idle, 0)));
    assert!(
        backend
            .set_health(bench.worker, WorkerState::Degraded)
            .await
            .unwrap()
    );
    assert_eq!(state().await, Some((WorkerState::Degraded, 0)));
    assert_eq!(bench.claim(1).await.len(), 1, "a degraded one claims");
    assert!(
        backend
            .set_health(bench.worker, WorkerState::Failing)
            .await
            .unwrap()
    );
    assert_eq!(state().await, Some((WorkerState::Failing, 1)));
    let failing = backend.claim(&ask(bench.worker, 1)).await;
    assert!(matches!(
        failing,
        Err(ClaimError::NotClaiming {
            state: "failing",
            ..
        })
    ));
    assert!(
        backend
            .set_health(bench.worker, WorkerState::Idle)
            .await
            .unwrap()
    );
    assert!(backend.drain(bench.worker).await.unwrap());
    assert_eq!(state().await, Some((WorkerState::Draining, 1)));
    let pulse = pulse(backend, bench.worker).await;
    assert!(backend.rescue(&pulse, 9).await.unwrap().retired);
    assert_eq!(state().await, Some((WorkerState::Failed, 0)));
    assert_eq!(backend.pulses().await.unwrap(), []);
}

/// In slices of one, with a beat between them that would save the worker.
pub async fn job_35_the_jobs_of_a_dead_worker_run_again(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let backend = &bench.backend;
    let ids = bench.put_all(&[job("a"), job("b"), job("c")]).await;
    let lost = bench.claim(3).await;
    let pulse = pulse(backend, bench.worker).await;
    let first = backend.rescue(&pulse, 1).await.unwrap();
    assert_eq!(
        (first.requeued, first.retired, first.alive),
        (1, false, false)
    );
    let rest = backend.rescue(&pulse, 5).await.unwrap();
    assert_eq!((rest.requeued, rest.buried, rest.retired), (2, 0, true));
    assert_eq!(backend.beat(bench.worker).await.unwrap(), None);
    let again = backend.rescue(&pulse, 5).await.unwrap();
    assert_eq!((again.requeued, again.retired), (0, true));

    let heir = backend.register(&worker("heir")).await.unwrap();
    let taken = bench.claim_as(heir, 9).await.jobs;
    assert_eq!(taken.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
    assert!(taken.iter().all(|job| job.epoch > lost[0].epoch), "F2");
    assert!(
        taken.iter().all(|job| job.attempt == 1),
        "the lost attempt does not count"
    );
    assert_eq!(bench.view(ids[0]).await.crashes, 1);
    let late: Vec<_> = lost.iter().map(|job| settle(job, complete())).collect();
    let answers = backend.settle(bench.worker, &late).await.unwrap();
    assert_eq!(answers, [Settled::Stale; 3], "F3");
    assert_eq!(bench.states(&ids).await, [JobState::Running; 3]);
    bench.healthy().await;
}

/// The clock runs a year ahead and back; only the beats count.
pub async fn w5_a_beat_in_the_last_moment_saves(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let id = bench.put(job("work")).await;
    let held = bench.claim(1).await;
    let old = pulse(&bench.backend, bench.worker).await;
    for clock in [super::START_MS + 31_536_000_000, super::START_MS - 5_000] {
        bench.base.set_clock(clock).await;
        bench.backend.beat(bench.worker).await.unwrap().unwrap();
        let rescued = bench.backend.rescue(&old, 9).await.unwrap();
        assert!(rescued.alive && rescued.requeued == 0, "W5: {rescued:?}");
    }
    assert_eq!(bench.state(id).await, JobState::Running);
    assert_eq!(bench.end(&held[0], complete()).await, Settled::Done);
}

/// Its attempts are untouched; three dead workers are enough.
pub async fn r1_a_poison_job_is_buried(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let poison = bench.put(job("poison").max_attempts(1)).await;
    let heir = bench.put(job("heir").after(poison)).await;
    for crash in 1..=3 {
        let victim = bench.backend.register(&worker("victim")).await.unwrap();
        assert_eq!(bench.claim_as(victim, 1).await.jobs[0].id, poison);
        let pulse = pulse(&bench.backend, victim).await;
        let rescued = bench.backend.rescue(&pulse, 9).await.unwrap();
        assert_eq!(rescued.buried, u32::from(crash == 3));
        assert_eq!(bench.view(poison).await.crashes, crash);
    }
    bench.release().await;
    let view = bench.view(poison).await;
    assert_eq!((view.state, view.attempt), (JobState::Dead, 0));
    assert!(view.last_error.unwrap().contains("given up"));
    assert_eq!(
        bench.state(heir).await,
        JobState::Held,
        "its dependents hear of it"
    );
    assert!(bench.claim(1).await.is_empty());
}

/// Nobody has to listen for anything.
pub async fn r3_a_beat_tells_of_cancellations(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let ids = bench.put_all(&[job("a"), job("b")]).await;
    let held = bench.claim(2).await;
    assert_eq!(bench.backend.cancel(ids[1]).await.unwrap(), Some(true));
    assert!(bench.view(ids[1]).await.cancel_requested);
    let beat = bench.backend.beat(bench.worker).await.unwrap().unwrap();
    assert_eq!(beat.cancel, [(ids[1], held[1].epoch)]);
    assert_eq!(bench.end(&held[1], Outcome::Cancelled).await, Settled::Done);
    assert_eq!(
        bench.states(&ids).await,
        [JobState::Running, JobState::Cancelled]
    );
    let beat = bench.backend.beat(bench.worker).await.unwrap().unwrap();
    assert!(beat.cancel.is_empty() && !bench.view(ids[1]).await.cancel_requested);
}
