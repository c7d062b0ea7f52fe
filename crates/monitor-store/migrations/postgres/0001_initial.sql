-- The tables of the embedded store, but for these: `bucket` has a row for each minute, hour and day,
-- not a page of them; `horizon` says what is kept, and the database counts sequences, as `head` does
-- there; names are text, without `term`; `owner` is of this store alone. Text that holds a NUL, which
-- PostgreSQL cannot, is escaped: see src/postgres/text.rs.

-- Who may write. INV-STORE-7: each transaction of the store locks this row in share mode and goes on
-- only if the epoch is its own; a takeover locks it alone and raises the epoch.
CREATE TABLE owner (
    component TEXT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    name TEXT NOT NULL,
    since TIMESTAMPTZ NOT NULL
);

-- The definition of a monitor. A deleted one stays as a row with `ended` until its history has been
-- removed in slices; its number is never given out again.
CREATE TABLE monitor (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    spec TEXT NOT NULL,
    ended BOOLEAN NOT NULL DEFAULT false
);

CREATE UNIQUE INDEX monitor_living ON monitor (id) WHERE NOT ended;

-- The state of a living monitor. INV-STORE-1: `epoch` and `lifecycle` are the fence, and every
-- commit names both in the WHERE of the statement that changes this row. No column but the key is
-- indexed, so that an update stays within its page, which has room for it.
CREATE TABLE status (
    monitor BIGINT PRIMARY KEY REFERENCES monitor (number) ON DELETE CASCADE,
    epoch BIGINT NOT NULL,
    lifecycle TEXT NOT NULL,
    outcome TEXT,
    since_unix_ms BIGINT,
    checked_unix_ms BIGINT,
    streak BIGINT NOT NULL DEFAULT 0,
    fault_layer TEXT,
    fault_reason TEXT,
    fault_detail TEXT,
    fault_retry_after_us BIGINT,
    last_due_unix_ms BIGINT,
    last_slots BIGINT,
    last_interval_ms BIGINT,
    -- What is due before this instant is counted in buckets, the rest in lines of history.
    mark_unix_ms BIGINT NOT NULL DEFAULT -9223372036854775808
) WITH (fillfactor = 60);

-- The last epoch of a deleted monitor: whoever uses the id again goes on from there.
CREATE TABLE grave (
    id TEXT COLLATE "C" PRIMARY KEY,
    epoch BIGINT NOT NULL
);

-- What became of each due time. INV-STORE-2: a due time of a monitor has one row.
CREATE TABLE history (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    monitor BIGINT NOT NULL REFERENCES monitor (number),
    due_unix_ms BIGINT NOT NULL,
    slots BIGINT NOT NULL,
    interval_ms BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    "trigger" TEXT NOT NULL,
    started_unix_ms BIGINT NOT NULL,
    took_us BIGINT,
    fault_layer TEXT,
    fault_reason TEXT,
    fault_detail TEXT,
    fault_retry_after_us BIGINT,
    note TEXT,
    operation BYTEA,
    resolve_us BIGINT,
    connect_us BIGINT,
    tls_us BIGINT,
    first_byte_us BIGINT,
    transfer_us BIGINT,
    -- Whether the verdict changed here. Such lines are kept longer.
    turned BOOLEAN NOT NULL,
    UNIQUE (monitor, due_unix_ms)
);

-- Counts and latencies of minutes (0), hours (1) and days (2).
CREATE TABLE bucket (
    monitor BIGINT NOT NULL REFERENCES monitor (number) ON DELETE CASCADE,
    resolution SMALLINT NOT NULL,
    start_unix_ms BIGINT NOT NULL,
    up BIGINT NOT NULL,
    degraded BIGINT NOT NULL,
    down BIGINT NOT NULL,
    due BIGINT NOT NULL,
    latency_count BIGINT NOT NULL,
    latency_min_us BIGINT NOT NULL,
    latency_sum_us BIGINT NOT NULL,
    latency_max_us BIGINT NOT NULL,
    PRIMARY KEY (monitor, resolution, start_unix_ms)
) WITH (fillfactor = 80);

-- The instants before which nothing is kept; one row.
CREATE TABLE horizon (
    one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
    history_unix_ms BIGINT NOT NULL,
    minutes_unix_ms BIGINT NOT NULL,
    hours_unix_ms BIGINT NOT NULL,
    days_unix_ms BIGINT NOT NULL
);

-- Uninterrupted times of being down. The id is the sequence of the record that opened it.
CREATE TABLE incident (
    id BIGINT PRIMARY KEY,
    monitor BIGINT NOT NULL REFERENCES monitor (number) ON DELETE CASCADE,
    opened_unix_ms BIGINT NOT NULL,
    fault_layer TEXT NOT NULL,
    fault_reason TEXT NOT NULL,
    fault_detail TEXT,
    fault_retry_after_us BIGINT,
    paused BOOLEAN NOT NULL DEFAULT false,
    closed_unix_ms BIGINT,
    closed_by TEXT,
    CHECK ((closed_unix_ms IS NULL) = (closed_by IS NULL))
);

-- INV-STORE-5: a monitor has one open incident at most.
CREATE UNIQUE INDEX incident_open ON incident (monitor) WHERE closed_unix_ms IS NULL;
CREATE INDEX incident_of_monitor ON incident (monitor, id);

-- What people are to be told. A row is all there is to say, and refers to nothing: it outlives the
-- monitor. INV-STORE-6: a row goes when a sender that still holds it has settled it, not before.
CREATE TABLE outbox (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident BIGINT NOT NULL,
    kind TEXT NOT NULL,
    monitor TEXT NOT NULL,
    opened_unix_ms BIGINT NOT NULL,
    fault_layer TEXT NOT NULL,
    fault_reason TEXT NOT NULL,
    fault_detail TEXT,
    fault_retry_after_us BIGINT,
    paused BOOLEAN NOT NULL,
    closed_unix_ms BIGINT,
    closed_by TEXT,
    -- How often it was taken: the fencing token of the last sender.
    attempt BIGINT NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'taken', 'given_up')),
    -- Nobody is given it while the time is in this span. Both ends, so that a clock that is set back
    -- ends a span instead of drawing it out.
    held_from_unix_ms BIGINT,
    held_until_unix_ms BIGINT,
    UNIQUE (incident, kind)
);
