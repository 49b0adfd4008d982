"""The cache behind three sentinels: who was lost and is there again is believed by nobody."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from archzero_lab.servers.redis_node import RedisNode
from archzero_lab.servers.sentinel_group import SentinelGroup
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache import connections
from archzero_lab.systems.arczero.cards.model import CardDraft, CardPatch, CardType, Unavailable
from tests.integration.cached_over_groups import exercise, until_licensed
from tests.integration.conftest import PATIENT, open_cached, until


@pytest.fixture
def sentinels(stack: Stack) -> Iterator[SentinelGroup]:
    group = SentinelGroup(stack)
    yield group
    group.close()


def _pause(group: SentinelGroup, node: RedisNode) -> None:
    node.signal(signal.SIGSTOP)


async def test_behind_sentinel_through_a_failover(database_url: str, sentinels: SentinelGroup) -> None:
    async with open_cached(database_url, sentinels.url, PATIENT) as service:
        await until_licensed(service)
        await exercise(service)
        master = sentinels.master()
        master.kill()
        card_id, _ = await service.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
        assert (await service.cards.card(card_id)).version == 1
        await asyncio.to_thread(sentinels.wait_for_another_than, master)
        await until_licensed(service)
        await exercise(service)


@pytest.mark.parametrize("loss", [SentinelGroup.cut_off, _pause])
async def test_a_master_that_is_there_beside_the_new_one_is_believed_by_nobody(
    database_url: str, sentinels: SentinelGroup, loss: Callable[[SentinelGroup, RedisNode], None]
) -> None:
    stale, written, from_redis = await _through_a_failover(database_url, sentinels, loss)
    assert stale == 0
    assert written > 0
    assert from_redis > 0


async def test_without_asking_the_sentinels_it_would_be(
    database_url: str, sentinels: SentinelGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard taken out: so the test above would show it."""
    monkeypatch.setattr(connections, "is_sentinel", lambda url: False)
    stale, _, _ = await _through_a_failover(database_url, sentinels, SentinelGroup.cut_off)
    assert stale > 0


async def _through_a_failover(
    database_url: str, sentinels: SentinelGroup, loss: Callable[[SentinelGroup, RedisNode], None]
) -> tuple[int, int, int]:
    """Two services as of two processes, one whose connections stand while the other's are made anew: how often the one
    reads what the other's acknowledged write has replaced, how many of those there were, and how many reads believed
    Redis."""
    namespace, strict = f"test:{uuid.uuid4().hex}", replace(PATIENT, timeout_s=0.5)
    async with (
        open_cached(database_url, sentinels.url, strict, namespace) as stays,
        open_cached(database_url, sentinels.url, strict, namespace) as moves,
    ):
        await until_licensed(stays)
        await until_licensed(moves)
        card_id, _ = await moves.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
        assert (await stays.cards.card(card_id)).version == 1
        master = sentinels.master()
        loss(sentinels, master)
        await asyncio.to_thread(sentinels.wait_for_another_than, master)
        if loss is not SentinelGroup.cut_off:
            master.signal(signal.SIGCONT)
        for client in (moves.store.link.client, moves.store.link.connections.probe):
            await client.connection_pool.disconnect()
        moves.store.link.revoke()
        stale = written = from_redis = 0
        until_s = time.monotonic() + 4
        while time.monotonic() < until_s:
            try:
                version = (await moves.cards.update_card(card_id, CardPatch(quality_score=1))).version
            except Unavailable:  # not acknowledged
                continue
            written += 1
            from_redis += stays.store.link.licensed
            stale += (await stays.cards.card(card_id)).version < version
        return stale, written, from_redis


async def test_the_near_cache_hears_of_who_leads_now(database_url: str, sentinels: SentinelGroup) -> None:
    namespace = f"test:{uuid.uuid4().hex}"
    async with (
        open_cached(database_url, sentinels.url, replace(PATIENT, near_bytes=1_000_000), namespace) as near,
        open_cached(database_url, sentinels.url, PATIENT, namespace) as other,
    ):
        await until_licensed(near)
        await until_licensed(other)
        card_id, _ = await other.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
        master = sentinels.master()
        sentinels.cut_off(master)
        await asyncio.to_thread(sentinels.wait_for_another_than, master)
        await until_licensed(near)
        await until_licensed(other)

        async def kept() -> bool:
            await near.cards.card(card_id)
            return near.store.near is not None and near.store.near.get(near.keys.card(card_id)) is not None

        await until(kept, 30)
        version = (await other.cards.update_card(card_id, CardPatch(quality_score=7))).version

        async def seen() -> bool:
            return (await near.cards.card(card_id)).version == version

        await until(seen, 5)  # long before near_ttl_s


async def test_sentinels_that_name_nobody_leave_the_service_without_a_cache(
    database_url: str, sentinels: SentinelGroup
) -> None:
    async with open_cached(database_url, sentinels.url.replace("/lab/", "/nobody/"), PATIENT) as service:
        card_id, _ = await service.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
        assert (await service.cards.card(card_id)).version == 1
        assert not service.store.link.licensed
        assert "do not name one master nobody" in service.store.link.trouble
