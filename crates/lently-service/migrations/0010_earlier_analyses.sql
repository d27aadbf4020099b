-- What an analysis said before it was made anew: the last of each day (UTC), without the verdicts on single comments.
CREATE TABLE earlier_analyses (
    analysis_id  TEXT    NOT NULL,
    day          TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    body         BLOB    NOT NULL,
    retain_until INTEGER NOT NULL,
    PRIMARY KEY (analysis_id, day)
) STRICT;
CREATE INDEX earlier_analyses_retain_until ON earlier_analyses (retain_until);
