-- Phase 5, 001: filter by status.
-- transactional: false
-- depends: 001_06_cards_quality_score
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_status
    ON cards (status);
