-- Phase 5, 001: filter by phase.
-- transactional: false
-- depends: 001_03_cards_type
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_lifecycle_phase
    ON cards (lifecycle_phase);
