//! Every guard is needed: with it its scenario holds, and without it alone the scenario breaks.
//!
//! A guard is taken out of the function that the migration made, in a schema of the test's own.

use std::pin::Pin;

use monitor_jobs::{ClaimedJob, WorkerId};

use crate::call::new;
use crate::support::{Database, open, quiet};

mod claims;
mod ends;
mod graph;
mod rescues;

/// One guard: where it stands, what it is, what is put there instead.
struct Guard {
    function: &'static str,
    text: &'static str,
    instead: &'static str,
    scenario: fn(&Database) -> Pin<Box<dyn Future<Output = Promise> + '_>>,
}

/// What was promised, if it is broken.
type Promise = Result<(), String>;

macro_rules! guards {
    ($($function:literal: $text:literal => $instead:literal, $scenario:path;)*) => {
        [$(Guard {
            function: $function,
            text: $text,
            instead: $instead,
            scenario: |db| Box::pin($scenario(db)),
        }),*]
    };
}

const GUARDS: [Guard; 52] = guards![
    "jobs_claim": "AND w.retired_ms IS NULL" => "", claims::retired;
    "jobs_claim": "FOR KEY SHARE" => "", claims::claim_beside_retirement;
    "jobs_claim": "worker.draining OR" => "", claims::draining;
    "jobs_claim": "OR worker.health > 1" => "", claims::failing;
    "jobs_claim": "PERFORM pg_advisory_xact_lock(hashtextextended('monitor-jobs claim', p_worker));"
        => "", claims::capacity_at_once;
    "jobs_claim": "worker.capacity - held" => "worker.capacity", claims::capacity_in_turn;
    "jobs_claim": "AND NOT q.paused" => "", claims::paused_queue;
    "jobs_claim": "q.queue_id = ANY (worker.queues) AND" => "", claims::other_queue;
    "jobs_pick": "LIMIT p_limit FOR NO KEY UPDATE" => "FOR NO KEY UPDATE", claims::limit;
    "jobs_pick": "j.state = 3 AND" => "", claims::not_ready;
    "jobs_pick": "SKIP LOCKED" => "", claims::claim_beside_claim;
    "jobs_pick": "drained := drained" => "EXIT; drained := drained", claims::claim_beside_lock;
    "jobs_pick": "AND j.ctid <> ALL (picked) ORDER BY j.sort_key, j.job_id LIMIT s.n"
        => "ORDER BY j.sort_key, j.job_id LIMIT s.n", claims::claim_beside_lock;
    "jobs_ripen": "s.state = 2 AND" => "", claims::not_ready;
    "jobs_ripen": "AND s.run_at_ms <= p_now_ms" => "", claims::not_due;
    "jobs_settle": "AND l.epoch = p_epochs[width_bucket(l.job_id, p_jobs)]" => "", ends::stale_epoch;
    "jobs_settle": "AND l.worker_id = p_worker" => "", ends::other_worker;
    "jobs_settle": "FOR NO KEY UPDATE" => "", ends::settle_beside_rescue;
    "jobs_settle": "AND u.job_id = ids[width_bucket(u.job_id, ids)]" => "", ends::key_of_another;
    "jobs_bury": "AND u.job_id = p_ids[width_bucket(u.job_id, p_ids)]" => "", ends::key_of_another;
    "jobs_progress": "AND j.epoch = p_epoch" => "", ends::stale_progress;
    "jobs_progress": "AND j.state = 4" => "", ends::late_progress;
    "jobs_fence": "AND j.epoch = p_epoch" => "", ends::stale_fence;
    "jobs_fence": "FOR NO KEY UPDATE" => "", ends::fence_beside_rescue;
    "jobs_beat": "AND w.retired_ms IS NULL" => "", rescues::beat_of_retired;
    "jobs_rescue": "AND w.beats = p_beats FOR" => "FOR", rescues::late_beat;
    "jobs_rescue": "AND w.retired_ms IS NULL AND w.beats = p_beats" => "AND w.beats = p_beats",
        rescues::retired_twice;
    "jobs_rescue": "FOR UPDATE SKIP LOCKED" => "", rescues::rescue_beside_claim;
    "jobs_rescue": "IF NOT EXISTS (SELECT FROM job_claim c WHERE c.worker_id = p_worker) THEN"
        => "IF true THEN", rescues::rescue_in_parts;
    "jobs_take_back": "AND j.worker_id = p_worker AND j.epoch = ANY (claims)" => "AND j.state = 4",
        rescues::rescue_of_others;
    "jobs_take_back": "AND j.worker_id = p_worker" => "", rescues::rescue_of_released;
    "jobs_take_back": "AND j.epoch = ANY (claims)" => "", rescues::rescue_of_claimed_again;
    "jobs_take_back": "ORDER BY c.epoch FOR NO KEY UPDATE SKIP LOCKED"
        => "ORDER BY c.epoch FOR NO KEY UPDATE", rescues::rescue_beside_end;
    "jobs_take_back": "LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED"
        => "LIMIT p_limit FOR NO KEY UPDATE", rescues::rescue_beside_fence;
    "jobs_take_back": "LIMIT p_limit" => "", rescues::rescue_in_parts;
    "jobs_deregister": "AND w.retired_ms IS NULL FOR UPDATE" => "AND w.retired_ms IS NULL",
        rescues::leave_beside_claim;
    "jobs_lock_parents": "ORDER BY j.job_id FOR NO KEY UPDATE" => "", graph::late_edge;
    "jobs_carry": "AND e.state = 0 ORDER BY" => "ORDER BY", graph::met_edge;
    "jobs_carry": "FILTER (WHERE e.means <> 1)" => "", graph::held_edge;
    "jobs_carry": "WHERE j.job_id = ANY (lowers) ORDER BY j.job_id FOR NO KEY UPDATE"
        => "WHERE j.job_id = ANY (lowers)", graph::children_in_order;
    "jobs_carry": "OR lowest <= p_locked" => "", graph::lower_wave;
    "jobs_carry_inline": "AND lowest > p_locked" => "", graph::lower_child;
    "jobs_carry": "WHEN j.pending > alike.resolved THEN 0" => "", graph::pending_beside_end;
    "jobs_carry": "WHEN j.run_at_ms > p_now_ms THEN 2" => "", graph::not_due_child;
    "jobs_carry": "- alike.resolved, holds" => "- 1, holds", graph::pending_beside_end;
    "jobs_release": "AND NOT EXISTS ( SELECT FROM job_edge e WHERE e.parent_id = t.job_id AND e.state = 0)"
        => "", graph::slices;
    "jobs_release": "SKIP LOCKED" => "", graph::release_beside_release;
    "jobs_bury": "u.key = ANY (ARRAY( SELECT g.unique_key FROM gone g WHERE g.unique_key IS NOT NULL)) \
        AND u.job_id = p_ids[width_bucket(u.job_id, p_ids)]" => "true", graph::key_of_living;
    "jobs_tick": "WHERE job_tick.last_ms < excluded.last_ms" => "", graph::tick_again;
    "jobs_prune": "AND NOT EXISTS ( SELECT FROM job_edge e WHERE e.parent_id = p.id AND e.state = 0)"
        => "", graph::prune_needed;
    "jobs_prune": "AND NOT EXISTS ( SELECT FROM job_todo t WHERE t.job_id = p.id)"
        => "", graph::prune_before_todo;
    "jobs_prune": "p.id IS DISTINCT FROM needed[width_bucket(p.id, needed)] AND"
        => "", graph::prune_parent_of_living;
];

/// JOB-33, JOB-34, JOB-39, S6, S7: each scenario holds with all guards, and breaks without its own.
#[tokio::test]
async fn each_guard_is_needed() {
    let mut useless = Vec::new();
    for guard in GUARDS {
        let (whole, broken) = (open(quiet()).await, open(quiet()).await);
        let named = (guard.function, guard.text);
        let held = (guard.scenario)(&whole).await;
        assert_eq!(held, Ok(()), "with {named:?}");
        broken
            .mutate(guard.function, guard.text, guard.instead)
            .await;
        match (guard.scenario)(&broken).await {
            Ok(()) => useless.push(named),
            Err(what) => println!("without {named:?}: {what}"),
        }
    }
    assert!(useless.is_empty(), "nothing breaks without {useless:#?}");
}

fn holds(promise: bool, what: impl Into<String>) -> Promise {
    if promise { Ok(()) } else { Err(what.into()) }
}

/// A failure of the database is a broken promise too.
fn fine<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// The one job that the worker claims now.
async fn claimed(db: &Database, worker: WorkerId) -> Result<ClaimedJob, String> {
    let claimed = fine(db.claim_as(worker, 1).await)?.jobs;
    claimed.into_iter().next().ok_or("nothing to claim".into())
}

/// A worker, and the new job that it has claimed.
async fn held(db: &Database) -> Result<(WorkerId, ClaimedJob), String> {
    let worker = db.worker(5).await;
    db.put(new()).await;
    Ok((worker, claimed(db, worker).await?))
}
