-- Phase 5, 001: attributes containment.
-- transactional: false
-- depends: 001_24_cards_tags
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_attributes
    ON cards USING gin (attributes);
