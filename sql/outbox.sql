-- The transactional outbox of the cache: every statement that changes rows writes down, in its own transaction, what a cache
-- must forget. Writers of the service name themselves (archzero.origin) and clear their row after they have told Redis;
-- everybody else's row (psql, another program) is announced and drained by the service.
CREATE TABLE cache_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    origin text,
    card_ids uuid[],  -- NULL: too many to name, every card
    kinds text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION cache_outbox_add(ids uuid[], kinds text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    writer text := nullif(current_setting('archzero.origin', true), '');
BEGIN
    INSERT INTO cache_outbox (origin, card_ids, kinds)
    VALUES (writer, CASE WHEN cardinality(ids) <= 1000 THEN ids END, kinds);
    IF writer IS NULL THEN
        PERFORM pg_notify('cache_outbox', '');
    END IF;
END $$;

CREATE FUNCTION cards_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM changed) THEN
        PERFORM cache_outbox_add(
            (SELECT array_agg(id) FROM (SELECT id FROM changed LIMIT 1001) c), '{list,search,graph,relationships}');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION relationships_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM changed) THEN
        PERFORM cache_outbox_add('{}', '{relationships,graph}');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION everything_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM cache_outbox_add(NULL, '{list,search,graph,relationships}');
    RETURN NULL;
END $$;

-- of an UPDATE the old rows: it is under their ids that something is cached
CREATE TRIGGER cards_inserted AFTER INSERT ON cards
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION cards_changed();
CREATE TRIGGER cards_updated AFTER UPDATE ON cards
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION cards_changed();
CREATE TRIGGER cards_deleted AFTER DELETE ON cards
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION cards_changed();
CREATE TRIGGER cards_truncated AFTER TRUNCATE ON cards
    FOR EACH STATEMENT EXECUTE FUNCTION everything_changed();
CREATE TRIGGER relationships_inserted AFTER INSERT ON relationships
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION relationships_changed();
CREATE TRIGGER relationships_updated AFTER UPDATE ON relationships
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION relationships_changed();
CREATE TRIGGER relationships_deleted AFTER DELETE ON relationships
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION relationships_changed();
CREATE TRIGGER relationships_truncated AFTER TRUNCATE ON relationships
    FOR EACH STATEMENT EXECUTE FUNCTION everything_changed();
