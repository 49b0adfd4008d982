"""Services in this process, and one over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx
import psycopg
import pytest

from archzero_lab.postgres.pool import Database
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import CacheSettings, PoolSettings, patient
from archzero_lab.systems.arczero.cache.cached_service import CachedCardService
from archzero_lab.systems.arczero.cache.keys import Keyspace
from archzero_lab.systems.arczero.cache.store import CacheStore
from archzero_lab.systems.arczero.cards.model import CardDraft, CardType
from archzero_lab.systems.arczero.cards.protocol import Cards
from archzero_lab.systems.arczero.cards.search import list_statement
from archzero_lab.systems.arczero.cards.search_v2 import list_statement_v2
from archzero_lab.systems.arczero.cards.service import CardService, ListStatement
from archzero_lab.systems.arczero.opened_cache import open_cache
from archzero_lab.systems.arczero.service_config import ServiceConfig
from archzero_lab.systems.arczero.services import Serving, start_service

# a busy machine is no outage: only tests of outages want the short timeout
# the near cache has tests of its own: elsewhere it would hide what Redis does
PATIENT = CacheSettings(timeout_s=2.0, near_bytes=0)
# where nobody hurts Redis a process that was stopped for a moment goes on believing it
CALM = replace(PATIENT, licence_s=60.0)
PATIENT_POOL = patient(PoolSettings(min_size=1, max_size=4))


@dataclass
class Cached:
    """A cached service with its parts in reach."""

    cards: CachedCardService
    plain: CardService
    store: CacheStore
    keys: Keyspace


@asynccontextmanager
async def open_cached(
    database_url: str,
    redis_url: str,
    settings: CacheSettings = CALM,
    namespace: str | None = None,
) -> AsyncIterator[Cached]:
    """A cached service, as a worker process has it, in a namespace of its own."""
    config = ServiceConfig(database_url, redis_url, namespace or f"test:{uuid.uuid4().hex}", cache=settings)
    database = Database(database_url, PATIENT_POOL)
    await database.open()
    plain = CardService(database)
    try:
        async with open_cache(config, plain) as handle:
            yield Cached(handle.cards, plain, handle.store, handle.store.keys)
    finally:
        await database.close()


@asynccontextmanager
async def open_plain(database_url: str, lists: ListStatement = list_statement) -> AsyncIterator[CardService]:
    """A service without a cache."""
    database = Database(database_url, PATIENT_POOL)
    await database.open()
    try:
        yield CardService(database, lists)
    finally:
        await database.close()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    """Wait for something that comes by itself."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.005)


async def new_card(cached: Cached, score: int = 1) -> uuid.UUID:
    """A card that nobody has read yet."""
    card_id, _ = await cached.cards.create_card(CardDraft(f"Card {uuid.uuid4()}", CardType.Risk, quality_score=score))
    return card_id


async def score_of(cached: Cached, card_id: uuid.UUID) -> int:
    """What the service says of its quality."""
    return int(json.loads((await cached.cards.card(card_id)).body)["qualityScore"])


@pytest.fixture(scope="module")
def database_url(make_database: Callable[[str], str], request: pytest.FixtureRequest) -> str:
    """A database of the module's own."""
    return make_database(request.module.__name__.rpartition(".")[2].removeprefix("test_"))


@pytest.fixture
async def cached(stack: Stack, database_url: str) -> AsyncIterator[Cached]:
    """A cached service with its parts in reach."""
    async with open_cached(database_url, stack.redis_url) as made:
        yield made


@pytest.fixture(params=["plain", "cached", "v2"])
async def cards(request: pytest.FixtureRequest, stack: Stack, database_url: str) -> AsyncIterator[Cards]:
    """Every implementation of the card contract; v2 sends the statements of index set v2."""
    if request.param == "v2":
        async with open_plain(database_url, list_statement_v2) as service:
            yield service
        return
    async with open_cached(database_url, stack.redis_url) as made:
        yield made.plain if request.param == "plain" else made.cards


@pytest.fixture(scope="module")
def client(stack: Stack, database_url: str) -> Iterator[httpx.Client]:
    """A client of a cached service with two worker processes."""
    calm = replace(stack.settings, cache=replace(stack.settings.cache, timeout_s=5.0, licence_s=60.0))
    service = start_service(
        replace(stack, settings=calm), Serving("treatment", database_url, cached=True, workers=2, patient=True)
    )
    with httpx.Client(base_url=service.url, timeout=30) as made:
        yield made
    stack.registry.stop(service.record)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """A plain connection to the module's database, as somebody with psql has it."""
    with psycopg.connect(database_url, autocommit=True) as made:
        yield made
