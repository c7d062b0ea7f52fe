-- From when the due times of a monitor count: when it was last resumed. What was due before was
-- promised to nobody.
ALTER TABLE status ADD COLUMN due_from_unix_ms BIGINT;
