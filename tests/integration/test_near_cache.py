"""The near cache: documents in the process, emptied by push the moment Redis says they changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from archzero_lab.servers.stack import Stack
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.entries import Miss
from archzero_lab.systems.arczero.cache.keys import Keyspace
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cards.model import (
    CardFilter,
    CardPatch,
    Document,
)
from archzero_lab.systems.arczero.cards.request_context import STRICT
from tests.integration.conftest import CALM, PATIENT, Cached, new_card, open_cached, score_of, until

NEAR = replace(CALM, near_bytes=4 * 1024 * 1024)


async def _is(condition: Callable[[], bool]) -> bool:
    return condition()


@pytest.fixture
async def near(stack: Stack, database_url: str) -> AsyncIterator[Cached]:
    async with open_cached(database_url, stack.redis_url, NEAR) as made:
        await until(lambda: _is(lambda: made.store.near is not None and made.store.near.listening))
        yield made


async def _kept(cached: Cached, card_id: uuid.UUID) -> bool:
    await cached.cards.card(card_id)
    assert cached.store.near is not None
    return cached.store.near.get(cached.keys.card(card_id)) is not None


async def test_a_card_read_again_comes_from_the_process(near: Cached) -> None:
    card_id = await new_card(near)
    await until(lambda: _kept(near, card_id))
    stats = await near.store._client.info("commandstats")
    before = stats["cmdstat_mget"]["calls"]
    await near.cards.card(card_id)
    assert (await near.store._client.info("commandstats"))["cmdstat_mget"]["calls"] == before
    STRICT.set(True)
    await near.cards.card(card_id)
    assert (await near.store._client.info("commandstats"))["cmdstat_mget"]["calls"] == before + 1


async def test_a_write_of_another_process_empties_it_by_push(near: Cached, stack: Stack, database_url: str) -> None:
    card_id = await new_card(near)
    question = CardFilter(q=json.loads((await near.cards.card(card_id)).body)["name"])
    await until(lambda: _kept(near, card_id))

    async def list_kept() -> bool:
        await near.cards.cards(question)
        assert near.store.near is not None
        return near.store.near.get(near.keys.cards(question)) is not None

    await until(list_kept)
    async with open_cached(database_url, stack.redis_url, PATIENT, namespace=near.keys.namespace) as other:
        await other.cards.update_card(card_id, CardPatch(quality_score=7))

    async def both_new() -> bool:
        page = json.loads((await near.cards.cards(question)).body)["data"]
        return await score_of(near, card_id) == 7 and page[0]["qualityScore"] == 7

    await until(both_new, 1.0)


async def test_a_page_whose_dependencies_redis_evicted_is_not_kept_where_no_push_can_empty_it(
    near: Cached, stack: Stack, database_url: str
) -> None:
    card_id = await new_card(near)
    question = CardFilter(q=json.loads((await near.cards.card(card_id)).body)["name"])
    key, client = near.keys.cards(question), near.store._client
    cache = near.store.near
    assert cache is not None

    async def kept() -> bool:
        await near.cards.cards(question)
        return cache.get(key) is not None

    await until(kept)
    await client.delete(*[name async for name in client.scan_iter(near.keys.dependencies + "*")])
    await until(lambda: _is(lambda: cache.get(key) is None))
    await near.cards.cards(question)
    async with open_cached(database_url, stack.redis_url, PATIENT, namespace=near.keys.namespace) as other:
        await other.cards.update_card(card_id, CardPatch(quality_score=7))

    async def new() -> bool:
        return bool(json.loads((await near.cards.cards(question)).body)["data"][0]["qualityScore"] == 7)

    await until(new, 1.0)


async def test_own_writes_are_seen_at_once(near: Cached) -> None:
    card_id = await new_card(near)
    for score in range(20):
        await near.cards.update_card(card_id, CardPatch(quality_score=score))
        assert await score_of(near, card_id) == score
        assert await score_of(near, card_id) == score


async def test_a_lost_connection_empties_it_and_turns_it_off_until_it_is_back(near: Cached) -> None:
    card_id = await new_card(near)
    await until(lambda: _kept(near, card_id))
    cache = near.store.near
    assert cache is not None
    await near.store._client.client_kill_filter(_type="normal", skipme=True)
    await until(lambda: _is(lambda: len(cache) == 0))
    await until(lambda: _is(lambda: cache.listening))
    await until(lambda: _kept(near, card_id))


async def test_it_is_bounded_in_bytes() -> None:
    settings = CacheSettings(near_bytes=10_000)
    keys = Keyspace("n")
    cache = NearCache(lambda: None, keys, settings)
    cache.listening = True
    for _ in range(100):
        cache.put(keys.card(uuid.uuid4()), Document(b"x" * 600, "1", 1), cache.ticket())
    assert 8_000 < cache.used_bytes <= 10_000
    assert len(cache) == 10
    cache.put(keys.card(uuid.UUID(int=1)), Document(b"x" * 20_000, "1", 1), cache.ticket())
    assert cache.get(keys.card(uuid.UUID(int=1))) is None


async def test_a_document_invalidated_since_its_ticket_is_not_kept() -> None:
    keys = Keyspace("n")
    cache = NearCache(lambda: None, keys, CacheSettings())
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
    cache = NearCache(lambda: None, keys, CacheSettings(near_bytes=3_000))
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
    card_id = await new_card(near)
    await until(lambda: _kept(near, card_id))
    await near.store.flush()
    found = await near.store.read(near.keys.card(card_id))
    assert isinstance(found, Miss)
    assert near.store.near is not None
    assert near.store.near.get(near.keys.card(card_id)) is None
