-- What a summary is about: the video, and which of its comments, so that the words are found again for nearly the same comments.
ALTER TABLE answers ADD COLUMN about TEXT;
ALTER TABLE answers ADD COLUMN basis TEXT;
CREATE INDEX answers_about ON answers (about) WHERE about IS NOT NULL;
