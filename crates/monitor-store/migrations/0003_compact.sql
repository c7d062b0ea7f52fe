-- A line of history in half the bytes, and counts by minute, hour and day. What follows in code: the
-- counts of hours whose lines are gone, then the old tables are dropped.

-- Names that stand in many rows, by a short number. Never changed, only added to.
CREATE TABLE term (
    code INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

INSERT INTO term (name) VALUES
    ('up'), ('degraded'), ('down'), ('unknown'), ('missed'), ('suppressed'), ('cancelled');
INSERT OR IGNORE INTO term (name)
    SELECT DISTINCT reason FROM history WHERE reason IS NOT NULL
    UNION SELECT DISTINCT fault_layer FROM history WHERE fault_layer IS NOT NULL
    UNION SELECT DISTINCT fault_reason FROM history WHERE fault_reason IS NOT NULL
    UNION SELECT DISTINCT outcome FROM history;

-- The store itself. `sequence` is the last that was given out. Before the instants nothing is kept
-- or answered for: lines at which the verdict did not change, then buckets.
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sequence INTEGER NOT NULL,
    history_from_unix_ms INTEGER NOT NULL,
    minutes_from_unix_ms INTEGER NOT NULL,
    hours_from_unix_ms INTEGER NOT NULL,
    days_from_unix_ms INTEGER NOT NULL
) STRICT;

-- INV-STORE-11: whatever is due before the mark is counted in `bucket_page`, whatever is due at or
-- after it in its line of `history`. Both change in one transaction.
-- Before `trimmed` all lines are gone that go by age.
ALTER TABLE status ADD COLUMN mark_unix_ms INTEGER NOT NULL DEFAULT (-9223372036854775808);
ALTER TABLE status ADD COLUMN trimmed_unix_ms INTEGER NOT NULL DEFAULT (-9223372036854775808);

ALTER TABLE history RENAME TO history_2;

-- INV-STORE-2: a due time of a monitor has one row. Rows of a monitor lie together, so that they are
-- read, rolled up and removed together, and need no index. Names are codes of `term`.
CREATE TABLE history (
    monitor INTEGER NOT NULL REFERENCES monitor (number),
    due_unix_ms INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    slots INTEGER NOT NULL,
    interval_ms INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    reason INTEGER,
    -- Whether the verdict was another one before.
    changed INTEGER NOT NULL,
    -- Whether somebody asked for it, and no timer.
    manual INTEGER NOT NULL,
    -- How long after its due time it began.
    late_ms INTEGER NOT NULL,
    took_us INTEGER,
    resolve_us INTEGER,
    connect_us INTEGER,
    tls_us INTEGER,
    first_byte_us INTEGER,
    transfer_us INTEGER,
    fault_layer INTEGER,
    fault_reason INTEGER,
    fault_detail TEXT,
    fault_retry_after_us INTEGER,
    note TEXT,
    operation BLOB,
    PRIMARY KEY (monitor, due_unix_ms)
) STRICT, WITHOUT ROWID;

-- History as people read it.
CREATE VIEW line AS SELECT
    sequence, monitor, due_unix_ms, slots, interval_ms, epoch,
    coalesce((SELECT name FROM term WHERE code = outcome), 'code ' || outcome) AS outcome,
    coalesce((SELECT name FROM term WHERE code = reason), 'code ' || reason) AS reason,
    changed, manual, late_ms, took_us,
    coalesce((SELECT name FROM term WHERE code = fault_layer), 'code ' || fault_layer)
        AS fault_layer,
    coalesce((SELECT name FROM term WHERE code = fault_reason), 'code ' || fault_reason)
        AS fault_reason,
    fault_detail, fault_retry_after_us, note, operation,
    resolve_us, connect_us, tls_us, first_byte_us, transfer_us
FROM history;

INSERT INTO history
WITH verdict AS (
    SELECT sequence, outcome IS NOT lag(outcome) OVER (PARTITION BY monitor ORDER BY sequence)
        AS changed
    FROM history_2 WHERE outcome IN ('up', 'degraded', 'down', 'unknown')
)
SELECT
    monitor, due_unix_ms, old.sequence, epoch, slots, interval_ms,
    (SELECT code FROM term WHERE name = outcome),
    (SELECT code FROM term WHERE name = reason),
    coalesce(verdict.changed, 0),
    "trigger" = 'manual',
    -- A difference beyond 64 bits is none that was meant.
    CASE typeof(started_unix_ms - due_unix_ms)
        WHEN 'integer' THEN started_unix_ms - due_unix_ms ELSE 0 END,
    took_us, resolve_us, connect_us, tls_us, first_byte_us, transfer_us,
    (SELECT code FROM term WHERE name = fault_layer),
    (SELECT code FROM term WHERE name = fault_reason),
    fault_detail, fault_retry_after_us, note, operation
FROM history_2 AS old LEFT JOIN verdict ON verdict.sequence = old.sequence
ORDER BY monitor, due_unix_ms;

INSERT INTO head VALUES (
    1, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'history_2'), 0),
    -9223372036854775808, -9223372036854775808, -9223372036854775808, -9223372036854775808
);

-- Minutes of an hour, hours of a day, days of 32: one row for each that has any.
CREATE TABLE bucket_page (
    monitor INTEGER NOT NULL REFERENCES monitor (number) ON DELETE CASCADE,
    resolution INTEGER NOT NULL CHECK (resolution IN (1, 2, 3)),
    page INTEGER NOT NULL,
    buckets BLOB NOT NULL,
    PRIMARY KEY (monitor, resolution, page)
) STRICT, WITHOUT ROWID;
