"""What invalidating costs: a write with 100,000 cached lists beside one with 100, and a flush of 200,000 entries.

    PYTHONPATH=. .venv/bin/python benchmarks/invalidation.py

Two namespaces of one Redis and one database, writes in interleaved blocks; while the flush runs, another connection
reads and times every GET. Writes benchmarks/results/invalidation.json.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import statistics
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import replace

import redis.asyncio as redis

from archzero_lab.postgres.pool import Database
from archzero_lab.run_folders.environment import describe
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import Stack, running_stack
from archzero_lab.settings import ROOT, PoolSettings, load_settings
from archzero_lab.stats.comparison import compare
from archzero_lab.systems.arczero.cache import dependencies
from archzero_lab.systems.arczero.cache.entries import Hit, Miss, encode_value
from archzero_lab.systems.arczero.cache.keys import Kind
from archzero_lab.systems.arczero.cards.model import CardFilter, CardPatch, Document
from archzero_lab.systems.arczero.cards.service import CardService
from archzero_lab.systems.arczero.opened_cache import CacheHandle, open_cache
from archzero_lab.systems.arczero.portfolios import choose_portfolio, drop_arms, ensure_base, make_arms
from archzero_lab.systems.arczero.service_config import ServiceConfig

RESULT = ROOT / "benchmarks" / "results" / "invalidation.json"
FEW, MANY, FLUSHED = 100, 100_000, 200_000
BLOCKS, WRITES, FLUSHES = 12, 60, 8


async def fill_lists(handle: CacheHandle, client: redis.Redis, count: int) -> None:
    """`count` cached list pages of 300 bytes, valid under what they depend on now; the last is then a hit."""
    keys = handle.store.keys
    first_page = CardFilter(page_size=1)
    document = Document(b'{"data":[' + b"0," * 140 + b'0],"total":1}', "e" * 16)
    soft_ms = int(time.time() * 1000) + 900_000
    known: Hit | Miss | None = None
    while not isinstance(known, Hit):  # it makes the generation and what all these pages depend on
        await handle.cards.cards(first_page)
        known = await handle.store.read(keys.cards(first_page))
    generation, sequence = known.identity[1:17].decode(), known.holds_to[1:].decode()
    names = dependencies.of_cards(first_page, Document(b'{"data":[]}', ""))
    for first in range(0, count, 500):
        async with client.pipeline(transaction=False) as pipe:
            for page in range(first, min(first + 500, count)):
                key = keys.cards(CardFilter(page=page + 1, page_size=50))
                pipe.set(key.slot, encode_value(generation, document, soft_ms, 1, sequence, names), px=900_000)
            await pipe.execute()
    last = None
    while last is None:  # None: no licence just now
        last = await handle.store.read(keys.cards(CardFilter(page=count, page_size=50)))
        await asyncio.sleep(0.01)
    assert isinstance(last, Hit), "the filled entries must be valid ones"


async def writes(handle: CacheHandle, card_ids: list[uuid.UUID], rng: random.Random) -> float:
    """Median milliseconds of WRITES updates."""
    times = []
    for _ in range(WRITES):
        patch = CardPatch(quality_score=rng.randint(0, 100))
        began = time.perf_counter()
        await handle.cards.update_card(rng.choice(card_ids), patch)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


async def flush_times(handle: CacheHandle, url: str, client: redis.Redis) -> tuple[list[float], list[float]]:
    """(ms of each flush of FLUSHED entries, the longest GET in ms of another connection during each)."""
    other = redis.Redis.from_url(url)
    flushes, stalls = [], []
    for _ in range(FLUSHES):
        await fill_lists(handle, client, FLUSHED)
        stop, longest = asyncio.Event(), 0.0

        async def watch(stop: asyncio.Event = stop) -> None:
            nonlocal longest
            while not stop.is_set():
                began = time.perf_counter()
                await other.get("nothing")
                longest = max(longest, (time.perf_counter() - began) * 1000)

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        assert await handle.store.flush()
        flushes.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.05)
        stop.set()
        await watching
        stalls.append(longest)
        gone = await handle.store.read(handle.store.keys.cards(CardFilter(page=1, page_size=50)))
        assert not isinstance(gone, Hit), "flushed"
    await other.aclose()
    return flushes, stalls


async def measure(stack: Stack, database_url: str) -> dict[str, object]:
    """Both experiments."""
    settings = replace(stack.settings.cache, near_bytes=0)
    client = redis.Redis.from_url(stack.redis_url)
    async with AsyncExitStack() as closing:
        handles = {}
        for count in (FEW, MANY):
            database = Database(database_url, PoolSettings(min_size=1, max_size=4))
            await database.open()
            closing.push_async_callback(database.close)
            config = ServiceConfig(database_url, stack.redis_url, f"bench:{count}", cache=settings)
            cards = CardService(database)
            handles[count] = await closing.enter_async_context(open_cache(config, cards))
        rows = await database.row(
            "SELECT array_agg(id) FROM (SELECT id FROM cards ORDER BY id LIMIT 100) AS first_cards"
        )
        assert rows is not None
        rng = random.Random(1)
        found: dict[int, list[float]] = {FEW: [], MANY: []}
        for handle in handles.values():
            await writes(handle, rows[0], rng)
        for _ in range(BLOCKS):
            for count in rng.sample((FEW, MANY), 2):
                # a write of before may have made them invalid: it is their number that must not matter, so they are new
                await fill_lists(handles[count], client, count)
                found[count].append(await writes(handles[count], rows[0], rng))
        flushes, stalls = await flush_times(handles[MANY], stack.redis_url, client)
    await client.aclose()
    ratio = compare(found[FEW], found[MANY])
    return {
        "write": {
            "median_ms": {str(count): round(statistics.median(times), 3) for count, times in found.items()},
            "ratio": round(ratio.effect_size, 3),
            "ci_low": round(ratio.ci_low, 3),
            "ci_high": round(ratio.ci_high, 3),
            "target": 1.2,
            "met": ratio.ci_high <= 1.2,
        },
        "flush": {
            "entries": FLUSHED,
            "kinds": len(Kind),
            "median_ms": round(statistics.median(flushes), 3),
            "worst_ms": round(max(flushes), 3),
            "longest_other_get_ms": round(max(stalls), 3),
            "target_ms": 5.0,
            "met": max(flushes) < 5.0,
        },
    }


def main() -> None:
    """Measure and write the result."""
    with exclusive("benchmark"), running_stack(load_settings()) as stack:
        base = ensure_base(stack, choose_portfolio(20_000, 1, None, None), lambda share: None)
        urls = make_arms(stack, base, "bench", lambda *_: None)
        try:
            result = asyncio.run(measure(stack, urls["treatment"]))
        finally:
            drop_arms(stack, "bench")
        told = {"date": dt.date.today().isoformat(), "environment": describe(stack), **result}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
