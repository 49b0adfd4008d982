"""What others change is heard of: the outbox drained into Redis; values past their expiry loaded anew."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from archzero_lab.postgres.connection import connect
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.entries import Hit
from archzero_lab.systems.arczero.cards.loading import renew_outbox
from archzero_lab.systems.arczero.cards.model import (
    CardFilter,
    CardPatch,
    CardRow,
    CardType,
    NotFound,
)
from archzero_lab.systems.arczero.cards.request_context import ORIGIN
from tests.integration.conftest import PATIENT, Cached, new_card, open_cached, score_of, until


def _waiting(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM cache_outbox").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_change_by_plain_sql_is_seen_and_its_row_is_gone(
    cached: Cached, connection: psycopg.Connection
) -> None:
    card_id = await new_card(cached)
    assert await score_of(cached, card_id) == 1
    listed = CardFilter(q=json.loads((await cached.cards.card(card_id)).body)["name"])
    await cached.cards.cards(listed)
    connection.execute("UPDATE cards SET quality_score = 2 WHERE id = %s", [card_id])

    async def seen() -> bool:
        page = json.loads((await cached.cards.cards(listed)).body)["data"]
        return await score_of(cached, card_id) == 2 and page[0]["qualityScore"] == 2

    await until(seen)
    await until(lambda: _is(lambda: _waiting(connection) == 0))


async def _is(condition: Callable[[], bool]) -> bool:
    return condition()


async def test_a_write_whose_process_died_after_its_commit_is_seen(
    cached: Cached, connection: psycopg.Connection
) -> None:
    card_id = await new_card(cached)
    assert await score_of(cached, card_id) == 1
    # what is left of such a process: a committed row that names it, and nobody who tells Redis
    ORIGIN.set(uuid.uuid4().hex[:16])
    await cached.plain.update_card(card_id, CardPatch(quality_score=2))
    assert _waiting(connection) >= 1

    async def seen() -> bool:
        return await score_of(cached, card_id) == 2

    await until(seen)
    await until(lambda: _is(lambda: _waiting(connection) == 0))


async def test_truncate_and_changes_of_many_rows_make_every_card_anew(
    cached: Cached, connection: psycopg.Connection
) -> None:
    card_id = await new_card(cached)
    assert await score_of(cached, card_id) == 1
    for statement in ("UPDATE cards SET quality_score = 3", "TRUNCATE relationships"):
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
            newest = "SELECT card_ids FROM cache_outbox ORDER BY id DESC LIMIT 1"
            assert connection.execute(newest).fetchone() == (None,), "too many to name"
    connection.execute("UPDATE cards SET quality_score = 3")

    async def seen() -> bool:
        return await score_of(cached, card_id) == 3

    await until(seen)


async def test_writes_of_the_service_clear_their_own_rows_and_wake_nobody(
    cached: Cached, connection: psycopg.Connection
) -> None:
    with psycopg.connect(connection.info.dsn, password=connection.info.password, autocommit=True) as listener:
        listener.execute("LISTEN cache_outbox")
        card_id = await new_card(cached)
        await cached.cards.update_card(card_id, CardPatch(quality_score=9))
        await cached.cards.delete_card(card_id)
        await until(lambda: _is(lambda: _waiting(connection) == 0))
        assert list(listener.notifies(timeout=0.1)) == []


async def test_a_statement_that_changes_nothing_adds_no_row(cached: Cached, connection: psycopg.Connection) -> None:
    await until(lambda: _is(lambda: _waiting(connection) == 0))
    connection.execute("BEGIN")
    connection.execute("UPDATE cards SET quality_score = 1 WHERE id = %s", [uuid.uuid4()])
    await until(lambda: _is(lambda: _waiting(connection) == 0))
    connection.execute("ROLLBACK")


async def test_an_unknown_id_is_remembered_for_a_short_time_until_it_is_created(cached: Cached) -> None:
    card_id = uuid.uuid4()
    for _ in range(2):
        with pytest.raises(NotFound):
            await cached.cards.card(card_id)
    found = await cached.store.read(cached.keys.card(card_id))
    assert isinstance(found, Hit)
    assert 0 < await cached.store._client.pttl(cached.keys.card(card_id).slot) <= 5_000
    await cached.cards.import_cards([CardRow(f"Card {card_id}", CardType.Risk, id=card_id)])
    assert (await cached.cards.card(card_id)).version == 1


async def test_a_list_past_its_expiry_is_served_while_it_is_loaded_anew_but_never_after_a_write(
    stack: Stack, database_url: str
) -> None:
    short = replace(PATIENT, ttl_list_s=0.05, ttl_jitter=0.0, stale_s=30.0)
    async with open_cached(database_url, stack.redis_url, short) as cached:
        question = CardFilter(page_size=3)
        first = await cached.cards.cards(question)
        await asyncio.sleep(0.06)  # the expiry itself is what is tested
        key = cached.keys.cards(question)
        before = await cached.store.read(key)
        assert isinstance(before, Hit), "past its soft expiry and still there"
        assert await cached.cards.cards(question) == first

        async def refreshed() -> bool:
            now = await cached.store.read(key)
            return isinstance(now, Hit) and now.soft_expiry_ms > before.soft_expiry_ms

        await until(refreshed)
        await asyncio.sleep(0.06)
        await new_card(cached)
        assert json.loads((await cached.cards.cards(question)).body)["total"] == json.loads(first.body)["total"] + 1


async def test_a_refresh_does_not_overwrite_a_newer_value(cached: Cached) -> None:
    card_id = await new_card(cached)
    await cached.cards.card(card_id)
    key = cached.keys.card(card_id)
    seen = await cached.store.read(key)
    assert isinstance(seen, Hit)
    sequence = await cached.store.claim_refresh(key)
    assert sequence is not None
    await cached.cards.update_card(card_id, CardPatch(quality_score=5))
    assert await cached.store.refill(key, seen, seen.document, 0.1, sequence) is False
    assert await score_of(cached, card_id) == 5


OLDER = """
DO $$ DECLARE made regprocedure; BEGIN
    FOR made IN SELECT oid::regprocedure FROM pg_proc WHERE proname ~ '^cache_(name|pattern|tags|pieces|changed)' LOOP
        EXECUTE 'DROP FUNCTION ' || made || ' CASCADE';
    END LOOP;
END $$;
DROP TABLE cache_outbox CASCADE;
DROP FUNCTION cards_changed() CASCADE;
DROP FUNCTION cache_outbox_add(uuid[], text[], text[]);
CREATE TABLE cache_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, origin text, card_ids uuid[], kinds text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION cards_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION cache_outbox_add(ids uuid[], kinds text[]) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE TRIGGER cards_updated AFTER UPDATE ON cards
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION cards_changed();
"""


def test_the_outbox_of_an_older_version_is_made_anew_and_forgets_everything_once(
    make_database: Callable[[str], str],
) -> None:
    with connect(make_database("older"), autocommit=True) as connection:
        connection.execute(OLDER.encode())
        for _ in range(2):
            renew_outbox(connection)
        assert connection.execute("SELECT card_ids, names FROM cache_outbox").fetchall() == [(None, None)]
        connection.execute(
            "INSERT INTO cards (name, type, lifecycle_phase, quality_score, description)"
            " VALUES ('o', 'Risk', 'Active', 1, '')"
        )
        connection.execute("UPDATE cards SET quality_score = 2 WHERE name = 'o'")
        assert _waiting(connection) == 3
