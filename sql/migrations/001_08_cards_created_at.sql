-- Phase 5, 001: the order of lists.
-- transactional: false
-- depends: 001_07_cards_status
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_created_at
    ON cards (created_at DESC);
