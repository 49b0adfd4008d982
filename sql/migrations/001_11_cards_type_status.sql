-- Phase 5, 001: filter by type and status.
-- transactional: false
-- depends: 001_10_cards_type_phase
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_type_status
    ON cards (type, status);
