-- What was spent, by Pacific day (YYYY-MM-DD), user, purpose and counter. The rows without user and purpose are the sums of the others of
-- their day and counter, changed in the same statement. Amounts only grow.
CREATE TABLE ledger (
    day     TEXT    NOT NULL,
    user_id TEXT    NOT NULL,
    purpose TEXT    NOT NULL,
    counter TEXT    NOT NULL,
    amount  INTEGER NOT NULL,
    PRIMARY KEY (day, user_id, purpose, counter)
) STRICT;

-- By what name the sums of this file are told to others, drawn once. One row.
CREATE TABLE ledger_part (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    name TEXT    NOT NULL
) STRICT;
INSERT INTO ledger_part (id, name) VALUES (1, lower(hex(randomblob(8))));
