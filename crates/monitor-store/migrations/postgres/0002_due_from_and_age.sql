-- From when the due times of a monitor count: when it was last resumed. What was due before was
-- promised to nobody.
ALTER TABLE status ADD COLUMN due_from_unix_ms BIGINT;

-- What goes by age is found without a look at what stays: of history, lines at which the verdict did
-- not change go first, and those at which it did stay among them for months.
CREATE INDEX history_unturned ON history (monitor, due_unix_ms) WHERE NOT turned;
CREATE INDEX incident_over ON incident (closed_unix_ms);
