-- Index set v2: search in name and description, both in one; and the week that a card was made in, so that cards with some
-- words can be looked through a few weeks at a time, the newest first, where there are too many to look at them all.
-- transactional: false
-- depends: 002_03_card_vocabulary_parts
SET lock_timeout = '5s';
SET statement_timeout = 0;

-- An array, as GIN has an operator class for those without an extension. The same for everybody, in any time zone.
CREATE OR REPLACE FUNCTION card_week(made timestamptz) RETURNS timestamptz[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY[date_bin('7 days', made, timestamptz '2000-01-03 00:00:00+00')];

CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_cards_words_week
    ON cards USING gin (card_words(name, description), card_week(created_at));
