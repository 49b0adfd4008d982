-- Phase 5, 001: relationships to a card.
-- transactional: false
-- depends: 001_14_relationships_source_id
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_relationships_target_id
    ON relationships (target_card_id);
