"""No write is committed that was not announced, unless nobody reads from Redis."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arczero.cache.entries import Hit, Miss
from archzero_lab.systems.arczero.cache.keys import Kind
from archzero_lab.systems.arczero.cards.model import CardFilter, CardPatch, CardType, Unavailable
from tests.integration.conftest import PATIENT, Cached, new_card, open_cached

Fence = Callable[..., Awaitable[bool]]


async def _cached_card(cached: Cached) -> uuid.UUID:
    card_id = await new_card(cached)
    await cached.cards.card(card_id)
    assert isinstance(await cached.store.read(cached.keys.card(card_id)), Hit)
    return card_id


async def _score_in_the_database(cached: Cached, card_id: uuid.UUID) -> int:
    return int(json.loads((await cached.plain.card(card_id)).body)["qualityScore"])


def _in_vain(fence: Fence, times: int) -> Fence:
    """The first so many announcements are lost on their way, as by a time-out."""
    left = [times]

    async def lossy(*arguments: Any) -> bool:
        if left[0] > 0:
            left[0] -= 1
            return False
        return await fence(*arguments)

    return lossy


async def test_an_announcement_that_was_lost_is_made_again_before_the_commit(
    cached: Cached, monkeypatch: pytest.MonkeyPatch
) -> None:
    card_id = await _cached_card(cached)
    monkeypatch.setattr(cached.store, "fence", _in_vain(cached.store.fence, 3))
    written, found = cached.store.written, []

    async def look_first(*arguments: Any) -> bool:
        found.append(
            (await _score_in_the_database(cached, card_id), await cached.store.read(cached.keys.card(card_id)))
        )
        return await written(*arguments)

    monkeypatch.setattr(cached.store, "written", look_first)
    await cached.cards.update_card(card_id, CardPatch(quality_score=2))
    ((score, slot),) = found
    assert score == 2, "it is committed"
    assert isinstance(slot, Miss), "and its older value is nobody's any more"
    assert slot.fenced


async def test_what_cannot_be_announced_to_a_redis_that_obeys_is_not_written(
    stack: Stack, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_cached(database_url, stack.redis_url, PATIENT) as cached:  # it waits for some licences
        card_id = await _cached_card(cached)
        fence = cached.store.fence
        monkeypatch.setattr(cached.store, "fence", _in_vain(fence, 10**6))
        with pytest.raises(Unavailable, match="nothing was written"):
            await cached.cards.update_card(card_id, CardPatch(quality_score=2))
        assert await _score_in_the_database(cached, card_id) == 1
        monkeypatch.setattr(cached.store, "fence", fence)
        await cached.cards.update_card(card_id, CardPatch(quality_score=3))
        assert json.loads((await cached.cards.card(card_id)).body)["qualityScore"] == 3


async def test_where_redis_is_away_a_write_needs_no_announcement(
    stack: Stack, database_url: str, cached: Cached
) -> None:
    redis = HurtRedis(stack)
    try:
        async with open_cached(database_url, redis.server.url, PATIENT) as other:
            card_id = await _cached_card(other)
            redis.kill()
            await other.cards.update_card(card_id, CardPatch(quality_score=2))
            assert await _score_in_the_database(other, card_id) == 2
    finally:
        redis.close()


async def test_who_announces_twice_stands_in_the_way_once(cached: Cached) -> None:
    card_id = await _cached_card(cached)
    page = CardFilter(type=CardType.Risk)
    await cached.cards.cards(page)
    key = cached.keys.card(card_id)
    changes: list[Any] = []
    fence = cached.store.fence

    async def twice(*arguments: Any) -> bool:
        changes.append(arguments[1])
        return await fence(*arguments) and await fence(*arguments)

    cached.store.fence = twice  # type: ignore[method-assign]
    await cached.cards.update_card(card_id, CardPatch(quality_score=2))
    assert changes[0].names, "of the page as well"
    assert isinstance(await cached.store.read(key), Hit)
    await cached.cards.cards(page)
    assert isinstance(await cached.store.read(cached.keys.cards(page)), Hit)
    assert Kind.LIST not in changes[0].kinds


async def test_a_write_does_not_ask_first_whether_redis_knows_its_scripts(cached: Cached) -> None:
    card_id = await _cached_card(cached)
    await cached.cards.update_card(card_id, CardPatch(quality_score=2))
    asked = await _calls(cached, "script|exists")
    await cached.cards.update_card(card_id, CardPatch(quality_score=3))
    assert await _calls(cached, "script|exists") == asked


async def test_a_write_is_announced_and_told_to_a_redis_that_forgot_the_scripts(cached: Cached) -> None:
    card_id = await _cached_card(cached)
    await cached.store.link.client.script_flush()
    loaded = await _calls(cached, "script|load")
    await cached.cards.update_card(card_id, CardPatch(quality_score=2))
    assert await _calls(cached, "script|load") > loaded
    slot = await cached.store.read(cached.keys.card(card_id))
    assert isinstance(slot, Hit), "told: the new one is there at once"
    assert json.loads(slot.document.body)["qualityScore"] == 2


async def test_a_redis_that_forgot_the_scripts_does_nothing_of_a_telling(cached: Cached) -> None:
    card_id = await _cached_card(cached)
    await cached.cards.cards(CardFilter(type=CardType.Risk))
    changes: list[Any] = []
    fence = cached.store.fence

    async def kept(*arguments: Any) -> bool:
        changes.append(arguments[1])
        return await fence(*arguments)

    cached.store.fence = kept  # type: ignore[method-assign]
    await cached.cards.update_card(card_id, CardPatch(quality_score=2))
    # who announced would be let go before it told what it changed, were that a command beside the scripts
    async with cached.store.link.client.pipeline(transaction=False) as pipe:
        for call in cached.store._tellings(changes[0], "0" * 16):
            await call(pipe)
        commands = [arguments[0] for arguments, _ in pipe.command_stack]
    assert len(commands) >= 2
    assert set(commands) == {"EVALSHA"}


async def _calls(cached: Cached, command: str) -> int:
    stats = await cached.store.link.client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))
