-- How often videos were asked for, by Pacific day (YYYY-MM-DD): nobody's name stands here. Amounts only grow.
CREATE TABLE asked (
    day      TEXT    NOT NULL,
    video_id TEXT    NOT NULL,
    times    INTEGER NOT NULL,
    PRIMARY KEY (day, video_id)
) STRICT, WITHOUT ROWID;
