-- Phase 5, 001: relationships to a card of one type.
-- transactional: false
-- depends: 001_17_relationships_source_type
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_relationships_target_type
    ON relationships (target_card_id, relationship_type);
