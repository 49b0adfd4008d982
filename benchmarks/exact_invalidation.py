"""A cache that forgets what changed beside one that forgets by kind: hit rates, needless reloads, hits, writes, memory.

    PYTHONPATH=.:loadtests .venv/bin/python benchmarks/exact_invalidation.py [cards]

The older protocol, where each write makes every list, search and graph old, lives on in this file alone: the same
store, told that nothing has dependencies, as it is in a Cluster. Both answer the same requests of the load tests' mix
over copies of one database; hits and writes are timed in interleaved blocks. The trigger names what changed for both.
Writes benchmarks/results/exact_invalidation.json.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import redis.asyncio as redis
from mix import IMPORTED_CARDS, WEIGHTS, Zipf

from archzero_lab.postgres.connection import connect
from archzero_lab.postgres.pool import Database
from archzero_lab.run_folders.environment import describe
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import Stack, running_stack
from archzero_lab.settings import ROOT, CacheSettings, PoolSettings, load_settings
from archzero_lab.stats.comparison import compare
from archzero_lab.systems.arczero.cache import counters
from archzero_lab.systems.arczero.cache.keys import Keyspace
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cache.store import CacheStore
from archzero_lab.systems.arczero.cards.catalog import Catalog, read_catalog
from archzero_lab.systems.arczero.cards.model import (
    CardFilter,
    CardPatch,
    CardRow,
    CardType,
    GraphQuery,
    LifecyclePhase,
    NotFound,
    RelationshipFilter,
)
from archzero_lab.systems.arczero.cards.service import CardService
from archzero_lab.systems.arczero.opened_cache import CacheHandle, CacheParts, open_cache
from archzero_lab.systems.arczero.portfolios import choose_portfolio, drop_arms, ensure_base, make_arms
from archzero_lab.systems.arczero.service_config import ServiceConfig

RESULT = ROOT / "benchmarks" / "results" / "exact_invalidation.json"
EDITS = (0.01, 0.05, 0.20)
REQUESTS, NOT_COUNTED, WINDOW, AT_ONCE = 8_000, 2_000, 1_000, 8
BLOCKS, HITS, WRITES = 16, 1_500, 60


class ByKind(CacheParts):
    """The older protocol: no entry has dependencies, each write makes its kinds old."""

    def store(self, link: Link, keys: Keyspace, settings: CacheSettings, near: NearCache | None) -> CacheStore:
        """As CacheParts."""
        keys.exact = False
        return super().store(link, keys, settings, near)


PROTOCOLS: dict[str, CacheParts] = {"by kind": ByKind(), "exact": CacheParts()}


@asynccontextmanager
async def opened(stack: Stack, url: str, protocol: str) -> AsyncIterator[tuple[CacheHandle, CardService]]:
    """A cached service over a database; its namespace is its own."""
    settings = replace(stack.settings.cache, near_bytes=0, timeout_s=2.0)
    database = Database(url, PoolSettings(min_size=2, max_size=AT_ONCE))
    await database.open()
    config = ServiceConfig(url, stack.redis_url, f"bench:{uuid.uuid4().hex}", cache=settings)
    plain = CardService(database)
    async with open_cache(config, plain, PROTOCOLS[protocol]) as handle:
        yield handle, plain
    await database.close()


def actions(catalog: Catalog, edits: float, seed: int) -> Iterator[Any]:
    """The load tests' mix without end, `edits` of its requests edits; each item does one request on a service."""
    rng = random.Random(f"mix {seed}")
    cards, words = Zipf(catalog.ids), Zipf(catalog.common + catalog.middling)
    types, phases = Zipf(catalog.types), Zipf(catalog.phases)
    reads = {name: weight for name, weight in WEIGHTS.items() if name not in ("edit card", "import batch")}
    share = edits / (WEIGHTS["edit card"] / sum(WEIGHTS.values()))
    weights = {**reads, "edit card": WEIGHTS["edit card"] * share, "import batch": WEIGHTS["import batch"]}
    while True:
        name = rng.choices(list(weights), list(weights.values()))[0]
        card = uuid.UUID(cards.draw(rng))
        if name == "open card":
            yield lambda service, card=card: service.card(card)
        elif name == "browse list":
            page = min(int(rng.paretovariate(1.2)), 50)
            yield lambda service, page=page: service.cards(CardFilter(page=page))
        elif name == "filter list":
            kind, phase = CardType(types.draw(rng)), LifecyclePhase(phases.draw(rng))
            question = rng.choice(
                (CardFilter(type=kind), CardFilter(lifecycle_phase=phase), CardFilter(type=kind, lifecycle_phase=phase))
            )
            yield lambda service, question=question: service.cards(question)
        elif name == "search by typing":
            word = words.draw(rng)
            for text in (word[:3], word):
                yield lambda service, text=text: service.cards(CardFilter(q=text))
        elif name == "walk graph":
            query = GraphQuery(card, rng.choice((1, 1, 2)))
            yield lambda service, query=query: service.graph(query)
        elif name == "read relationships":
            yield lambda service, card=card: service.relationships(RelationshipFilter(card_id=card))
        elif name == "edit card":
            patch = CardPatch(quality_score=rng.randint(0, 100))
            yield lambda service, card=card, patch=patch: service.update_card(card, patch)
        else:
            rows = [CardRow(f"Load {rng.random()} {n}", CardType(types.draw(rng))) for n in range(IMPORTED_CARDS)]
            yield lambda service, rows=rows: service.import_cards(rows)


async def run_mix(stack: Stack, url: str, protocol: str, catalog: Catalog, edits: float) -> dict[str, Any]:
    """One protocol through the mix: hit rates over time and by kind, reloads, commands, CPU."""
    client: Any = redis.Redis.from_url(stack.redis_url)
    asked = actions(catalog, edits, 1)
    windows = []
    async with opened(stack, url, protocol) as (handle, _):

        async def some(count: int) -> None:
            left = iter(range(count))

            async def user() -> None:
                for _ in left:
                    with suppress(NotFound):
                        await next(asked)(handle.cards)

            await asyncio.gather(*(user() for _ in range(AT_ONCE)))

        before = counters.totals()
        for number in range(REQUESTS // WINDOW):
            at = counters.totals()
            await some(WINDOW)
            windows.append(_rate(at, counters.totals()))
            if (number + 1) * WINDOW == NOT_COUNTED:
                before, cpu, commands = counters.totals(), time.process_time(), await _commands(client)
                redis_cpu, began = await _redis_cpu(client), time.perf_counter()
        seconds = time.perf_counter() - began
        after = counters.totals()
        counted = REQUESTS - NOT_COUNTED
        prefix = handle.store.keys.dependencies
        names = [name async for name in client.scan_iter(prefix + "*", count=1_000)]
        sizes = [await client.memory_usage(name) for name in names[:500]]
        result = {
            "hit_rate": _rate(before, after),
            "hit_rate_by_kind": {kind: _rate({kind: before[kind]}, {kind: after[kind]}) for kind in after},
            "misses": {kind: after[kind]["miss"] - before[kind]["miss"] for kind in after},
            "hit_rate_by_thousand_requests": windows,
            "reloads": _sum(before, after, "reload"),
            "needless_reloads": _sum(before, after, "needless"),
            "needless_by_kind": {
                kind: [after[kind][name] - before[kind][name] for name in ("reload", "needless")] for kind in after
            },
            "requests_per_s": round(counted / seconds, 1),
            "redis_commands_per_request": round((await _commands(client) - commands) / counted, 2),
            "redis_cpu_ms_per_request": round((await _redis_cpu(client) - redis_cpu) * 1000 / counted, 4),
            "cpu_ms_per_request": round((time.process_time() - cpu) * 1000 / counted, 3),
            "dependencies": len(names),
            "dependencies_bytes": round(statistics.fmean(sizes) * len(names)) if sizes else 0,
        }
    await client.aclose()
    return result


async def time_hits_and_writes(stack: Stack, urls: dict[str, str], catalog: Catalog) -> dict[str, Any]:
    """Hits of a card, of a list and of a search, and writes, of both protocols in interleaved blocks."""
    rng = random.Random(5)
    card = uuid.UUID(catalog.ids[0])
    reads = {
        "card": lambda service: service.card(card),
        "list": lambda service: service.cards(CardFilter()),
        "search": lambda service: service.cards(CardFilter(q=catalog.middling[0])),
    }
    found: dict[str, dict[str, list[float]]] = {
        what: {protocol: [] for protocol in PROTOCOLS} for what in (*reads, "edit", "edit of a text", "create")
    }
    async with AsyncExitStack() as closing:
        services = {}
        for protocol in PROTOCOLS:
            services[protocol], _ = await closing.enter_async_context(opened(stack, urls[protocol], protocol))

        async def per_call(count: int, act: Any) -> float:
            began = time.perf_counter()
            for _ in range(count):
                await act()
            return (time.perf_counter() - began) * 1e6 / count

        for _ in range(BLOCKS + 1):
            for protocol in rng.sample(list(PROTOCOLS), 2):
                cards = services[protocol].cards
                for what, read in reads.items():
                    for _ in range(3):
                        await read(cards)
                    found[what][protocol].append(await per_call(HITS, lambda read=read, cards=cards: read(cards)))
                chosen = uuid.UUID(rng.choice(catalog.ids))
                edit = lambda: CardPatch(quality_score=rng.randint(0, 100))  # noqa: E731
                text = lambda: CardPatch(description="About " + " ".join(rng.sample(catalog.middling, 30)))  # noqa: E731
                for what, patch in (("edit", edit), ("edit of a text", text)):
                    act = lambda patch=patch, cards=cards, chosen=chosen: cards.update_card(chosen, patch())  # noqa: E731
                    found[what][protocol].append(await per_call(WRITES, act))
                rows = iter([CardRow(f"New {uuid.uuid4()}", CardType.Risk, description=" ".join(
                    rng.sample(catalog.middling, 30))) for _ in range(WRITES)])  # fmt: skip
                act = lambda cards=cards, rows=rows: cards.import_cards([next(rows)])  # noqa: E731
                found["create"][protocol].append(await per_call(WRITES, act))
    told = {}
    for what, times in found.items():
        before, after = times["by kind"][1:], times["exact"][1:]  # the first block warms
        ratio = compare(before, after)
        told[what] = {
            "by_kind_us": round(statistics.median(before), 1), "exact_us": round(statistics.median(after), 1),
            "ratio": round(ratio.effect_size, 3), "ci": [round(ratio.ci_low, 3), round(ratio.ci_high, 3)],
        }  # fmt: skip
    return told


def _rate(before: Any, after: Any) -> float | None:
    hits = _sum(before, after, "hit")
    rate = counters.hit_rate(hits, _sum(before, after, "miss"))
    return None if rate is None else round(rate, 4)


def _sum(before: Any, after: Any, outcome: str) -> int:
    return sum(after[kind][outcome] - before[kind][outcome] for kind in after)


async def _commands(client: Any) -> int:
    return int((await client.info("stats"))["total_commands_processed"])


async def _redis_cpu(client: Any) -> float:
    info = await client.info("cpu")
    return float(info["used_cpu_sys"] + info["used_cpu_user"])


async def measure(stack: Stack, cards: int) -> dict[str, Any]:
    """Everything, on fresh copies for each part."""
    base = ensure_base(stack, choose_portfolio(cards, 1, None, None), lambda share: None)
    told: dict[str, Any] = {"cards": base.cards, "mix": {}}

    @asynccontextmanager
    async def copies() -> AsyncIterator[tuple[dict[str, str], Catalog]]:
        urls = {}
        for number, protocol in enumerate(PROTOCOLS):
            made = make_arms(stack, base, f"exact{number}", lambda name, at, of: None)
            urls[protocol] = made["treatment"]
        with connect(urls["exact"]) as connection:
            catalog = read_catalog(connection, 1)
        yield urls, catalog
        for number in range(len(PROTOCOLS)):
            drop_arms(stack, f"exact{number}")

    for edits in EDITS:
        async with copies() as (urls, catalog):
            told["mix"][f"{edits:.0%}"] = {
                protocol: await run_mix(stack, urls[protocol], protocol, catalog, edits) for protocol in PROTOCOLS
            }
            print(json.dumps(told["mix"][f"{edits:.0%}"], indent=1), flush=True)
    async with copies() as (urls, catalog):
        told["timed"] = await time_hits_and_writes(stack, urls, catalog)
    return told


def main() -> None:
    """Measure and write the results down."""
    cards = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with exclusive("benchmark"), running_stack(load_settings()) as stack:
        told = asyncio.run(measure(stack, cards))
        told = {"date": dt.date.today().isoformat(), "environment": describe(stack), **told}
    RESULT.write_text(json.dumps(told, indent=2, default=str) + "\n")
    print(json.dumps(told["timed"], indent=1))


if __name__ == "__main__":
    main()
