-- Jobs, version 1: what the end of a job does to those that wait for it.
--
-- Whoever locks jobs locks them in ascending order, over the whole transaction, and whoever carries
-- an end along waits for no child that has ended. What would break that order is left in job_todo
-- for a transaction of its own: so two of them never wait for each other, and a crash loses
-- nothing.

-- Carries the ends of `p_parents`, which are in job_ended and were ended by this transaction, as
-- far as that is allowed here: up to 1000 edges, to children above `p_locked`, the highest job that
-- is locked. True when something is left.
CREATE FUNCTION jobs_carry_inline(p_parents bigint[], p_locked bigint, p_now_ms bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    edges integer;
    lowest bigint;
BEGIN
    -- A new statement: it sees the edge of a child that was put in while we waited for the parent.
    SELECT count(*), min(e.child_id) INTO edges, lowest FROM (
        SELECT e.child_id FROM job_edge e WHERE e.parent_id = ANY (p_parents) AND e.state = 0
            LIMIT 1001
    ) e;
    IF edges = 0 THEN
        RETURN false;
    END IF;
    IF edges <= 1000 AND lowest > p_locked THEN
        RETURN c.remain FROM jobs_carry(p_parents, 1000, p_locked, p_now_ms) c;
    END IF;
    INSERT INTO job_todo SELECT p, 0 FROM unnest(p_parents) p ON CONFLICT DO NOTHING;
    RETURN true;
END
$$;

-- Carries the ends of jobs along up to `p_limit` open edges, unless the first of their children is
-- not above `p_locked`. `highest`: the last child of these edges. `remain`: it left something to
-- do, since a child that ended has children itself, or other parents, or is in the hands of others.
CREATE FUNCTION jobs_carry(
    p_parents bigint[], p_limit integer, p_locked bigint, p_now_ms bigint,
    OUT carried integer, OUT highest bigint, OUT remain boolean
) LANGUAGE plpgsql AS $$
DECLARE
    uppers bigint[];
    ends smallint[];
    passing tid[];
    holding tid[];
    lowers bigint[];
    lowest bigint;
    alike record;
    moved integer;
    ours bigint[];
    busy bigint[];
    buried bigint[];
BEGIN
    remain := false;
    SELECT array_agg(d.job_id ORDER BY d.job_id), array_agg(d.state ORDER BY d.job_id)
        INTO uppers, ends FROM job_ended d WHERE d.job_id = ANY (p_parents);
    SELECT array_agg(e.ctid) FILTER (WHERE e.means <> 1),
        array_agg(e.ctid) FILTER (WHERE e.means = 1),
        array_agg(e.child_id), count(*), min(e.child_id), max(e.child_id)
        INTO passing, holding, lowers, carried, lowest, highest
        FROM (
            SELECT e.ctid, e.child_id,
                (e.verdicts >> (2 * (ends[width_bucket(e.parent_id, uppers)] - 5))) & 3 AS means
                FROM job_edge e
                WHERE e.parent_id = ANY (uppers) AND e.state = 0
                ORDER BY e.parent_id, e.child_id LIMIT p_limit
        ) e;
    IF carried = 0 OR lowest <= p_locked THEN
        carried := 0;
        RETURN;
    END IF;
    PERFORM FROM job j WHERE j.job_id = ANY (lowers) ORDER BY j.job_id FOR NO KEY UPDATE;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved < carried THEN
        -- Some have ended, or have several of the parents. Whoever retries one that has ended, or
        -- puts a job in below it, locks higher ones next, which are ours: its edges are for later.
        SELECT array_agg(o.job_id) INTO ours FROM (
            SELECT j.job_id FROM job_ended j WHERE j.job_id = ANY (lowers)
                FOR NO KEY UPDATE SKIP LOCKED
        ) o;
        IF moved + coalesce(cardinality(ours), 0) < (
            SELECT count(DISTINCT l) FROM unnest(lowers) l
        ) THEN
            SELECT array_agg(l) INTO busy FROM unnest(lowers) l
                WHERE l <> ALL (coalesce(ours, '{}'))
                    AND NOT EXISTS (SELECT FROM job j WHERE j.job_id = l);
        END IF;
    END IF;
    IF busy IS NOT NULL THEN
        INSERT INTO job_todo
            SELECT DISTINCT e.parent_id, 0 FROM job_edge e
                WHERE e.parent_id = ANY (uppers) AND e.child_id = ANY (busy) AND e.state = 0
            ON CONFLICT DO NOTHING;
        SELECT array_agg(e.ctid) INTO passing FROM job_edge e
            WHERE e.ctid = ANY (passing) AND e.child_id <> ALL (busy);
        SELECT array_agg(e.ctid) INTO holding FROM job_edge e
            WHERE e.ctid = ANY (holding) AND e.child_id <> ALL (busy);
        carried := coalesce(cardinality(passing), 0) + coalesce(cardinality(holding), 0);
        remain := true;
    END IF;
    -- The wait may have been long: a child that was put in meanwhile is due by now.
    p_now_ms := greatest(p_now_ms, jobs_now_ms());
    -- Each edge is consumed by the transaction that takes it out of its state, and by no other;
    -- a child is counted down once, by as many as it lost. Children that lost alike go together:
    -- nearly always all of them.
    FOR alike IN
        WITH consumed AS (
            DELETE FROM job_edge e WHERE e.ctid = ANY (passing)
                RETURNING e.child_id,
                    (e.verdicts >> (2 * (ends[width_bucket(e.parent_id, uppers)] - 5))) & 3 AS means
        ), held AS (
            UPDATE job_edge e SET state = 2 WHERE e.ctid = ANY (holding)
                RETURNING e.child_id, 1 AS means
        )
        SELECT l.resolved, l.holds, l.means, array_agg(l.child_id ORDER BY l.child_id) AS children
            FROM (
                SELECT l.child_id, count(*)::integer AS resolved,
                    (count(*) FILTER (WHERE l.means = 1))::integer AS holds, max(l.means) AS means
                    FROM (SELECT * FROM consumed UNION ALL SELECT * FROM held) l GROUP BY l.child_id
            ) l GROUP BY l.resolved, l.holds, l.means
    LOOP
        UPDATE job j
            SET pending = j.pending - alike.resolved,
                holds = j.holds + alike.holds,
                state = CASE
                    WHEN j.holds + alike.holds > 0 THEN 1
                    WHEN j.pending > alike.resolved THEN 0
                    WHEN j.run_at_ms > p_now_ms THEN 2
                    ELSE 3
                END
            WHERE j.job_id = ANY (alike.children);
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved < cardinality(alike.children) THEN
            UPDATE job_ended j
                SET pending = j.pending - alike.resolved, holds = j.holds + alike.holds
                WHERE j.job_id = ANY (alike.children);
        END IF;
        IF alike.means >= 2 THEN
            INSERT INTO job_todo
                SELECT j.job_id, 1 FROM job j
                    WHERE j.job_id = ANY (alike.children) AND j.inherits AND j.pending > 0
                ON CONFLICT DO NOTHING;
            remain := remain OR FOUND;
            buried := jobs_bury(alike.children,
                array_fill((9 - alike.means)::smallint, ARRAY[cardinality(alike.children)]),
                NULL, NULL, NULL, p_now_ms);
            IF buried IS NOT NULL THEN
                INSERT INTO job_todo SELECT b, 0 FROM unnest(buried) b ON CONFLICT DO NOTHING;
                remain := true;
            END IF;
        END IF;
    END LOOP;
END
$$;

-- One transaction of what others left: at most `p_limit` edges, wave after wave, so that parents
-- that ended together are judged together. 0: there is nothing, or somebody else is at it.
CREATE FUNCTION jobs_release(p_limit integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := jobs_now_ms();
    wave bigint[];
    step record;
    carried integer := 0;
    locked bigint := 0;
BEGIN
    WHILE carried < p_limit LOOP
        SELECT array_agg(w.job_id) INTO wave FROM (
            SELECT t.job_id FROM job_todo t WHERE t.what = 0
                ORDER BY t.job_id LIMIT 1000 FOR UPDATE SKIP LOCKED
        ) w;
        EXIT WHEN wave IS NULL;
        SELECT * INTO step FROM jobs_carry(wave, p_limit - carried, locked, now_ms);
        EXIT WHEN step.highest IS NOT NULL AND step.carried = 0;
        locked := coalesce(step.highest, locked);
        carried := carried + greatest(1, step.carried);
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
