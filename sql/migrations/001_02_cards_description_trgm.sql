-- Phase 5, 001: search by ILIKE on the description.
-- transactional: false
-- depends: 001_01_cards_name_trgm
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_description_trgm
    ON cards USING gin (description gin_trgm_ops);
