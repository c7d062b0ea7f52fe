-- Jobs, version 1: the tables. Narrow and short-lived rows in `job`, what has ended in `job_ended`.
--
-- Codes of states and ends are those of JobState and End in the crate. Times are unix milliseconds
-- by the clock of the database. Texts that are keys are sorted by their bytes, as in the crate,
-- whatever the collation of the database.
--
-- Until the first release version 1 is edited in place. What these files say is remembered by a
-- fingerprint, the comment of `job`: a schema that was made before an edit is refused when it is
-- opened, and not brought up to date.
--
-- No foreign key points to `job`: its rows leave by the thousand, and each departure would look
-- through every table that points there. What such a key would keep is kept by the locks that each
-- function takes: of these as many as it needs, in this order, and several of one kind in ascending
-- order.
--
--   1. a tick; queues that are new; the advisory lock of a queue whose order is fair, or of a
--      worker that claims; unique keys that are wanted
--   2. the worker, to give it up or to end it
--   3. todos
--   4. jobs; then jobs that have ended
--   5. what belongs to those jobs: the unique keys of those that end, a slot of the receipts of
--      their worker, their claims
--   6. children of those that end, as far as they are above every job in 4; others by way of a todo
--
-- Some wait for nobody and pass over what is locked: a claim jobs, a rescue the worker, its claims
-- (which it takes before jobs) and jobs, a release todos, whoever carries an end along children
-- that have ended, a pruning whatever is old.

CREATE SEQUENCE job_id_seq AS bigint;

-- The number of a claim is the epoch of all its jobs.
CREATE SEQUENCE job_epoch_seq AS bigint;

-- Tests put another clock in its place.
CREATE FUNCTION jobs_now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;

CREATE TABLE job_queue (
    queue_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    paused boolean NOT NULL DEFAULT false
);

-- A registration. `beats`, `seen_ms` and whatever else a beat writes stay out of every index, so
-- that a beat is a HOT update.
CREATE TABLE job_worker (
    worker_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    queues integer[] NOT NULL,
    capacity integer NOT NULL CHECK (capacity > 0),
    lease_ms bigint NOT NULL,
    registered_ms bigint NOT NULL,
    seen_ms bigint NOT NULL,
    beats bigint NOT NULL DEFAULT 0,
    draining boolean NOT NULL DEFAULT false,
    health smallint NOT NULL DEFAULT 0,
    -- When a rescue gave it up; it never comes back.
    retired_ms bigint
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 200);

-- Workers that ever got a job. Apart, so that not even the first claim stands in a beat's way.
CREATE TABLE job_claimant (
    worker_id bigint PRIMARY KEY REFERENCES job_worker ON DELETE CASCADE
);

-- A claim: the lease of all its jobs, as long as one of them is held. `jobs` says where to look for
-- them and is no authority: that is `job.epoch`.
CREATE TABLE job_claim (
    epoch bigint PRIMARY KEY,
    worker_id bigint NOT NULL REFERENCES job_worker,
    remaining integer NOT NULL CHECK (remaining >= 0),
    jobs bigint[] NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);
ALTER TABLE job_claim ALTER COLUMN jobs SET STORAGE EXTERNAL;
CREATE INDEX job_claim_worker ON job_claim (worker_id);

CREATE TABLE job (
    job_id bigint PRIMARY KEY,
    sort_key bigint NOT NULL,
    anchor_ms bigint NOT NULL,
    step_ms bigint NOT NULL,
    run_at_ms bigint NOT NULL,
    enqueued_ms bigint NOT NULL,
    -- INV-JOBS-1: the claim that holds it, or held it last. Whatever an owner changes says in the
    -- WHERE of this row which epoch it owns.
    epoch bigint,
    worker_id bigint,
    started_ms bigint,
    timeout_ms bigint,
    queue_id integer NOT NULL,
    -- INV-JOBS-4: edges to parents that are still open, and edges that hold it.
    pending integer NOT NULL CHECK (pending >= 0),
    holds integer NOT NULL CHECK (holds >= 0),
    -- Edges to children, ever: only their inserter raises it, under the lock of this row.
    outdeg integer NOT NULL DEFAULT 0,
    state smallint NOT NULL,
    priority smallint NOT NULL,
    base smallint NOT NULL,
    effective smallint NOT NULL,
    attempt smallint NOT NULL DEFAULT 0,
    max_attempts smallint NOT NULL,
    crashes smallint NOT NULL DEFAULT 0,
    max_crashes smallint NOT NULL,
    -- How the last attempt ended; none while one runs.
    last_end smallint,
    progress smallint,
    inherits boolean NOT NULL,
    history boolean NOT NULL DEFAULT true,
    cancel_requested boolean NOT NULL DEFAULT false,
    kind text NOT NULL,
    payload text NOT NULL,
    tenant text,
    unique_key text,
    -- What it was put in with: parents in ascending id and, at the same places, from the lowest bit
    -- two of unmet, two of on, and the verdicts of job_edge.
    parents bigint[],
    rules smallint[],
    progress_text text,
    last_error text,
    result text,
    -- Who holds it: nobody, unless it runs.
    CHECK ((state = 4) = (worker_id IS NOT NULL)),
    CHECK ((state = 0) = (pending > 0 AND holds = 0) OR state > 3),
    CHECK ((state = 1) = (holds > 0) OR state > 3)
) WITH (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_limit = 2000,
    autovacuum_analyze_scale_factor = 0.2
);
CREATE INDEX job_ready ON job (queue_id, sort_key, job_id) WHERE state = 3;
CREATE INDEX job_scheduled ON job (queue_id, run_at_ms) WHERE state = 2;
CREATE INDEX job_to_cancel ON job (worker_id) WHERE cancel_requested AND state = 4;

CREATE TABLE job_ended (LIKE job, ended_ms bigint NOT NULL, PRIMARY KEY (job_id));
CREATE INDEX job_ended_at ON job_ended (ended_ms, job_id);

-- An attempt that has ended. Append-only, and without a key to the worker: to prune workers never
-- looks through the history.
CREATE TABLE job_execution (
    job_id bigint NOT NULL,
    epoch bigint NOT NULL,
    worker_id bigint NOT NULL,
    started_ms bigint NOT NULL,
    ended_ms bigint NOT NULL,
    attempt smallint NOT NULL,
    outcome smallint NOT NULL,
    worker_name text NOT NULL,
    error text,
    PRIMARY KEY (job_id, epoch)
);

-- An edge that is not met: open (0), or holding its child (2). Met (1) only where a parent was
-- retried. Inserted together with its child and never after, so a job's ancestors never change;
-- the CHECK makes a cycle unthinkable. `verdicts`: what each end of the parent means, two bits each
-- from the lowest for completed, dead, cancelled: 0 met, 1 hold, 2 cancel, 3 fail.
CREATE TABLE job_edge (
    parent_id bigint NOT NULL,
    child_id bigint NOT NULL,
    state smallint NOT NULL,
    verdicts smallint NOT NULL,
    PRIMARY KEY (parent_id, child_id),
    CHECK (parent_id < child_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

-- What a transaction left for later ones. 0: carry the end of this job along its edges. 1: judge
-- the urgency of its ancestors anew.
CREATE TABLE job_todo (
    job_id bigint NOT NULL,
    what smallint NOT NULL,
    PRIMARY KEY (job_id, what)
);

-- A key is a job's until the job has ended. Apart from `job`, so that only what puts a job in can
-- meet a conflict, and nothing that a running one does. 0 only inside the inserting transaction.
CREATE TABLE job_unique (
    key text COLLATE "C" PRIMARY KEY,
    job_id bigint NOT NULL
);

CREATE TABLE job_tick (
    schedule text COLLATE "C" PRIMARY KEY,
    last_ms bigint NOT NULL
);

CREATE TABLE job_fair (
    queue_id integer NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    finish bigint NOT NULL,
    PRIMARY KEY (queue_id, tenant)
);

-- Answers about jobs that completed and left no row: what tells `done already` from `stale` when
-- the reply to a commit was lost. Of each worker the last one is kept and up to 63 before it: slots
-- go round for all workers together, so that no call waits for the one before it.
CREATE TABLE job_receipt (
    worker_id bigint NOT NULL,
    slot smallint NOT NULL,
    at_ms bigint NOT NULL,
    jobs bigint[] NOT NULL,
    epochs bigint[] NOT NULL,
    PRIMARY KEY (worker_id, slot)
) WITH (fillfactor = 50);
ALTER TABLE job_receipt ALTER COLUMN jobs SET STORAGE EXTERNAL;
ALTER TABLE job_receipt ALTER COLUMN epochs SET STORAGE EXTERNAL;
CREATE SEQUENCE job_receipt_seq AS bigint;
