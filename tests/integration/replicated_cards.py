"""A card database on a primary with streaming replicas, and services in this process that read from all of them."""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from archzero_lab.postgres.databases import create_database, on_server
from archzero_lab.postgres.positions import SESSION, Position, Session
from archzero_lab.postgres.replicated import ReplicatedDatabase
from archzero_lab.servers.replicas import Replicated, replicated
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import CacheSettings, ReplicaSettings
from archzero_lab.systems.arczero.cache.cached_service import CachedCardService
from archzero_lab.systems.arczero.cache.store import CacheStore
from archzero_lab.systems.arczero.cards.generator import GeneratedPortfolio
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.service import CardService
from archzero_lab.systems.arczero.opened_cache import open_cache
from archzero_lab.systems.arczero.portfolios import ensure_base
from archzero_lab.systems.arczero.service_config import ServiceConfig
from tests.integration.conftest import CALM, PATIENT_POOL

# a busy machine is not a lagging replica: the bound has tests of its own
UNBOUND = ReplicaSettings(poll_s=0.02, most_lag_s=math.inf)


class HasReplicas(Protocol):
    """A database on several servers."""

    @property
    def url(self) -> str:
        """On the primary."""

    @property
    def replicas(self) -> list[str]:
        """On the others."""


@dataclass
class Cluster:
    """A primary and its replicas with some cards on them."""

    servers: Replicated
    stack: Stack
    url: str

    @property
    def replicas(self) -> list[str]:
        """The replicas' URLs of the card database."""
        return [on_server(self.url, replica.url) for replica in self.servers.replicas]


@dataclass
class Opened:
    """A service's parts; `cards` is the cached one where there is a cache."""

    cards: Cards
    plain: CardService
    database: ReplicatedDatabase
    store: CacheStore | None = None

    @property
    def cached(self) -> CachedCardService:
        """The cached service."""
        assert isinstance(self.cards, CachedCardService)
        return self.cards


@contextmanager
def card_cluster(stack: Stack, number: int = 2) -> Iterator[Cluster]:
    """Started, with cards that the replicas have replayed."""
    with replicated(stack.postgres_programs, stack.registry, number) as servers:
        own = replace(stack, postgres_url=servers.primary.url, postgres_pid=servers.primary.record.pid)
        base = ensure_base(own, GeneratedPortfolio(7, 300), lambda share: None)
        url = create_database(own.postgres_url, own.database_name("replicated"), template=base.name)
        servers.wait_until_replayed()
        yield Cluster(servers, own, url)


@asynccontextmanager
async def open_replicated(
    cluster: HasReplicas,
    redis_url: str | None = None,
    *,
    settings: ReplicaSettings = UNBOUND,
    cache: CacheSettings = CALM,
    url: str = "",
    replicas: list[str] | None = None,
    namespace: str = "",
) -> AsyncIterator[Opened]:
    """A service as a worker process has it."""
    where = url or cluster.url
    database = ReplicatedDatabase(where, cluster.replicas if replicas is None else replicas, PATIENT_POOL, settings)
    await database.open()
    plain = CardService(database)
    try:
        if redis_url is None:
            yield Opened(plain, plain, database)
            return
        config = ServiceConfig(where, redis_url, namespace or f"test:{uuid.uuid4().hex}", cache=cache)
        async with open_cache(config, plain, replicated=database) as handle:
            yield Opened(handle.cards, plain, database, handle.store)
    finally:
        await database.close()


class As:
    """What one session does: it hands on what it has seen, as a client with Archzero-Position does."""

    def __init__(self) -> None:
        self.position: Position | None = None

    def __enter__(self) -> Session:
        self._session = Session(self.position)
        self._before = SESSION.set(self._session)
        return self._session

    def __exit__(self, *_: object) -> None:
        SESSION.reset(self._before)
        self.position = self._session.seen or self.position
