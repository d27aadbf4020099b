-- Finished analyses, kept beyond the cache. Times are milliseconds since 1970 (UTC).
CREATE TABLE analyses (
    id           TEXT    NOT NULL PRIMARY KEY,
    body         BLOB    NOT NULL,
    cost         TEXT    NOT NULL,
    title        TEXT    NOT NULL,
    video_id     TEXT,
    comments     INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    fresh_until  INTEGER NOT NULL,
    retain_until INTEGER NOT NULL
) STRICT;
CREATE INDEX analyses_retain_until ON analyses (retain_until);

-- Who asked for which analysis: each user's history, and their right to read it. It may stand before the analysis does.
CREATE TABLE user_analyses (
    user_id      TEXT    NOT NULL,
    analysis_id  TEXT    NOT NULL,
    requested_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, analysis_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_analyses_history ON user_analyses (user_id, requested_at);
CREATE INDEX user_analyses_analysis ON user_analyses (analysis_id);

CREATE TABLE users (
    user_id    TEXT    NOT NULL PRIMARY KEY,
    plan       TEXT    NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each analysis that was made for a user; reserved before the work, settled after it.
CREATE TABLE usage (
    id          INTEGER NOT NULL PRIMARY KEY,
    user_id     TEXT    NOT NULL,
    period      TEXT    NOT NULL,
    reserved_at INTEGER NOT NULL,
    settled     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX usage_user_period ON usage (user_id, period);
