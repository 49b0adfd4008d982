SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_name_trgm
    ON cards USING gin (name gin_trgm_ops);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_description_trgm
    ON cards USING gin (description gin_trgm_ops);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_type
    ON cards (type);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_lifecycle_phase
    ON cards (lifecycle_phase);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_owner_id
    ON cards (owner_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_quality_score
    ON cards (quality_score);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_status
    ON cards (status);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_created_at
    ON cards (created_at DESC);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_updated_at
    ON cards (updated_at DESC);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_type_status
    ON cards (type, status);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_phase_quality
    ON cards (lifecycle_phase, quality_score);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_relationships_type
    ON relationships (relationship_type);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_relationships_source_type
    ON relationships (source_card_id, relationship_type);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_relationships_target_type
    ON relationships (target_card_id, relationship_type);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_bia_profiles_name
    ON bia_profiles (name);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_bia_profiles_criticality
    ON bia_profiles (criticality_level);
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_active_quality
    ON cards (quality_score) WHERE status = 'active';
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_active_created
    ON cards (created_at DESC) WHERE status = 'active';
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_covering
    ON cards (status, type, lifecycle_phase, quality_score) WHERE status = 'active';
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_attributes
    ON cards USING gin (attributes);
