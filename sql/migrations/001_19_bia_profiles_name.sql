-- Phase 5, 001: profiles by name.
-- transactional: false
-- depends: 001_18_relationships_target_type
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_bia_profiles_name
    ON bia_profiles (name);
