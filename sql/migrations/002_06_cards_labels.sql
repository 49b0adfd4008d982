-- Index set v2: tags, attributes by containment (the only question there is of them), and both week by week.
-- transactional: false
-- depends: 002_05_cards_recent
SET lock_timeout = '5s';
SET statement_timeout = 0;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_labels
    ON cards USING gin (tags, attributes jsonb_path_ops, card_week(created_at));
