"""Opens a card service for a worker process of the consistency harness, guards taken out as its job says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import psycopg
from psycopg.rows import TupleRow

from archzero_lab.postgres.pool import Database
from archzero_lab.systems.arczero.cards.service import CardService
from archzero_lab.systems.arczero.consistency.unguarded import UnguardedParts
from archzero_lab.systems.arczero.consistency.worker import HotCards, main
from archzero_lab.systems.arczero.django_peers import DJANGO_PEERS, open_django
from archzero_lab.systems.arczero.opened_cache import open_cache
from archzero_lab.systems.arczero.peers import open_peer
from archzero_lab.systems.arczero.service_config import ServiceConfig
from archzero_lab.systems.arczero.statement_results import STATEMENT_CACHE, StatementResults

_STALLED = 0.05
_STALL_S = 0.03


class StallingDatabase(Database):
    """A database whose answers now and then reach the process late, as on a machine that stops a process at a bad
    moment: between a load and its fill, between a commit and its invalidation. Races are met often, not once a day."""

    @asynccontextmanager
    async def connection(self, longest_s: float | None = None) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        """As Database.connection."""
        async with super().connection(longest_s) as connection:
            yield connection
        if random.random() < _STALLED:
            await asyncio.sleep(random.random() * _STALL_S)


@asynccontextmanager
async def open_cards(job: dict[str, Any]) -> AsyncIterator[HotCards]:
    """The cached service of the job's configuration, or a peer's over the same database and Redis."""
    config = msgspec.json.decode(job["service"], type=ServiceConfig)
    assert config.redis_url is not None
    results: StatementResults | None = None
    if job.get("of") == STATEMENT_CACHE:
        results = await asyncio.to_thread(StatementResults, config.database_url, config.redis_url, config.namespace)
    database = StallingDatabase(
        config.database_url, config.pool, application_name="archzero-lab consistency",
        connections=results.connections if results is not None else psycopg.AsyncConnection,
    )  # fmt: skip
    await database.open()
    cards = CardService(database)
    try:
        if results is not None:
            yield cards
        elif job.get("of") in DJANGO_PEERS:
            async with open_django(
                job["of"], config.database_url, config.redis_url, config.namespace, config.cache, _STALLED, _STALL_S
            ) as django:
                yield django
        elif job.get("of") is None:
            async with open_cache(config, cards, UnguardedParts(frozenset(job["without"]))) as handle:
                yield handle.cards
        else:
            async with open_peer(job["of"], config.redis_url, config.namespace, cards, config.cache) as peer:
                yield peer
    finally:
        await database.close()
        if results is not None:
            await results.close()


if __name__ == "__main__":
    main(open_cards)
