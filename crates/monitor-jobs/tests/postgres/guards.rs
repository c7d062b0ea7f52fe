//! Every guard is needed: with it its scenario holds, and without it alone the scenario breaks.
//!
//! A guard is taken out of the function that the migration made, in a schema of the test's own.

use std::time::Duration;

use monitor_jobs::{Backend, ClaimError, Edge, JobId, On, Outcome, Settled, Unmet, WorkerPulse};

use crate::support::{Database, call, new, open, quiet};

/// One guard: where it stands, what it is, what is put there instead.
struct Guard {
    function: &'static str,
    text: &'static str,
    instead: &'static str,
    scenario: Scenario,
}

#[derive(Debug, Clone, Copy)]
enum Scenario {
    RetiredClaims,
    ClaimBesideRetirement,
    DrainingClaims,
    FailingClaims,
    CapacityAtOnce,
    CapacityInTurn,
    Limit,
    ClaimBesideClaim,
    PausedQueue,
    NotDue,
    OtherQueue,
    StaleEpoch,
    OtherWorker,
    SettleBesideRescue,
    StaleFence,
    FenceBesideRescue,
    BeatOfRetired,
    LateBeat,
    RetiredTwice,
    RescueBesideClaim,
    RescueOfOthers,
    RescueBesideFence,
    RescueInParts,
    LateEdge,
    MetEdge,
    HeldEdge,
    Slices,
    PendingBesideEnd,
    NotDueChild,
    KeyOfLiving,
    TickAgain,
    PruneNeeded,
}

macro_rules! guards {
    ($($function:literal: $text:literal => $instead:literal, $scenario:ident;)*) => {
        [$(Guard {
            function: $function,
            text: $text,
            instead: $instead,
            scenario: Scenario::$scenario,
        }),*]
    };
}

const GUARDS: [Guard; 34] = guards![
    "jobs_claim": "AND w.retired_ms IS NULL" => "", RetiredClaims;
    "jobs_claim": "FOR KEY SHARE" => "", ClaimBesideRetirement;
    "jobs_claim": "worker.draining OR" => "", DrainingClaims;
    "jobs_claim": "OR worker.health > 1" => "", FailingClaims;
    "jobs_claim": "PERFORM pg_advisory_xact_lock(hashtextextended('monitor-jobs claim', p_worker));"
        => "", CapacityAtOnce;
    "jobs_claim": "worker.capacity - held" => "worker.capacity", CapacityInTurn;
    "jobs_claim": "AND NOT q.paused" => "", PausedQueue;
    "jobs_claim": "q.queue_id = ANY (worker.queues) AND" => "", OtherQueue;
    "jobs_pick": "LIMIT p_limit FOR NO KEY UPDATE" => "FOR NO KEY UPDATE", Limit;
    "jobs_pick": "SKIP LOCKED" => "", ClaimBesideClaim;
    "jobs_ripen": "AND s.run_at_ms <= p_now_ms" => "", NotDue;
    "jobs_settle": "AND l.epoch = p_epochs[width_bucket(l.job_id, p_jobs)]" => "", StaleEpoch;
    "jobs_settle": "AND l.worker_id = p_worker" => "", OtherWorker;
    "jobs_settle": "FOR NO KEY UPDATE" => "", SettleBesideRescue;
    "jobs_fence": "AND j.epoch = p_epoch" => "", StaleFence;
    "jobs_fence": "FOR NO KEY UPDATE" => "", FenceBesideRescue;
    "jobs_beat": "AND w.retired_ms IS NULL" => "", BeatOfRetired;
    "jobs_rescue": "AND w.beats = p_beats FOR" => "FOR", LateBeat;
    "jobs_rescue": "AND w.retired_ms IS NULL AND w.beats = p_beats" => "AND w.beats = p_beats",
        RetiredTwice;
    "jobs_rescue": "FOR UPDATE SKIP LOCKED" => "", RescueBesideClaim;
    "jobs_rescue": "IF NOT EXISTS (SELECT FROM job_claim c WHERE c.worker_id = p_worker) THEN"
        => "IF true THEN", RescueInParts;
    "jobs_take_back": "AND j.worker_id = p_worker" => "AND j.state = 4", RescueOfOthers;
    "jobs_take_back": "SKIP LOCKED" => "", RescueBesideFence;
    "jobs_take_back": "LIMIT p_limit" => "", RescueInParts;
    "jobs_lock_parents": "ORDER BY j.job_id FOR NO KEY UPDATE" => "", LateEdge;
    "jobs_carry": "AND e.state = 0 ORDER BY" => "ORDER BY", MetEdge;
    "jobs_carry": "FILTER (WHERE e.means <> 1)" => "", HeldEdge;
    "jobs_carry": "WHEN j.pending > alike.resolved THEN 0" => "", PendingBesideEnd;
    "jobs_carry": "WHEN j.run_at_ms > p_now_ms THEN 2" => "", NotDueChild;
    "jobs_carry": "- alike.resolved, holds" => "- 1, holds", PendingBesideEnd;
    "jobs_release": "AND NOT EXISTS ( SELECT FROM job_edge e WHERE e.parent_id = t.job_id AND e.state = 0)"
        => "", Slices;
    "jobs_bury": "u.key = ANY (ARRAY( SELECT g.unique_key FROM gone g WHERE g.unique_key IS NOT NULL))"
        => "true", KeyOfLiving;
    "jobs_tick": "WHERE job_tick.last_ms < excluded.last_ms" => "", TickAgain;
    "jobs_prune": "AND NOT EXISTS ( SELECT FROM job_edge e WHERE e.parent_id = d.job_id AND e.state = 0)"
        => "", PruneNeeded;
];

/// JOB-33, JOB-34, JOB-39, S6, S7: each scenario holds with all guards, and breaks without its own.
#[tokio::test]
async fn each_guard_is_needed() {
    let mut useless = Vec::new();
    for guard in GUARDS {
        let (whole, broken) = (open(quiet()).await, open(quiet()).await);
        let held = guard.scenario.run(&whole).await;
        assert_eq!(held, Ok(()), "{:?} with {:?}", guard.scenario, guard.text);
        broken
            .mutate(guard.function, guard.text, guard.instead)
            .await;
        match guard.scenario.run(&broken).await {
            Ok(()) => useless.push((guard.function, guard.text)),
            Err(what) => println!("{}: {:?}: {what}", guard.function, guard.text),
        }
    }
    assert!(useless.is_empty(), "nothing breaks without {useless:#?}");
}

/// What was promised, if it is broken.
type Promise = Result<(), String>;

fn holds(promise: bool, what: impl Into<String>) -> Promise {
    if promise { Ok(()) } else { Err(what.into()) }
}

/// A failure of the database is a broken promise too.
fn fine<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

impl Scenario {
    async fn run(self, db: &Database) -> Promise {
        match self {
            Self::RetiredClaims | Self::DrainingClaims | Self::FailingClaims => {
                self.who_may_not_claim(db).await
            }
            Self::ClaimBesideRetirement => claim_beside_retirement(db).await,
            Self::CapacityAtOnce => capacity_at_once(db).await,
            Self::CapacityInTurn => capacity_in_turn(db).await,
            Self::Limit => limit(db).await,
            Self::ClaimBesideClaim => claim_beside_claim(db).await,
            Self::PausedQueue | Self::NotDue | Self::OtherQueue => self.nothing_to_claim(db).await,
            Self::StaleEpoch => stale_epoch(db).await,
            Self::OtherWorker => other_worker(db).await,
            Self::SettleBesideRescue => settle_beside_rescue(db).await,
            Self::StaleFence => stale_fence(db).await,
            Self::FenceBesideRescue => fence_beside_rescue(db).await,
            Self::BeatOfRetired => beat_of_retired(db).await,
            Self::LateBeat => late_beat(db).await,
            Self::RetiredTwice => retired_twice(db).await,
            Self::RescueBesideClaim => rescue_beside_claim(db).await,
            Self::RescueOfOthers => rescue_of_others(db).await,
            Self::RescueBesideFence => rescue_beside_fence(db).await,
            Self::RescueInParts => rescue_in_parts(db).await,
            Self::LateEdge => late_edge(db).await,
            Self::MetEdge => met_edge(db).await,
            Self::HeldEdge => held_edge(db).await,
            Self::Slices => slices(db).await,
            Self::PendingBesideEnd => pending_beside_end(db).await,
            Self::NotDueChild => not_due_child(db).await,
            Self::KeyOfLiving => key_of_living(db).await,
            Self::TickAgain => tick_again(db).await,
            Self::PruneNeeded => prune_needed(db).await,
        }
    }

    async fn who_may_not_claim(self, db: &Database) -> Promise {
        let worker = db.worker(5).await;
        let pulse = db.pulse(worker).await;
        match self {
            Self::RetiredClaims => drop(db.jobs.rescue(&pulse, 5).await),
            Self::DrainingClaims => drop(db.jobs.drain(worker).await),
            _ => drop(
                db.jobs
                    .set_health(worker, monitor_jobs::WorkerState::Failing)
                    .await,
            ),
        }
        db.put(new()).await;
        holds(db.claim_as(worker, 1).await.is_err(), "it claimed")
    }

    async fn nothing_to_claim(self, db: &Database) -> Promise {
        let worker = db.worker(5).await;
        match self {
            Self::PausedQueue => {
                db.put(new()).await;
                fine(db.jobs.set_paused("default", true).await)?;
            }
            Self::OtherQueue => drop(db.put(new().queue("other")).await),
            _ => {
                let later = monitor_jobs::When::In(Duration::from_secs(3600));
                db.put(new().when(later)).await;
            }
        }
        let claim = fine(db.claim_as(worker, 1).await)?;
        holds(claim.jobs.is_empty(), "it claimed")
    }
}

async fn claim_beside_retirement(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    let retire = format!("BEGIN; SELECT jobs_deregister({worker})");
    fine(db.sql.batch_execute(&retire).await)?;
    let claim = db.spawn(move |db| async move { db.claim_as(worker, 1).await });
    db.until_blocked(1).await;
    fine(db.sql.batch_execute("COMMIT").await)?;
    match fine(claim.await)? {
        Err(ClaimError::UnknownWorker(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

async fn capacity_at_once(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put_all(20).await;
    let first = format!("BEGIN; SELECT jobs_claim({worker}, 4, true)");
    fine(db.sql.batch_execute(&first).await)?;
    let second = db.spawn(move |db| async move { db.claim_as(worker, 4).await });
    // Either it waits, or it has gone wrong already.
    while !second.is_finished() && db.blocked().await == 0 {
        tokio::task::yield_now().await;
    }
    fine(db.sql.batch_execute("COMMIT").await)?;
    let held = fine(fine(second.await)?)?.jobs.len() + 4;
    holds(held == 5, format!("it holds {held} of 5"))
}

async fn capacity_in_turn(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put_all(20).await;
    fine(db.claim_as(worker, 4).await)?;
    let more = fine(db.claim_as(worker, 4).await)?.jobs.len();
    holds(more == 1, format!("it holds {} of 5", 4 + more))
}

async fn limit(db: &Database) -> Promise {
    let worker = db.worker(50).await;
    db.put_all(20).await;
    let claimed = fine(db.claim_as(worker, 3).await)?.jobs.len();
    holds(claimed == 3, format!("{claimed} of 3"))
}

async fn claim_beside_claim(db: &Database) -> Promise {
    let (one, two) = (db.worker(5).await, db.worker(5).await);
    db.put_all(4).await;
    let first = format!("BEGIN; SELECT jobs_claim({one}, 2, true)");
    fine(db.sql.batch_execute(&first).await)?;
    let other = db.session().await;
    let second = format!("SET lock_timeout = '1ms'; SELECT jobs_claim({two}, 2, true)");
    let claimed = fine(other.batch_execute(&second).await);
    fine(db.sql.batch_execute("COMMIT").await)?;
    claimed
}

/// Handed back and taken again by the same worker: the first claim ends nothing any more.
async fn stale_epoch(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    let first = fine(db.claim_as(worker, 1).await)?.jobs;
    fine(
        db.jobs
            .settle(worker, &[call::end(&first[0], Outcome::Release)])
            .await,
    )?;
    fine(db.claim_as(worker, 1).await)?;
    let settled = db.complete(worker, &first[0]).await;
    holds(settled == Settled::Stale, format!("{settled:?}"))
}

async fn other_worker(db: &Database) -> Promise {
    let (one, two) = (db.worker(5).await, db.worker(5).await);
    db.put(new()).await;
    let held = fine(db.claim_as(one, 1).await)?.jobs;
    let settled = db.complete(two, &held[0]).await;
    holds(settled == Settled::Stale, format!("{settled:?}"))
}

/// The job is taken from its worker while the worker ends it.
async fn settle_beside_rescue(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let job = db.put(new()).await;
    let held = fine(db.claim_as(worker, 1).await)?.jobs;
    let rescue = format!("BEGIN; SELECT jobs_rescue({worker}, 0, 5, 'lost')");
    fine(db.sql.batch_execute(&rescue).await)?;
    let end = [call::end(&held[0], call::done())];
    let settling = db.spawn(move |db| async move { db.jobs.settle(worker, &end).await });
    db.until_blocked(1).await;
    fine(db.sql.batch_execute("COMMIT").await)?;
    let settled = fine(fine(settling.await)?)?;
    let state = db.state(job).await;
    holds(
        settled == [Settled::Stale] && state == monitor_jobs::JobState::Ready,
        format!("{settled:?}, and the job is {state:?}"),
    )
}

async fn stale_fence(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    let first = fine(db.claim_as(worker, 1).await)?.jobs;
    fine(
        db.jobs
            .settle(worker, &[call::end(&first[0], Outcome::Release)])
            .await,
    )?;
    fine(db.claim_as(worker, 1).await)?;
    let fenced = fence(first[0].id, first[0].epoch.0);
    let holder = fine(db.sql.query_one(&fenced, &[]).await)?.get::<_, Option<i64>>(0);
    holds(holder.is_none(), "it was fenced")
}

fn fence(job: JobId, epoch: i64) -> String {
    format!("SELECT jobs_fence({job}, {epoch})")
}

async fn fence_beside_rescue(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    let held = fine(db.claim_as(worker, 1).await)?.jobs;
    let pulse = db.pulse(worker).await;
    let fenced = format!("BEGIN; {}", fence(held[0].id, held[0].epoch.0));
    fine(db.sql.batch_execute(&fenced).await)?;
    let rescued = fine(db.jobs.rescue(&pulse, 5).await)?;
    fine(db.sql.batch_execute("COMMIT").await)?;
    holds(
        rescued.requeued == 0,
        "it was taken from a fenced transaction",
    )
}

async fn beat_of_retired(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let pulse = db.pulse(worker).await;
    fine(db.jobs.rescue(&pulse, 5).await)?;
    holds(fine(db.jobs.beat(worker).await)?.is_none(), "it beats")
}

async fn late_beat(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    fine(db.claim_as(worker, 1).await)?;
    let pulse = db.pulse(worker).await;
    fine(db.jobs.beat(worker).await)?;
    let rescued = fine(db.jobs.rescue(&pulse, 5).await)?;
    holds(
        rescued.alive && rescued.requeued == 0,
        format!("{rescued:?}"),
    )
}

/// When it was given up is not moved by who asks again, or it would never be pruned.
async fn retired_twice(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let pulse = db.pulse(worker).await;
    db.stop_clock(1000).await;
    fine(db.jobs.rescue(&pulse, 5).await)?;
    fine(
        db.sql
            .batch_execute("UPDATE test_clock SET ms = 2000")
            .await,
    )?;
    fine(db.jobs.rescue(&pulse, 5).await)?;
    let at = db.number("SELECT retired_ms FROM job_worker").await;
    holds(at == 1000, format!("given up at {at}"))
}

async fn rescue_beside_claim(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    let pulse = db.pulse(worker).await;
    let claim = format!("BEGIN; SELECT jobs_claim({worker}, 1, true)");
    fine(db.sql.batch_execute(&claim).await)?;
    let rescuing = db.spawn(move |db| async move { db.jobs.rescue(&pulse, 5).await });
    while !rescuing.is_finished() && db.blocked().await == 0 {
        tokio::task::yield_now().await;
    }
    fine(db.sql.batch_execute("COMMIT").await)?;
    let rescued = fine(fine(rescuing.await)?)?;
    let lost = fine(db.jobs.doctor().await)?;
    holds(
        !rescued.retired && lost.iter().all(|finding| !finding.broken),
        format!("{rescued:?} {lost:?}"),
    )
}

/// A job that left its claim, and is another's now, stays there.
async fn rescue_of_others(db: &Database) -> Promise {
    let (one, two) = (db.worker(5).await, db.worker(5).await);
    db.put_all(2).await;
    let held = fine(db.claim_as(one, 2).await)?.jobs;
    fine(
        db.jobs
            .settle(one, &[call::end(&held[0], Outcome::Release)])
            .await,
    )?;
    let theirs = fine(db.claim_as(two, 2).await)?.jobs;
    let pulse = db.pulse(one).await;
    fine(db.jobs.rescue(&pulse, 5).await)?;
    let settled = db.complete(two, &theirs[0]).await;
    holds(settled == Settled::Done, format!("{settled:?}"))
}

async fn rescue_beside_fence(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    let held = fine(db.claim_as(worker, 1).await)?.jobs;
    let fenced = format!("BEGIN; {}", fence(held[0].id, held[0].epoch.0));
    fine(db.sql.batch_execute(&fenced).await)?;
    let other = db.session().await;
    let rescue = format!("SET lock_timeout = '1ms'; SELECT jobs_rescue({worker}, 0, 5, 'lost')");
    let rescued = fine(other.batch_execute(&rescue).await);
    fine(db.sql.batch_execute("COMMIT").await)?;
    rescued
}

async fn rescue_in_parts(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put_all(5).await;
    fine(db.claim_as(worker, 5).await)?;
    let pulse = db.pulse(worker).await;
    let rescued = fine(db.jobs.rescue(&pulse, 3).await)?;
    holds(
        rescued.requeued == 3 && !rescued.retired,
        format!("{rescued:?}"),
    )
}

async fn late_edge(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let held = fine(db.claim_as(worker, 1).await)?.jobs;
    // The parents are looked at, and the child is not written yet.
    let look = format!("BEGIN; SELECT jobs_prepare('{{default}}', NULL, '{{{parent}}}', 1)");
    fine(db.sql.batch_execute(&look).await)?;
    let end = [call::end(&held[0], call::done())];
    let ending = db.spawn(move |db| async move { db.jobs.settle(worker, &end).await });
    while !ending.is_finished() && db.blocked().await == 0 {
        tokio::task::yield_now().await;
    }
    let early = ending.is_finished();
    fine(db.sql.batch_execute("COMMIT").await)?;
    fine(fine(ending.await)?)?;
    holds(
        !early,
        "the parent ended between the look at it and its child",
    )
}

/// A parent that is retried ends again: the edge that was met by its first end stays met.
async fn met_edge(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let (parent, other) = (db.put(new()).await, db.put(new()).await);
    let edge = Edge {
        parent,
        on: On::Success,
        unmet: Unmet::Run,
    };
    let child = db.put(new().edge(edge).after(other)).await;
    for _ in 0..2 {
        let held = fine(db.claim_as(worker, 2).await)?.jobs;
        let Some(job) = held.iter().find(|job| job.id == parent) else {
            return Err("the parent was not claimed".to_owned());
        };
        let error = "no".to_owned();
        let failed = Outcome::Fail {
            error,
            retry_in: None,
        };
        fine(db.jobs.settle(worker, &[call::end(job, failed)]).await)?;
        fine(db.jobs.retry(parent).await)?;
    }
    let view = fine(db.jobs.job(child).await)?;
    let pending = view.map_or(0, |view| view.pending);
    holds(pending == 1, format!("it waits for {pending} of 1"))
}

async fn held_edge(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let child = db.put(new().after(parent)).await;
    let held = fine(db.claim_as(worker, 1).await)?.jobs;
    let end = [call::end(&held[0], Outcome::Cancelled)];
    fine(db.jobs.settle(worker, &end).await)?;
    fine(db.jobs.retry(parent).await)?;
    let state = db.state(child).await;
    holds(
        state == monitor_jobs::JobState::Blocked,
        format!("{state:?}"),
    )
}

async fn slices(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let children = vec![new().after(parent); 1500];
    fine(db.jobs.enqueue(&children).await)?;
    let held = fine(db.claim_as(worker, 1).await)?.jobs;
    // In the session beside the pool: nobody goes on with it there.
    fine(
        db.sql
            .batch_execute(&call::complete(worker, &held[0]))
            .await,
    )?;
    while fine(db.jobs.release(100).await)? > 0 {}
    let blocked = db.number("SELECT count(*) FROM job WHERE state = 0").await;
    holds(blocked == 0, format!("{blocked} wait for ever"))
}

/// Two of three parents end together.
async fn pending_beside_end(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parents = db.put_all(3).await;
    let child = parents
        .iter()
        .fold(new(), |child, parent| child.after(*parent));
    let child = db.put(child).await;
    let held = fine(db.claim_as(worker, 2).await)?.jobs;
    let ends: Vec<_> = held
        .iter()
        .map(|job| call::end(job, call::done()))
        .collect();
    fine(db.jobs.settle(worker, &ends).await)?;
    let view = fine(db.jobs.job(child).await)?;
    let stands = view.map(|view| (view.state, view.pending));
    let right = Some((monitor_jobs::JobState::Blocked, 1));
    holds(stands == right, format!("{stands:?}"))
}

async fn not_due_child(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let later = monitor_jobs::When::In(Duration::from_secs(3600));
    let child = db.put(new().after(parent).when(later)).await;
    let held = fine(db.claim_as(worker, 1).await)?.jobs;
    db.complete(worker, &held[0]).await;
    let state = db.state(child).await;
    holds(
        state == monitor_jobs::JobState::Scheduled,
        format!("{state:?}"),
    )
}

async fn key_of_living(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    db.put(new()).await;
    let keyed = db.put(new().unique_key("k")).await;
    let held = fine(db.claim_as(worker, 1).await)?.jobs;
    db.complete(worker, &held[0]).await;
    let again = fine(db.jobs.enqueue(&[new().unique_key("k")]).await)?;
    holds(
        again == [monitor_jobs::Enqueued::Existing(keyed)],
        format!("{again:?}"),
    )
}

async fn tick_again(db: &Database) -> Promise {
    fine(db.jobs.tick("s", 1000, &new()).await)?;
    let again = fine(db.jobs.tick("s", 1000, &new()).await)?;
    holds(again.is_none(), "it was put in twice")
}

/// The end of a parent has not been carried to all of its children, so it is still needed.
async fn prune_needed(db: &Database) -> Promise {
    let worker = db.worker(5).await;
    let parent = db.put(new()).await;
    let children = vec![new().after(parent); 1500];
    fine(db.jobs.enqueue(&children).await)?;
    for child in 0..1500 {
        fine(db.jobs.cancel(JobId(parent.0 + 1 + child)).await)?;
    }
    let held = fine(db.claim_as(worker, 1).await)?.jobs;
    fine(
        db.sql
            .batch_execute(&call::complete(worker, &held[0]))
            .await,
    )?;
    fine(db.sql.batch_execute("DELETE FROM job_todo").await)?;
    let _: WorkerPulse = db.pulse(worker).await;
    fine(db.jobs.prune(Duration::ZERO, 1).await)?;
    let kept = db
        .number("SELECT count(*) FROM job_ended WHERE job_id = 1")
        .await;
    holds(kept == 1, "it is gone")
}
