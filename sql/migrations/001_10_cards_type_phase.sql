-- Phase 5, 001: filter by type and phase.
-- transactional: false
-- depends: 001_09_cards_updated_at
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_type_phase
    ON cards (type, lifecycle_phase);
