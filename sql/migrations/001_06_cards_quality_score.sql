-- Phase 5, 001: filter by least quality.
-- transactional: false
-- depends: 001_05_cards_owner_id
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_quality_score
    ON cards (quality_score);
