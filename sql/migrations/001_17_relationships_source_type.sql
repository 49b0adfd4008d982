-- Phase 5, 001: relationships from a card of one type.
-- transactional: false
-- depends: 001_16_relationships_type
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_relationships_source_type
    ON relationships (source_card_id, relationship_type);
