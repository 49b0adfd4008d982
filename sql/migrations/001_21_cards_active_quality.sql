-- Phase 5, 001: active cards by quality.
-- transactional: false
-- depends: 001_20_bia_profiles_criticality
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_active_quality
    ON cards (quality_score) WHERE status = 'active';
