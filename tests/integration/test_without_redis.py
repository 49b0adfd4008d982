"""Redis dead, hung or back: full service without it, nothing stale after it, one line in the log."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archzero_lab.servers import redis_server
from archzero_lab.servers.ports import free_port
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cards.model import CardDraft, CardFilter, CardPatch, CardType
from tests.integration.conftest import open_cached

SHORT = replace(CacheSettings(), timeout_s=0.1, near_bytes=0)


@pytest.fixture
def own_redis(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_server.RedisServer]:
    """A Redis that a test may hurt."""
    system = stack.settings.servers == "system"
    program = redis_server.system_program() if system else redis_server.embedded_program()
    home = Path(f"/tmp/archzero-redis-{uuid.uuid4().hex[:8]}")  # noqa: S108  # a place that the server user can reach
    home.mkdir(mode=0o755)
    server = redis_server.start_redis(program, home, stack.registry)
    yield server
    stack.registry.stop(server.record)


async def test_everything_works_with_nothing_behind_the_url(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://:s3cret@127.0.0.1:{free_port()}/0"
    with caplog.at_level(logging.WARNING):
        async with open_cached(database_url, url, SHORT) as service:
            card_id, _ = await service.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
            for score in range(10):
                await service.cards.update_card(card_id, CardPatch(quality_score=score))
                assert json.loads((await service.cards.card(card_id)).body)["qualityScore"] == score
            assert json.loads((await service.cards.cards(CardFilter())).body)["total"] > 0
            await service.cards.delete_card(card_id)
            health = await service.store.health()
            assert (health["connected"], health["obeys"]) == (False, False)
            assert "Connect" in health["refused"]
            assert service.store.link.breaker.is_open
    told = [record.message for record in caplog.records if "Redis is not used" in record.message]
    assert len(told) == 1, "said once, not per request"
    assert "s3cret" not in caplog.text


async def test_a_hung_redis_costs_a_read_its_timeout_at_most_then_nothing(
    database_url: str, own_redis: redis_server.RedisServer
) -> None:
    async with open_cached(database_url, own_redis.url, SHORT) as service:
        card_id, _ = await service.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk))
        await service.cards.card(card_id)
        os.kill(own_redis.record.pid, signal.SIGSTOP)
        try:
            took: list[float] = []
            deadline, after = time.monotonic() + 30, 12
            while after:
                after -= service.store.link.breaker.is_open
                began = time.perf_counter()
                assert (await service.cards.card(card_id)).version == 1
                took.append(time.perf_counter() - began)
                assert time.monotonic() < deadline, "the breaker did not open"
            # a miss of the read and one of the lease, each within the timeout; a machine may hold up one or two of them
            assert sum(seconds > 2 * SHORT.timeout_s + 0.5 for seconds in took) <= 2
            assert sorted(took)[len(took) // 2] < 2 * SHORT.timeout_s
        finally:
            os.kill(own_redis.record.pid, signal.SIGCONT)


async def test_what_was_written_while_redis_hung_is_not_read_stale_when_it_is_back(
    database_url: str, own_redis: redis_server.RedisServer
) -> None:
    async with open_cached(database_url, own_redis.url, SHORT) as service:
        word = uuid.uuid4().hex
        card_id, _ = await service.cards.create_card(CardDraft(f"Card {word}", CardType.Risk, quality_score=1))
        await service.cards.card(card_id)
        await service.cards.cards(CardFilter(q=word))
        os.kill(own_redis.record.pid, signal.SIGSTOP)
        try:
            for _ in range(SHORT.breaker_failures + 1):
                await service.cards.update_card(card_id, CardPatch(quality_score=2))
        finally:
            os.kill(own_redis.record.pid, signal.SIGCONT)
        deadline = time.monotonic() + 60
        while service.store.link.breaker.is_open and time.monotonic() < deadline:
            assert json.loads((await service.cards.card(card_id)).body)["qualityScore"] == 2
        assert not service.store.link.breaker.is_open, "back within a few probes"
        assert json.loads((await service.cards.card(card_id)).body)["qualityScore"] == 2
        listed = json.loads((await service.cards.cards(CardFilter(q=word))).body)["data"]
        assert listed[0]["qualityScore"] == 2
