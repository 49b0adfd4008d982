-- Phase 5, 001: filter by type.
-- transactional: false
-- depends: 001_02_cards_description_trgm
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_type
    ON cards (type);
