-- Index set v2: whether a word is known.
-- transactional: false
-- depends: 002_01_card_vocabulary
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_card_vocabulary_word
    ON card_vocabulary (word);
