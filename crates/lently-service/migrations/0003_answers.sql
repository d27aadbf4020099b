-- Gemini's answers that were paid for: verdicts by the hash of the text they are on, summaries by that of the facts they are about.
-- What determines an answer is its key, so that another model or prompt has its own, and the old ones stay to be compared.
-- Neither texts nor facts are kept. A summary may quote, and so goes with the analysis that it was written for.
CREATE TABLE answers (
    kind           TEXT    NOT NULL,
    engine         TEXT    NOT NULL,
    model          TEXT    NOT NULL,
    prompt_version TEXT    NOT NULL,
    hash           TEXT    NOT NULL,
    answer         BLOB    NOT NULL,
    tokens_in      INTEGER NOT NULL,
    tokens_out     INTEGER NOT NULL,
    micro_dollars  INTEGER NOT NULL,
    made_at        INTEGER NOT NULL,
    retain_until   INTEGER NOT NULL,
    analysis_id    TEXT,
    PRIMARY KEY (kind, engine, model, prompt_version, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_retain_until ON answers (retain_until);
CREATE INDEX answers_analysis ON answers (analysis_id) WHERE analysis_id IS NOT NULL;
