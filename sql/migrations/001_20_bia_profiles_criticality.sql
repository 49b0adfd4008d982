-- Phase 5, 001: profiles by criticality.
-- transactional: false
-- depends: 001_19_bia_profiles_name
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_bia_profiles_criticality
    ON bia_profiles (criticality_level);
