-- Uninterrupted times of being down. The id is the sequence of the record that opened it.
CREATE TABLE incident (
    id INTEGER PRIMARY KEY,
    monitor INTEGER NOT NULL REFERENCES monitor (number) ON DELETE CASCADE,
    opened_unix_ms INTEGER NOT NULL,
    fault_layer TEXT NOT NULL,
    fault_reason TEXT NOT NULL,
    fault_detail TEXT,
    fault_retry_after_us INTEGER,
    paused INTEGER NOT NULL DEFAULT 0,
    closed_unix_ms INTEGER,
    closed_by TEXT,
    CHECK ((closed_unix_ms IS NULL) = (closed_by IS NULL))
) STRICT;

-- INV-STORE-5: a monitor has one open incident at most.
CREATE UNIQUE INDEX incident_open ON incident (monitor) WHERE closed_unix_ms IS NULL;
CREATE INDEX incident_of_monitor ON incident (monitor, id);

-- What people are to be told. A row is all there is to say, and refers to nothing: it outlives the
-- monitor. INV-STORE-6: a row goes when a sender that still holds it has settled it, not before.
CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    incident INTEGER NOT NULL,
    kind TEXT NOT NULL,
    monitor TEXT NOT NULL,
    opened_unix_ms INTEGER NOT NULL,
    fault_layer TEXT NOT NULL,
    fault_reason TEXT NOT NULL,
    fault_detail TEXT,
    fault_retry_after_us INTEGER,
    paused INTEGER NOT NULL,
    closed_unix_ms INTEGER,
    closed_by TEXT,
    -- How often it was taken: the fencing token of the last sender.
    attempt INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'taken', 'given_up')),
    -- Nobody is given it while the time is in this span. Both ends, so that a clock that is set back
    -- ends a span instead of drawing it out.
    held_from_unix_ms INTEGER,
    held_until_unix_ms INTEGER,
    UNIQUE (incident, kind)
) STRICT;
