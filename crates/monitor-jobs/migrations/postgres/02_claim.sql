-- Jobs, version 1: workers and what they take.
--
-- Settings at the end of a function keep plans that were made while a table was small from being
-- used when it is not.

-- Takes the most urgent ready jobs of a worker. `refusal`: 1 unknown, 2 not claiming, 3 at capacity.
--
-- As long as an old snapshot is held open, the entries of all jobs that have left the index of the
-- ready ones since stay in it, before those of jobs that are ready. `p_floors`: keys from which on to look
-- in the queues of that name; only if there is nothing, from the start. `walked`: entries that
-- were looked at, dead or alive; `from_start`: whether any floor was passed over.
CREATE FUNCTION jobs_claim(
    p_worker bigint, p_limit integer, p_history boolean, p_floor_queues text[] DEFAULT NULL,
    p_floors bigint[] DEFAULT NULL,
    OUT refusal smallint, OUT draining boolean, OUT health smallint, OUT held integer,
    OUT next_due_ms bigint, OUT epoch bigint, OUT ids bigint[], OUT kinds text[],
    OUT queues text[], OUT payloads text[], OUT attempts smallint[], OUT max_attempts smallint[],
    OUT timeouts bigint[], OUT enqueued bigint[], OUT sort_keys bigint[], OUT walked bigint,
    OUT from_start boolean
) LANGUAGE plpgsql AS $$
DECLARE
    worker job_worker;
    serving integer[];
    names text[];
    lowest bigint[];
    floors bigint[];
    free integer;
    now_ms bigint;
    picked tid[];
BEGIN
    -- Claims of one worker come one after the other, or two could take what is left for one. Not
    -- by its row: its beats shall not wait.
    PERFORM pg_advisory_xact_lock(hashtextextended('monitor-jobs claim', p_worker));
    -- W1: shared with other claims and with beats, exclusive against rescue and
    -- deregistration, which see this claim when they go on.
    SELECT * INTO worker FROM job_worker w
        WHERE w.worker_id = p_worker AND w.retired_ms IS NULL
        FOR KEY SHARE;
    IF NOT FOUND THEN
        refusal := 1;
        RETURN;
    END IF;
    draining := worker.draining;
    health := worker.health;
    IF worker.draining OR worker.health > 1 THEN
        refusal := 2;
        RETURN;
    END IF;
    SELECT coalesce(sum(c.remaining), 0) INTO held FROM job_claim c WHERE c.worker_id = p_worker;
    refusal := 0;
    IF p_limit <= 0 THEN
        RETURN;
    END IF;
    free := least(p_limit, worker.capacity - held);
    IF free <= 0 THEN
        refusal := 3;
        RETURN;
    END IF;

    now_ms := jobs_now_ms();
    SELECT coalesce(array_agg(q.queue_id), '{}'), array_agg(q.name),
        array_agg(-9223372036854775808),
        array_agg(coalesce(
            p_floors[array_position(p_floor_queues, q.name)], -9223372036854775808))
        INTO serving, names, lowest, floors FROM job_queue q
        WHERE q.queue_id = ANY (worker.queues) AND NOT q.paused;
    PERFORM jobs_ripen(serving, now_ms, greatest(free, 5000));
    from_start := floors = lowest;
    walked := pg_stat_get_xact_tuples_returned('job_ready'::regclass);
    picked := jobs_pick(serving, floors, free);
    IF picked IS NULL AND NOT from_start THEN
        from_start := true;
        picked := jobs_pick(serving, lowest, free);
    END IF;
    walked := pg_stat_get_xact_tuples_returned('job_ready'::regclass) - walked;
    IF picked IS NULL THEN
        SELECT min(due.run_at_ms) - now_ms INTO next_due_ms
            FROM unnest(serving) q(id)
            CROSS JOIN LATERAL (
                SELECT j.run_at_ms FROM job j WHERE j.state = 2 AND j.queue_id = q.id
                    ORDER BY j.run_at_ms LIMIT 1
            ) due;
        RETURN;
    END IF;

    -- Drawn when the rows are locked: so the epochs of a job rise.
    epoch := nextval('job_epoch_seq');
    WITH taken AS (
        UPDATE job j
            SET state = 4, epoch = jobs_claim.epoch, worker_id = p_worker, started_ms = now_ms,
                attempt = j.attempt + 1, last_end = NULL, history = p_history
            WHERE j.ctid = ANY (picked)
            RETURNING j.job_id, j.kind, j.queue_id, j.payload, j.attempt, j.max_attempts,
                j.timeout_ms, j.enqueued_ms, j.sort_key
    )
    SELECT array_agg(t.job_id), array_agg(t.kind),
        array_agg(names[array_position(serving, t.queue_id)]), array_agg(t.payload),
        array_agg(t.attempt), array_agg(t.max_attempts), array_agg(t.timeout_ms),
        array_agg(t.enqueued_ms), array_agg(t.sort_key)
        INTO ids, kinds, queues, payloads, attempts, max_attempts, timeouts, enqueued, sort_keys
        FROM (SELECT * FROM taken t ORDER BY t.sort_key, t.job_id) t;
    INSERT INTO job_claim VALUES (epoch, p_worker, cardinality(ids), ids);
    IF NOT EXISTS (SELECT FROM job_claimant c WHERE c.worker_id = p_worker) THEN
        INSERT INTO job_claimant VALUES (p_worker) ON CONFLICT DO NOTHING;
    END IF;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
   SET enable_bitmapscan = off SET jit = off;

-- Jobs whose time has come are ready: up to `p_limit` of each queue at once, those that are due the
-- longest first. Of a larger crowd the rest is for the next claims, which take the more urgent
-- first among what is ready by then.
CREATE FUNCTION jobs_ripen(p_queues integer[], p_now_ms bigint, p_limit integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE job j SET state = 3
        FROM (
            SELECT due.job_id FROM unnest(p_queues) q(id)
                CROSS JOIN LATERAL (
                    SELECT s.job_id FROM job s
                        WHERE s.state = 2 AND s.queue_id = q.id AND s.run_at_ms <= p_now_ms
                        ORDER BY s.run_at_ms LIMIT p_limit
                        FOR NO KEY UPDATE SKIP LOCKED
                ) due
        ) due
        WHERE j.job_id = due.job_id;
END
$$;

-- Locks the first ready jobs over several queues, each from its floor on, and says where they
-- stand: they stay there, since they are locked. None: NULL. Rows that others have locked are
-- passed over: nobody waits here.
CREATE FUNCTION jobs_pick(p_queues integer[], p_floors bigint[], p_limit integer) RETURNS tid[]
LANGUAGE plpgsql AS $$
DECLARE
    picked tid[] := '{}';
    more tid[];
    -- The queue of each of `more`.
    sources integer[];
    -- Queues with something ready, and at the same places how many were wanted of each.
    shares integer[];
    wanted integer[];
    -- Queues of which there is nothing left that is free.
    drained integer[] := '{}';
BEGIN
    IF cardinality(p_queues) = 1 THEN
        SELECT array_agg(r.ctid) INTO more FROM (
            SELECT j.ctid FROM job j
                WHERE j.state = 3 AND j.queue_id = p_queues[1] AND j.sort_key >= p_floors[1]
                ORDER BY j.sort_key, j.job_id LIMIT p_limit
                FOR NO KEY UPDATE SKIP LOCKED
        ) r;
        RETURN more;
    END IF;
    LOOP
        -- First how many of each queue are among the best, so that no queue's rows are locked in
        -- vain.
        WITH share AS MATERIALIZED (
            SELECT best.queue_id, min(best.sort_key) AS floor, count(*)::integer AS n FROM (
                SELECT r.* FROM unnest(p_queues, p_floors) q(id, floor)
                    CROSS JOIN LATERAL (
                        SELECT j.queue_id, j.sort_key, j.job_id FROM job j
                            WHERE j.state = 3 AND j.queue_id = q.id AND j.sort_key >= q.floor
                                AND j.ctid <> ALL (picked)
                            ORDER BY j.sort_key, j.job_id LIMIT p_limit - cardinality(picked)
                    ) r
                    WHERE q.id <> ALL (drained)
                    ORDER BY r.sort_key, r.job_id LIMIT p_limit - cardinality(picked)
            ) best GROUP BY best.queue_id
        )
        SELECT array_agg(r.ctid), array_agg(s.queue_id),
            (SELECT array_agg(w.queue_id) FROM share w), (SELECT array_agg(w.n) FROM share w)
            INTO more, sources, shares, wanted
            FROM share s
            CROSS JOIN LATERAL (
                SELECT j.ctid FROM job j
                    WHERE j.state = 3 AND j.queue_id = s.queue_id AND j.sort_key >= s.floor
                        AND j.ctid <> ALL (picked)
                    ORDER BY j.sort_key, j.job_id LIMIT s.n
                    FOR NO KEY UPDATE SKIP LOCKED
            ) r;
        picked := picked || more;
        -- Fewer than were seen: what is locked in one queue shall not stand for what is ready in
        -- another.
        EXIT WHEN cardinality(picked) = p_limit OR shares IS NULL
            OR cardinality(more) = (SELECT sum(w) FROM unnest(wanted) w);
        drained := drained || ARRAY(
            SELECT w.id FROM unnest(shares, wanted) w(id, n)
                WHERE w.n > (SELECT count(*) FROM unnest(sources) s(id) WHERE s.id = w.id));
    END LOOP;
    RETURN nullif(picked, '{}');
END
$$;

-- One more beat. No row: given up or deregistered.
CREATE FUNCTION jobs_beat(
    p_worker bigint, OUT draining boolean, OUT jobs bigint[], OUT epochs bigint[]
) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    UPDATE job_worker w SET beats = w.beats + 1, seen_ms = jobs_now_ms()
        WHERE w.worker_id = p_worker AND w.retired_ms IS NULL
        RETURNING w.draining INTO draining;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT coalesce(array_agg(j.job_id ORDER BY j.job_id), '{}'),
        coalesce(array_agg(j.epoch ORDER BY j.job_id), '{}')
        INTO jobs, epochs
        FROM job j WHERE j.worker_id = p_worker AND j.cancel_requested AND j.state = 4;
    RETURN NEXT;
END
$$ SET enable_seqscan = off;
