"""The cache protocol on a real Redis: nothing stale is ever stored, whoever interleaves with whom."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.announcements import Change
from archzero_lab.systems.arczero.cache.entries import Miss
from archzero_lab.systems.arczero.cache.keys import Key, Kind
from archzero_lab.systems.arczero.cache.store import Lease
from archzero_lab.systems.arczero.cards.model import (
    CardDraft,
    CardFilter,
    CardPatch,
    CardType,
    Conflict,
    Document,
    NotFound,
)
from tests.integration.conftest import Cached, open_cached


class Held:
    """A card service whose reads and writes stop at a gate, to interleave them at will."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.reads = 0
        self.after_read: Callable[[], Awaitable[None]] | None = None
        self.after_write: Callable[[], Awaitable[None]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def card(self, card_id: uuid.UUID) -> Document:
        self.reads += 1
        document: Document = await self._inner.card(card_id)
        if self.after_read:
            await self.after_read()
        return document

    async def cards(self, question: CardFilter) -> Document:
        self.reads += 1
        document: Document = await self._inner.cards(question)
        if self.after_read:
            await self.after_read()
        return document

    async def update_card(self, *arguments: Any) -> Document:
        document: Document = await self._inner.update_card(*arguments)
        if self.after_write:
            await self.after_write()
        return document


@pytest.fixture
def held(cached: Cached) -> Held:
    wrapped = Held(cached.plain)
    cached.cards._cards = wrapped  # type: ignore[assignment]  # the test's way in
    return wrapped


async def _card(cached: Cached, **fields: Any) -> uuid.UUID:
    card_id, _ = await cached.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk, **fields))
    return card_id


def _score(document: Document) -> int:
    return int(json.loads(document.body)["qualityScore"])


async def test_a_reader_that_loaded_before_a_write_cannot_store_after_it(
    cached: Cached, held: Held, stack: Stack, database_url: str
) -> None:
    card_id = await _card(cached, quality_score=1)
    async with open_cached(database_url, stack.redis_url, namespace=cached.keys.namespace) as other:

        async def write_meanwhile() -> None:
            held.after_read = None
            await other.cards.update_card(card_id, CardPatch(quality_score=2))

        held.after_read = write_meanwhile
        assert _score(await cached.cards.card(card_id)) == 1, "it began before the write: either is right"
        assert _score(await cached.cards.card(card_id)) == 2
        assert _score(await other.cards.card(card_id)) == 2


async def test_a_list_loaded_before_a_write_cannot_be_stored_after_it(
    cached: Cached, held: Held, stack: Stack, database_url: str
) -> None:
    word = uuid.uuid4().hex
    async with open_cached(database_url, stack.redis_url, namespace=cached.keys.namespace) as other:

        async def write_meanwhile() -> None:
            held.after_read = None
            await other.cards.create_card(CardDraft(f"Card {word}", CardType.Risk))

        held.after_read = write_meanwhile
        await cached.cards.cards(CardFilter(q=word))
        assert json.loads((await cached.cards.cards(CardFilter(q=word))).body)["total"] == 1


async def test_a_reader_after_a_write_does_not_join_a_list_load_from_before_it(cached: Cached, held: Held) -> None:
    word = uuid.uuid4().hex
    late: list[asyncio.Task[Document]] = []
    asks_itself = asyncio.Event()
    lease = cached.store.lease

    async def asked(key: Key, sent: Callable[[], None]) -> Lease | None:
        if late:
            asks_itself.set()
        return await lease(key, sent)

    async def write_and_read() -> None:
        # the slot still holds the lease of the load that stands here: only the sequence number tells that a write came
        held.after_read = None
        await cached.cards.create_card(CardDraft(f"Card {word}", CardType.Risk))
        late.append(asyncio.create_task(cached.cards.cards(CardFilter(q=word))))
        await asyncio.wait_for(asks_itself.wait(), 5)

    cached.store.lease = asked  # type: ignore[method-assign]  # who joins a load does not ask for the right to load
    held.after_read = write_and_read
    await cached.cards.cards(CardFilter(q=word))
    assert json.loads((await asyncio.wait_for(late[0], 5)).body)["total"] == 1


async def test_readers_during_a_write_read_the_database_and_store_nothing(cached: Cached, held: Held) -> None:
    card_id = await _card(cached, quality_score=1)
    seen: list[int] = []

    async def read_meanwhile() -> None:
        held.after_write = None
        seen.append(_score(await cached.cards.card(card_id)))
        found = await cached.store.read(cached.keys.card(card_id))
        assert isinstance(found, Miss)
        assert found.fenced

    held.after_write = read_meanwhile
    await cached.cards.update_card(card_id, CardPatch(quality_score=2))
    assert seen == [2]
    assert _score(await cached.cards.card(card_id)) == 2
    assert held.reads == 1, "after the write the slot holds its document: a hit"


async def test_of_two_writers_the_later_one_stands_whoever_tells_redis_last(
    cached: Cached, held: Held, stack: Stack, database_url: str
) -> None:
    card_id = await _card(cached, quality_score=0)
    async with open_cached(database_url, stack.redis_url, namespace=cached.keys.namespace) as other:

        async def overtaken() -> None:
            held.after_write = None
            await other.cards.update_card(card_id, CardPatch(quality_score=2))

        held.after_write = overtaken
        await cached.cards.update_card(card_id, CardPatch(quality_score=1))
        assert _score(await cached.cards.card(card_id)) == 2


async def test_an_update_told_after_a_delete_does_not_bring_the_card_back(
    cached: Cached, held: Held, stack: Stack, database_url: str
) -> None:
    card_id = await _card(cached)
    async with open_cached(database_url, stack.redis_url, namespace=cached.keys.namespace) as other:

        async def deleted() -> None:
            held.after_write = None
            await other.cards.delete_card(card_id)

        held.after_write = deleted
        await cached.cards.update_card(card_id, CardPatch(quality_score=1))
        with pytest.raises(NotFound):
            await cached.cards.card(card_id)


async def test_a_rolled_back_write_removes_its_own_fence_only(cached: Cached) -> None:
    card_id = await _card(cached)
    key = cached.keys.card(card_id)
    taken = json.loads((await cached.cards.card(await _card(cached))).body)["name"]
    with pytest.raises(Conflict):
        await cached.cards.update_card(card_id, CardPatch(name=taken))
    found = await cached.store.read(key)
    assert isinstance(found, Miss)
    assert not found.fenced
    lists = Change(kinds=[Kind.LIST])
    await cached.store.fence(key, lists, "a" * 16)
    await cached.store.unfence(key, lists, "b" * 16)
    for fenced in (key, cached.keys.cards(CardFilter())):
        still = await cached.store.read(fenced)
        assert isinstance(still, Miss)
        assert still.fenced
    await cached.store.unfence(key, lists, "a" * 16)
    free = await cached.store.read(cached.keys.cards(CardFilter()))
    assert isinstance(free, Miss)
    assert not free.fenced


async def test_a_failed_load_frees_its_lease(cached: Cached) -> None:
    missing = uuid.uuid4()
    for _ in range(2):
        with pytest.raises(NotFound):
            await asyncio.wait_for(cached.cards.card(missing), 4)  # a lease stands for 5


async def test_concurrent_misses_in_two_processes_worth_of_services_load_once(
    cached: Cached, held: Held, stack: Stack, database_url: str
) -> None:
    card_id = await _card(cached)

    async def slow() -> None:
        await asyncio.sleep(0.05)

    held.after_read = slow
    async with open_cached(database_url, stack.redis_url, namespace=cached.keys.namespace) as other:
        other.cards._cards = held  # type: ignore[assignment]
        readers = [service.cards.card(card_id) for service in (cached, other) for _ in range(50)]
        documents = await asyncio.gather(*readers)
    assert held.reads == 1
    assert len(set(documents)) == 1


async def test_a_dead_loader_delays_others_by_its_lease_at_most(
    cached: Cached, stack: Stack, database_url: str
) -> None:
    from dataclasses import replace

    from tests.integration.conftest import CALM

    short = replace(CALM, lease_s=5.0)
    async with open_cached(database_url, stack.redis_url, short) as service:
        card_id = await _card(service)
        lease = await service.store.lease(service.keys.card(card_id))
        assert lease is not None
        assert lease.state == "granted"
        began = asyncio.get_running_loop().time()
        assert (await service.cards.card(card_id)).version == 1
        assert asyncio.get_running_loop().time() - began < 2 * 5.0


async def test_a_flush_makes_everything_a_miss_and_touches_nothing_else(cached: Cached, held: Held) -> None:
    card_id = await _card(cached)
    await cached.store._client.set("somebody-else", "1")
    await cached.cards.card(card_id)
    await cached.cards.card(card_id)
    assert held.reads == 1
    assert await cached.store.flush()
    await cached.cards.card(card_id)
    assert held.reads == 2
    assert await cached.store._client.get("somebody-else") == b"1"
    await cached.store._client.delete("somebody-else")


async def test_a_lost_generation_makes_its_entries_invalid(cached: Cached, held: Held) -> None:
    await cached.cards.cards(CardFilter())
    await cached.store._client.delete(*cached.keys.generations(Kind.LIST))
    await cached.cards.cards(CardFilter())
    assert held.reads == 2


async def test_every_entry_has_a_ttl_within_its_jitter(cached: Cached) -> None:
    card_id = await _card(cached)
    await cached.cards.card(card_id)
    await cached.cards.cards(CardFilter())
    await cached.cards.cards(CardFilter(q="x"))
    for slot, ttl_s in (
        (cached.keys.card(card_id).slot, 3600),
        (cached.keys.cards(CardFilter()).slot, 900),
        (cached.keys.cards(CardFilter(q="x")).slot, 600),
    ):
        stale_s = 0 if ttl_s == 3600 else 300
        left_ms = await cached.store._client.pttl(slot)
        assert ttl_s * 890 + stale_s * 990 <= left_ms <= (ttl_s + stale_s) * 1000


async def test_reads_of_one_moment_travel_as_one_command(cached: Cached) -> None:
    ids = [await _card(cached) for _ in range(20)]
    await asyncio.gather(*(cached.cards.card(card_id) for card_id in ids))
    before = (await cached.store._client.info("commandstats"))["cmdstat_mget"]["calls"]
    await asyncio.gather(*(cached.cards.card(card_id) for card_id in ids))
    after = (await cached.store._client.info("commandstats"))["cmdstat_mget"]["calls"]
    assert after - before == 1


async def test_the_document_is_the_same_bytes_from_the_database_and_from_the_cache(cached: Cached) -> None:
    card_id = await _card(cached, description="ü \\ \n")
    plain = await cached.plain.card(card_id)
    assert await cached.cards.card(card_id) == plain
    assert await cached.cards.card(card_id) == plain
