"""Puts one card service together inside its worker process: database, cache or none, API."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from prometheus_client import generate_latest

from archzero_lab.errors import mask_secrets
from archzero_lab.postgres.pool import Database
from archzero_lab.postgres.replicated import ReplicatedDatabase
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.api.access_log import AccessLog
from archzero_lab.systems.arczero.api.app import create_app
from archzero_lab.systems.arczero.api.doorkeeper import Doorkeeper
from archzero_lab.systems.arczero.api.fast_path import FastPath
from archzero_lab.systems.arczero.api.hot_reads import HotReads
from archzero_lab.systems.arczero.api.positions import Positions
from archzero_lab.systems.arczero.api.service import Service
from archzero_lab.systems.arczero.cache import counters
from archzero_lab.systems.arczero.cache.cached_service import CachedCardService
from archzero_lab.systems.arczero.cache.clients import REDIS_FAILED, is_cluster
from archzero_lab.systems.arczero.cache.invalidation import Outbox
from archzero_lab.systems.arczero.cache.keys import Keyspace
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cache.outbox_size import keep_small
from archzero_lab.systems.arczero.cache.store import CacheStore
from archzero_lab.systems.arczero.cache.tasks import end_task
from archzero_lab.systems.arczero.cache.usage import Usage
from archzero_lab.systems.arczero.cache.warm import warm
from archzero_lab.systems.arczero.cards.faults import translated
from archzero_lab.systems.arczero.cards.model import Unavailable
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.search import list_statement
from archzero_lab.systems.arczero.cards.search_v2 import list_statement_v2
from archzero_lab.systems.arczero.cards.service import CardService
from archzero_lab.systems.arczero.service_config import VARIABLE, ServiceConfig
from archzero_lab.systems.arczero.statement_results import StatementResults

log = logging.getLogger(__name__)
_USAGE_PERIOD_S = 5.0
_NAME = "archzero-lab service"


@dataclass(frozen=True)
class CacheHandle:
    """The cache behind a service, as the API sees it."""

    store: CacheStore
    cards: CachedCardService
    usage: Usage

    async def warm(self, most: int) -> dict[str, Any]:
        """Load what is used most."""
        return (await warm(self.cards, self.store, self.usage, most=most)).as_dict()


class CacheParts:
    """What a cache is put together from; the consistency check puts parts without a guard in their place."""

    drains = True

    def store(self, link: Link, keys: Keyspace, settings: CacheSettings, near: NearCache | None) -> CacheStore:
        """The protocol on Redis."""
        return CacheStore(link, keys, settings, near)

    async def beat(self, store: CacheStore, probe: Any) -> str:
        """What a licence is renewed by."""
        return await store.beat(probe)

    async def validate(self, store: CacheStore, outbox: Outbox, probe: Any) -> str | None:
        """What a licence is given again by: this Redis known, and everything told that it was not told."""
        try:
            identity = await store.check_epoch(probe)
            return identity if identity is not None and await outbox.drain(everything=True) else None
        except REDIS_FAILED:  # or PostgreSQL
            return None  # without licence the service answers from the database, which is right


@asynccontextmanager
async def open_cache(
    config: ServiceConfig,
    cards: Cards,
    parts: CacheParts | None = None,
    replicated: ReplicatedDatabase | None = None,
) -> AsyncIterator[CacheHandle]:
    """A cached service over `cards`, its heartbeat, outbox and near cache running for as long as the block runs."""
    assert config.redis_url is not None
    settings, url = config.cache, config.redis_url
    parts = parts or CacheParts()
    clustered = is_cluster(url)
    keys = Keyspace(config.namespace, clustered=clustered)
    link = Link(url, settings, keys.heartbeats)
    listens = settings.near_bytes and not clustered
    near = NearCache(link.connections.open_listening, keys, settings) if listens else None
    store = parts.store(link, keys, settings, near)
    database_url = replicated.primary_url if replicated is not None else config.database_url
    outbox = Outbox(database_url, store, link, settings)
    usage = Usage()
    if replicated is not None:
        store.follow(replicated)
        outbox.place = replicated.place_of
        # what was read from the old one may never have been; see told_position
        replicated.on_primary += [lambda url: link.revoke(), outbox.lead_to]
    link.beat = partial(parts.beat, store)
    link.obey = store.obey
    link.validate = partial(parts.validate, store, outbox)
    if near is not None:
        link.on_revoked = near.clear
        link.connections.on_other_leader = near.listen_anew
    await link.start()
    if near is not None:
        await near.start()
    if parts.drains:
        await outbox.start()
    try:
        yield CacheHandle(store, CachedCardService(cards, store, settings, usage, outbox), usage)
    finally:
        await outbox.close()
        if near is not None:
            await near.close()
        await link.rest()
        await store.close()
        await link.close()


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
