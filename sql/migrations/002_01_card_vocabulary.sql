-- Index set v2: the words of the cards that are there. Of those that change meanwhile the trigger of 002_00 tells.
-- depends: 002_00_card_search
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = 0;
INSERT INTO card_vocabulary SELECT DISTINCT unnest(card_words(name, description)) FROM cards;
