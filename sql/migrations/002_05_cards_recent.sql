-- Index set v2: the order of lists, pages by cursor.
-- transactional: false
-- depends: 002_04_cards_words
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_recent
    ON cards (created_at DESC, id DESC);
