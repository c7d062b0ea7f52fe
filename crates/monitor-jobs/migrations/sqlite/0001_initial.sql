-- Jobs in one SQLite file. Times are unix milliseconds of the database's clock, names end in _ms.
-- Other programs may keep tables of their own beside these.

-- A registration. AUTOINCREMENT: an id is never given out twice, even after its row was removed,
-- so a worker that was given up can never act as its successor.
CREATE TABLE job_worker (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    -- Separated by spaces, which no name of a queue holds.
    queues TEXT NOT NULL,
    capacity INTEGER NOT NULL CHECK (capacity > 0),
    lease_ms INTEGER NOT NULL,
    -- When a rescue gave it up. One that left by itself has no row any more.
    failed_ms INTEGER,
    draining INTEGER NOT NULL DEFAULT 0,
    health INTEGER NOT NULL DEFAULT 0,
    has_claimed INTEGER NOT NULL DEFAULT 0,
    beats INTEGER NOT NULL DEFAULT 0,
    registered_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL
) STRICT;

-- The last epoch that was given out: one for each claim, never the same twice.
CREATE TABLE job_epoch (
    last INTEGER NOT NULL
) STRICT;

INSERT INTO job_epoch VALUES (0);

-- What changes while a job lives. INV-JOBS-1: `epoch` and `worker` are the fence, and every
-- statement of an owner names them in the WHERE by which it changes this row; there is a worker
-- exactly while the job runs.
-- state: 0 blocked, 1 held, 2 scheduled, 3 ready, 4 running, 5 completed, 6 dead, 7 cancelled.
CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    kind TEXT NOT NULL,
    tenant TEXT,
    unique_key TEXT,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 7),
    sort_key INTEGER NOT NULL,
    run_at_ms INTEGER NOT NULL,
    -- By itself, with its parents, with whatever waits for it.
    own INTEGER NOT NULL CHECK (own BETWEEN 0 AND 5),
    base INTEGER NOT NULL CHECK (base BETWEEN own AND 5),
    effective INTEGER NOT NULL CHECK (effective BETWEEN base AND 5),
    inherits INTEGER NOT NULL,
    anchor_ms INTEGER NOT NULL,
    step_ms INTEGER NOT NULL,
    -- INV-JOBS-4: edges to parents that are open, and that hold it.
    pending INTEGER NOT NULL CHECK (pending >= 0),
    holds INTEGER NOT NULL CHECK (holds >= 0),
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0,
    max_crashes INTEGER NOT NULL,
    timeout_ms INTEGER,
    epoch INTEGER,
    worker INTEGER REFERENCES job_worker (id),
    -- How the attempt of `epoch` ended; NULL while it runs.
    last_end INTEGER,
    cancel INTEGER NOT NULL DEFAULT 0,
    enqueued_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    CHECK ((state = 4) = (worker IS NOT NULL)),
    CHECK ((state >= 5) = (ended_ms IS NOT NULL)),
    CHECK (state <> 0 OR (pending > 0 AND holds = 0)),
    CHECK ((state = 1) = (holds > 0) OR state >= 5),
    CHECK (state NOT IN (2, 3, 4) OR pending = 0)
) STRICT;

CREATE INDEX job_ready ON job (queue, sort_key) WHERE state = 3;
CREATE INDEX job_scheduled ON job (queue, run_at_ms) WHERE state = 2;
CREATE INDEX job_running ON job (worker) WHERE worker IS NOT NULL;
CREATE INDEX job_ended ON job (ended_ms) WHERE ended_ms IS NOT NULL;

-- What a job carries: written once, so that no change of its state copies it.
CREATE TABLE job_payload (
    job INTEGER PRIMARY KEY REFERENCES job (id),
    payload TEXT NOT NULL
) STRICT;

-- What was said of a job: seldom, so apart from the rest.
CREATE TABLE job_note (
    job INTEGER PRIMARY KEY REFERENCES job (id),
    percent INTEGER,
    progress TEXT,
    error TEXT,
    result TEXT
) STRICT;

-- The keys of jobs that have not ended. A key is taken when a job is put in, so nothing that ends
-- an attempt can ever fail on it.
CREATE TABLE job_unique (
    key TEXT PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES job (id)
) STRICT, WITHOUT ROWID;

-- INV-JOBS-7: a parent is less than its child, so no cycle can be written down. Edges are written
-- together with their child and never after it.
-- wants: 0 success, 1 finished, 2 failure. unmet: 0 hold, 1 cancel, 2 fail, 3 run.
-- state: 0 open, 1 met, 2 holding.
CREATE TABLE job_edge (
    parent INTEGER NOT NULL REFERENCES job (id),
    child INTEGER NOT NULL REFERENCES job (id),
    wants INTEGER NOT NULL CHECK (wants BETWEEN 0 AND 2),
    unmet INTEGER NOT NULL CHECK (unmet BETWEEN 0 AND 3),
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),
    PRIMARY KEY (parent, child),
    CHECK (parent < child)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_edge_child ON job_edge (child);

-- Ended jobs whose end has been carried to their children up to `after`, but not further.
CREATE TABLE job_release (
    parent INTEGER PRIMARY KEY REFERENCES job (id),
    after INTEGER NOT NULL
) STRICT;

-- Attempts, for people. No reference to the worker: removing one must not search them.
CREATE TABLE job_execution (
    job INTEGER NOT NULL REFERENCES job (id),
    epoch INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    worker INTEGER NOT NULL,
    worker_name TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    outcome INTEGER,
    error TEXT,
    PRIMARY KEY (job, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_paused (
    queue TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Fair queueing: where the next job of a tenant would begin.
CREATE TABLE job_fair (
    queue TEXT NOT NULL,
    tenant TEXT NOT NULL,
    finish_ms INTEGER NOT NULL,
    PRIMARY KEY (queue, tenant)
) STRICT, WITHOUT ROWID;

-- The last tick of a schedule that was put in, by whichever node came first.
CREATE TABLE job_tick (
    schedule TEXT PRIMARY KEY,
    tick_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
