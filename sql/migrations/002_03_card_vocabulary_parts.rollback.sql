SET lock_timeout = '5s';
-- of the set as it was before 002_04 and 002_06 had the week: what was applied then has no file of its own any more
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_words;
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_attributes_path;
DROP INDEX CONCURRENTLY IF EXISTS idx_card_vocabulary_parts;
