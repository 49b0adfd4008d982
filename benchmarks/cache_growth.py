"""What a cache comes to hold with the requests, and what it still misses: hit rate, first loads, reloads, memory.

    PYTHONPATH=.:loadtests .venv/bin/python benchmarks/cache_growth.py [--cards N ...] [--inventory FILE
        --relationships FILE]

The load tests' mix (an edit in a hundred) on index set v2, cached, until so many requests were asked. A row a number of
requests: the hit rate since the row before, its misses by kind (an answer's first load, or a reload after a change),
entries and dependencies in Redis with their bytes by MEMORY USAGE of two thousand keys. Writes
benchmarks/results/cache_growth.json.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import random
import statistics
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.pool import Database
from archzero_lab.run_folders.environment import describe
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import Stack, running_stack
from archzero_lab.settings import ROOT, PoolSettings, load_settings
from archzero_lab.systems.arczero.cache import counters
from archzero_lab.systems.arczero.cards.catalog import Catalog, read_catalog
from archzero_lab.systems.arczero.cards.model import NotFound
from archzero_lab.systems.arczero.cards.search_v2 import list_statement_v2
from archzero_lab.systems.arczero.cards.service import CardService
from archzero_lab.systems.arczero.opened_cache import CacheParts, open_cache
from archzero_lab.systems.arczero.portfolios import ARMS, choose_portfolio, drop_arms, ensure_base, make_arms
from archzero_lab.systems.arczero.service_config import ServiceConfig
from benchmarks.exact_invalidation import AT_ONCE, actions

RESULT = ROOT / "benchmarks" / "results" / "cache_growth.json"
LOOKED_AT = (2_500, 5_000, 10_000, 20_000, 40_000, 80_000)
SAMPLED = 2_000


async def weigh(client: Any, prefix: str, *, without: str = "") -> tuple[int, int]:
    """How many keys begin with it, and their bytes by a sample."""
    names = [name async for name in client.scan_iter(prefix + "*", count=5_000)]
    names = [name for name in names if not without or not name.startswith(without.encode())]
    if not names:
        return 0, 0
    sample = random.Random(1).sample(names, min(SAMPLED, len(names)))
    sizes = [size for name in sample if (size := await client.memory_usage(name)) is not None]  # one may have expired
    return len(names), round(statistics.fmean(sizes) * len(names))


async def run_mix(stack: Stack, url: str, catalog: Catalog) -> list[dict[str, Any]]:
    """A row a number of requests."""
    client: Any = redis.Redis.from_url(stack.redis_url)
    settings = replace(stack.settings.cache, near_bytes=0, timeout_s=2.0)
    database = Database(url, PoolSettings(min_size=2, max_size=AT_ONCE))
    await database.open()
    namespace = f"bench:{uuid.uuid4().hex}"
    asked, rows, done = actions(catalog, 0.01, 1), [], 0
    plain = CardService(database, list_statement_v2)
    async with open_cache(
        ServiceConfig(url, stack.redis_url, namespace, cache=settings), plain, CacheParts()
    ) as handle:
        for total in LOOKED_AT:
            left = iter(range(total - done))

            async def user(left: Any = left) -> None:
                for _ in left:
                    with suppress(NotFound):
                        await next(asked)(handle.cards)

            before = counters.totals()
            await asyncio.gather(*(user() for _ in range(AT_ONCE)))
            done, after = total, counters.totals()
            counted = {
                kind: {what: after[kind][what] - before[kind][what] for what in ("hit", "miss", "reload", "needless")}
                for kind in after
            }
            hits, misses = (sum(by[what] for by in counted.values()) for what in ("hit", "miss"))
            prefix = handle.store.keys.dependencies
            dependencies, dependency_bytes = await weigh(client, prefix)
            entries, entry_bytes = await weigh(client, namespace, without=prefix)
            rows.append({
                "requests": total, "hit_rate": round(hits / (hits + misses), 4),
                "first_loads": {kind: by["miss"] - by["reload"] for kind, by in counted.items()},
                "reloads": {kind: by["reload"] for kind, by in counted.items()},
                "needless": sum(by["needless"] for by in counted.values()),
                "entries": entries, "entry_bytes": entry_bytes, "dependencies": dependencies,
                "dependency_bytes": dependency_bytes, "share": round(dependency_bytes / (entry_bytes or 1), 3),
            })  # fmt: skip
            print(rows[-1], flush=True)
    await database.close()
    await client.aclose()
    return rows


def main() -> None:
    """Measure and write the results down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cards", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--inventory", type=Path)
    parser.add_argument("--relationships", type=Path)
    given = parser.parse_args()
    told: dict[str, Any] = {}
    with exclusive("benchmark"), running_stack(load_settings()) as stack:
        for cards in given.cards:
            portfolio = choose_portfolio(cards, 1, given.inventory, given.relationships)
            base = ensure_base(stack, portfolio, lambda share: None)
            urls = make_arms(stack, base, "weigh", lambda name, at, of: None, ARMS)
            with connect(urls["v2"]) as connection:
                catalog = read_catalog(connection, 1)
            try:
                told[base.label] = asyncio.run(run_mix(stack, urls["v2"], catalog))
            finally:
                drop_arms(stack, "weigh")
        told = {"date": dt.date.today().isoformat(), "environment": describe(stack), **told}
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.write_text(json.dumps(kept | told, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
