"""Opens a card service for a worker process of the consistency harness, guards taken out as its job says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from archzero_lab.bootstrap.service import ServiceConfig, open_cache
from archzero_lab.cards.protocol import Cards
from archzero_lab.cards.service import CardService
from archzero_lab.consistency.worker import main
from archzero_lab.postgres.pool import Database


@asynccontextmanager
async def open_cards(job: dict[str, Any]) -> AsyncIterator[Cards]:
    """The cached service of the job's configuration."""
    config = msgspec.json.decode(job["service"], type=ServiceConfig)
    database = Database(config.database_url, config.pool, application_name="archzero-lab consistency")
    await database.open()
    try:
        async with open_cache(config, CardService(database), frozenset(job["without"])) as handle:
            yield handle.cards
    finally:
        await database.close()


if __name__ == "__main__":
    main(open_cards)
