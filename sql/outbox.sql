-- The transactional outbox of the cache: every statement that changes rows writes down, in its own transaction, what a cache
-- must forget. Writers of the service name themselves (archzero.origin), announce what their row says before they commit and
-- clear it after they have told Redis; everybody else's row (psql, another program) is announced and drained by the service.
CREATE TABLE cache_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    origin text,
    card_ids uuid[],  -- NULL: too many to name, every card
    kinds text[] NOT NULL,
    names text[],  -- the dependencies that changed, as cache_name() makes them; NULL: too many, everything of the kinds
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION cache_outbox_add(ids uuid[], kinds text[], names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    writer text := nullif(current_setting('archzero.origin', true), '');
    made bigint;
BEGIN
    INSERT INTO cache_outbox (origin, card_ids, kinds, names)
    VALUES (writer, CASE WHEN cardinality(ids) <= 1000 THEN ids END, kinds,
            CASE WHEN cardinality(names) <= 10000 THEN names END)
    RETURNING id INTO made;
    IF writer IS NULL THEN
        PERFORM pg_notify('cache_outbox', '');
    ELSE
        PERFORM set_config('archzero.outbox', concat_ws(',', nullif(current_setting('archzero.outbox', true), ''), made), true);
    END IF;
END $$;

-- What a change is called. cache/dependencies.py names in the same way what an entry depends on:
--   c, l     the content of a card; what a graph shows of it (l of '': of any card)
--   m, v     cards that come and go by an equality filter; cards that move in and out of it by an update
--   q        quality scores that pass a step of ten, by type or of all ('*')
--   t, a, x  a tag; a key of the attributes; three or five characters of a text (x of '': any text)
--   e        relationships of a card (e of '': any relationship)
CREATE FUNCTION cache_name(sort text, what text) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT sort || left(md5(what), 11) $$;

CREATE FUNCTION cache_patterns(card cards) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
    SELECT concat_ws('|', t, p, s, o)
    FROM unnest(ARRAY[card.type, '*']) t, unnest(ARRAY[card.lifecycle_phase, '*']) p,
         unnest(ARRAY[card.status, '*']) s, unnest(ARRAY[coalesce(card.owner_id::text, '-'), '*']) o
$$;

CREATE FUNCTION cache_tags(tags jsonb) RETURNS SETOF text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    CASE jsonb_typeof(tags)
        WHEN 'array' THEN RETURN QUERY SELECT jsonb_array_elements_text(tags);
        WHEN 'object' THEN RETURN QUERY SELECT jsonb_object_keys(tags);
        ELSE RETURN QUERY SELECT tags #>> '{}';
    END CASE;
END $$;

-- So many characters each of a text, hashed as cache_name() does it, letters small, whatever is not ASCII one sign: ILIKE finds no
-- text whose pieces are not all in it. Two signs that are not ASCII have small letters that are: KELVIN SIGN and I WITH DOT ABOVE.
CREATE FUNCTION cache_pieces(whole text, size int) RETURNS SETOF text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    -- bytes: a piece of a text is found by walking there from its beginning
    folded bytea := convert_to(regexp_replace(
        lower(translate(whole, U&'\212A\0130', 'ki') COLLATE "C"), '[^\u0001-\u007F]', '?', 'g'), 'SQL_ASCII');
BEGIN
    RETURN QUERY SELECT DISTINCT left(md5(substr(folded, i, size)), 11)
        FROM generate_series(1, octet_length(folded) - size + 1) i;
END $$;

-- The pieces by which a text may have come to hold, or ceased to hold, another: those of both that touch what differs.
CREATE FUNCTION cache_changed_pieces(before text, after text) RETURNS SETOF text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    shorter int := least(length(before), length(after));
    same_first int := 0;
    same_last int := 0;
    most int := shorter;
    half int;
    size int;
    first int;
    last int;
BEGIN
    WHILE same_first < most LOOP
        half := (same_first + most + 1) / 2;
        IF left(before, half) = left(after, half) THEN same_first := half; ELSE most := half - 1; END IF;
    END LOOP;
    most := shorter - same_first;
    WHILE same_last < most LOOP
        half := (same_last + most + 1) / 2;
        IF right(before, half) = right(after, half) THEN same_last := half; ELSE most := half - 1; END IF;
    END LOOP;
    FOREACH size IN ARRAY ARRAY[3, 5] LOOP
        first := greatest(same_first - size + 1, 0);
        last := greatest(same_last - size + 1, 0);
        RETURN QUERY SELECT cache_pieces(substr(before, first + 1, length(before) - first - last), size);
        RETURN QUERY SELECT cache_pieces(substr(after, first + 1, length(after) - first - last), size);
    END LOOP;
END $$;

-- A card that appears or goes: by all that a list or search can find it by.
CREATE FUNCTION cache_names_of_card(card cards) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
    SELECT cache_name('c', card.id::text) UNION ALL SELECT cache_name('l', card.id::text) UNION ALL SELECT cache_name('l', '')
    UNION ALL SELECT cache_name('m', cache_patterns(card))
    UNION ALL SELECT cache_name('t', cache_tags(card.tags))
    UNION ALL SELECT cache_name('a', k) FROM jsonb_object_keys(
        CASE jsonb_typeof(card.attributes) WHEN 'object' THEN card.attributes ELSE '{}' END) k
    UNION ALL SELECT cache_name('x', '')
    UNION ALL SELECT 'x' || piece FROM (
        SELECT cache_pieces(card.name, size) FROM unnest(ARRAY[3, 5]) size
        UNION SELECT cache_pieces(card.description, size) FROM unnest(ARRAY[3, 5]) size) found (piece)
$$;

-- A card that was one thing and is another; only what differs, for the rest of it finds what it found.
CREATE FUNCTION cache_names_of_update(before cards, after cards) RETURNS SETOF text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    lower_score int := greatest(least(before.quality_score, after.quality_score), -1);
    upper_score int := least(greatest(before.quality_score, after.quality_score), 100);
BEGIN
    RETURN NEXT cache_name('c', after.id::text);
    IF (before.name, before.type, before.lifecycle_phase, before.quality_score, before.status)
            IS DISTINCT FROM (after.name, after.type, after.lifecycle_phase, after.quality_score, after.status) THEN
        RETURN NEXT cache_name('l', after.id::text);
        RETURN NEXT cache_name('l', '');
    END IF;
    IF (before.type, before.lifecycle_phase, before.status, before.owner_id)
            IS DISTINCT FROM (after.type, after.lifecycle_phase, after.status, after.owner_id) THEN
        RETURN QUERY SELECT cache_name('v', p) FROM (
            (SELECT cache_patterns(before) EXCEPT SELECT cache_patterns(after)) UNION ALL
            (SELECT cache_patterns(after) EXCEPT SELECT cache_patterns(before))) moved (p);
    END IF;
    IF before.quality_score <> after.quality_score THEN
        RETURN QUERY SELECT cache_name('q', concat_ws('|', step, type))
            FROM generate_series((lower_score + 1) / 10, upper_score / 10) step, unnest(ARRAY[before.type, after.type, '*']) type;
    END IF;
    IF before.tags <> after.tags THEN
        RETURN QUERY SELECT cache_name('t', tag) FROM (
            (SELECT cache_tags(before.tags) EXCEPT SELECT cache_tags(after.tags)) UNION ALL
            (SELECT cache_tags(after.tags) EXCEPT SELECT cache_tags(before.tags))) moved (tag);
    END IF;
    IF before.attributes <> after.attributes THEN
        IF jsonb_typeof(before.attributes) <> 'object' OR jsonb_typeof(after.attributes) <> 'object' THEN
            RETURN QUERY SELECT cache_names_of_card(before) UNION SELECT cache_names_of_card(after);
        ELSE
            RETURN QUERY SELECT cache_name('a', key) FROM jsonb_each(before.attributes) b FULL JOIN jsonb_each(after.attributes) a
                USING (key) WHERE b.value IS DISTINCT FROM a.value;
        END IF;
    END IF;
    IF (before.name, before.description) IS DISTINCT FROM (after.name, after.description) THEN
        RETURN NEXT cache_name('x', '');
        RETURN QUERY SELECT 'x' || piece FROM (SELECT cache_changed_pieces(before.name, after.name)
            UNION SELECT cache_changed_pieces(before.description, after.description)) found (piece);
    END IF;
END $$;

CREATE FUNCTION cards_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    most CONSTANT int := 100;  -- rows whose changes are named one by one
    ids uuid[];
    found text[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        ids := (SELECT array_agg(id) FROM (SELECT id FROM new_rows LIMIT 1001) c);
    ELSE
        -- of an UPDATE the old rows: it is under their ids that something is cached
        ids := (SELECT array_agg(id) FROM (SELECT id FROM old_rows LIMIT 1001) c);
    END IF;
    IF ids IS NULL THEN
        RETURN NULL;
    END IF;
    IF cardinality(ids) <= most THEN
        CASE TG_OP
            WHEN 'INSERT' THEN
                found := (SELECT array_agg(DISTINCT what) FROM new_rows n, cache_names_of_card(n::cards) what);
            WHEN 'DELETE' THEN
                found := (SELECT array_agg(DISTINCT what) FROM old_rows o, cache_names_of_card(o::cards) what);
            ELSE
                found := (SELECT array_agg(DISTINCT what) FROM (
                    SELECT cache_names_of_update(o::cards, n::cards) FROM old_rows o JOIN new_rows n USING (id, created_at)
                    UNION ALL SELECT cache_names_of_card(o::cards) FROM old_rows o
                        WHERE NOT EXISTS (SELECT FROM new_rows n WHERE (n.id, n.created_at) = (o.id, o.created_at))
                    UNION ALL SELECT cache_names_of_card(n::cards) FROM new_rows n
                        WHERE NOT EXISTS (SELECT FROM old_rows o WHERE (n.id, n.created_at) = (o.id, o.created_at))
                ) names (what));
        END CASE;
    END IF;
    PERFORM cache_outbox_add(ids, '{list,search,graph}', found);
    RETURN NULL;
END $$;

CREATE FUNCTION relationships_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ends uuid[];
BEGIN
    IF TG_OP <> 'DELETE' THEN
        ends := (SELECT array_agg(source_card_id) || array_agg(target_card_id)
                 FROM (SELECT source_card_id, target_card_id FROM new_rows LIMIT 1001) r);
    END IF;
    IF TG_OP <> 'INSERT' THEN
        ends := ends || (SELECT array_agg(source_card_id) || array_agg(target_card_id)
                         FROM (SELECT source_card_id, target_card_id FROM old_rows LIMIT 1001) r);
    END IF;
    IF ends IS NOT NULL THEN
        PERFORM cache_outbox_add('{}', '{relationships,graph}', CASE WHEN cardinality(ends) <= 2000 THEN
            (SELECT array_agg(DISTINCT cache_name('e', what)) FROM (SELECT id::text FROM unnest(ends) id UNION ALL SELECT '') e (what)) END);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION everything_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM cache_outbox_add(NULL, '{list,search,graph,relationships}', NULL);
    RETURN NULL;
END $$;

CREATE TRIGGER cards_inserted AFTER INSERT ON cards
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION cards_changed();
CREATE TRIGGER cards_updated AFTER UPDATE ON cards
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION cards_changed();
CREATE TRIGGER cards_deleted AFTER DELETE ON cards
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION cards_changed();
CREATE TRIGGER cards_truncated AFTER TRUNCATE ON cards
    FOR EACH STATEMENT EXECUTE FUNCTION everything_changed();
CREATE TRIGGER relationships_inserted AFTER INSERT ON relationships
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION relationships_changed();
CREATE TRIGGER relationships_updated AFTER UPDATE ON relationships
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION relationships_changed();
CREATE TRIGGER relationships_deleted AFTER DELETE ON relationships
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION relationships_changed();
CREATE TRIGGER relationships_truncated AFTER TRUNCATE ON relationships
    FOR EACH STATEMENT EXECUTE FUNCTION everything_changed();
