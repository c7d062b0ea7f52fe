-- Jobs, version 1: workers that are no more.

-- Takes up to `p_limit` jobs from a worker whose beats still stand where an observer, by a clock of
-- its own, saw them stand for too long. No clock is asked here.
CREATE FUNCTION jobs_rescue(
    p_worker bigint, p_beats bigint, p_limit integer, p_error text,
    OUT requeued integer, OUT buried integer, OUT retired boolean, OUT alive boolean,
    OUT unfinished boolean
) LANGUAGE plpgsql AS $$
DECLARE
    ids bigint[];
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
        WHILE EXISTS (SELECT FROM job_claim c WHERE c.worker_id = p_worker) LOOP
            PERFORM FROM job_claim c CROSS JOIN unnest(c.jobs) u(id)
                JOIN job j ON j.job_id = u.id AND j.epoch = c.epoch AND j.state = 4
                WHERE c.worker_id = p_worker ORDER BY j.job_id FOR NO KEY UPDATE OF j;
            SELECT t.unfinished OR jobs_deregister.unfinished INTO unfinished
                FROM jobs_take_back(p_worker, 1000000000, 4::smallint, NULL) t;
        END LOOP;
        DELETE FROM job_worker w WHERE w.worker_id = p_worker;
    END IF;
END
$$ SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off;

-- Takes jobs from a worker whose row the caller has locked: lost (5) or handed back (4).
CREATE FUNCTION jobs_take_back(
    p_worker bigint, p_limit integer, p_ended smallint, p_error text,
    OUT requeued integer, OUT buried integer, OUT unfinished boolean
) LANGUAGE plpgsql AS $$
DECLARE
    now_ms bigint := jobs_now_ms();
    places integer[];
    ids bigint[];
    epochs bigint[];
    goes smallint[];
    ends smallint[];
    texts text[];
    parents bigint[];
BEGIN
    unfinished := false;
    SELECT array_agg(m.job_id), array_agg(m.epoch), array_agg(m.goes),
        coalesce(count(*) FILTER (WHERE m.goes <> 6), 0),
        coalesce(count(*) FILTER (WHERE m.goes = 6), 0)
        INTO ids, epochs, goes, requeued, buried
        FROM (
            SELECT j.job_id, j.epoch, CASE
                    WHEN p_ended = 5 AND j.crashes + 1 >= j.max_crashes THEN 6
                    WHEN j.cancel_requested THEN 7
                    ELSE 3
                END::smallint AS goes
                FROM job_claim c CROSS JOIN unnest(c.jobs) u(id)
                JOIN job j ON j.job_id = u.id
                WHERE c.worker_id = p_worker AND j.epoch = c.epoch AND j.state = 4
                ORDER BY j.job_id LIMIT p_limit
                FOR NO KEY UPDATE OF j SKIP LOCKED
        ) m;
    IF ids IS NULL THEN
        RETURN;
    END IF;
    places := ARRAY(SELECT generate_series(1, cardinality(ids)));
    ends := array_fill(p_ended, ARRAY[cardinality(ids)]);
    texts := array_fill(p_error, ARRAY[cardinality(ids)]);
    PERFORM jobs_note_executions(places, ids, ends, NULL, now_ms);
    PERFORM jobs_requeue(places, ids, goes, ends, NULL, texts, now_ms);
    parents := jobs_bury(
        places, ids, goes, array_fill(true, ARRAY[cardinality(ids)]), ends, texts, now_ms);
    PERFORM jobs_give_back(epochs);
    IF parents IS NOT NULL THEN
        unfinished := jobs_carry_inline(parents, ids[cardinality(ids)], now_ms);
    END IF;
END
$$;
