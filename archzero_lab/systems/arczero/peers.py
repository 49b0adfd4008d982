"""Other cache libraries in front of the same card service, each used as its own documentation shows.

What the consistency harness and benchmarks/cached_reads.py compare with. A write deletes the card's entry and drops all
lists; a cache that fails then is logged and passed over, for the write is committed.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import redis.asyncio as redis

from archzero_lab.errors import unknown_name
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cards.model import CardFilter, CardPatch, CardsError, Document, IfMatch, Unavailable
from archzero_lab.systems.arczero.cards.service import CardService

PEERS = ("cashews", "aiocache", "fastapi-cache2")
log = logging.getLogger(__name__)

Load = Callable[[str], Awaitable[Any]]


@dataclass(frozen=True)
class PeerCache:
    """A library's cached functions: a card's and a page's data by a key, and what a write does to them."""

    card: Load
    page: Load
    forget: Callable[[str], Awaitable[object]]


class PeerCards:
    """The reads and the update of Cards, through a library's cache. Data is cached as Python values and encoded again
    for each answer, as these libraries do with what a handler returns."""

    def __init__(self, cards: CardService) -> None:
        self._cards = cards
        self._questions: dict[str, CardFilter] = {}
        self.cache: PeerCache

    async def load_card(self, key: str) -> Any:
        """A card's data from the database."""
        return msgspec.json.decode((await self._cards.card(uuid.UUID(key))).body)

    async def load_page(self, key: str) -> Any:
        """A page's data from the database."""
        return msgspec.json.decode((await self._cards.cards(self._questions[key])).body)

    async def page_data(self, question: CardFilter) -> Any:
        """A page's data, cached."""
        key = uuid.uuid5(uuid.NAMESPACE_OID, repr(question)).hex
        self._questions[key] = question
        return await self.cache.page(key)

    async def card(self, card_id: uuid.UUID) -> Document:
        """One card. Raises NotFound, or Unavailable where the cache does not answer."""
        return await _document(self.cache.card(str(card_id)))

    async def cards(self, question: CardFilter) -> Document:
        """A page of cards. Raises Unavailable where the cache does not answer."""
        return await _document(self.page_data(question))

    async def update_card(self, card_id: uuid.UUID, patch: CardPatch, if_match: IfMatch = None) -> Document:
        """Change a card, then forget what is cached of it."""
        document = await self._cards.update_card(card_id, patch, if_match)
        try:
            await self.cache.forget(str(card_id))
        except (redis.RedisError, OSError, TimeoutError) as error:
            log.warning("%s: not invalidated", type(error).__name__)
        return document


async def _document(data: Awaitable[Any]) -> Document:
    try:
        return Document(msgspec.json.encode(await data), "")
    except CardsError:
        raise
    except (redis.RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"the cache: {type(error).__name__}") from None


@asynccontextmanager
async def open_peer(
    name: str, redis_url: str, namespace: str, cards: CardService, settings: CacheSettings
) -> AsyncIterator[PeerCards]:
    """The card service behind a library's cache on this Redis, with our TTLs. Raises UnknownNameError."""
    if name not in PEERS:
        raise unknown_name("cache", name, list(PEERS))
    peer = PeerCards(cards)
    openers = {"cashews": _cashews, "aiocache": _aiocache, "fastapi-cache2": _fastapi_cache}
    async with openers[name](redis_url, namespace, peer, settings) as cache:
        peer.cache = cache
        yield peer


@asynccontextmanager
async def _cashews(url: str, namespace: str, cards: PeerCards, settings: CacheSettings) -> AsyncIterator[PeerCache]:
    from cashews import Cache

    cache, pages = Cache(), f"{namespace}:pages"
    cache.setup(url, client_side=False)

    @cache(ttl=settings.ttl_card_s, key=namespace + ":card:{key}")
    async def card(key: str) -> Any:
        return await cards.load_card(key)

    @cache(ttl=settings.ttl_list_s, key=namespace + ":page:{key}", tags=[pages])
    async def page(key: str) -> Any:
        return await cards.load_page(key)

    async def forget(key: str) -> None:
        await cache.delete(f"{namespace}:card:{key}")
        await cache.delete_tags(pages)

    try:
        yield PeerCache(card, page, forget)
    finally:
        await cache.close()


@asynccontextmanager
async def _aiocache(url: str, namespace: str, cards: PeerCards, settings: CacheSettings) -> AsyncIterator[PeerCache]:
    from aiocache import Cache, cached
    from aiocache.serializers import PickleSerializer

    one, many = (Cache.from_url(url) for _ in range(2))
    for cache, group in ((one, "card"), (many, "page")):
        cache.namespace, cache.serializer = f"{namespace}:{group}:", PickleSerializer()

    def through(cache: Any, ttl_s: float, load: Load) -> Load:
        # the decorator opens a cache of its own from a class; this hands it the one that is open
        decorator = cached(ttl=ttl_s, key_builder=lambda function, key: key)
        decorator.cache = cache

        async def read(key: str) -> Any:
            return await decorator.decorator(load, key)

        return read

    async def forget(key: str) -> None:
        await one.delete(key)
        await many.clear(namespace=many.namespace)

    try:
        yield PeerCache(
            through(one, settings.ttl_card_s, cards.load_card),
            through(many, settings.ttl_list_s, cards.load_page),
            forget,
        )
    finally:
        await one.close()
        await many.close()


@asynccontextmanager
async def _fastapi_cache(
    url: str, namespace: str, cards: PeerCards, settings: CacheSettings
) -> AsyncIterator[PeerCache]:
    from fastapi_cache import FastAPICache
    from fastapi_cache.backends.redis import RedisBackend
    from fastapi_cache.decorator import cache

    client: Any = redis.Redis.from_url(url)
    FastAPICache.init(RedisBackend(client), prefix=namespace)

    def named(function: Any, namespace: str = "", *, args: tuple[Any, ...] = (), **_: Any) -> str:
        return f"{namespace}:{args[0]}"

    @cache(expire=int(settings.ttl_card_s), namespace="card", key_builder=named)
    async def card(key: str) -> Any:
        return await cards.load_card(key)

    @cache(expire=int(settings.ttl_list_s), namespace="page", key_builder=named)
    async def page(key: str) -> Any:
        return await cards.load_page(key)

    async def forget(key: str) -> None:
        await FastAPICache.get_backend().clear(key=f"{namespace}:card:{key}")
        await FastAPICache.clear(namespace="page")

    try:
        yield PeerCache(card, page, forget)
    finally:
        await client.aclose()
