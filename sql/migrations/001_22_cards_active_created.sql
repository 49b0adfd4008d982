-- Phase 5, 001: active cards in the order of lists.
-- transactional: false
-- depends: 001_21_cards_active_quality
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_active_created
    ON cards (created_at DESC) WHERE status = 'active';
