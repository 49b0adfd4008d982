-- Phase 5, 001: relationships from a card.
-- transactional: false
-- depends: 001_13_cards_phase_quality
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_relationships_source_id
    ON relationships (source_card_id);
