SET LOCAL lock_timeout = '5s';
ALTER TABLE cards RESET (fillfactor);
ALTER TABLE cards ALTER COLUMN tags SET STATISTICS -1, ALTER COLUMN attributes SET STATISTICS -1;
DROP STATISTICS IF EXISTS cards_kinds;
DROP FUNCTION IF EXISTS card_changes_note, card_changes_end, card_changes_forget CASCADE;
DROP FUNCTION IF EXISTS card_changes_fold;
DROP SEQUENCE IF EXISTS card_changes_turn;
DROP TABLE IF EXISTS card_changes, card_counts, card_vocabulary;
DROP FUNCTION IF EXISTS card_words;
