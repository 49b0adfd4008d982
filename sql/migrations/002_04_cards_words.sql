-- Index set v2: search in name and description, both in one.
-- transactional: false
-- depends: 002_03_card_vocabulary_parts
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_words
    ON cards USING gin (card_words(name, description));
