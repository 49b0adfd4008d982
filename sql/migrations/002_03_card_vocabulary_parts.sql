-- Index set v2: the words that hold a text: by its trigrams, one or two characters by those alone.
-- transactional: false
-- depends: 002_02_card_vocabulary_word
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_card_vocabulary_parts
    ON card_vocabulary USING gin (word gin_trgm_ops, string_to_array(word, NULL));
