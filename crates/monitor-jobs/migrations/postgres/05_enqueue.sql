-- Jobs, version 1: what is put in. The crate decides between the two calls, which share a
-- transaction: where each job stands, what each edge means.

-- Takes unique keys, then locks parents: from here on none of them ends before we have. Keys come
-- without doubles and in the order of their bytes, which is not that of every database. `holders`:
-- at the places of the keys, who has it already. `known`: the parents that exist; those at
-- `holders` are parents too. Mints `p_mint` ids, less one for each holder.
CREATE FUNCTION jobs_prepare(
    p_queues text[], p_keys text[], p_parents bigint[], p_mint integer,
    OUT now_ms bigint, OUT queue_ids integer[], OUT holders bigint[], OUT ids bigint[],
    OUT known bigint[], OUT states smallint[], OUT bases smallint[], OUT effectives smallint[],
    OUT sort_keys bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    missing integer;
BEGIN
    queue_ids := jobs_queues(p_queues);
    IF p_keys IS NOT NULL THEN
        LOOP
            INSERT INTO job_unique
                SELECT k.key, 0 FROM unnest(p_keys) WITH ORDINALITY k(key, place) ORDER BY k.place
                ON CONFLICT DO NOTHING;
            SELECT array_agg(nullif(u.job_id, 0) ORDER BY k.place), count(*) - count(u.key)
                INTO holders, missing
                FROM unnest(p_keys) WITH ORDINALITY k(key, place)
                LEFT JOIN job_unique u ON u.key = k.key;
            -- One that was another's a moment ago and is nobody's now.
            EXIT WHEN missing = 0;
        END LOOP;
    END IF;
    now_ms := jobs_now_ms();
    IF p_parents IS NOT NULL THEN
        SELECT * INTO known, states, bases, effectives, sort_keys
            FROM jobs_lock_parents(p_parents || array_remove(holders, NULL));
    END IF;
    IF p_mint IS NOT NULL THEN
        ids := jobs_mint(p_mint - coalesce(cardinality(array_remove(holders, NULL)), 0));
    END IF;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off;

CREATE FUNCTION jobs_mint(p_count integer) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT array_agg(nextval('job_id_seq')) FROM generate_series(1, p_count)
$$;

-- The numbers of queues, which need not exist yet, at the places of their names.
CREATE FUNCTION jobs_queues(p_names text[]) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
    numbers integer[];
BEGIN
    LOOP
        SELECT array_agg(q.queue_id ORDER BY n.place) INTO numbers
            FROM unnest(p_names) WITH ORDINALITY n(name, place)
            LEFT JOIN job_queue q ON q.name = n.name;
        EXIT WHEN array_position(numbers, NULL) IS NULL;
        INSERT INTO job_queue (name)
            SELECT DISTINCT n COLLATE "C" AS name FROM unnest(p_names) n ORDER BY name
            ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN numbers;
END
$$;

CREATE FUNCTION jobs_lock_parents(
    p_parents bigint[], OUT known bigint[], OUT states smallint[], OUT bases smallint[],
    OUT effectives smallint[], OUT sort_keys bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    seen bigint[];
    back boolean;
BEGIN
    -- A retry brings a job back between the two looks: then look again.
    LOOP
        SELECT coalesce(array_agg(p.job_id), '{}') INTO seen FROM (
            SELECT j.job_id FROM job j WHERE j.job_id = ANY (p_parents)
                ORDER BY j.job_id FOR NO KEY UPDATE
        ) p;
        IF cardinality(seen) < cardinality(p_parents) THEN
            -- Those that have ended, too: not while one is being retried or pruned.
            PERFORM FROM job_ended j WHERE j.job_id = ANY (p_parents)
                ORDER BY j.job_id FOR NO KEY UPDATE;
        END IF;
        SELECT array_agg(p.job_id), array_agg(p.state), array_agg(p.base),
            array_agg(p.effective), array_agg(p.sort_key)
            INTO known, states, bases, effectives, sort_keys
            FROM (
                SELECT j.job_id, j.state, j.base, j.effective, j.sort_key
                    FROM job j WHERE j.job_id = ANY (p_parents)
                UNION ALL
                SELECT j.job_id, j.state, j.base, j.effective, j.sort_key
                    FROM job_ended j WHERE j.job_id = ANY (p_parents)
            ) p;
        SELECT coalesce(bool_or(s < 5 AND f <> ALL (seen)), false) INTO back
            FROM unnest(known, states) u(f, s);
        EXIT WHEN NOT back;
    END LOOP;
END
$$;

-- Writes what the crate decided. Arrays of one length for the jobs; of another for the edges that
-- are open or hold; `p_degrees` for `p_parents`, ascending: how many edges each gets that was there before.
-- `p_urgent`: jobs more urgent than a parent of theirs.
CREATE FUNCTION jobs_insert(
    p_now_ms bigint, p_ids bigint[], p_queues integer[], p_states smallint[],
    p_sort_keys bigint[], p_anchors bigint[], p_steps bigint[], p_runs bigint[],
    p_priorities smallint[], p_bases smallint[], p_effectives smallint[],
    p_max_attempts smallint[], p_max_crashes smallint[], p_pendings integer[], p_holds integer[],
    p_outdegs integer[], p_inherits boolean[], p_timeouts bigint[], p_kinds text[],
    p_payloads text[], p_tenants text[], p_keys text[], p_job_parents text[], p_rules text[],
    p_edge_parents bigint[], p_edge_children bigint[], p_edge_states smallint[],
    p_edge_verdicts smallint[], p_parents bigint[], p_degrees integer[], p_urgent bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ending bigint[];
    goes smallint[];
BEGIN
    INSERT INTO job (
        job_id, queue_id, state, sort_key, anchor_ms, step_ms, run_at_ms, enqueued_ms, priority,
        base, effective, max_attempts, max_crashes, pending, holds, outdeg, inherits, timeout_ms,
        kind, payload, tenant, unique_key, parents, rules)
        SELECT n.id, n.queue, n.state, n.sort_key, n.anchor, n.step, n.run_at, p_now_ms,
            n.priority, n.base, n.effective, n.max_attempts, n.max_crashes, n.pending, n.holds,
            n.outdeg, n.inherits, n.timeout, n.kind, n.payload, n.tenant, n.key,
            n.parents::bigint[], n.rules::smallint[]
        FROM unnest(p_ids, p_queues, p_states, p_sort_keys, p_anchors, p_steps, p_runs,
            p_priorities, p_bases, p_effectives, p_max_attempts, p_max_crashes, p_pendings,
            p_holds, p_outdegs, p_inherits, p_timeouts, p_kinds, p_payloads, p_tenants, p_keys,
            p_job_parents, p_rules)
        n(id, queue, state, sort_key, anchor, step, run_at, priority, base, effective,
            max_attempts, max_crashes, pending, holds, outdeg, inherits, timeout, kind, payload,
            tenant, key, parents, rules);
    INSERT INTO job_unique
        SELECT n.key, n.id FROM unnest(p_ids, p_keys) n(id, key) WHERE n.key IS NOT NULL
        ON CONFLICT (key) DO UPDATE SET job_id = excluded.job_id;
    IF p_edge_parents IS NOT NULL THEN
        INSERT INTO job_edge
            SELECT * FROM unnest(p_edge_parents, p_edge_children, p_edge_states, p_edge_verdicts);
    END IF;
    IF p_parents IS NOT NULL THEN
        -- Written, not only locked: the completion of the parent reads it from the row.
        UPDATE job j SET outdeg = j.outdeg + p_degrees[width_bucket(j.job_id, p_parents)]
            WHERE j.job_id = ANY (p_parents);
        UPDATE job_ended j SET outdeg = j.outdeg + p_degrees[width_bucket(j.job_id, p_parents)]
            WHERE j.job_id = ANY (p_parents);
    END IF;
    IF p_urgent IS NOT NULL THEN
        INSERT INTO job_todo SELECT u, 1 FROM unnest(p_urgent) u;
    END IF;
    -- What a parent that has ended ends at once.
    SELECT array_agg(n.id), array_agg(n.state) INTO ending, goes
        FROM unnest(p_ids, p_states) n(id, state) WHERE n.state >= 5;
    IF ending IS NOT NULL THEN
        PERFORM jobs_bury(ending, goes, NULL, NULL, NULL, p_now_ms);
    END IF;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off;

-- What start-time fair queueing has to know, one enqueue of a queue after the other: at the places
-- of the tenants the least key that is ready, the highest finish of the queue, the tenant's own.
-- `p_all`: the queues of all jobs of the call, so that new names are written down in one order.
CREATE FUNCTION jobs_fair(
    p_all text[], p_queues text[], p_tenants text[],
    OUT least_ready bigint[], OUT highest bigint[], OUT own bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    numbers integer[];
    number integer;
    now_ms bigint;
BEGIN
    PERFORM jobs_queues(p_all);
    numbers := jobs_queues(p_queues);
    FOR number IN SELECT DISTINCT n FROM unnest(numbers) n ORDER BY n LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('monitor-jobs fair', number));
    END LOOP;
    now_ms := jobs_now_ms();
    SELECT
        array_agg(least(
            (SELECT min(j.sort_key) FROM job j WHERE j.state = 3 AND j.queue_id = t.queue),
            (SELECT min(j.sort_key) FROM job j
                WHERE j.state = 2 AND j.queue_id = t.queue AND j.run_at_ms <= now_ms)
        ) ORDER BY t.place),
        array_agg((SELECT max(f.finish) FROM job_fair f WHERE f.queue_id = t.queue)
            ORDER BY t.place),
        array_agg((SELECT f.finish FROM job_fair f
            WHERE f.queue_id = t.queue AND f.tenant = t.tenant) ORDER BY t.place)
        INTO least_ready, highest, own
        FROM unnest(numbers, p_tenants) WITH ORDINALITY t(queue, tenant, place);
END
$$;

CREATE FUNCTION jobs_keep_fair(p_queues text[], p_tenants text[], p_finishes bigint[])
RETURNS void LANGUAGE sql AS $$
    INSERT INTO job_fair
        SELECT q.queue_id, f.tenant, f.finish
            FROM unnest(p_queues, p_tenants, p_finishes) f(queue, tenant, finish)
            JOIN job_queue q ON q.name = f.queue
        ON CONFLICT (queue_id, tenant) DO UPDATE SET finish = excluded.finish
$$;

-- Takes a tick for the transaction that puts its job in. False: another did, or a later one.
CREATE FUNCTION jobs_tick(p_schedule text, p_tick_ms bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_tick VALUES (p_schedule, p_tick_ms)
        ON CONFLICT (schedule) DO UPDATE SET last_ms = excluded.last_ms
            WHERE job_tick.last_ms < excluded.last_ms;
    RETURN FOUND;
END
$$;
