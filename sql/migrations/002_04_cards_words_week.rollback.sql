SET lock_timeout = '5s';
DROP INDEX CONCURRENTLY IF EXISTS idx_cards_words_week;
DROP FUNCTION IF EXISTS card_week;
