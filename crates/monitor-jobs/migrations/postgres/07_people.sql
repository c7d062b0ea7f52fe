-- Jobs, version 1: what people ask for.

-- Whether a job has ended, as both tables stood at one instant: a retry may move it between two.
-- NULL: no such job.
CREATE FUNCTION jobs_has_ended(p_job bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT false FROM job j WHERE j.job_id = p_job
    UNION ALL
    SELECT true FROM job_ended j WHERE j.job_id = p_job
$$;

-- NULL: no such job. 0: it had ended. 1: done, or asked of its owner. 2: done, with something left
-- to be carried on.
CREATE FUNCTION jobs_cancel(p_job bigint) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := jobs_now_ms();
    it job;
    ended boolean;
    uppers bigint[];
    remain boolean := false;
BEGIN
    LOOP
        SELECT * INTO it FROM job j WHERE j.job_id = p_job FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        ended := jobs_has_ended(p_job);
        IF ended IS NOT FALSE THEN
            RETURN CASE WHEN ended THEN 0 END;
        END IF;
    END LOOP;
    IF it.state = 4 THEN
        UPDATE job j SET cancel_requested = true WHERE j.job_id = p_job;
        RETURN 1;
    END IF;
    uppers := jobs_bury(ARRAY[p_job], ARRAY[7::smallint], NULL, NULL, NULL, now_ms);
    IF it.inherits AND it.pending > 0 THEN
        INSERT INTO job_todo VALUES (p_job, 1) ON CONFLICT DO NOTHING;
        remain := true;
    END IF;
    IF uppers IS NOT NULL AND jobs_carry_inline(uppers, p_job, now_ms) THEN
        remain := true;
    END IF;
    RETURN CASE WHEN remain THEN 2 ELSE 1 END;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off;

-- Runs a job again that is dead or cancelled; releases one that is held. Codes as above.
CREATE FUNCTION jobs_retry(p_job bigint) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := jobs_now_ms();
    wanted_key text;
    above bigint[];
    it job;
    was job_ended;
    ended boolean;
BEGIN
    LOOP
        SELECT * INTO it FROM job j WHERE j.job_id = p_job FOR NO KEY UPDATE;
        IF FOUND THEN
            IF it.state <> 1 THEN
                RETURN 0;
            END IF;
            DELETE FROM job_edge e
                WHERE e.parent_id = ANY (it.parents) AND e.child_id = p_job AND e.state = 2;
            UPDATE job j SET holds = 0, state = CASE
                    WHEN j.pending > 0 THEN 0 WHEN j.run_at_ms > now_ms THEN 2 ELSE 3 END
                WHERE j.job_id = p_job;
            RETURN 1;
        END IF;
        SELECT j.unique_key, j.parents INTO wanted_key, above FROM job_ended j
            WHERE j.job_id = p_job AND j.state IN (6, 7);
        EXIT WHEN FOUND;
        ended := jobs_has_ended(p_job);
        IF ended IS NOT FALSE THEN
            RETURN CASE WHEN ended THEN 0 END;
        END IF;
    END LOOP;
    IF wanted_key IS NOT NULL THEN
        INSERT INTO job_unique VALUES (wanted_key, p_job) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN 0;
        END IF;
    END IF;
    -- Whoever carries its end along takes the note of that first, then children.
    PERFORM FROM job_todo t WHERE t.job_id = p_job AND t.what = 0 FOR UPDATE;
    -- It will wait for those of its parents that have not ended: none ends before we have.
    PERFORM FROM job j WHERE j.job_id = ANY (above) ORDER BY j.job_id FOR NO KEY UPDATE;
    SELECT * INTO was FROM job_ended j WHERE j.job_id = p_job AND j.state IN (6, 7) FOR UPDATE;
    IF NOT FOUND THEN
        -- It ended otherwise or was pruned in between. Had it not ended its key were taken, so the
        -- key, if any, is ours, and nobody's from now on.
        DELETE FROM job_unique u WHERE u.key = wanted_key AND u.job_id = p_job;
        RETURN 0;
    END IF;
    -- Whatever its end still had to do comes first.
    PERFORM FROM jobs_carry(ARRAY[p_job], 1000000000, 0, now_ms);
    DELETE FROM job_todo t WHERE t.job_id = p_job AND t.what = 0;
    PERFORM jobs_revive(was, now_ms);
    INSERT INTO job_todo VALUES (p_job, 1) ON CONFLICT DO NOTHING;
    RETURN 2;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off;

-- Brings an ended job, which the caller has locked, back: ready, or blocked by parents that run.
CREATE FUNCTION jobs_revive(was job_ended, p_now_ms bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    opened bigint[];
BEGIN
    -- Edges to parents that have ended are met: people decided. Those to others are open, whatever
    -- became of them before.
    DELETE FROM job_edge e WHERE e.parent_id = ANY (was.parents) AND e.child_id = was.job_id;
    INSERT INTO job_edge
        SELECT p.job_id, was.job_id, 0, r.rule >> 4
            FROM unnest(was.parents, was.rules) r(id, rule) JOIN job p ON p.job_id = r.id;
    GET DIAGNOSTICS was.pending = ROW_COUNT;
    DELETE FROM job_ended j WHERE j.job_id = was.job_id;
    INSERT INTO job (
        job_id, sort_key, anchor_ms, step_ms, run_at_ms, enqueued_ms, epoch, timeout_ms, queue_id,
        pending, holds, outdeg, state, priority, base, effective, attempt, max_attempts, crashes,
        max_crashes, last_end, progress, inherits, kind, payload, tenant, unique_key, parents,
        rules, progress_text, last_error, result)
        VALUES (
            was.job_id, was.sort_key, was.anchor_ms, was.step_ms, p_now_ms, was.enqueued_ms,
            was.epoch, was.timeout_ms, was.queue_id, was.pending, 0, was.outdeg,
            CASE WHEN was.pending > 0 THEN 0 ELSE 3 END, was.priority, was.base, was.effective,
            was.attempt, greatest(was.max_attempts, was.attempt + 1), was.crashes,
            greatest(was.max_crashes, was.crashes + 1), was.last_end, was.progress, was.inherits,
            was.kind, was.payload, was.tenant, was.unique_key, was.parents, was.rules,
            was.progress_text, was.last_error, was.result);
    -- Whoever is held by it waits for it again.
    SELECT array_agg(h.job_id) INTO opened FROM (
        SELECT j.job_id FROM job_edge e JOIN job j ON j.job_id = e.child_id
            WHERE e.parent_id = was.job_id AND e.state = 2 AND j.state = 1
            ORDER BY j.job_id FOR NO KEY UPDATE OF j
    ) h;
    UPDATE job_edge e SET state = 0
        WHERE e.parent_id = was.job_id AND e.child_id = ANY (opened) AND e.state = 2;
    UPDATE job j SET pending = j.pending + 1, holds = j.holds - 1,
            state = (j.holds > 1)::integer
        WHERE j.job_id = ANY (opened);
    -- Edges that were met once are remembered again, for a change of priority to follow them.
    IF was.outdeg > 0 THEN
        INSERT INTO job_edge SELECT was.job_id, c.job_id, 1, 0 FROM job c
            WHERE c.parents @> ARRAY[was.job_id] ON CONFLICT DO NOTHING;
    END IF;
END
$$;

-- Codes as above.
CREATE FUNCTION jobs_reprioritise(p_job bigint, p_priority smallint) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    below bigint[] := ARRAY[p_job];
    heirs bigint[];
    place integer := 1;
    ended boolean;
BEGIN
    LOOP
        PERFORM FROM job j WHERE j.job_id = p_job FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        ended := jobs_has_ended(p_job);
        IF ended IS NOT FALSE THEN
            RETURN CASE WHEN ended THEN 0 END;
        END IF;
    END LOOP;
    UPDATE job j SET priority = p_priority WHERE j.job_id = p_job;
    -- Downwards in ascending order, one after the other: who puts a job in below another has that
    -- one locked, so its heirs are known when it is ours, and all of them are above it. Upwards is
    -- for a transaction of its own.
    WHILE place <= cardinality(below) LOOP
        PERFORM FROM job j WHERE j.job_id = below[place] FOR NO KEY UPDATE;
        UPDATE job j SET base = greatest(j.priority, (
                SELECT max(p.base) FROM (
                    SELECT p.base FROM job p WHERE p.job_id = ANY (j.parents)
                    UNION ALL
                    SELECT p.base FROM job_ended p WHERE p.job_id = ANY (j.parents)
                ) p WHERE j.inherits
            ))
            WHERE j.job_id = below[place]
            RETURNING ARRAY(
                SELECT c.job_id FROM job_edge e JOIN job c ON c.job_id = e.child_id
                    WHERE e.parent_id = j.job_id AND c.inherits)
            INTO heirs;
        place := place + 1;
        IF heirs <> '{}' THEN
            below := below[:place - 1] || ARRAY(
                SELECT DISTINCT h FROM unnest(below[place:] || heirs) h ORDER BY h);
        END IF;
    END LOOP;
    INSERT INTO job_todo SELECT b, 1 FROM unnest(below) b ON CONFLICT DO NOTHING;
    RETURN 2;
END
$$ SET enable_seqscan = off SET jit = off;

-- Judges the urgency of jobs and of whatever they wait for anew, children before parents.
--
-- All of them are locked first, in ascending order, and each that matters to one of them is locked
-- by whoever changes it together with all its ancestors: of two such transactions the second reads
-- what the first has written. Whoever puts in a more urgent child leaves a todo for this.
CREATE FUNCTION jobs_judge_urgency(p_jobs bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    above bigint[];
    it bigint;
BEGIN
    WITH RECURSIVE ancestor(id) AS (
        SELECT unnest(p_jobs)
        UNION
        SELECT unnest(j.parents) FROM ancestor a
            JOIN LATERAL (
                SELECT d.parents FROM job d WHERE d.job_id = a.id AND d.inherits
                UNION ALL
                SELECT d.parents FROM job_ended d
                    WHERE d.job_id = a.id AND d.inherits AND d.job_id = ANY (p_jobs)
            ) j ON true
    )
    SELECT array_agg(a.id) INTO above FROM ancestor a;
    SELECT array_agg(l.job_id ORDER BY l.job_id DESC) INTO above FROM (
        SELECT j.job_id FROM job j WHERE j.job_id = ANY (above)
            ORDER BY j.job_id FOR NO KEY UPDATE
    ) l;
    FOREACH it IN ARRAY coalesce(above, '{}') LOOP
        UPDATE job j SET effective = u.effective, sort_key = u.sort_key
            FROM (
                SELECT greatest(s.base, max(c.effective)) AS effective,
                    least(s.anchor_ms - s.step_ms * s.base, min(c.sort_key)) AS sort_key
                    FROM job s
                    LEFT JOIN job_edge e ON e.parent_id = s.job_id AND e.state = 0
                    LEFT JOIN job c ON c.job_id = e.child_id AND c.inherits
                    WHERE s.job_id = it GROUP BY s.job_id
            ) u
            WHERE j.job_id = it AND (j.effective, j.sort_key) <> (u.effective, u.sort_key);
    END LOOP;
END
$$;

-- Which of these ended jobs, in ascending order, have children that have not ended. Their edges may
-- be met and gone, so whatever has parents is read, once.
CREATE FUNCTION jobs_needed(p_parents bigint[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
BEGIN
    IF p_parents IS NULL THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT DISTINCT p.id FROM job c CROSS JOIN LATERAL unnest(c.parents) p(id)
            WHERE c.parents IS NOT NULL AND p.id = p_parents[width_bucket(p.id, p_parents)]
            ORDER BY p.id);
END
$$ SET enable_seqscan = on SET enable_sort = on;

-- Removes what ended long ago and nobody needs, what ended first before the others.
CREATE FUNCTION jobs_prune(p_age_ms bigint, p_limit integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    oldest bigint := jobs_now_ms() - p_age_ms;
    slice bigint[];
    ends bigint[];
    uppers bigint[];
    needed bigint[];
    gone bigint[] := '{}';
    last_ms bigint := -9223372036854775808;
    last_id bigint := 0;
    workers integer;
BEGIN
    WHILE cardinality(gone) < p_limit LOOP
        SELECT array_agg(p.job_id ORDER BY p.ended_ms, p.job_id),
            array_agg(p.ended_ms ORDER BY p.ended_ms),
            array_agg(p.job_id ORDER BY p.job_id) FILTER (WHERE p.outdeg > 0)
            INTO slice, ends, uppers
            FROM (
                SELECT d.job_id, d.ended_ms, d.outdeg FROM job_ended d
                    WHERE d.ended_ms <= oldest AND (d.ended_ms, d.job_id) > (last_ms, last_id)
                    ORDER BY d.ended_ms, d.job_id LIMIT p_limit - cardinality(gone)
                    FOR UPDATE SKIP LOCKED
            ) p;
        EXIT WHEN slice IS NULL;
        last_ms := ends[cardinality(ends)];
        last_id := slice[cardinality(slice)];
        -- Judged now that they are ours, by new statements: nobody puts a child in below one of
        -- them any more, and who has done so is seen.
        needed := jobs_needed(uppers);
        gone := gone || ARRAY(
            SELECT p.id FROM unnest(slice) p(id)
                WHERE p.id IS DISTINCT FROM needed[width_bucket(p.id, needed)]
                    AND NOT EXISTS (
                        SELECT FROM job_edge e WHERE e.parent_id = p.id AND e.state = 0)
                    AND NOT EXISTS (
                        SELECT FROM job_todo t WHERE t.job_id = p.id));
    END LOOP;
    DELETE FROM job_edge e
        WHERE (e.parent_id, e.child_id) IN (
            SELECT unnest(d.parents), d.job_id FROM job_ended d WHERE d.job_id = ANY (gone));
    DELETE FROM job_edge e WHERE e.parent_id = ANY (gone);
    DELETE FROM job_execution x WHERE x.job_id = ANY (gone);
    DELETE FROM job_ended d WHERE d.job_id = ANY (gone);
    DELETE FROM job_worker w WHERE w.worker_id IN (
        SELECT o.worker_id FROM job_worker o WHERE o.retired_ms <= oldest
            ORDER BY o.worker_id LIMIT p_limit - cardinality(gone)
            FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS workers = ROW_COUNT;
    DELETE FROM job_receipt r WHERE r.at_ms <= oldest;
    -- What a tenant owes lapses when its queue has stood still for so long, and for a day.
    DELETE FROM job_fair f WHERE (f.queue_id, f.tenant) IN (
        SELECT o.queue_id, o.tenant FROM job_fair o
            WHERE o.finish <= oldest - 86400000
                AND NOT EXISTS (SELECT FROM job j WHERE j.queue_id = o.queue_id AND j.state = 3)
                AND NOT EXISTS (SELECT FROM job j WHERE j.queue_id = o.queue_id AND j.state = 2)
            ORDER BY o.queue_id, o.tenant LIMIT p_limit
            FOR UPDATE OF o SKIP LOCKED);
    RETURN cardinality(gone) + workers;
END
$$ SET enable_seqscan = off SET enable_sort = off SET enable_hashjoin = off
   SET enable_mergejoin = off SET jit = off;
