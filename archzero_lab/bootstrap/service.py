"""Puts one card service together inside its worker process: database, cache or none, API."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
from litestar import Litestar
from prometheus_client import REGISTRY, generate_latest

from archzero_lab.api.app import create_app
from archzero_lab.api.service import Service
from archzero_lab.cache import counters
from archzero_lab.cache.cached_service import CachedCardService
from archzero_lab.cache.keys import Keyspace
from archzero_lab.cache.store import CacheStore
from archzero_lab.cache.usage import Usage
from archzero_lab.cache.warm import warm
from archzero_lab.cards.faults import translated
from archzero_lab.cards.model import Unavailable
from archzero_lab.cards.protocol import Cards
from archzero_lab.cards.service import CardService
from archzero_lab.postgres.pool import Database
from archzero_lab.settings import CacheSettings, PoolSettings

VARIABLE = "ARCHZERO_SERVICE"
_USAGE_PERIOD_S = 5.0


@dataclass(frozen=True)
class ServiceConfig:
    """What a worker process needs to know; handed over as JSON in the environment.

    `redis_url` None is a service without a cache.
    """

    database_url: str
    redis_url: str | None
    namespace: str
    admin_token: str = ""
    cache: CacheSettings = field(default_factory=CacheSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)

    def encode(self) -> str:
        """As the environment variable holds it."""
        return msgspec.json.encode(asdict(self)).decode()


@dataclass(frozen=True)
class CacheHandle:
    """The cache behind a service, as the API sees it."""

    store: CacheStore
    cards: Cards
    usage: Usage

    async def warm(self, most: int) -> dict[str, Any]:
        """Load what is used most."""
        return (await warm(self.cards, self.store, self.usage, most=most)).as_dict()


@asynccontextmanager
async def open_service(config: ServiceConfig) -> AsyncIterator[Service]:
    """A service for as long as the block runs."""
    database = Database(config.database_url, config.pool, application_name="archzero-lab service")
    await database.open()
    cards: Cards = CardService(database)
    cache: CacheHandle | None = None
    sharing: asyncio.Task[None] | None = None
    if config.redis_url is not None:
        store, usage = CacheStore(config.redis_url, Keyspace(config.namespace), config.cache), Usage()
        cards = CachedCardService(cards, store, config.cache, usage)
        cache = CacheHandle(store, cards, usage)
        sharing = asyncio.create_task(usage.share_every(store, _USAGE_PERIOD_S))

    async def database_answers() -> bool:
        try:
            with translated():
                async with asyncio.timeout(2):
                    return await database.row("SELECT 1") is not None
        except (Unavailable, TimeoutError):
            return False

    try:
        yield Service(
            cards=cards,
            cache=cache,
            admin_token=config.admin_token,
            database_answers=database_answers,
            cache_counters=counters.summary,
            reset_cache_counters=counters.reset,
            metrics=lambda: generate_latest(counters.registry() or REGISTRY),
        )
    finally:
        if sharing is not None:
            sharing.cancel()
            with suppress(asyncio.CancelledError):
                await sharing
        if cache is not None:
            await cache.store.close()
        await database.close()


def create() -> Litestar:
    """The application factory that Granian's workers call."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = msgspec.json.decode(os.environ[VARIABLE], type=ServiceConfig)
    return create_app(lambda: open_service(config))
