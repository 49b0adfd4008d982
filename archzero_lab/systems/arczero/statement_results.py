"""The cache of statements' results behind the card service: the same counters and endpoints as the cache of answers."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import redis
from psycopg.rows import TupleRow

from archzero_lab.postgres.result_cache import ResultCache
from archzero_lab.systems.arczero.cache import counters
from archzero_lab.systems.arczero.cache.keys import Kind

STATEMENT_CACHE = "statement-cache"
"""The arm that it is, and its name where caches are held against each other."""
_OUTBOX = ("public.cache_outbox",)
_TTL_S = 300.0
_OUTCOMES = {"hits": "hit", "misses": "miss", "reloads": "reload", "needless_reloads": "needless"}


class _NeverOpen:
    is_open = False


class StatementResults:
    """Implements api.service.Cache. One row counts as a card, whatever reads more as a list.

    Raises what ResultCache raises where PostgreSQL or Redis is away: an arm of an experiment, not a service to keep.
    """

    def __init__(self, database_url: str, redis_url: str, namespace: str) -> None:
        self._redis_url = redis_url
        self._cache = ResultCache(
            database_url, redis_url, namespace, ttl_s=_TTL_S, observe=_count,
            # their triggers tell the outbox, which no answer is made of
            trigger_writes={"public.cards": _OUTBOX, "public.relationships": _OUTBOX},
        )  # fmt: skip
        self.connections: type[psycopg.AsyncConnection[TupleRow]] = self._cache.async_connection
        self.store = self
        self.link = self
        self.breaker = _NeverOpen()

    async def health(self) -> dict[str, Any]:
        """Whether Redis answers, and its memory."""
        try:
            used = await asyncio.to_thread(self._used_memory)
        except (redis.RedisError, OSError):
            return {"connected": False, "obeys": False, "refused": None}
        return {"connected": True, "obeys": True, "refused": None, "used_memory_bytes": used}

    def _used_memory(self) -> int:
        with redis.Redis.from_url(self._redis_url, socket_timeout=1.0) as server:
            return int(server.info("memory")["used_memory"])

    async def flush(self) -> bool:
        """Make every result invalid; False where Redis did not hear of it."""
        try:
            await self._cache.ask_later(self._cache.forget_everything())
        except (redis.RedisError, OSError):
            return False
        return True

    async def warm(self, most: int) -> dict[str, Any]:
        """Nothing: which statements are asked most is not known here."""
        return {"cards": 0, "lists": 0, "seconds": 0.0}

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._cache.aclose()


def _count(question: Any, what: str) -> None:
    if what in _OUTCOMES:
        counters.count(Kind.CARD if question.one_row else Kind.LIST, _OUTCOMES[what])
