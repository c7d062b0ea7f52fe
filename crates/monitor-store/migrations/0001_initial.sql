-- The definition of a monitor. A deleted one stays as a row with `ended = 1` until its history has
-- been removed in slices; its number is never given out again.
CREATE TABLE monitor (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    spec TEXT NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX monitor_living ON monitor (id) WHERE ended = 0;

-- The state of a living monitor. INV-STORE-1: `epoch` and `lifecycle` are the fence, and every
-- commit names both in the WHERE of the statement that changes this row.
CREATE TABLE status (
    monitor INTEGER PRIMARY KEY REFERENCES monitor (number) ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    lifecycle TEXT NOT NULL,
    outcome TEXT,
    since_unix_ms INTEGER,
    checked_unix_ms INTEGER,
    streak INTEGER NOT NULL DEFAULT 0,
    fault_layer TEXT,
    fault_reason TEXT,
    fault_detail TEXT,
    fault_retry_after_us INTEGER,
    last_due_unix_ms INTEGER,
    last_slots INTEGER,
    last_interval_ms INTEGER
) STRICT;

-- The last epoch of a deleted monitor: whoever uses the id again goes on from there.
CREATE TABLE grave (
    id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What became of each due time. AUTOINCREMENT, so that no sequence comes twice, even after the
-- newest rows were removed. INV-STORE-2: a due time of a monitor has one row.
CREATE TABLE history (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    monitor INTEGER NOT NULL REFERENCES monitor (number),
    due_unix_ms INTEGER NOT NULL,
    slots INTEGER NOT NULL,
    interval_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    "trigger" TEXT NOT NULL,
    started_unix_ms INTEGER NOT NULL,
    took_us INTEGER,
    fault_layer TEXT,
    fault_reason TEXT,
    fault_detail TEXT,
    fault_retry_after_us INTEGER,
    note TEXT,
    operation BLOB,
    resolve_us INTEGER,
    connect_us INTEGER,
    tls_us INTEGER,
    first_byte_us INTEGER,
    transfer_us INTEGER,
    UNIQUE (monitor, due_unix_ms)
) STRICT;

-- Due times of an hour (unix time / 3600 s) by what became of them.
CREATE TABLE tally (
    monitor INTEGER NOT NULL REFERENCES monitor (number) ON DELETE CASCADE,
    hour INTEGER NOT NULL,
    up INTEGER NOT NULL,
    degraded INTEGER NOT NULL,
    down INTEGER NOT NULL,
    due INTEGER NOT NULL,
    PRIMARY KEY (monitor, hour)
) STRICT, WITHOUT ROWID;
