//! What handles promise, over this database.

use std::time::Duration;

use super::{Bench, Rig, job, worker};
use crate::{ClaimError, JobFilter, JobState, Registered, SettleError, Stop};

/// Long enough never to be waited for in full.
const LONG: Duration = Duration::from_secs(600);

async fn registered(bench: &Bench) -> Registered {
    bench.jobs().register(worker("shell")).await.unwrap()
}

/// Put in, released by a parent, handed back.
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
    assert_eq!(dead[1].state, JobState::Dead);
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
