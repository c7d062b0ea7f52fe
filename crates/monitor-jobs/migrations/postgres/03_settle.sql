-- Jobs, version 1: how attempts end.
--
-- Rows are looked up by `= ANY (array)` and what belongs to a row by `width_bucket(id, array)`, its
-- place in an ascending array: never by a join, which the planner might turn round while a table
-- is small, and keep so when it is not.

-- Ends attempts, each by itself. Arrays of the same length, no job twice, in ascending order of the
-- jobs; `ends` as in End; `waits`: milliseconds until it may run again, negative for never; `texts`:
-- error or result; `p_forget`: what completes and is no parent leaves no row, nor do its attempts.
-- Answers: 0 done, 1 already, 2 stale. `unfinished`: the ends of some are still to be carried along
-- their edges, which job_todo remembers. `woken`: something else may be ready now.
CREATE FUNCTION jobs_settle(
    p_worker bigint, p_jobs bigint[], p_epochs bigint[], p_ends smallint[], p_waits bigint[],
    p_texts text[], p_forget boolean, OUT answers smallint[], OUT unfinished boolean,
    OUT woken boolean
) LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := jobs_now_ms();
    ids bigint[];
    epochs bigint[];
    back bigint[];
    ending bigint[];
    goes smallint[];
    vanishing tid[];
    vanished bigint[];
    vanished_epochs bigint[];
    uppers bigint[];
    noted bigint[];
BEGIN
    unfinished := false;
    woken := false;
    -- INV-JOBS-1: who may end what. The guards are judged on the row as it is when its lock is ours.
    SELECT array_agg(m.job_id), array_agg(m.epoch),
        array_agg(m.job_id) FILTER (WHERE m.history AND m.stays),
        array_agg(m.job_id) FILTER (WHERE m.goes = 3),
        array_agg(m.job_id) FILTER (WHERE m.goes >= 5 AND m.stays),
        array_agg(m.goes) FILTER (WHERE m.goes >= 5 AND m.stays),
        array_agg(m.place) FILTER (WHERE NOT m.stays)
        INTO ids, epochs, noted, back, ending, goes, vanishing
        FROM (
            SELECT j.place, j.job_id, j.epoch, j.history, u.goes,
                NOT p_forget OR u.goes <> 5 OR j.outdeg > 0 AS stays
                FROM (
                    SELECT l.ctid AS place, l.* FROM job l
                        WHERE l.job_id = ANY (p_jobs)
                            AND l.epoch = p_epochs[width_bucket(l.job_id, p_jobs)]
                            AND l.worker_id = p_worker
                        ORDER BY l.job_id
                        FOR NO KEY UPDATE
                ) j
                CROSS JOIN LATERAL (
                    SELECT p_ends[width_bucket(j.job_id, p_jobs)] AS ended,
                        p_waits[width_bucket(j.job_id, p_jobs)] AS wait
                ) i
                CROSS JOIN LATERAL (
                    SELECT CASE
                        WHEN i.ended = 0 THEN 5
                        WHEN i.ended = 3 THEN 7
                        WHEN i.ended = 1 AND (i.wait < 0 OR j.attempt >= j.max_attempts) THEN 6
                        WHEN j.cancel_requested THEN 7
                        ELSE 3
                    END::smallint AS goes
                ) u
        ) m;
    IF ids IS NOT NULL THEN
        IF noted IS NOT NULL THEN
            PERFORM jobs_note_executions(p_worker, noted, p_jobs, p_ends, p_texts, now_ms);
        END IF;
        IF back IS NOT NULL THEN
            woken := true;
            PERFORM jobs_requeue(back, p_jobs, p_ends, p_waits, p_texts, now_ms);
        END IF;
        IF vanishing IS NOT NULL THEN
            WITH gone AS (
                DELETE FROM job j WHERE j.ctid = ANY (vanishing)
                    RETURNING j.job_id, j.epoch, j.unique_key
            ), freed AS (
                DELETE FROM job_unique u
                    WHERE u.key = ANY (ARRAY(
                            SELECT g.unique_key FROM gone g WHERE g.unique_key IS NOT NULL))
                        AND u.job_id = ids[width_bucket(u.job_id, ids)]
            ), forgotten AS (
                DELETE FROM job_execution x
                    WHERE x.job_id = ANY (ARRAY(SELECT g.job_id FROM gone g))
            )
            SELECT array_agg(g.job_id), array_agg(g.epoch) INTO vanished, vanished_epochs
                FROM gone g;
            INSERT INTO job_receipt VALUES
                (p_worker, nextval('job_receipt_seq') % 64, now_ms, vanished, vanished_epochs)
                ON CONFLICT (worker_id, slot) DO UPDATE
                    SET at_ms = excluded.at_ms, jobs = excluded.jobs, epochs = excluded.epochs;
        END IF;
        IF ending IS NOT NULL THEN
            uppers := jobs_bury(ending, goes, p_jobs, p_ends, p_texts, now_ms);
        END IF;
        PERFORM jobs_give_back(epochs);
        IF uppers IS NOT NULL THEN
            woken := true;
            unfinished := jobs_carry_inline(uppers, ids[cardinality(ids)], now_ms);
        END IF;
    END IF;
    answers := array_fill(0::smallint, ARRAY[cardinality(p_jobs)]);
    IF coalesce(cardinality(ids), 0) < cardinality(p_jobs) THEN
        answers := jobs_answers(p_worker, p_jobs, p_epochs, p_ends, coalesce(ids, '{}'));
    END IF;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off;

-- Moves jobs that have ended as `p_goes`, both in ascending order of the jobs, and says which of
-- them are parents. The caller has locked them. `p_jobs`, `p_ends` and `p_texts` say how, each at
-- the place of the job; NULL: by an edge, or by request.
CREATE FUNCTION jobs_bury(
    p_ids bigint[], p_goes smallint[], p_jobs bigint[], p_ends smallint[], p_texts text[],
    p_now_ms bigint
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    uppers bigint[];
BEGIN
    WITH gone AS (
        DELETE FROM job j WHERE j.job_id = ANY (p_ids)
            RETURNING j.*, p_goes[width_bucket(j.job_id, p_ids)] AS goes,
                p_ends[width_bucket(j.job_id, p_jobs)] AS ended,
                p_texts[width_bucket(j.job_id, p_jobs)] AS words
    ), freed AS (
        DELETE FROM job_unique u
            WHERE u.key = ANY (ARRAY(
                    SELECT g.unique_key FROM gone g WHERE g.unique_key IS NOT NULL))
                AND u.job_id = p_ids[width_bucket(u.job_id, p_ids)]
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
    SELECT array_agg(g.job_id ORDER BY g.job_id) INTO uppers FROM gone g WHERE g.outdeg > 0;
    RETURN uppers;
END
$$;

-- Puts jobs back whose attempt has ended and which have not. The caller has locked them.
CREATE FUNCTION jobs_requeue(
    p_ids bigint[], p_jobs bigint[], p_ends smallint[], p_waits bigint[], p_texts text[],
    p_now_ms bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE job j
        SET state = CASE
                WHEN r.ended IN (1, 2) THEN 2 + (r.wait <= 0)::integer
                ELSE 2 + (j.run_at_ms <= p_now_ms)::integer
            END,
            run_at_ms = CASE WHEN r.ended IN (1, 2) THEN p_now_ms + r.wait ELSE j.run_at_ms END,
            attempt = j.attempt - (r.ended <> 1)::integer,
            crashes = j.crashes + (r.ended = 5)::integer,
            last_end = r.ended, worker_id = NULL, cancel_requested = false,
            last_error = CASE WHEN r.ended = 1 THEN r.words ELSE j.last_error END
        FROM (
            SELECT l.ctid AS at, p_ends[width_bucket(l.job_id, p_jobs)] AS ended,
                greatest(p_waits[width_bucket(l.job_id, p_jobs)], 0) AS wait,
                p_texts[width_bucket(l.job_id, p_jobs)] AS words
                FROM job l WHERE l.job_id = ANY (p_ids) OFFSET 0
        ) r
        WHERE j.ctid = r.at;
END
$$;

-- Writes down attempts that end now, where they are kept. The caller has locked the jobs.
CREATE FUNCTION jobs_note_executions(
    p_worker bigint, p_ids bigint[], p_jobs bigint[], p_ends smallint[], p_texts text[],
    p_now_ms bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_execution
        SELECT j.job_id, j.epoch, p_worker, j.started_ms, p_now_ms, j.attempt, i.ended,
            (SELECT w.name FROM job_worker w WHERE w.worker_id = p_worker),
            CASE WHEN i.ended = 1 THEN p_texts[width_bucket(j.job_id, p_jobs)] END
            FROM job j
            CROSS JOIN LATERAL (
                SELECT p_ends[width_bucket(j.job_id, p_jobs)] AS ended
            ) i
            WHERE j.job_id = ANY (p_ids) AND j.history;
END
$$;

-- One of these epochs each is held no more.
CREATE FUNCTION jobs_give_back(p_epochs bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    claims bigint[];
    counts bigint[];
    done integer;
BEGIN
    SELECT array_agg(b.epoch ORDER BY b.epoch), array_agg(b.n ORDER BY b.epoch) INTO claims, counts
        FROM (SELECT e, count(*) FROM unnest(p_epochs) e GROUP BY e) b(epoch, n);
    IF cardinality(claims) > 1 THEN
        PERFORM FROM job_claim c WHERE c.epoch = ANY (claims) ORDER BY c.epoch FOR NO KEY UPDATE;
    END IF;
    -- All of a claim at once is the rule.
    DELETE FROM job_claim c
        WHERE c.epoch = ANY (claims) AND c.remaining = counts[width_bucket(c.epoch, claims)];
    GET DIAGNOSTICS done = ROW_COUNT;
    IF done < cardinality(claims) THEN
        UPDATE job_claim c SET remaining = c.remaining - counts[width_bucket(c.epoch, claims)]
            WHERE c.epoch = ANY (claims);
        DELETE FROM job_claim c WHERE c.epoch = ANY (claims) AND c.remaining = 0;
    END IF;
END
$$;

-- What to say of ends that changed nothing: already (1) if the last attempt ended so, else stale.
CREATE FUNCTION jobs_answers(
    p_worker bigint, p_jobs bigint[], p_epochs bigint[], p_ends smallint[], p_done bigint[]
) RETURNS smallint[] LANGUAGE plpgsql AS $$
BEGIN
    RETURN (
        SELECT array_agg(CASE
                WHEN i.job_id = ANY (p_done) THEN 0
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
    );
END
$$;

-- Locks a held job against rescue until the end of the transaction, and names its holder.
CREATE FUNCTION jobs_fence(p_job bigint, p_epoch bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT j.worker_id FROM job j
        WHERE j.job_id = p_job AND j.epoch = p_epoch AND j.state = 4
        FOR NO KEY UPDATE
$$;

-- What the owner of a job says while it runs. False: it is not the owner's any more.
CREATE FUNCTION jobs_progress(p_job bigint, p_epoch bigint, p_percent smallint, p_text text)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE job j SET progress = p_percent, progress_text = p_text
        WHERE j.job_id = p_job AND j.epoch = p_epoch AND j.state = 4;
    RETURN FOUND;
END
$$ SET enable_seqscan = off;
