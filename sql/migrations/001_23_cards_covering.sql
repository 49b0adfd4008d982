-- Phase 5, 001: index-only scans over the filters.
-- transactional: false
-- depends: 001_22_cards_active_created
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_covering
    ON cards (status, type, lifecycle_phase, quality_score) WHERE status = 'active';
