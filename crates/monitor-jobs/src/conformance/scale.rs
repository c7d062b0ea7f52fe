//! As many as a queue has to stand: workers, jobs, children, links.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Bench, Rig, complete, fail, job, priority, settle, worker};
use crate::{
    Backend, ClaimRequest, ClaimedJob, Edge, JobFilter, JobId, JobState, NewJob, Parent, Priority,
    Settle, Settled, Unmet, WorkerId,
};

/// Jobs that are put in by one call.
const CALL: usize = 5_000;

/// How many times as much as usual: `JOBS_SCALE` in the environment.
fn scale() -> usize {
    let asked = std::env::var("JOBS_SCALE").ok();
    asked.and_then(|times| times.parse().ok()).unwrap_or(1)
}

async fn claim(backend: &dyn Backend, worker: WorkerId, limit: u32) -> Vec<ClaimedJob> {
    let request = ClaimRequest {
        worker,
        limit,
        history: false,
    };
    backend.claim(&request).await.unwrap().jobs
}

async fn complete_all(backend: &dyn Backend, worker: WorkerId, held: &[ClaimedJob]) {
    let ends: Vec<Settle> = held.iter().map(|job| settle(job, complete())).collect();
    let answers = backend.settle(worker, &ends).await.unwrap();
    assert!(answers.iter().all(|answer| *answer == Settled::Done));
}

/// Registers and completes what it can get, until there is nothing.
async fn drain(backend: Arc<dyn Backend>, limit: u32) -> Vec<JobId> {
    let me = backend.register(&worker("one of many")).await.unwrap();
    let mut mine = Vec::new();
    loop {
        let held = claim(&*backend, me, limit).await;
        assert!(held.len() <= limit as usize, "C1");
        if held.is_empty() {
            return mine;
        }
        complete_all(&*backend, me, &held).await;
        mine.extend(held.iter().map(|job| job.id));
    }
}

/// So many workers at once; each job is completed by one of them.
async fn drained_by(bench: &Bench, workers: usize, limit: u32, ids: Vec<JobId>) {
    let tasks: Vec<_> = (0..workers)
        .map(|_| tokio::spawn(drain(Arc::clone(&bench.backend), limit)))
        .collect();
    let mut done = Vec::new();
    for task in tasks {
        done.extend(task.await.unwrap());
    }
    assert_eq!(done.len(), ids.len(), "S6: one was claimed twice, or never");
    let done: BTreeSet<_> = done.into_iter().collect();
    assert_eq!(done, ids.into_iter().collect());
    let counts = bench.backend.queues().await.unwrap()[0].counts;
    assert_eq!(counts[JobState::Completed as usize], done.len() as u64);
    bench.healthy().await;
}

/// A thousand workers register, claim at once, and leave; each got what it could get.
pub async fn job_13_a_thousand_registrations(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    bench.put_all(&vec![job("work"); 1_000]).await;
    let at_once = 50;
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let backend = Arc::clone(&bench.backend);
            tokio::spawn(async move {
                let mut registered = BTreeSet::new();
                for _ in 0..20 * scale() {
                    let me = backend.register(&worker("same name")).await.unwrap();
                    registered.insert(me);
                    // Fewer are held at any time than there are.
                    assert_eq!(claim(&*backend, me, 1).await.len(), 1, "JOB-13");
                    assert!(backend.deregister(me).await.unwrap());
                }
                registered
            })
        })
        .collect();
    let mut registered = BTreeSet::new();
    for task in tasks {
        registered.extend(task.await.unwrap());
    }
    assert_eq!(
        registered.len(),
        at_once * 20 * scale(),
        "an id was used twice"
    );
    let left = claim(&*bench.backend, bench.worker, 9_000).await;
    assert_eq!(left.len(), 1_000);
    bench.healthy().await;
}

/// Ten thousand jobs in batches.
pub async fn job_15_every_job_is_claimed_once(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let mut ids = Vec::new();
    for _ in 0..2 * scale() {
        ids.extend(bench.put_all(&vec![job("work"); CALL]).await);
    }
    drained_by(&bench, 24, 97, ids).await;
}

/// Five hundred and twelve workers, a few jobs for each.
pub async fn job_30_many_workers(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let ids = bench.put_all(&vec![job("work"); 2_000 * scale()]).await;
    drained_by(&bench, 512, 4, ids).await;
}

async fn fan_out(bench: &Bench, children: usize) -> (ClaimedJob, Vec<JobId>) {
    let parent = bench.put(job("parent").priority(Priority::MAX)).await;
    let new = job("child").after(parent).inherit_priority(false);
    let mut ids = Vec::new();
    while ids.len() < children {
        let call = vec![new.clone(); CALL.min(children - ids.len())];
        ids.extend(bench.put_all(&call).await);
    }
    let held = bench.claim(1).await.remove(0);
    assert_eq!(held.id, parent);
    (held, ids)
}

/// A thousand, then ten: slices of any size come to the same, their number grows with the children,
/// and others go on between them.
pub async fn job_29_fan_out_of_thousands(rig: &dyn Rig) {
    const SLICE: u32 = 700;
    for children in [1_000, 10_000 * scale()] {
        let bench = Bench::new(rig).await;
        let (held, children) = fan_out(&bench, children).await;
        assert_eq!(bench.end(&held, complete()).await, Settled::Done);
        let mut claimed = Vec::new();
        let mut slices = 0;
        loop {
            let released = bench.backend.release(SLICE).await.unwrap();
            // An urgent job of somebody else, in the middle of it.
            let urgent = bench.put(job("urgent").priority(Priority::MAX)).await;
            let first = claim(&*bench.backend, bench.worker, 1).await;
            assert_eq!(first[0].id, urgent, "others are not held up");
            complete_all(&*bench.backend, bench.worker, &first).await;
            let ready = claim(&*bench.backend, bench.worker, 9_000).await;
            complete_all(&*bench.backend, bench.worker, &ready).await;
            claimed.extend(ready.iter().map(|job| job.id));
            if released == 0 && ready.is_empty() {
                break;
            }
            slices += 1;
        }
        assert_eq!(claimed, children, "D8: each once, in order");
        assert!(slices <= children.len() / SLICE as usize + 3, "{slices}");
        bench.healthy().await;
    }
}

/// A dead parent of thousands that is run again before its end has been carried to all of them: the
/// rest of that comes first, so each child is where its edge says, whenever it was reached.
pub async fn job_29_a_retry_finishes_the_release(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let parent = bench.put(job("parent").priority(Priority::MAX)).await;
    let kinds = [
        (
            Edge::success(parent).unmet(Unmet::Cancel),
            JobState::Cancelled,
        ),
        (Edge::finished(parent), JobState::Ready),
        (Edge::success(parent), JobState::Blocked),
    ];
    let edges = kinds.iter().cycle().take(2_700);
    let children: Vec<NewJob> = edges
        .clone()
        .map(|(edge, _)| job("child").edge(*edge))
        .collect();
    let expected: Vec<JobState> = edges.map(|(_, state)| *state).collect();
    let children = bench.put_all(&children).await;
    let held = bench.claim(1).await;
    assert_eq!(bench.end(&held[0], fail(None)).await, Settled::Done);
    assert_eq!(bench.backend.retry(parent).await.unwrap(), Some(true));
    let filter = JobFilter {
        kind: Some("child".to_owned()),
        ..JobFilter::all()
    };
    let listed = bench.backend.list(&filter).await.unwrap();
    let found = listed.iter().map(|job| (job.id, job.state));
    let wrong = found
        .zip(children.into_iter().zip(expected))
        .find(|(found, expected)| found != expected);
    assert_eq!((listed.len(), wrong), (2_700, None), "D8: found, expected");
    bench.run(parent, complete()).await;
    let listed = bench.backend.list(&filter).await.unwrap();
    let ready = listed.iter().filter(|job| job.state == JobState::Ready);
    assert_eq!(ready.count(), 1_800);
    bench.healthy().await;
}

/// Two thousand parents that end in batches.
pub async fn job_29_fan_in_of_thousands(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let mut call = vec![job("parent"); 2_000];
    let waits = (0..2_000).fold(job("child"), |new, place| new.after(Parent::Earlier(place)));
    call.push(waits);
    let ids = bench.put_all(&call).await;
    let child = ids[2_000];
    assert_eq!(bench.view(child).await.pending, 2_000);
    let held = bench.claim(10_000).await;
    assert_eq!(held.len(), 2_000);
    for batch in held.chunks(500) {
        assert_eq!(bench.state(child).await, JobState::Blocked);
        complete_all(&*bench.backend, bench.worker, batch).await;
        bench.release().await;
    }
    assert_eq!(bench.claim_ids(9).await, [child]);
    bench.healthy().await;
}

/// Puts in a chain, each link by the edge to the one before it.
async fn chain(bench: &Bench, links: usize, unmet: Unmet) -> Vec<JobId> {
    let mut ids: Vec<JobId> = Vec::new();
    while ids.len() < links {
        let link = |place: usize| {
            let before = match (place.checked_sub(1), ids.last()) {
                (Some(before), _) => Parent::Earlier(before),
                (None, Some(last)) => Parent::Job(*last),
                (None, None) => return job("link"),
            };
            job("link").edge(Edge::success(before).unmet(unmet))
        };
        let call: Vec<NewJob> = (0..CALL.min(links - ids.len())).map(link).collect();
        ids.extend(bench.put_all(&call).await);
    }
    ids
}

/// A thousand links run one after the other.
pub async fn job_31_a_long_chain_runs(rig: &dyn Rig) {
    for links in [10, 1_000 * scale()] {
        let bench = Bench::new(rig).await;
        let ids = chain(&bench, links, Unmet::Hold).await;
        for id in &ids {
            let held = claim(&*bench.backend, bench.worker, 9).await;
            assert_eq!(held.iter().map(|job| job.id).collect::<Vec<_>>(), [*id]);
            complete_all(&*bench.backend, bench.worker, &held).await;
        }
        assert!(claim(&*bench.backend, bench.worker, 9).await.is_empty());
        bench.healthy().await;
    }
}

/// Urgency runs up, and failure down, the whole of five thousand links: iteratively.
pub async fn job_31_a_chain_of_thousands(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let links = 5_000 * scale();
    let ids = chain(&bench, links, Unmet::Fail).await;
    let last = ids[links - 1];
    bench.backend.reprioritise(last, priority(4)).await.unwrap();
    bench.release().await;
    assert_eq!(bench.view(ids[0]).await.effective_priority, priority(4));
    bench.run(ids[0], fail(None)).await;
    let queues = bench.backend.queues().await.unwrap();
    assert_eq!(queues[0].counts[JobState::Dead as usize], links as u64);
    bench.healthy().await;
}
