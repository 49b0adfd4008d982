"""Reads travel over one connection: what becomes of them where that is slow, or cut in the middle of an answer."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.entries import Hit
from archzero_lab.systems.arczero.cache.keys import Kind
from archzero_lab.systems.arczero.cards.model import CardDraft, CardType
from tests.integration.conftest import PATIENT, Cached, open_cached, until


class Between:
    """A way to Redis that can be stopped, and cut in the middle of what it answers to reads."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._flows = asyncio.Event()
        self._flows.set()
        self._cuts = False
        self.port = 0

    def stop(self) -> None:
        """Nothing arrives any more."""
        self._flows.clear()

    def go_on(self) -> None:
        self._flows.set()

    def cut(self) -> None:
        """The next answer to an MGET ends in its middle, and the connection with it."""
        self._cuts = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(*self._to)
        reads = False

        async def requests() -> None:
            nonlocal reads
            while data := await reader.read(65_536):
                reads = b"MGET" in data
                await self._flows.wait()
                forth.write(data)
            forth.close()

        async def answers() -> None:
            while data := await back.read(65_536):
                await self._flows.wait()
                if reads and self._cuts:
                    self._cuts = False
                    writer.write(data[: len(data) // 2])
                    break
                writer.write(data)
            writer.close()

        await asyncio.gather(requests(), answers(), return_exceptions=True)


@asynccontextmanager
async def _between(stack: Stack, database_url: str, timeout_s: float) -> AsyncIterator[tuple[Between, Cached]]:
    place = urlsplit(stack.redis_url)
    assert place.hostname is not None
    assert place.port is not None
    way = Between(place.hostname, place.port)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    url = stack.redis_url.replace(f"{place.hostname}:{place.port}", f"127.0.0.1:{way.port}")
    try:
        # one late command is no outage here: what becomes of the readers is asked, not what the breaker does
        settings = replace(PATIENT, timeout_s=timeout_s, breaker_failures=1_000, heartbeat_s=0.2, licence_s=30.0)
        async with open_cached(database_url, url, settings) as cached:
            yield way, cached
    finally:
        server.close()


async def _cards(cached: Cached, number: int) -> list[uuid.UUID]:
    ids = [
        (await cached.cards.create_card(CardDraft(f"Together {uuid.uuid4()}", CardType.Risk)))[0] for _ in range(number)
    ]
    for card_id in ids * 2:
        await cached.cards.card(card_id)
    return ids


async def test_reads_of_one_turn_are_one_command(stack: Stack, database_url: str) -> None:
    async with open_cached(database_url, stack.redis_url) as cached:
        ids = await _cards(cached, 10)
        client = cached.store._client
        before = (await client.info("commandstats"))["cmdstat_mget"]["calls"]
        found = await asyncio.gather(*(cached.store.read(cached.keys.card(card_id)) for card_id in ids))
        assert all(isinstance(value, Hit) for value in found)
        assert (await client.info("commandstats"))["cmdstat_mget"]["calls"] == before + 1


async def test_an_answer_that_is_cut_fails_who_was_in_it_and_nobody_after(stack: Stack, database_url: str) -> None:
    async with _between(stack, database_url, timeout_s=2.0) as (way, cached):
        ids = await _cards(cached, 10)
        keys = [cached.keys.card(card_id) for card_id in ids]
        way.cut()
        found = await asyncio.gather(*map(cached.store.read, keys))
        assert found == [None] * len(ids)
        assert all(isinstance(value, Hit) for value in await asyncio.gather(*map(cached.store.read, keys)))
        way.cut()
        documents = await asyncio.gather(*map(cached.cards.card, ids))
        assert [document.etag for document in documents] == [(await cached.plain.card(i)).etag for i in ids]


async def test_nobody_waits_longer_than_the_timeout_however_many_wait(stack: Stack, database_url: str) -> None:
    async with _between(stack, database_url, timeout_s=3.0) as (way, cached):
        ids = await _cards(cached, 3)
        way.stop()
        began = time.monotonic()
        asked = []
        for _ in range(5):  # those of later turns wait behind those of the first
            asked += [asyncio.ensure_future(cached.store.read(cached.keys.card(card_id))) for card_id in ids]
            await asyncio.sleep(0.05)
        assert await asyncio.gather(*asked) == [None] * 15
        # the last were asked for after a fifth of a second; one timeout each, not one after the other
        assert time.monotonic() - began < 3 * 3.0
        way.go_on()

        async def is_hit() -> bool:
            return isinstance(await cached.store.read(cached.keys.card(ids[0])), Hit)

        await until(is_hit)


async def test_what_somebody_else_put_into_a_slot_keeps_nobody_waiting(stack: Stack, database_url: str) -> None:
    async with open_cached(database_url, stack.redis_url) as cached:
        ids = await _cards(cached, 3)
        generation = await cached.store._client.get(cached.keys.generations(Kind.CARD)[0])
        await cached.store._client.set(cached.keys.card(ids[1]).slot, b"V" + generation + b"nonsense")
        documents = await asyncio.gather(*map(cached.cards.card, ids))
        assert [document.etag for document in documents] == [(await cached.plain.card(i)).etag for i in ids]


async def test_a_connection_that_is_made_anew_beside_reads_mixes_up_no_answers(stack: Stack, database_url: str) -> None:
    async with open_cached(database_url, stack.redis_url) as cached:
        ids = await _cards(cached, 20)
        pipe = cached.store.link.pipe
        assert pipe is not None
        ending = False

        async def read_on(card_id: uuid.UUID) -> int:
            hits = 0
            while not ending:
                await asyncio.sleep(0)  # a read without a licence ends at once
                found = await cached.store.read(cached.keys.card(card_id))
                if isinstance(found, Hit):
                    assert str(card_id).encode() in found.document.body
                    hits += 1
            return hits

        readers = [asyncio.ensure_future(read_on(card_id)) for card_id in ids]
        for _ in range(20):
            await asyncio.gather(*(pipe.renew() for _ in range(3)), return_exceptions=True)
        ending = True
        assert sum(await asyncio.gather(*readers)) > 0


async def test_a_reader_that_goes_away_takes_nobody_with_it(stack: Stack, database_url: str) -> None:
    async with open_cached(database_url, stack.redis_url) as cached:
        ids = await _cards(cached, 3)
        asked = [cached.store.read(cached.keys.card(card_id)) for card_id in ids]
        asked[1].cancel()
        assert [isinstance(await asked[place], Hit) for place in (0, 2)] == [True, True]


@pytest.mark.parametrize("reads_first", [True, False])
async def test_an_answer_that_was_asked_for_before_a_revocation_is_not_believed(
    stack: Stack, database_url: str, reads_first: bool
) -> None:
    async with open_cached(database_url, stack.redis_url) as cached:
        (card_id,) = await _cards(cached, 1)
        if not reads_first:
            cached.store.link.revoke()
        asked = cached.store.read(cached.keys.card(card_id))
        await asyncio.sleep(0)
        if reads_first:
            cached.store.link.revoke()
        assert await asked is None
