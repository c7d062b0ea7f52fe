-- Jobs, version 1: what the end of a job does to those that wait for it.
--
-- Whoever locks jobs locks them in ascending order, over the whole transaction. What would break
-- that order is left in job_todo for a transaction of its own: so two of them never wait for each
-- other, and a crash loses nothing.

-- Carries the ends of `p_parents`, which are in job_ended and were ended by this transaction, as
-- far as that is allowed here: up to 1000 edges, to children above `p_locked`, the highest job that
-- is locked. True when something is left.
CREATE FUNCTION jobs_carry_inline(p_parents bigint[], p_locked bigint, p_now_ms bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    child bigint;
    edges integer;
BEGIN
    -- A new statement: it sees the edge of a child that was put in while we waited for the parent.
    SELECT count(*), min(e.child_id) INTO edges, child FROM (
        SELECT e.child_id FROM unnest(p_parents) p(id)
            JOIN job_edge e ON e.parent_id = p.id WHERE e.state = 0 LIMIT 1001
    ) e;
    IF edges <= 1000 AND (edges = 0 OR child > p_locked) THEN
        RETURN jobs_carry(p_parents, 1000, p_now_ms) < 0;
    END IF;
    INSERT INTO job_todo
        SELECT d.job_id, 0, d.state FROM job_ended d WHERE d.job_id = ANY (p_parents)
        ON CONFLICT DO NOTHING;
    RETURN true;
END
$$;

-- Carries the ends of jobs along up to `p_limit` open edges. The count, negative when it left
-- something to do: a child that ended has children itself, or other parents.
CREATE FUNCTION jobs_carry(p_parents bigint[], p_limit integer, p_now_ms bigint)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    uppers bigint[];
    lowers bigint[];
    n integer;
    ending bigint[];
    goes smallint[];
    remain boolean := false;
BEGIN
    SELECT array_agg(e.parent_id), array_agg(e.child_id), count(*) INTO uppers, lowers, n FROM (
        SELECT e.parent_id, e.child_id FROM unnest(p_parents) p(id)
            JOIN job_edge e ON e.parent_id = p.id
            WHERE e.state = 0
            ORDER BY e.parent_id, e.child_id LIMIT p_limit
    ) e;
    IF n = 0 THEN
        RETURN 0;
    END IF;
    PERFORM FROM job j WHERE j.job_id = ANY (lowers) ORDER BY j.job_id FOR NO KEY UPDATE;
    PERFORM FROM job_ended j WHERE j.job_id = ANY (lowers) ORDER BY j.job_id FOR NO KEY UPDATE;
    -- Each edge is consumed by the transaction that takes it out of its state, and by no other;
    -- a child is counted down once by as many as it lost.
    WITH verdict AS MATERIALIZED (
        SELECT e.parent_id, e.child_id, (e.verdicts >> (2 * (d.state - 5))) & 3 AS means
            FROM unnest(uppers, lowers) u(parent_id, child_id)
            JOIN job_edge e ON e.parent_id = u.parent_id AND e.child_id = u.child_id
            JOIN job_ended d ON d.job_id = e.parent_id
            WHERE e.state = 0
    ), consumed AS (
        DELETE FROM job_edge e USING verdict v
            WHERE e.parent_id = v.parent_id AND e.child_id = v.child_id AND e.state = 0
                AND v.means <> 1
            RETURNING e.child_id, v.means
    ), held AS (
        UPDATE job_edge e SET state = 2 FROM verdict v
            WHERE e.parent_id = v.parent_id AND e.child_id = v.child_id AND e.state = 0
                AND v.means = 1
            RETURNING e.child_id, v.means
    ), by_child AS MATERIALIZED (
        SELECT c.child_id, count(*)::integer AS resolved,
            (count(*) FILTER (WHERE c.means = 1))::integer AS holding, max(c.means) AS means
            FROM (SELECT * FROM consumed UNION ALL SELECT * FROM held) c GROUP BY c.child_id
    ), moved AS (
        UPDATE job j
            SET pending = j.pending - c.resolved, holds = j.holds + c.holding,
                state = CASE
                    WHEN j.holds + c.holding > 0 THEN 1
                    WHEN j.pending > c.resolved THEN 0
                    WHEN j.run_at_ms > p_now_ms THEN 2
                    ELSE 3
                END
            FROM by_child c WHERE j.job_id = c.child_id
            RETURNING j.job_id, c.means, j.inherits AND j.pending > 0 AS urges
    ), ended_before AS (
        UPDATE job_ended j SET pending = j.pending - c.resolved, holds = j.holds + c.holding
            FROM by_child c WHERE j.job_id = c.child_id
    ), urgency AS (
        INSERT INTO job_todo SELECT m.job_id, 1 FROM moved m WHERE m.means >= 2 AND m.urges
            ON CONFLICT DO NOTHING
            RETURNING 1
    )
    SELECT array_agg(m.job_id ORDER BY m.job_id),
        array_agg((CASE m.means WHEN 2 THEN 7 ELSE 6 END)::smallint ORDER BY m.job_id),
        EXISTS (SELECT FROM urgency)
        INTO ending, goes, remain
        FROM moved m WHERE m.means >= 2;
    IF ending IS NOT NULL THEN
        uppers := jobs_bury(
            NULL, ending, goes, array_fill(true, ARRAY[cardinality(ending)]), NULL, NULL, p_now_ms);
        IF uppers IS NOT NULL THEN
            INSERT INTO job_todo SELECT d.job_id, 0, d.state FROM job_ended d
                WHERE d.job_id = ANY (uppers)
                ON CONFLICT DO NOTHING;
            remain := true;
        END IF;
    END IF;
    RETURN CASE WHEN remain THEN -n ELSE n END;
END
$$;

-- One transaction of what others left: at most `p_limit` edges, wave after wave, so that parents
-- that ended together are judged together. 0: there is nothing, or somebody else is at it.
CREATE FUNCTION jobs_release(p_limit integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := jobs_now_ms();
    wave bigint[];
    carried integer := 0;
    locked bigint := 0;
    lowest bigint;
    highest bigint;
BEGIN
    WHILE carried < p_limit LOOP
        SELECT array_agg(w.job_id) INTO wave FROM (
            SELECT t.job_id FROM job_todo t WHERE t.what = 0
                ORDER BY t.job_id LIMIT 1000 FOR UPDATE SKIP LOCKED
        ) w;
        EXIT WHEN wave IS NULL;
        SELECT min(e.child_id), max(e.child_id) INTO lowest, highest FROM (
            SELECT e.child_id FROM unnest(wave) w(id) JOIN job_edge e ON e.parent_id = w.id
                WHERE e.state = 0
                ORDER BY e.parent_id, e.child_id LIMIT p_limit - carried
        ) e;
        EXIT WHEN lowest <= locked;
        locked := coalesce(highest, locked);
        carried := carried + greatest(1, abs(jobs_carry(wave, p_limit - carried, now_ms)));
        DELETE FROM job_todo t
            WHERE t.job_id = ANY (wave) AND t.what = 0 AND NOT EXISTS (
                SELECT FROM job_edge e WHERE e.parent_id = t.job_id AND e.state = 0);
    END LOOP;
    IF carried = 0 THEN
        -- Locks from the lowest ancestor on: only where nothing is locked yet.
        SELECT array_agg(w.job_id), count(*) INTO wave, carried FROM (
            SELECT t.job_id FROM job_todo t WHERE t.what = 1
                ORDER BY t.job_id LIMIT least(p_limit, 1000) FOR UPDATE SKIP LOCKED
        ) w;
        PERFORM jobs_judge_urgency(wave);
        DELETE FROM job_todo t WHERE t.job_id = ANY (wave) AND t.what = 1;
    END IF;
    RETURN carried;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off;
