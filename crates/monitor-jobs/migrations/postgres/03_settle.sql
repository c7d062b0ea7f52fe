-- Jobs, version 1: how attempts end.

-- Ends attempts, each by itself. Arrays of the same length, no job twice, in ascending order of the
-- jobs; `ends` as in End; `waits`: milliseconds until it may run again, NULL for never; `texts`:
-- error or result; `p_forget`: what completes and is no parent leaves no row. Answers: 0 done, 1 already, 2 stale. `unfinished`: the ends of some are still to
-- be carried along their edges, which job_todo remembers. `woken`: something else may be ready now.
CREATE FUNCTION jobs_settle(
    p_worker bigint, p_jobs bigint[], p_epochs bigint[], p_ends smallint[], p_waits bigint[],
    p_texts text[], p_forget boolean, OUT answers smallint[],
    OUT unfinished boolean, OUT woken boolean
) LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := jobs_now_ms();
    places integer[];
    ids bigint[];
    epochs bigint[];
    goes smallint[];
    kept boolean[];
    noted boolean;
    vanishing bigint[];
    vanished bigint[];
    vanished_epochs bigint[];
    parents bigint[];
BEGIN
    unfinished := false;
    woken := false;
    -- INV-JOBS-1: who may end what. The guards are judged on the row as it is when its lock is ours.
    SELECT array_agg(m.place), array_agg(m.job_id), array_agg(m.epoch), array_agg(m.goes),
        array_agg(NOT p_forget OR m.goes <> 5 OR m.outdeg > 0), bool_or(m.history)
        INTO places, ids, epochs, goes, kept, noted
        FROM (
            SELECT i.place::integer AS place, j.job_id, j.epoch, j.outdeg, j.history,
                CASE
                    WHEN i.ended = 0 THEN 5
                    WHEN i.ended = 3 THEN 7
                    WHEN i.ended = 1 AND (i.wait IS NULL OR j.attempt >= j.max_attempts) THEN 6
                    WHEN j.cancel_requested THEN 7
                    ELSE 3
                END::smallint AS goes
                FROM unnest(p_jobs, p_epochs, p_ends, p_waits)
                    WITH ORDINALITY i(job_id, epoch, ended, wait, place)
                JOIN job j ON j.job_id = i.job_id
                WHERE j.epoch = i.epoch AND j.worker_id = p_worker AND j.state = 4
                ORDER BY j.job_id
                FOR NO KEY UPDATE OF j
        ) m;
    IF ids IS NOT NULL THEN
        IF noted THEN
            PERFORM jobs_note_executions(places, ids, p_ends, p_texts, now_ms);
        END IF;
        IF 3 = ANY (goes) THEN
            woken := true;
            PERFORM jobs_requeue(places, ids, goes, p_ends, p_waits, p_texts, now_ms);
        END IF;
        SELECT array_agg(u.id) INTO vanishing FROM unnest(ids, kept) u(id, stays) WHERE NOT u.stays;
        IF vanishing IS NOT NULL THEN
            WITH gone AS (
                DELETE FROM job j WHERE j.job_id = ANY (vanishing)
                    RETURNING j.job_id, j.epoch, j.unique_key
            ), freed AS (
                DELETE FROM job_unique u USING gone g WHERE u.key = g.unique_key
            )
            SELECT array_agg(g.job_id), array_agg(g.epoch) INTO vanished, vanished_epochs
                FROM gone g;
            INSERT INTO job_receipt VALUES
                (p_worker, nextval('job_receipt_seq') % 64, now_ms, vanished, vanished_epochs)
                ON CONFLICT (worker_id, slot) DO UPDATE
                    SET at_ms = excluded.at_ms, jobs = excluded.jobs, epochs = excluded.epochs;
        END IF;
        IF EXISTS (SELECT FROM unnest(goes, kept) u(goes, stays) WHERE u.stays AND u.goes >= 5) THEN
            parents := jobs_bury(places, ids, goes, kept, p_ends, p_texts, now_ms);
        END IF;
        PERFORM jobs_give_back(epochs);
        IF parents IS NOT NULL THEN
            woken := true;
            unfinished := jobs_carry_inline(parents, ids[cardinality(ids)], now_ms);
        END IF;
    END IF;
    answers := array_fill(0::smallint, ARRAY[cardinality(p_jobs)]);
    IF coalesce(cardinality(ids), 0) < cardinality(p_jobs) THEN
        answers := jobs_answers(p_worker, p_jobs, p_epochs, p_ends, coalesce(places, '{}'));
    END IF;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off;

-- Moves jobs that have ended, and says which of them are parents. The caller has locked them.
-- `goes` where `kept`; places lead into `ends` and `texts`, or are NULL for an end by an edge.
CREATE FUNCTION jobs_bury(
    p_places integer[], p_ids bigint[], p_goes smallint[], p_kept boolean[], p_ends smallint[],
    p_texts text[], p_now_ms bigint
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    parents bigint[];
BEGIN
    WITH why AS MATERIALIZED (
        SELECT u.id, u.goes, p_ends[u.place] AS ended, p_texts[u.place] AS words
            FROM unnest(p_places, p_ids, p_goes, p_kept) u(place, id, goes, kept)
            WHERE u.kept AND u.goes >= 5
    ), gone AS (
        DELETE FROM job j USING why WHERE j.job_id = why.id
            RETURNING j.*, why.goes, why.ended, why.words
    ), freed AS (
        DELETE FROM job_unique u USING gone g WHERE u.key = g.unique_key
    ), buried AS (
        INSERT INTO job_ended (
            job_id, sort_key, anchor_ms, step_ms, run_at_ms, enqueued_ms, epoch, worker_id,
            started_ms, timeout_ms, queue_id, pending, holds, outdeg, state, priority, base,
            effective, attempt, max_attempts, crashes, max_crashes, last_end, progress, inherits,
            history, cancel_requested, kind, payload, tenant, unique_key, parents, rules,
            progress_text, last_error, result, ended_ms)
        SELECT g.job_id, g.sort_key, g.anchor_ms, g.step_ms, g.run_at_ms, g.enqueued_ms, g.epoch,
            g.worker_id, g.started_ms, g.timeout_ms, g.queue_id, g.pending, g.holds, g.outdeg,
            g.goes, g.priority, g.base, g.effective,
            g.attempt - (coalesce(g.ended, 0) IN (2, 4, 5))::integer, g.max_attempts,
            g.crashes + (coalesce(g.ended, 0) = 5)::integer, g.max_crashes,
            coalesce(g.ended, g.last_end), g.progress, g.inherits,
            g.history, false, g.kind, g.payload, g.tenant, g.unique_key, g.parents, g.rules,
            g.progress_text,
            CASE
                WHEN g.ended = 1 OR g.ended = 5 AND g.goes = 6 THEN g.words
                WHEN g.ended IS NULL AND g.goes = 6
                    THEN 'a parent ended otherwise than the job needs'
                ELSE g.last_error
            END,
            CASE WHEN g.ended = 0 THEN g.words ELSE g.result END,
            p_now_ms
            FROM gone g
    )
    SELECT array_agg(g.job_id ORDER BY g.job_id) INTO parents FROM gone g WHERE g.outdeg > 0;
    RETURN parents;
END
$$;

-- Puts jobs back whose attempt has ended and which have not.
CREATE FUNCTION jobs_requeue(
    p_places integer[], p_ids bigint[], p_goes smallint[], p_ends smallint[], p_waits bigint[],
    p_texts text[], p_now_ms bigint
) RETURNS void LANGUAGE sql AS $$
    UPDATE job j
        SET state = CASE
                WHEN r.ended NOT IN (1, 2) THEN (2 + (j.run_at_ms <= p_now_ms)::integer)::smallint
                ELSE (2 + (r.wait <= 0)::integer)::smallint
            END,
            run_at_ms = CASE WHEN r.ended IN (1, 2) THEN p_now_ms + r.wait ELSE j.run_at_ms END,
            attempt = j.attempt - (r.ended <> 1)::integer,
            crashes = j.crashes + (r.ended = 5)::integer,
            last_end = r.ended, worker_id = NULL, cancel_requested = false,
            last_error = CASE WHEN r.ended = 1 THEN r.words ELSE j.last_error END
        FROM (
            SELECT u.id, p_ends[u.place] AS ended, p_waits[u.place] AS wait,
                p_texts[u.place] AS words
                FROM unnest(p_places, p_ids, p_goes) u(place, id, goes) WHERE u.goes = 3
        ) r
        WHERE j.job_id = r.id
$$;

-- Writes down attempts that end now, where they are kept. The caller has locked the jobs.
CREATE FUNCTION jobs_note_executions(
    p_places integer[], p_ids bigint[], p_ends smallint[], p_texts text[], p_now_ms bigint
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO job_execution
        SELECT j.job_id, j.epoch, j.worker_id, j.started_ms, p_now_ms, j.attempt,
            p_ends[u.place], w.name, CASE WHEN p_ends[u.place] = 1 THEN p_texts[u.place] END
            FROM unnest(p_places, p_ids) u(place, id)
            JOIN job j ON j.job_id = u.id
            JOIN job_worker w ON w.worker_id = j.worker_id
            WHERE j.history
$$;

-- One of these epochs each is held no more.
CREATE FUNCTION jobs_give_back(p_epochs bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    claims integer;
    done integer;
BEGIN
    PERFORM FROM job_claim c WHERE c.epoch = ANY (p_epochs) ORDER BY c.epoch FOR NO KEY UPDATE;
    GET DIAGNOSTICS claims = ROW_COUNT;
    -- All of a claim at once is the rule.
    DELETE FROM job_claim c
        USING (SELECT e.epoch, count(*) AS n FROM unnest(p_epochs) e(epoch) GROUP BY e.epoch) back
        WHERE c.epoch = back.epoch AND c.remaining = back.n;
    GET DIAGNOSTICS done = ROW_COUNT;
    IF done < claims THEN
        UPDATE job_claim c SET remaining = c.remaining - back.n
            FROM (SELECT e.epoch, count(*) AS n FROM unnest(p_epochs) e(epoch) GROUP BY e.epoch) back
            WHERE c.epoch = back.epoch;
    END IF;
END
$$;

-- What to say of ends that changed nothing: already (1) if the last attempt ended so, else stale.
CREATE FUNCTION jobs_answers(
    p_worker bigint, p_jobs bigint[], p_epochs bigint[], p_ends smallint[], p_done integer[]
) RETURNS smallint[] LANGUAGE sql AS $$
    SELECT array_agg(CASE
            WHEN i.place = ANY (p_done) THEN 0
            WHEN EXISTS (
                SELECT FROM job j WHERE j.job_id = i.job_id AND j.epoch = i.epoch
                    AND j.state <> 4 AND j.last_end = i.ended
            ) OR EXISTS (
                SELECT FROM job_ended j WHERE j.job_id = i.job_id AND j.epoch = i.epoch
                    AND j.last_end = i.ended
            ) OR i.ended = 0 AND EXISTS (
                SELECT FROM job_receipt r, unnest(r.jobs, r.epochs) e(job_id, epoch)
                    WHERE r.worker_id = p_worker AND e.job_id = i.job_id AND e.epoch = i.epoch
            ) THEN 1
            ELSE 2
        END::smallint ORDER BY i.place)
        FROM unnest(p_jobs, p_epochs, p_ends) WITH ORDINALITY i(job_id, epoch, ended, place)
$$;

-- Locks a held job against rescue until the end of the transaction, and names its holder.
CREATE FUNCTION jobs_fence(p_job bigint, p_epoch bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT j.worker_id FROM job j
        WHERE j.job_id = p_job AND j.epoch = p_epoch AND j.state = 4
        FOR NO KEY UPDATE
$$;
