-- The comments that were read of a video, in one order, with or without replies; kept beyond the cache. `head` is what is known of them,
-- `digest` the hash of the rows of comments. Times are milliseconds since 1970 (UTC).
CREATE TABLE shelves (
    id           INTEGER NOT NULL PRIMARY KEY,
    video_id     TEXT    NOT NULL,
    ranked_by    TEXT    NOT NULL,
    replies      INTEGER NOT NULL,
    head         TEXT    NOT NULL,
    held         INTEGER NOT NULL,
    digest       BLOB    NOT NULL,
    retain_until INTEGER NOT NULL,
    UNIQUE (video_id, ranked_by, replies)
) STRICT;
CREATE INDEX shelves_retain_until ON shelves (retain_until);

-- One row for each comment, so that those of one author can be found and erased, and more can be put behind them.
CREATE TABLE shelf_comments (
    shelf_id          INTEGER NOT NULL REFERENCES shelves (id) ON DELETE CASCADE,
    place             INTEGER NOT NULL,
    author_channel_id TEXT,
    body              TEXT    NOT NULL,
    PRIMARY KEY (shelf_id, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX shelf_comments_author ON shelf_comments (author_channel_id) WHERE author_channel_id IS NOT NULL;
