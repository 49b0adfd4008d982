"""What a service does while its Redis, or its PostgreSQL, is away and when it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from psycopg_pool import PoolClosed

from archzero_lab.bootstrap.system import system_here
from archzero_lab.jobs.studies.degradation import AWAY, measure_degradation
from archzero_lab.postgres.pool import Database
from archzero_lab.servers.hurt import HurtPostgres, HurtRedis, Relay
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import CacheSettings, PoolSettings
from tests.integration.conftest import open_cached


async def until(holds: Callable[[], bool], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_no_read_fails_for_redis_and_refusals_say_when_to_come_back(stack: Stack) -> None:
    seen = measure_degradation(system_here(), stack, phase_s=2.5)
    table = seen.by_phase()
    assert list(table.index) == list(AWAY)
    redis = table[table.index.str.startswith("Redis")]
    assert (redis["cached_reads"] > 50).all()
    assert redis[["cached_failed", "cold_failed"]].to_numpy().sum() == 0
    # a licence that a slow machine lets run out cannot be had again without PostgreSQL: then cached reads are refused
    assert table.loc["PostgreSQL away", "cached_failed"] < table.loc["PostgreSQL away", "cached_reads"]
    refused = seen.refusals()
    assert refused.loc["uncached", "refused"] > 50
    assert (refused["with_retry_after"] == refused["refused"]).all()
    # not after the pool's time-out of 30 s, nor a connection attempt's of 5
    assert (refused["p50_ms"] < 5_000).all()


async def test_who_waits_for_a_connection_is_told_at_once_that_postgresql_is_away(stack: Stack) -> None:
    postgres = HurtPostgres(stack)
    database = Database(postgres.server.url, PoolSettings(acquire_timeout_s=30))
    try:
        await database.open()
        assert await database.row("SELECT 1") == (1,)
        await asyncio.to_thread(postgres.stop)
        for _ in range(3):
            with pytest.raises(PoolClosed):
                await asyncio.wait_for(database.row("SELECT 1"), 5)
        await asyncio.to_thread(postgres.start)
        deadline = time.monotonic() + 10
        while True:
            try:
                assert await database.row("SELECT 2") == (2,)
                break
            except PoolClosed:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
    finally:
        await database.close()
        await asyncio.to_thread(postgres.close)


async def test_a_late_answer_does_not_take_the_licence_and_another_redis_does(stack: Stack, database_url: str) -> None:
    redis = await asyncio.to_thread(HurtRedis, stack)
    relay = await asyncio.to_thread(Relay, stack, redis.server.url, "licence")
    try:
        settings = CacheSettings(timeout_s=0.2, licence_s=30.0, breaker_failures=100, near_bytes=0)
        async with open_cached(database_url, relay.url, settings) as service:
            link = service.store.link
            assert link.licensed
            revoked: list[float] = []
            link.on_revoked = lambda: revoked.append(time.monotonic())
            relay.set(delay_ms=400)
            # a heartbeat or two is not answered; the licence stands for much longer
            await until(lambda: link.lost_for_s > 0.3)
            relay.set()
            await until(lambda: link.lost_for_s == 0)
            assert link.licensed
            assert revoked == []
            await asyncio.to_thread(redis.restart, False)
            await until(lambda: bool(revoked))
    finally:
        await asyncio.to_thread(relay.close)
        await asyncio.to_thread(redis.close)
