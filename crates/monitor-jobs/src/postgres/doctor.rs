//! Looks for what should not be: promises that are broken, and what slows the database down.

use super::failure::Failure;
use super::rows::get;
use super::{PgJobs, PgManager};
use crate::Finding;

/// Each returns one row for each finding, its words in `what`. The first ten are shown.
const CHECKS: [(&str, bool, &str); 13] = [
    (
        "pending",
        true,
        "SELECT format('job %s counts %s open edges, %s are', j.job_id, j.pending, e.n) AS what
            FROM job j CROSS JOIN LATERAL (
                SELECT count(*) AS n FROM job_edge e
                    WHERE e.parent_id = ANY (j.parents) AND e.child_id = j.job_id AND e.state = 0
            ) e WHERE j.pending <> e.n LIMIT 10",
    ),
    (
        "holds",
        true,
        "SELECT format('job %s counts %s edges that hold it, %s do', j.job_id, j.holds, e.n) AS what
            FROM job j CROSS JOIN LATERAL (
                SELECT count(*) AS n FROM job_edge e
                    WHERE e.parent_id = ANY (j.parents) AND e.child_id = j.job_id AND e.state = 2
            ) e WHERE j.holds <> e.n LIMIT 10",
    ),
    (
        "blocked_on_nothing",
        true,
        "SELECT format('job %s waits for nothing', j.job_id) AS what FROM job j
            WHERE j.state IN (0, 1) AND j.pending = 0 AND j.holds = 0 LIMIT 10",
    ),
    (
        "blocked_on_ended",
        true,
        "SELECT format('job %s waits for job %s, which has ended and which nobody carries on: \
                release(), or retry it', e.child_id, e.parent_id) AS what
            FROM job_edge e JOIN job_ended p ON p.job_id = e.parent_id
            WHERE e.state = 0 AND NOT EXISTS (
                SELECT FROM job_todo t WHERE t.job_id = e.parent_id AND t.what = 0) LIMIT 10",
    ),
    (
        "edge_without_parent",
        true,
        "SELECT format('job %s waits for job %s, which is not there', e.child_id, e.parent_id)
                AS what
            FROM job_edge e WHERE e.state = 0
                AND NOT EXISTS (SELECT FROM job p WHERE p.job_id = e.parent_id)
                AND NOT EXISTS (SELECT FROM job_ended p WHERE p.job_id = e.parent_id) LIMIT 10",
    ),
    (
        "holder",
        true,
        "SELECT format('job %s runs under claim %s, which its worker %s does not hold',
                j.job_id, j.epoch, j.worker_id) AS what
            FROM job j WHERE j.state = 4 AND NOT EXISTS (
                SELECT FROM job_claim c WHERE c.epoch = j.epoch AND c.worker_id = j.worker_id
                    AND j.job_id = ANY (c.jobs)) LIMIT 10",
    ),
    (
        "lease_without_worker",
        true,
        "SELECT format('claim %s is of worker %s, which was given up', c.epoch, c.worker_id) AS what
            FROM job_claim c JOIN job_worker w USING (worker_id)
            WHERE w.retired_ms IS NOT NULL LIMIT 10",
    ),
    (
        "claim",
        true,
        "SELECT format('claim %s counts %s jobs, %s are held', c.epoch, c.remaining, h.n) AS what
            FROM job_claim c CROSS JOIN LATERAL (
                SELECT count(*) AS n FROM job j
                    WHERE j.job_id = ANY (c.jobs) AND j.epoch = c.epoch AND j.state = 4
            ) h WHERE h.n <> c.remaining LIMIT 10",
    ),
    (
        "unique_key",
        true,
        "SELECT format('key %L is of job %s, which has ended', u.key, u.job_id) AS what
            FROM job_unique u WHERE NOT EXISTS (SELECT FROM job j WHERE j.job_id = u.job_id)
            LIMIT 10",
    ),
    (
        "held",
        false,
        "SELECT format('%s jobs are held by parents that ended otherwise than they need, the first \
                is %s: retry the parents, or retry or cancel the jobs', count(*), min(job_id)) AS what
            FROM job WHERE state = 1 HAVING count(*) > 0",
    ),
    (
        "unfinished_release",
        false,
        "SELECT format('%s releases are not finished, the first of job %s', count(*), min(job_id))
                AS what
            FROM job_todo HAVING count(*) > 0",
    ),
    (
        "pinned_horizon",
        false,
        "SELECT format('%s holds back the removal of dead rows since %s transactions (%s): end it, \
                or claims get slower with every job', h.who, h.age, h.doing) AS what
            FROM (
                SELECT format('session %s of %s', a.pid, a.usename) AS who,
                    age(a.backend_xmin) AS age, a.state || ': ' || left(a.query, 80) AS doing
                    FROM pg_stat_activity a
                    WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()
                UNION ALL
                SELECT format('replication slot %s', s.slot_name), age(s.xmin), 'slot'
                    FROM pg_replication_slots s WHERE s.xmin IS NOT NULL
                UNION ALL
                SELECT format('prepared transaction %L', p.gid), age(p.transaction), 'prepared'
                    FROM pg_prepared_xacts p
            ) h WHERE h.age > 10000 ORDER BY h.age DESC LIMIT 3",
    ),
    (
        "dead_rows",
        false,
        "SELECT format('table %s has %s dead rows and %s live ones: is autovacuum running, is a \
                horizon pinned?', s.relname, s.n_dead_tup, s.n_live_tup) AS what
            FROM pg_stat_user_tables s
            WHERE s.relid IN ('job'::regclass, 'job_claim'::regclass, 'job_worker'::regclass,
                    'job_edge'::regclass, 'job_receipt'::regclass)
                AND s.n_dead_tup > 100000 AND s.n_dead_tup > s.n_live_tup",
    ),
];

/// Beats that are no HOT updates fill an index: something in it is written by a beat.
const COLD_BEATS: &str =
    "SELECT format('%s of %s updates of workers are not HOT: is there an index \
        on a column that beats write?', s.n_tup_upd - s.n_tup_hot_upd, s.n_tup_upd) AS what
    FROM pg_stat_user_tables s
    WHERE s.relid = 'job_worker'::regclass AND s.n_tup_upd > 1000
        AND s.n_tup_hot_upd < s.n_tup_upd / 2";

impl<M: PgManager> PgJobs<M> {
    pub(super) async fn examine(&self) -> Result<Vec<Finding>, Failure> {
        let mut findings = Vec::new();
        for (check, broken, sql) in CHECKS
            .into_iter()
            .chain([("cold_beats", false, COLD_BEATS)])
        {
            for row in &self.read(sql, &[]).await? {
                findings.push(Finding {
                    check,
                    broken,
                    what: get(row, "what")?,
                });
            }
        }
        Ok(findings)
    }
}
