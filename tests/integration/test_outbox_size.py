"""An outbox that nobody drained: made small by whoever looks, and what it says is never less."""

from __future__ import annotations

import asyncio
import json
import time
import uuid

import psycopg
import pytest

from archzero_lab.postgres.pool import Database
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache import outbox_size
from archzero_lab.systems.arczero.cache.store import CacheStore
from archzero_lab.systems.arczero.cards.changes import Changed
from archzero_lab.systems.arczero.cards.model import CardDraft, CardType
from tests.integration.conftest import PATIENT, PATIENT_POOL, open_cached

ROWS = 100_000
FILL = (
    "INSERT INTO cache_outbox (card_ids, kinds, created_at)"
    " SELECT ARRAY[gen_random_uuid()], '{list}', %s FROM generate_series(1, %s)"
)


def _rows(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT card_ids, kinds FROM cache_outbox ORDER BY id LIMIT 5").fetchall()


async def test_a_service_without_a_cache_makes_old_rows_few_that_say_as_much(
    stack: Stack, database_url: str, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its first look, however many there are."""
    connection.execute("TRUNCATE cache_outbox")
    connection.execute(FILL, ["2026-01-01", ROWS])
    connection.execute("INSERT INTO cache_outbox (card_ids, kinds) VALUES ('{}', '{graph}')")
    monkeypatch.setattr(outbox_size, "_PERIOD_S", 600.0)
    database = Database(database_url, PATIENT_POOL)
    await database.open()
    task = asyncio.create_task(outbox_size.keep_small(database))
    try:
        deadline = time.monotonic() + 30
        while len(_rows(connection)) > 1 + ROWS / outbox_size._AT_ONCE:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        # the young row stays as it is; of the old ones all cards and all kinds are void
        young, *made = _rows(connection)
        assert young == ([], ["graph"])
        assert made
        assert all(row == (None, ["card", "list", "search", "graph", "relationships"]) for row in made)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.close()


async def test_very_many_rows_are_told_at_once_and_the_cache_is_in_use_again(
    stack: Stack, database_url: str, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where PostgreSQL believes the table to be empty, as it does once what was drained has been vacuumed."""
    async with open_cached(database_url, stack.redis_url) as service:
        card_id, _ = await service.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
        await service.cards.card(card_id)
        namespace = service.keys.namespace
    connection.execute(FILL, ["now", 100])
    connection.execute("DELETE FROM cache_outbox")
    connection.execute("VACUUM (TRUNCATE off) cache_outbox")
    believed = connection.execute("SELECT relpages > 0, reltuples FROM pg_class WHERE oid = 'cache_outbox'::regclass")
    assert believed.fetchone() == (True, 0)
    connection.execute("UPDATE cards SET quality_score = 77 WHERE id = %s", [card_id])
    connection.execute(FILL, ["now", ROWS])
    told: list[int] = []
    invalidate = CacheStore.invalidate

    async def counted(store: CacheStore, changes: list[Changed], position: str = "") -> bool:
        told.append(len(changes))
        return await invalidate(store, changes, position)

    monkeypatch.setattr(CacheStore, "invalidate", counted)
    async with open_cached(database_url, stack.redis_url, PATIENT, namespace) as service:
        deadline = time.monotonic() + 60
        while _rows(connection) or not service.store.link.licensed:
            assert time.monotonic() < deadline, (told, service.store.link.trouble)
            await asyncio.sleep(0.02)
        assert sum(told) < ROWS / 10, "not all of them, five hundred at a time"
        assert json.loads((await service.cards.card(card_id)).body)["qualityScore"] == 77
