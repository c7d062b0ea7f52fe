-- Jobs, version 1: what can be seen.

-- Every job, as a JobView shows it. Parents that were pruned are left out.
CREATE VIEW job_seen AS
    SELECT j.*, q.name AS queue, s.shown, known.parents AS known_parents, known.rules AS known_rules
        FROM (
            SELECT job_id, sort_key, run_at_ms, enqueued_ms, epoch,
                CASE WHEN state = 4 THEN worker_id END AS worker_id, queue_id, pending, state,
                priority, effective, attempt, max_attempts, crashes, progress,
                state = 4 AND cancel_requested AS cancel_requested, kind, payload, tenant, parents,
                rules, progress_text, last_error, result, NULL::bigint AS ended_ms
                FROM job
            UNION ALL
            SELECT job_id, sort_key, run_at_ms, enqueued_ms, epoch,
                NULL, queue_id, pending, state,
                priority, effective, attempt, max_attempts, crashes, progress,
                false, kind, payload, tenant, parents,
                rules, progress_text, last_error, result, ended_ms
                FROM job_ended
        ) j
        JOIN job_queue q USING (queue_id)
        CROSS JOIN LATERAL (
            -- A scheduled job whose time has come is ready, whoever looks.
            SELECT CASE
                WHEN j.state = 2 AND j.run_at_ms <= jobs_now_ms() THEN 3::smallint ELSE j.state
            END AS shown
        ) s
        LEFT JOIN LATERAL (
            SELECT array_agg(p.id ORDER BY p.id) AS parents, array_agg(p.rule ORDER BY p.id) AS rules
                FROM unnest(j.parents, j.rules) p(id, rule)
                WHERE EXISTS (SELECT FROM job x WHERE x.job_id = p.id)
                    OR EXISTS (SELECT FROM job_ended x WHERE x.job_id = p.id)
        ) known ON j.parents IS NOT NULL;

-- Every attempt that is kept, those under way included.
CREATE VIEW job_attempt AS
    SELECT job_id, epoch, attempt, worker_id, worker_name, started_ms, ended_ms, outcome, error
        FROM job_execution
    UNION ALL
    SELECT j.job_id, j.epoch, j.attempt, j.worker_id, w.name, j.started_ms, NULL, NULL, NULL
        FROM job j JOIN job_worker w USING (worker_id)
        WHERE j.state = 4 AND j.history;
