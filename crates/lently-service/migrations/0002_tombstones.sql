-- Analyses that were erased while a cache tier may still hold a copy; a row goes once the tiers were cleaned of it.
CREATE TABLE tombstones (
    analysis_id TEXT    NOT NULL PRIMARY KEY,
    erased_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_erased_at ON tombstones (erased_at);
