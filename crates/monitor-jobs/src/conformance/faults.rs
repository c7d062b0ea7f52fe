//! Each statement of each call fails once.

use std::pin::Pin;
use std::time::Duration;

use super::{Bench, Rig, START_MS, complete, fail, job, priority, settle, worker};
use crate::{
    Backend, ClaimRequest, ClaimedJob, Execution, JobFilter, JobId, JobView, NewJob, Ordering,
    Outcome, Parent, Priority, QueueView, Register, Settle, Settled, WorkerId, WorkerPulse,
    WorkerState, WorkerView,
};

const LATER: Duration = Duration::from_secs(2);

/// A call of a scene, for nothing but its failure.
type Call = for<'a> fn(&'a Scene<'_>) -> Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

/// All that can be seen.
type Everything = (
    Vec<(JobView, Vec<Execution>)>,
    Vec<WorkerView>,
    Vec<QueueView>,
    Option<i64>,
);

macro_rules! calls {
    ($($name:literal: |$scene:ident| $call:expr;)*) => {
        [$(($name, |$scene| {
            Box::pin(async move {
                let made = $call.await;
                made.map(drop).map_err(|error| error.to_string())
            })
        })),*]
    };
}

/// Whatever changes a row.
const CALLS: [(&str, Call); 21] = calls![
    "register": |it| it.backend().register(&worker("another"));
    "beat": |it| it.backend().beat(it.worker);
    "drain": |it| it.backend().drain(it.worker);
    "health": |it| it.backend().set_health(it.worker, WorkerState::Degraded);
    "enqueue": |it| it.backend().enqueue(&it.graph());
    "tick": |it| it.backend().tick("nightly", it.number, &it.new_job("tick"));
    "claim": |it| it.backend().claim(&it.request());
    "complete": |it| it.backend().settle(it.worker, &it.end(complete()));
    "bury": |it| it.backend().settle(it.worker, &it.end(fail(None)));
    "fail": |it| it.backend().settle(it.worker, &it.end(fail(Some(LATER))));
    "snooze": |it| it.backend().settle(it.worker, &it.end(Outcome::Snooze(LATER)));
    "hand back": |it| it.backend().settle(it.worker, &it.end(Outcome::Release));
    "progress": |it| it.backend().progress(it.held.id, it.held.epoch, 50, "half");
    "cancel what waits": |it| it.backend().cancel(it.waiting);
    "cancel what runs": |it| it.backend().cancel(it.held.id);
    "retry": |it| it.backend().retry(it.dead);
    "reprioritise": |it| it.backend().reprioritise(it.waiting, Priority::MAX);
    "rescue": |it| it.backend().rescue(&it.pulse, 9);
    "deregister": |it| it.backend().deregister(it.worker);
    "pause": |it| it.backend().set_paused(&it.queue, true);
    "prune": |it| it.backend().prune(Duration::ZERO, 1_000);
];

/// Whichever row a call changes: if that fails the call fails, nothing of it is there, and it works
/// when the failure has gone. No job is lost or doubled, and none runs before its parents.
pub async fn job_3_a_failure_in_any_statement_leaves_nothing(rig: &dyn Rig) {
    let bench = Bench::new(rig).await;
    let mut number = 0;
    for (name, call) in CALLS {
        number += 1;
        let whole = Scene::new(&bench, number).await;
        bench.base.trace().await;
        call(&whole).await.unwrap();
        bench.release().await;
        let faults = bench.base.traced().await;
        let expected = whole.told().await;
        if faults.is_empty() {
            return assert!(!bench.base.is_durable(), "{name} changes no row");
        }
        let (mut refused, mut late) = (0, true);
        let mut scene = whole;
        for fault in &faults {
            if late {
                number += 1;
                scene = Scene::new(&bench, number).await;
            }
            let before = scene.everything().await;
            bench.base.fail(Some(fault)).await;
            let made = call(&scene).await;
            bench.base.fail(None).await;
            late = made.is_ok();
            if let Err(error) = made {
                assert!(error.contains("broken"), "{name}, {fault}: {error}");
                assert_eq!(scene.everything().await, before, "{name}, {fault}");
                refused += 1;
            } else {
                // What failed was left to a later transaction, which is on record.
                bench.release().await;
                assert_eq!(scene.told().await, expected, "{name}, {fault}, late");
            }
        }
        assert!(refused > 0, "{name} fails with none of {faults:?}");
        if !late {
            call(&scene).await.unwrap();
            bench.release().await;
            assert_eq!(scene.told().await, expected, "{name}, again");
        }
    }
    bench.healthy().await;
}

/// A worker that holds a job which two others wait for; one that is ready, and one that is dead.
struct Scene<'a> {
    bench: &'a Bench,
    number: i64,
    queue: String,
    worker: WorkerId,
    pulse: WorkerPulse,
    held: ClaimedJob,
    waiting: JobId,
    dead: JobId,
}

impl<'a> Scene<'a> {
    async fn new(bench: &'a Bench, number: i64) -> Self {
        bench.base.set_clock(START_MS + number * 1_000_000).await;
        let queue = format!("q{number}");
        let register = Register {
            queues: vec![queue.clone()],
            ..worker("scene")
        };
        let worker = bench.backend.register(&register).await.unwrap();
        let new = |kind| job(kind).queue(&queue).priority(Priority::MIN);
        let jobs = [
            new("dead").unique_key(format!("dead {number}")),
            new("parent"),
            new("child").after(Parent::Earlier(1)),
            new("child").after(Parent::Earlier(1)).priority(priority(1)),
            new("ready"),
        ];
        // The second child makes its parent more urgent than the others.
        let ids = bench.put_all(&jobs).await;
        let held = bench.claim_as(worker, 1).await.jobs.remove(0);
        assert_eq!(held.id, ids[1]);
        let dead = bench.claim_as(worker, 1).await.jobs.remove(0);
        let end = [settle(&dead, fail(None))];
        let ended = bench.backend.settle(worker, &end).await.unwrap();
        assert_eq!((dead.id, ended), (ids[0], vec![Settled::Done]));
        let pulses = bench.backend.pulses().await.unwrap();
        let pulse = pulses.into_iter().find(|pulse| pulse.worker == worker);
        Self {
            bench,
            number,
            queue,
            worker,
            pulse: pulse.unwrap(),
            held,
            waiting: ids[2],
            dead: ids[0],
        }
    }

    fn backend(&self) -> &dyn Backend {
        &*self.bench.backend
    }

    fn new_job(&self, kind: &str) -> NewJob {
        job(kind).queue(&self.queue).priority(Priority::MIN)
    }

    /// Of every kind of row that putting in writes.
    fn graph(&self) -> [NewJob; 3] {
        let fair = Ordering::Fair { weight: 2 };
        let shared = self.new_job("shared").tenant("tenant").ordering(fair);
        let keyed = self.new_job("keyed").unique_key(self.queue.clone());
        let last = self.new_job("last").after(Parent::Earlier(0));
        [shared, keyed, last.after(self.held.id)]
    }

    fn request(&self) -> ClaimRequest {
        ClaimRequest {
            worker: self.worker,
            limit: 1,
            history: true,
        }
    }

    fn end(&self, outcome: Outcome) -> [Settle; 1] {
        [settle(&self.held, outcome)]
    }

    async fn jobs(&self) -> Vec<(JobView, Vec<Execution>)> {
        let own = JobFilter {
            queue: Some(self.queue.clone()),
            ..JobFilter::default()
        };
        let mut jobs = Vec::new();
        for view in self.backend().list(&own).await.unwrap() {
            let attempts = self.backend().executions(view.id).await.unwrap();
            jobs.push((view, attempts));
        }
        jobs
    }

    async fn everything(&self) -> Everything {
        (
            self.jobs().await,
            self.backend().workers().await.unwrap(),
            self.backend().queues().await.unwrap(),
            self.backend().last_tick("nightly").await.unwrap(),
        )
    }

    /// What became of it, in words that are the same for every scene.
    async fn told(&self) -> Vec<String> {
        let now = START_MS + self.number * 1_000_000;
        let mut told = Vec::new();
        for (job, attempts) in self.jobs().await {
            let numbers = (job.attempt, job.crashes, job.pending, job.parents.len());
            let urgent = (job.priority.get(), job.effective_priority.get());
            let due = job.run_at_unix_ms - now;
            let said = (job.cancel_requested, job.progress, job.last_error);
            let ends: Vec<_> = attempts.iter().map(|it| it.outcome).collect();
            let (kind, state) = (job.kind, job.state);
            told.push(format!(
                "{kind} {state:?} {numbers:?} {urgent:?} {due} {said:?} {ends:?}"
            ));
        }
        let workers = self.backend().workers().await.unwrap();
        let own = workers.iter().filter(|view| view.id == self.worker);
        told.extend(own.map(|view| format!("{:?} {} {}", view.state, view.held, view.beats)));
        let queues = self.backend().queues().await.unwrap();
        let paused = queues.iter().any(|it| it.name == self.queue && it.paused);
        let ticked = self.backend().last_tick("nightly").await.unwrap() == Some(self.number);
        told.push(format!("paused {paused}, ticked {ticked}"));
        told
    }
}
