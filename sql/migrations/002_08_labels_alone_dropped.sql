-- Index set v2: what idx_cards_labels and idx_cards_words_week take the place of: phase 5's index of tags, and two that this
-- index set had before those.
-- transactional: false
-- depends: 002_07_phase_5_dropped
SET lock_timeout = '5s';
SET statement_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_tags;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_attributes_path;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_words;
