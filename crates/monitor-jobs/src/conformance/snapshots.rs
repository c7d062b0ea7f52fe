//! Everything at one instant.

use std::sync::Arc;

use super::{Bench, Rig, complete, invariants, job, settle};
use crate::{JobFilter, JobState, NewJob, Parent, Snapshot};

const LINKS: usize = 60;

/// While a chain runs there is exactly one link that is ready or running, at every instant; and an
/// export by itself is what the other views show.
pub async fn job_54_an_export_is_of_one_instant(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let chain: Vec<NewJob> = (0..LINKS)
        .map(|place| match place.checked_sub(1) {
            None => job("link"),
            Some(before) => job("link").after(Parent::Earlier(before)),
        })
        .collect();
    let ids = bench.put_all(&chain).await;
    let running = tokio::spawn({
        let (backend, worker) = (Arc::clone(&bench.backend), bench.worker);
        async move {
            for _ in 0..LINKS {
                let request = crate::ClaimRequest {
                    worker,
                    limit: 1,
                    history: true,
                };
                let held = backend.claim(&request).await.unwrap().jobs.remove(0);
                let end = [settle(&held, complete())];
                backend.settle(worker, &end).await.unwrap();
            }
        }
    });
    let mut completed = 0;
    while !running.is_finished() {
        let now = links_completed(&bench.backend.export().await.unwrap());
        assert!(now >= completed, "{now} after {completed}");
        completed = now;
        tokio::task::yield_now().await;
    }
    running.await.unwrap();

    bench.backend.set_paused("other", true).await.unwrap();
    let export = bench.backend.export().await.unwrap();
    assert_eq!(export.unix_ms, super::START_MS);
    let all = JobFilter {
        limit: 1_000,
        ..JobFilter::default()
    };
    assert_eq!(export.jobs, bench.backend.list(&all).await.unwrap());
    assert_eq!(export.workers, bench.backend.workers().await.unwrap());
    assert_eq!(export.queues, bench.backend.queues().await.unwrap());
    assert_eq!((export.queues.len(), export.executions.len()), (2, LINKS));
    let last = bench.backend.executions(ids[LINKS - 1]).await.unwrap();
    assert_eq!(export.executions[LINKS - 1..], last);
}

/// How many links have completed, if what is shown can have been all at once.
fn links_completed(export: &Snapshot) -> usize {
    invariants::hold(&export.jobs, &export.workers);
    let states: Vec<_> = export.jobs.iter().map(|job| job.state).collect();
    let ended = states.iter().take_while(|state| state.is_terminal());
    let completed = ended.count();
    assert_eq!(states.len(), LINKS);
    if let Some((first, rest)) = states[completed..].split_first() {
        assert!(matches!(first, JobState::Ready | JobState::Running));
        assert!(
            rest.iter().all(|state| *state == JobState::Blocked),
            "{states:?}"
        );
    }
    let shown = export.queues[0].counts[JobState::Completed as usize];
    assert_eq!(shown, completed as u64);
    let running = states.contains(&JobState::Running);
    assert_eq!(export.executions.len(), completed + usize::from(running));
    let open = export.executions.iter();
    let open = open.filter(|row| row.ended_unix_ms.is_none()).count();
    assert_eq!(open, usize::from(running));
    completed
}
