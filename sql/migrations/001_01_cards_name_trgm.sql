-- Phase 5, 001: search by ILIKE on the name.
-- transactional: false
-- depends: 001_00_pg_trgm
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_name_trgm
    ON cards USING gin (name gin_trgm_ops);
