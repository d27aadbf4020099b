-- When what is beyond its retention was deleted last, by table, how many rows that were, and how many so far.
CREATE TABLE sweeps (
    part           TEXT    NOT NULL PRIMARY KEY,
    swept_at       INTEGER NOT NULL,
    deleted        INTEGER NOT NULL,
    deleted_so_far INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- All that was made of a video is erased with it.
CREATE INDEX analyses_video ON analyses (video_id) WHERE video_id IS NOT NULL;
