-- Phase 5, 001: filter by owner.
-- transactional: false
-- depends: 001_04_cards_lifecycle_phase
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_owner_id
    ON cards (owner_id);
