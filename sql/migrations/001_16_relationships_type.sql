-- Phase 5, 001: filter by relationship type.
-- transactional: false
-- depends: 001_15_relationships_target_id
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_relationships_type
    ON relationships (relationship_type);
