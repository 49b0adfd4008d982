SET LOCAL lock_timeout = '5s';
DROP FUNCTION IF EXISTS card_words_note, card_words_end CASCADE;
DROP FUNCTION IF EXISTS card_words_forget;
DROP TABLE IF EXISTS card_words_gone;
