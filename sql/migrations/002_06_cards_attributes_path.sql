-- Index set v2: attributes containment, the only question there is of them.
-- transactional: false
-- depends: 002_05_cards_recent
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_attributes_path
    ON cards USING gin (attributes jsonb_path_ops);
