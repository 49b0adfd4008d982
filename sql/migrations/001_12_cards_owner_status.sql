-- Phase 5, 001: filter by owner and status.
-- transactional: false
-- depends: 001_11_cards_type_status
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_owner_status
    ON cards (owner_id, status);
