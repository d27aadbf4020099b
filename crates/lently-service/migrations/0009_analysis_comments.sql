-- The comments that an analysis is of, packed, in the order of its verdicts. They go with it, whatever deletes it.
CREATE TABLE analysis_comments (
    analysis_id TEXT NOT NULL PRIMARY KEY REFERENCES analyses (id) ON DELETE CASCADE,
    packed      BLOB NOT NULL
) STRICT;
