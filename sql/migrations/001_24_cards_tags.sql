-- Phase 5, 001: tags overlap.
-- transactional: false
-- depends: 001_23_cards_covering
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_tags
    ON cards USING gin (tags);
