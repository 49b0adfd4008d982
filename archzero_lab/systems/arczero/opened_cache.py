"""A cache put together around a card service while a block runs: in the service's process, or in a check's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from archzero_lab.postgres.replicated import ReplicatedDatabase
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.cached_service import CachedCardService
from archzero_lab.systems.arczero.cache.clients import REDIS_FAILED, is_cluster
from archzero_lab.systems.arczero.cache.invalidation import Outbox
from archzero_lab.systems.arczero.cache.keys import Keyspace
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cache.store import CacheStore
from archzero_lab.systems.arczero.cache.usage import Usage
from archzero_lab.systems.arczero.cache.warm import warm
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.service_config import ServiceConfig


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
