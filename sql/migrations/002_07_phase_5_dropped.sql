-- Index set v2: what it takes the place of. Of phase 5's indexes stay those on type and phase, owner and status, and
-- the two ends of a relationship.
-- transactional: false
-- depends: 002_06_cards_labels
SET lock_timeout = '5s';
SET statement_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_name_trgm;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_description_trgm;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_type;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_lifecycle_phase;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_owner_id;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_quality_score;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_status;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_created_at;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_updated_at;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_type_status;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_phase_quality;
DROP INDEX CONCURRENTLY IF EXISTS idx_relationships_type;
DROP INDEX CONCURRENTLY IF EXISTS idx_relationships_source_type;
DROP INDEX CONCURRENTLY IF EXISTS idx_relationships_target_type;
DROP INDEX CONCURRENTLY IF EXISTS idx_bia_profiles_name;
DROP INDEX CONCURRENTLY IF EXISTS idx_bia_profiles_criticality;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_active_quality;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_active_created;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_covering;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_attributes;
