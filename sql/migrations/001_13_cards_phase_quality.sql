-- Phase 5, 001: filter by phase and least quality.
-- transactional: false
-- depends: 001_12_cards_owner_status
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_phase_quality
    ON cards (lifecycle_phase, quality_score);
