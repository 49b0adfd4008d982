"""What others change is heard of: the outbox drained into Redis, the near cache emptied by push."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import psycopg
import pytest

from archzero_lab.servers.stack import Stack
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.entries import Hit, Miss
from archzero_lab.systems.arczero.cache.keys import Keyspace
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cards.model import (
    CardDraft,
    CardFilter,
    CardPatch,
    CardRow,
    CardType,
    Document,
    NotFound,
)
from archzero_lab.systems.arczero.cards.request_context import ORIGIN, STRICT
from tests.integration.conftest import PATIENT, Cached, open_cached

NEAR = replace(PATIENT, near_bytes=4 * 1024 * 1024)


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.005)


async def _new(cached: Cached, score: int = 1) -> uuid.UUID:
    card_id, _ = await cached.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk, quality_score=score))
    return card_id


async def _score(cached: Cached, card_id: uuid.UUID) -> int:
    return int(json.loads((await cached.cards.card(card_id)).body)["qualityScore"])


def _waiting(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM cache_outbox").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_change_by_plain_sql_is_seen_and_its_row_is_gone(
    cached: Cached, connection: psycopg.Connection
) -> None:
    card_id = await _new(cached)
    assert await _score(cached, card_id) == 1
    listed = CardFilter(q=json.loads((await cached.cards.card(card_id)).body)["name"])
    await cached.cards.cards(listed)
    connection.execute("UPDATE cards SET quality_score = 2 WHERE id = %s", [card_id])

    async def seen() -> bool:
        page = json.loads((await cached.cards.cards(listed)).body)["data"]
        return await _score(cached, card_id) == 2 and page[0]["qualityScore"] == 2

    await _until(seen)
    await _until(lambda: _is(lambda: _waiting(connection) == 0))


async def _is(condition: Callable[[], bool]) -> bool:
    return condition()


async def test_a_write_whose_process_died_after_its_commit_is_seen(
    cached: Cached, connection: psycopg.Connection
) -> None:
    card_id = await _new(cached)
    assert await _score(cached, card_id) == 1
    # what is left of such a process: a committed row that names it, and nobody who tells Redis
    ORIGIN.set(uuid.uuid4().hex[:16])
    await cached.plain.update_card(card_id, CardPatch(quality_score=2))
    assert _waiting(connection) >= 1

    async def seen() -> bool:
        return await _score(cached, card_id) == 2

    await _until(seen)
    await _until(lambda: _is(lambda: _waiting(connection) == 0))


async def test_truncate_and_changes_of_many_rows_make_every_card_anew(
    cached: Cached, connection: psycopg.Connection
) -> None:
    card_id = await _new(cached)
    assert await _score(cached, card_id) == 1
    for statement in ("UPDATE cards SET quality_score = 3", "TRUNCATE relationships"):
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
            newest = "SELECT card_ids FROM cache_outbox ORDER BY id DESC LIMIT 1"
            assert connection.execute(newest).fetchone() == (None,), "too many to name"
    connection.execute("UPDATE cards SET quality_score = 3")

    async def seen() -> bool:
        return await _score(cached, card_id) == 3

    await _until(seen)


async def test_writes_of_the_service_clear_their_own_rows_and_wake_nobody(
    cached: Cached, connection: psycopg.Connection
) -> None:
    with psycopg.connect(connection.info.dsn, password=connection.info.password, autocommit=True) as listener:
        listener.execute("LISTEN cache_outbox")
        card_id = await _new(cached)
        await cached.cards.update_card(card_id, CardPatch(quality_score=9))
        await cached.cards.delete_card(card_id)
        await _until(lambda: _is(lambda: _waiting(connection) == 0))
        assert list(listener.notifies(timeout=0.1)) == []


async def test_a_statement_that_changes_nothing_adds_no_row(cached: Cached, connection: psycopg.Connection) -> None:
    await _until(lambda: _is(lambda: _waiting(connection) == 0))
    connection.execute("BEGIN")
    connection.execute("UPDATE cards SET quality_score = 1 WHERE id = %s", [uuid.uuid4()])
    await _until(lambda: _is(lambda: _waiting(connection) == 0))
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

        await _until(refreshed)
        await asyncio.sleep(0.06)
        await _new(cached)
        assert json.loads((await cached.cards.cards(question)).body)["total"] == json.loads(first.body)["total"] + 1


async def test_a_refresh_does_not_overwrite_a_newer_value(cached: Cached) -> None:
    card_id = await _new(cached)
    await cached.cards.card(card_id)
    key = cached.keys.card(card_id)
    seen = await cached.store.read(key)
    assert isinstance(seen, Hit)
    sequence = await cached.store.claim_refresh(key)
    assert sequence is not None
    await cached.cards.update_card(card_id, CardPatch(quality_score=5))
    assert await cached.store.refill(key, seen, seen.document, 0.1, sequence) is False
    assert await _score(cached, card_id) == 5


@pytest.fixture
async def near(stack: Stack, database_url: str) -> AsyncIterator[Cached]:
    async with open_cached(database_url, stack.redis_url, NEAR) as made:
        await _until(lambda: _is(lambda: made.store.near is not None and made.store.near.listening))
        yield made


async def _kept(cached: Cached, card_id: uuid.UUID) -> bool:
    await cached.cards.card(card_id)
    assert cached.store.near is not None
    return cached.store.near.get(cached.keys.card(card_id)) is not None


async def test_a_card_read_again_comes_from_the_process(near: Cached) -> None:
    card_id = await _new(near)
    await _until(lambda: _kept(near, card_id))
    stats = await near.store._client.info("commandstats")
    before = stats["cmdstat_mget"]["calls"]
    await near.cards.card(card_id)
    assert (await near.store._client.info("commandstats"))["cmdstat_mget"]["calls"] == before
    STRICT.set(True)
    await near.cards.card(card_id)
    assert (await near.store._client.info("commandstats"))["cmdstat_mget"]["calls"] == before + 1


async def test_a_write_of_another_process_empties_it_by_push(near: Cached, stack: Stack, database_url: str) -> None:
    card_id = await _new(near)
    question = CardFilter(q=json.loads((await near.cards.card(card_id)).body)["name"])
    await _until(lambda: _kept(near, card_id))

    async def list_kept() -> bool:
        await near.cards.cards(question)
        assert near.store.near is not None
        return near.store.near.get(near.keys.cards(question)) is not None

    await _until(list_kept)
    async with open_cached(database_url, stack.redis_url, PATIENT, namespace=near.keys.namespace) as other:
        await other.cards.update_card(card_id, CardPatch(quality_score=7))

    async def both_new() -> bool:
        page = json.loads((await near.cards.cards(question)).body)["data"]
        return await _score(near, card_id) == 7 and page[0]["qualityScore"] == 7

    await _until(both_new, 1.0)


async def test_own_writes_are_seen_at_once(near: Cached) -> None:
    card_id = await _new(near)
    for score in range(20):
        await near.cards.update_card(card_id, CardPatch(quality_score=score))
        assert await _score(near, card_id) == score
        assert await _score(near, card_id) == score


async def test_a_lost_connection_empties_it_and_turns_it_off_until_it_is_back(near: Cached) -> None:
    card_id = await _new(near)
    await _until(lambda: _kept(near, card_id))
    cache = near.store.near
    assert cache is not None
    await near.store._client.client_kill_filter(_type="normal", skipme=True)
    await _until(lambda: _is(lambda: len(cache) == 0))
    await _until(lambda: _is(lambda: cache.listening))
    await _until(lambda: _kept(near, card_id))


async def test_it_is_bounded_in_bytes() -> None:
    settings = CacheSettings(near_bytes=10_000)
    keys = Keyspace("n")
    cache = NearCache("redis://127.0.0.1:1/0", keys, settings)
    cache.listening = True
    for _ in range(100):
        cache.put(keys.card(uuid.uuid4()), Document(b"x" * 600, "1", 1), cache.ticket())
    assert 8_000 < cache.used_bytes <= 10_000
    assert len(cache) == 10
    cache.put(keys.card(uuid.UUID(int=1)), Document(b"x" * 20_000, "1", 1), cache.ticket())
    assert cache.get(keys.card(uuid.UUID(int=1))) is None


async def test_a_document_invalidated_since_its_ticket_is_not_kept() -> None:
    keys = Keyspace("n")
    cache = NearCache("redis://127.0.0.1:1/0", keys, CacheSettings())
    cache.listening = True
    key, listed = keys.card(uuid.uuid4()), keys.cards(CardFilter())
    ticket = cache.ticket()
    await cache._pushed(["invalidate", [key.slot.encode()]])
    cache.put(key, Document(b"old", "1", 1), ticket)
    assert cache.get(key) is None
    ticket = cache.ticket()
    cache.put(listed, Document(b"kept", "1", 1), ticket)
    assert cache.get(listed) is not None
    await cache._pushed(["invalidate", [listed.generation.encode()]])
    assert cache.get(listed) is None
    cache.put(listed, Document(b"old", "1", 1), ticket)
    assert cache.get(listed) is None
    ticket = cache.ticket()
    await cache._pushed(["invalidate", None])
    cache.put(key, Document(b"old", "1", 1), ticket)
    assert cache.get(key) is None
    cache.listening = False
    cache.put(key, Document(b"x", "1", 1), cache.ticket())
    assert len(cache) == 0


async def test_a_document_goes_with_anything_that_it_depends_on_and_is_not_kept_when_that_changed_meanwhile() -> None:
    keys = Keyspace("n")
    cache = NearCache("redis://127.0.0.1:1/0", keys, CacheSettings(near_bytes=3_000))
    cache.listening = True
    pages = [keys.cards(CardFilter(page=page)) for page in (1, 2)]
    names = [(keys.dependencies + name).encode() for name in ("c00000000001", "c00000000002", "c00000000003")]
    for page, depends in zip(pages, (names[:2], names[1:]), strict=True):
        cache.put(page, Document(b"x", "1"), cache.ticket(), depends)
    await cache._pushed(["invalidate", [names[0]]])
    assert [cache.get(page) is None for page in pages] == [True, False]
    ticket = cache.ticket()
    await cache._pushed(["invalidate", [names[2]]])
    cache.put(pages[1], Document(b"old", "1"), ticket, names[1:])
    assert cache.get(pages[1]) is None
    for number in range(20):  # more than there is room for
        cache.put(keys.cards(CardFilter(page=number + 9)), Document(b"x", "1"), cache.ticket(), names[1:])
    assert 0 < len(cache) < 9
    assert {len(slots) for slots in cache._entries.depending.values()} == {len(cache)}
    cache.clear()
    assert not cache._entries.depending
    await cache._pushed(["invalidate", names])


async def test_a_flush_is_seen_in_the_process_too(near: Cached) -> None:
    card_id = await _new(near)
    await _until(lambda: _kept(near, card_id))
    await near.store.flush()
    found = await near.store.read(near.keys.card(card_id))
    assert isinstance(found, Miss)
    assert near.store.near is not None
    assert near.store.near.get(near.keys.card(card_id)) is None
