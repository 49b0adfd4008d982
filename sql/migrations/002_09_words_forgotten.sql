-- Index set v2: words that no card has any more leave the vocabulary. A deleted card leaves its words here; every thousandth
-- looks which of them are in no other card. What an update takes out of a card stays until `./lab migrate mend`.
-- depends: 002_08_labels_alone_dropped
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE IF NOT EXISTS card_words_gone (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    words text[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Under the fold's lock: a word that is forgotten here is one that no fold is about to find known.
-- Most words are common, and among the newest cards: only for the others the index is asked, which names all of a word's cards.
CREATE FUNCTION card_words_forget() RETURNS void LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    seldom text[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed'
       OR NOT pg_try_advisory_xact_lock(hashtext('card_changes_fold')) THEN
        RETURN;
    END IF;
    WITH taken AS (
        DELETE FROM card_words_gone WHERE id < (SELECT min(id) FROM card_words_gone) + 5000 RETURNING words
    )
    SELECT array_agg(word) INTO seldom FROM (
        SELECT unnest(words) AS word FROM taken
        EXCEPT
        SELECT unnest(card_words(name, description))
        FROM (SELECT name, description FROM cards ORDER BY created_at DESC, id DESC LIMIT 1000) newest
    ) gone;
    DELETE FROM card_vocabulary v
    WHERE v.word = ANY (seldom)
      AND NOT EXISTS (SELECT FROM cards c WHERE card_words(c.name, c.description) && ARRAY[v.word]);
END $$;

CREATE FUNCTION card_words_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO card_words_gone (words) VALUES (card_words(OLD.name, OLD.description)) RETURNING id INTO made;
    IF made % 1000 = 0 THEN
        PERFORM set_config('archzero.forget', 'due', true);
    END IF;
    RETURN NULL;
END $$;

-- After the statement, and after the fold of the same one: triggers run in the order of their names.
CREATE FUNCTION card_words_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        TRUNCATE card_vocabulary, card_words_gone;
    ELSIF current_setting('archzero.forget', true) = 'due' THEN
        PERFORM set_config('archzero.forget', '', true);
        PERFORM card_words_forget();
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER cards_words_gone AFTER DELETE ON cards FOR EACH ROW EXECUTE FUNCTION card_words_note();
CREATE TRIGGER cards_words_gone_end AFTER DELETE ON cards FOR EACH STATEMENT EXECUTE FUNCTION card_words_end();
CREATE TRIGGER cards_words_truncated AFTER TRUNCATE ON cards FOR EACH STATEMENT EXECUTE FUNCTION card_words_end();
