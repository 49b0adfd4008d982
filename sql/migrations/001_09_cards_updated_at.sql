-- Phase 5, 001: lists by last change.
-- transactional: false
-- depends: 001_08_cards_created_at
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_updated_at
    ON cards (updated_at DESC);
