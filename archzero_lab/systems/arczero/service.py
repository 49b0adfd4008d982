"""Puts one card service together inside its worker process: database, cache or none, API."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import psycopg
from prometheus_client import generate_latest

from archzero_lab.errors import mask_secrets
from archzero_lab.postgres.pool import Database
from archzero_lab.postgres.replicated import ReplicatedDatabase
from archzero_lab.systems.arczero.api.access_log import AccessLog
from archzero_lab.systems.arczero.api.app import create_app
from archzero_lab.systems.arczero.api.doorkeeper import Doorkeeper
from archzero_lab.systems.arczero.api.fast_path import FastPath
from archzero_lab.systems.arczero.api.hot_reads import HotReads
from archzero_lab.systems.arczero.api.positions import Positions
from archzero_lab.systems.arczero.api.service import Service
from archzero_lab.systems.arczero.cache import counters
from archzero_lab.systems.arczero.cache.cached_service import CachedCardService
from archzero_lab.systems.arczero.cache.outbox_size import keep_small
from archzero_lab.systems.arczero.cache.tasks import end_task
from archzero_lab.systems.arczero.cards.faults import translated
from archzero_lab.systems.arczero.cards.model import Unavailable
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.search import list_statement
from archzero_lab.systems.arczero.cards.search_v2 import list_statement_v2
from archzero_lab.systems.arczero.cards.service import CardService
from archzero_lab.systems.arczero.opened_cache import CacheHandle, open_cache
from archzero_lab.systems.arczero.service_config import VARIABLE, ServiceConfig
from archzero_lab.systems.arczero.statement_results import StatementResults

log = logging.getLogger(__name__)
_USAGE_PERIOD_S = 5.0
_NAME = "archzero-lab service"


@asynccontextmanager
async def open_service(config: ServiceConfig) -> AsyncIterator[Service]:
    """A service for as long as the block runs."""
    closing = AsyncExitStack()
    results: StatementResults | None = None
    if config.statements and config.redis_url is not None:
        results = await asyncio.to_thread(StatementResults, config.database_url, config.redis_url, config.namespace)
        closing.push_async_callback(results.close)
    replicated: ReplicatedDatabase | None = None
    if config.replicas and results is None:
        replicated = ReplicatedDatabase(
            config.database_url, config.replicas, config.pool, config.replica, application_name=_NAME
        )
    database = replicated or Database(
        config.database_url, config.pool, application_name=_NAME,
        connections=results.connections if results is not None else psycopg.AsyncConnection,
    )  # fmt: skip
    await database.open()
    cards: Cards = CardService(database, list_statement_v2 if config.index_set == "v2" else list_statement)
    cache: CacheHandle | StatementResults | None = results
    beside: asyncio.Task[None] | None = None
    if config.redis_url is not None and results is None:
        parts = await closing.enter_async_context(open_cache(config, cards, replicated=replicated))
        cards, cache = parts.cards, parts
        beside = asyncio.create_task(parts.usage.share_every(parts.store, _USAGE_PERIOD_S))
    else:
        beside = asyncio.create_task(keep_small(database))

    asking: set[asyncio.Task[bool]] = set()

    async def database_answers() -> bool:
        """Whether it answers within two seconds; a question that takes longer is not asked again beside itself."""
        if not asking:
            task = asyncio.create_task(_answers(database))
            asking.add(task)
            task.add_done_callback(asking.discard)
        (task,) = asking
        done, _ = await asyncio.wait({task}, timeout=2)
        return bool(done) and task.result()

    try:
        yield Service(
            cards=cards,
            cache=cache,
            admin_token=config.admin_token,
            database_answers=database_answers,
            cache_counters=counters.summary,
            reset_cache_counters=counters.reset,
            metrics=lambda: generate_latest(counters.registry()),
            replicas=replicated,
        )
    finally:
        for task in (beside, *asking):
            await end_task(task)
        await closing.aclose()
        await database.close()


async def _answers(database: Database) -> bool:
    try:
        with translated():
            # as a request does: a role may connect and have no right to read
            return await database.row("SELECT count(*) FROM (SELECT FROM cards LIMIT 1) c") is not None
    except Unavailable:
        return False
    except psycopg.Error as error:
        log.warning("health: %s", mask_secrets(str(error).splitlines()[0]))
        return False


def create() -> Doorkeeper | AccessLog:
    """The application factory that the server's workers call."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = msgspec.json.decode(os.environ[VARIABLE], type=ServiceConfig)
    inner = create_app(lambda: open_service(config))
    fast_path, replicated = FastPath(inner), bool(config.replicas) and not config.statements
    app = Doorkeeper(Positions(fast_path, inner) if replicated else fast_path, config.allowed_hosts)

    def cards() -> CachedCardService | None:
        service: Service = inner.state.service
        return service.cache.cards if isinstance(service.cache, CacheHandle) else None

    if not config.record:  # what a connection answers itself, no access log hears of
        app.hot_reads = HotReads(cards, fast_path.asks, app.lets_in, replicated=replicated)
    # The objects of modules and routes, tens of thousands, live for ever; walked again and again by the collector,
    # they stopped everything for tens of milliseconds (p99 of cached reads 36 ms, 3 ms without, a fifth more reads).
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    return AccessLog(app, Path(config.record)) if config.record else app
