"""Opens a card service for a worker process of the consistency harness, guards taken out as its job says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import msgspec

from archzero_lab.bootstrap.service import ServiceConfig, open_cache
from archzero_lab.cards.protocol import Cards
from archzero_lab.cards.service import CardService
from archzero_lab.consistency.worker import main
from archzero_lab.postgres.pool import Database

_STALLED = 0.05
_STALL_S = 0.03


class StallingDatabase(Database):
    """A database whose answers now and then reach the process late, as on a machine that stops a process at a bad
    moment: between a load and its fill, between a commit and its invalidation. Races are met often, not once a day."""

    async def row(
        self, sql: LiteralString, params: dict[str, Any] | None = None, *, prepare: bool | None = None
    ) -> tuple[Any, ...] | None:
        """As Database.row."""
        found = await super().row(sql, params, prepare=prepare)
        if random.random() < _STALLED:
            await asyncio.sleep(random.random() * _STALL_S)
        return found


@asynccontextmanager
async def open_cards(job: dict[str, Any]) -> AsyncIterator[Cards]:
    """The cached service of the job's configuration."""
    config = msgspec.json.decode(job["service"], type=ServiceConfig)
    database = StallingDatabase(config.database_url, config.pool, application_name="archzero-lab consistency")
    await database.open()
    try:
        async with open_cache(config, CardService(database), frozenset(job["without"])) as handle:
            yield handle.cards
    finally:
        await database.close()


if __name__ == "__main__":
    main(open_cards)
