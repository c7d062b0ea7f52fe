-- Jobs, version 1: workers that are no more.

-- Takes up to `p_limit` jobs from a worker whose beats still stand where an observer, by a clock of
-- its own, saw them stand for too long. No clock is asked here, and no lock of the worker's is
-- waited for: what somebody ends in an open transaction, be its process dead or stopped, is left
-- for later, together with the other jobs of that claim.
CREATE FUNCTION jobs_rescue(
    p_worker bigint, p_beats bigint, p_limit integer, p_error text,
    OUT requeued integer, OUT buried integer, OUT retired boolean, OUT alive boolean,
    OUT unfinished boolean
) LANGUAGE plpgsql AS $$
BEGIN
    requeued := 0;
    buried := 0;
    alive := false;
    retired := false;
    unfinished := false;
    -- W1, W5: waits for nobody. A claim or a beat under way is a sign of life.
    PERFORM FROM job_worker w
        WHERE w.worker_id = p_worker AND w.retired_ms IS NULL AND w.beats = p_beats
        FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        SELECT count(*) = 0 INTO retired FROM job_worker w
            WHERE w.worker_id = p_worker AND w.retired_ms IS NULL;
        SELECT count(*) > 0 INTO alive FROM job_worker w
            WHERE w.worker_id = p_worker AND w.retired_ms IS NULL AND w.beats <> p_beats;
        RETURN;
    END IF;
    -- A new statement: it sees every claim that was committed before the lock was ours.
    SELECT * INTO requeued, buried, unfinished
        FROM jobs_take_back(p_worker, p_limit, 5::smallint, p_error);
    IF NOT EXISTS (SELECT FROM job_claim c WHERE c.worker_id = p_worker) THEN
        UPDATE job_worker w SET retired_ms = jobs_now_ms() WHERE w.worker_id = p_worker;
        retired := true;
    END IF;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off;

-- Ends a registration; what it holds is handed back. False: there was none.
CREATE FUNCTION jobs_deregister(p_worker bigint, OUT was boolean, OUT unfinished boolean)
LANGUAGE plpgsql AS $$
BEGIN
    unfinished := false;
    PERFORM FROM job_worker w WHERE w.worker_id = p_worker AND w.retired_ms IS NULL FOR UPDATE;
    was := FOUND;
    IF was THEN
        -- Those that others have locked are ended by their owner or cancelled: wait for them.
        LOOP
            PERFORM FROM job j
                WHERE j.job_id = ANY (ARRAY(
                        SELECT unnest(c.jobs) FROM job_claim c WHERE c.worker_id = p_worker))
                    AND j.worker_id = p_worker
                ORDER BY j.job_id FOR NO KEY UPDATE;
            EXIT WHEN NOT FOUND;
            -- What is passed over there: somebody may be ending another job of the same claim.
            PERFORM FROM job_claim c WHERE c.worker_id = p_worker
                ORDER BY c.epoch FOR NO KEY UPDATE;
            SELECT t.unfinished OR jobs_deregister.unfinished INTO unfinished
                FROM jobs_take_back(p_worker, 1000000000, 4::smallint, NULL) t;
        END LOOP;
        -- What is left has a wrong count, and no job.
        DELETE FROM job_claim c WHERE c.worker_id = p_worker;
        DELETE FROM job_receipt r WHERE r.worker_id = p_worker;
        DELETE FROM job_worker w WHERE w.worker_id = p_worker;
    END IF;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off;

-- Takes jobs from a worker whose row the caller has locked: lost (5) or handed back (4). Claims that
-- somebody has locked are passed over as a whole, since each job that is taken is to leave its own.
CREATE FUNCTION jobs_take_back(
    p_worker bigint, p_limit integer, p_ended smallint, p_error text,
    OUT requeued integer, OUT buried integer, OUT unfinished boolean
) LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := jobs_now_ms();
    claims bigint[];
    ids bigint[];
    epochs bigint[];
    back bigint[];
    ending bigint[];
    goes smallint[];
    ends smallint[];
    texts text[];
    uppers bigint[];
    noted boolean;
BEGIN
    unfinished := false;
    claims := ARRAY(
        SELECT c.epoch FROM job_claim c WHERE c.worker_id = p_worker
            ORDER BY c.epoch FOR NO KEY UPDATE SKIP LOCKED);
    SELECT array_agg(m.job_id), array_agg(m.epoch), bool_or(m.history),
        array_agg(m.job_id) FILTER (WHERE m.goes = 3),
        array_agg(m.job_id) FILTER (WHERE m.goes <> 3),
        array_agg(m.goes) FILTER (WHERE m.goes <> 3),
        coalesce(count(*) FILTER (WHERE m.goes <> 6), 0),
        coalesce(count(*) FILTER (WHERE m.goes = 6), 0)
        INTO ids, epochs, noted, back, ending, goes, requeued, buried
        FROM (
            SELECT j.job_id, j.epoch, j.history, CASE
                    WHEN p_ended = 5 AND j.crashes + 1 >= j.max_crashes THEN 6
                    WHEN j.cancel_requested THEN 7
                    ELSE 3
                END::smallint AS goes
                FROM job j
                WHERE j.job_id = ANY (ARRAY(
                        SELECT unnest(c.jobs) FROM job_claim c WHERE c.epoch = ANY (claims)))
                    AND j.worker_id = p_worker AND j.epoch = ANY (claims)
                ORDER BY j.job_id LIMIT p_limit
                FOR NO KEY UPDATE SKIP LOCKED
        ) m;
    IF ids IS NULL THEN
        RETURN;
    END IF;
    ends := array_fill(p_ended, ARRAY[cardinality(ids)]);
    texts := array_fill(p_error, ARRAY[cardinality(ids)]);
    IF noted THEN
        PERFORM jobs_note_executions(p_worker, ids, ids, ends, NULL, now_ms);
    END IF;
    IF back IS NOT NULL THEN
        PERFORM jobs_requeue(back, ids, ends, NULL, NULL, now_ms);
    END IF;
    IF ending IS NOT NULL THEN
        uppers := jobs_bury(ending, goes, ids, ends, texts, now_ms);
    END IF;
    PERFORM jobs_give_back(epochs);
    IF uppers IS NOT NULL THEN
        unfinished := jobs_carry_inline(uppers, ids[cardinality(ids)], now_ms);
    END IF;
END
$$;
