-- Index set v2: the order of lists, pages by cursor. Phase and owner stand in it, so that a walk of the newest cards of one
-- of those reads no other card; ascending and walked backwards, since new entries then fill one page after the other.
-- transactional: false
-- depends: 002_04_cards_words_week
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_recent
    ON cards (created_at, id, lifecycle_phase, owner_id);
