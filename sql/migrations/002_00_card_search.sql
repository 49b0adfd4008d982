-- Index set v2: what a list and a search ask for beside the cards: their words, and how many there are of each kind.
-- A change of a card costs one short row in card_changes; every thousandth statement folds those rows into the
-- vocabulary and the counts. Readers add what is not folded yet, so both are always exact.
-- depends: 001_25_cards_attributes
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- A text found in a name or description without white space in it lies within one of these words.
CREATE FUNCTION card_words(name text, description text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN string_to_array(replace(replace(replace(replace(replace(
    lower(name || ' ' || description), E'\n', ' '), E'\t', ' '), E'\r', ' '), E'\x0b', ' '), E'\f', ' '), ' ');

-- Words that cards have or had; one may stand here twice, which does no harm and needs no lock.
CREATE TABLE IF NOT EXISTS card_vocabulary (word text NOT NULL);

CREATE TABLE IF NOT EXISTS card_counts (
    type text NOT NULL,
    lifecycle_phase text NOT NULL,
    status text NOT NULL,
    cards bigint NOT NULL,
    PRIMARY KEY (type, lifecycle_phase, status)
);

-- Not folded yet: `added` is 1 for a card more of that kind, -1 for one less, 0 for new words of one that stays.
CREATE TABLE IF NOT EXISTS card_changes (
    card_id uuid NOT NULL,
    type text NOT NULL,
    lifecycle_phase text NOT NULL,
    status text NOT NULL,
    added bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE SEQUENCE IF NOT EXISTS card_changes_turn AS bigint;

-- One transaction at a time folds; others leave their rows for the next. No row is waited for, so none can deadlock.
-- How many words a card has the planner cannot know: left alone it reads the whole vocabulary for a thousand cards.
CREATE FUNCTION card_changes_fold() RETURNS void LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    -- a snapshot older than the lock would meet rows that another fold has taken
    IF current_setting('transaction_isolation') <> 'read committed'
       OR NOT pg_try_advisory_xact_lock(hashtext('card_changes_fold')) THEN
        RETURN;
    END IF;
    WITH taken AS (
        DELETE FROM card_changes RETURNING *
    ), counted AS (
        INSERT INTO card_counts AS c
        SELECT type, lifecycle_phase, status, sum(added) FROM taken GROUP BY type, lifecycle_phase, status
        ON CONFLICT (type, lifecycle_phase, status) DO UPDATE SET cards = c.cards + excluded.cards
    )
    INSERT INTO card_vocabulary
    SELECT w.word
    FROM (
        SELECT DISTINCT unnest(card_words(c.name, c.description)) AS word
        FROM taken JOIN cards c ON c.id = taken.card_id WHERE taken.added >= 0
    ) w
    WHERE NOT EXISTS (SELECT FROM card_vocabulary v WHERE v.word = w.word);
END $$;

CREATE FUNCTION card_changes_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO card_changes VALUES (NEW.id, NEW.type, NEW.lifecycle_phase, NEW.status, 1);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO card_changes VALUES (OLD.id, OLD.type, OLD.lifecycle_phase, OLD.status, -1);
    ELSIF (OLD.type, OLD.lifecycle_phase, OLD.status) <> (NEW.type, NEW.lifecycle_phase, NEW.status) THEN
        INSERT INTO card_changes VALUES (OLD.id, OLD.type, OLD.lifecycle_phase, OLD.status, -1),
                                        (NEW.id, NEW.type, NEW.lifecycle_phase, NEW.status, 1);
    ELSE
        INSERT INTO card_changes VALUES (NEW.id, NEW.type, NEW.lifecycle_phase, NEW.status, 0);
    END IF;
    IF nextval('card_changes_turn') % 1000 = 0 THEN
        PERFORM set_config('archzero.fold', 'due', true);
    END IF;
    RETURN NULL;
END $$;

-- After the statement, so that a load of a million rows folds once and not a thousand times.
CREATE FUNCTION card_changes_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('archzero.fold', true) = 'due' THEN
        PERFORM set_config('archzero.fold', '', true);
        PERFORM card_changes_fold();
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION card_changes_forget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE card_changes, card_counts;
    RETURN NULL;
END $$;

CREATE TRIGGER cards_noted_new AFTER INSERT OR DELETE ON cards
    FOR EACH ROW EXECUTE FUNCTION card_changes_note();
CREATE TRIGGER cards_noted_changed AFTER UPDATE OF name, description, type, lifecycle_phase, status ON cards
    FOR EACH ROW
    WHEN ((OLD.name, OLD.description, OLD.type, OLD.lifecycle_phase, OLD.status)
          IS DISTINCT FROM (NEW.name, NEW.description, NEW.type, NEW.lifecycle_phase, NEW.status))
    EXECUTE FUNCTION card_changes_note();
CREATE TRIGGER cards_noted_end AFTER INSERT OR DELETE OR UPDATE OF name, description, type, lifecycle_phase, status
    ON cards FOR EACH STATEMENT EXECUTE FUNCTION card_changes_end();
CREATE TRIGGER cards_noted_truncated AFTER TRUNCATE ON cards
    FOR EACH STATEMENT EXECUTE FUNCTION card_changes_forget();

-- CREATE TRIGGER keeps writers out until this transaction ends, so nothing is counted twice or missed.
INSERT INTO card_counts SELECT type, lifecycle_phase, status, count(*) FROM cards GROUP BY 1, 2, 3;

CREATE STATISTICS cards_kinds (mcv) ON type, lifecycle_phase, status FROM cards;
-- by the hundred values of the default, a tag of one card in a hundred looks ten times rarer, and a list of it sorts all
-- squawk-ignore prefer-robust-stmts
ALTER TABLE cards ALTER COLUMN tags SET STATISTICS 1000, ALTER COLUMN attributes SET STATISTICS 1000;
-- room on every new page for a changed row beside the old one: then no index hears of a change of quality or tier
-- squawk-ignore prefer-robust-stmts
ALTER TABLE cards SET (fillfactor = 90);
