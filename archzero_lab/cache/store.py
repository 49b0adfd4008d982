"""CacheStore: the cache protocol on one Redis, within a hard timeout and behind a circuit breaker.

Every method answers None or False where Redis is away: no request waits longer than the timeout for it, and
none fails for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from archzero_lab.cache import scripts
from archzero_lab.cache.breaker import CircuitBreaker
from archzero_lab.cache.counters import CALL_TIME, count
from archzero_lab.cache.entries import Miss, decode, encode_value
from archzero_lab.cache.keys import Key, Keyspace, Kind
from archzero_lab.cards.model import Document
from archzero_lab.errors import mask_secrets
from archzero_lab.settings import CacheSettings

log = logging.getLogger(__name__)
T = TypeVar("T")
_MAX_BATCH = 64
_MAX_BATCHES = 4
"""Reads beyond this many MGETs under way wait for the next one, and so travel together."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What asking for a lease gave. `state`: granted, busy (`token` is the holder's), fenced or value."""

    state: str
    generation: str
    token: str
    value: Document | None = None


class CacheStore:
    """One service's entries in Redis, reads that wait at the same moment joined into one MGET."""

    def __init__(self, url: str, keys: Keyspace, settings: CacheSettings) -> None:
        self.keys = keys
        self._settings = settings
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=settings.pool_size,
            timeout=settings.timeout_s,
            socket_timeout=settings.timeout_s,
            socket_connect_timeout=settings.timeout_s,
            # the default retries turned one GET on a closed port into 4 s of waiting
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._client = redis.Redis.from_pool(pool)
        self._lease = self._client.register_script(scripts.LEASE)
        self._fill = self._client.register_script(scripts.FILL)
        self._release = self._client.register_script(scripts.RELEASE)
        self._put = self._client.register_script(scripts.PUT)
        self._remove = self._client.register_script(scripts.REMOVE)
        self.breaker = CircuitBreaker(settings.breaker_failures, settings.breaker_reset_s, self._told)
        self._owes_flush = False
        self._last_error = ""
        self._waiting: list[tuple[Key, asyncio.Future[Document | Miss | None]]] = []
        self._scheduled = False
        self._batches: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    # -- reads ---------------------------------------------------------------------------------------------

    def read(self, key: Key) -> asyncio.Future[Document | Miss | None]:
        """The document, or a Miss, or None where Redis is away. Joins the reads of this turn of the event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Document | Miss | None] = loop.create_future()
        self._waiting.append((key, future))
        if not self._scheduled and len(self._batches) < _MAX_BATCHES:
            self._scheduled = True
            loop.call_soon(self._send_waiting)
        return future

    def _send_waiting(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._batches) < _MAX_BATCHES:
            batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
            task = asyncio.ensure_future(self._read_batch(batch))
            self._batches.add(task)
            task.add_done_callback(self._batch_done)

    def _batch_done(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._send_waiting()

    async def _read_batch(self, batch: list[tuple[Key, asyncio.Future[Document | Miss | None]]]) -> None:
        names = list(dict.fromkeys(name for key, _ in batch for name in (key.generation, key.slot)))
        answers = await self._guarded(batch[0][0].kind, lambda: self._client.mget(names))
        found = cast("dict[str, bytes | None]", dict(zip(names, answers or (), strict=answers is not None)))
        for key, future in batch:
            if future.done():  # its reader was cancelled
                continue
            if answers is None:
                future.set_result(None)
                continue
            value = decode(found[key.slot], found[key.generation])
            count(key.kind, "miss" if isinstance(value, Miss) else "hit")
            future.set_result(value)

    # -- loads ---------------------------------------------------------------------------------------------

    async def lease(self, key: Key) -> Lease | None:
        """Ask for the right to fill. The token is new for each fill, so that an old one can never serve."""
        token = secrets.token_hex(8)
        answer = await self._guarded(
            key.kind,
            lambda: self._lease(
                keys=[key.slot, key.generation],
                args=[token, int(self._settings.lease_s * 1000), secrets.token_hex(8)],
            ),
        )
        if answer is None:
            return None
        state, generation, rest = answer[0], answer[1].decode(), answer[2]
        if state == b"L":
            return Lease("granted", generation, token)
        if state == b"B":
            return Lease("busy", generation, rest.decode())
        if state == b"V":
            value = decode(rest, generation.encode())
            if isinstance(value, Document):
                return Lease("value", generation, "", value)
        return Lease("fenced", generation, "")

    async def fill(self, key: Key, lease: Lease, document: Document) -> bool:
        """Store a load under its lease; False where a write or a flush has voided it."""
        stored = await self._guarded(
            key.kind,
            lambda: self._fill(
                keys=[key.slot, key.generation],
                args=[lease.token, lease.generation, encode_value(lease.generation, document), self.ttl_ms(key.kind)],
            ),
        )
        if stored:
            count(key.kind, "set")
        return bool(stored)

    async def release(self, key: Key, lease: Lease) -> None:
        """Give a lease back after a load that failed."""
        await self._guarded(key.kind, lambda: self._release(keys=[key.slot], args=["L" + lease.token]))

    # -- writes --------------------------------------------------------------------------------------------

    async def fence(self, key: Key) -> str:
        """Before a write: keep readers from filling the slot until the write has ended or fence_s have passed."""
        token = secrets.token_hex(8)
        done = await self._guarded(
            key.kind,
            lambda: self._client.set(key.slot, "F" + token, px=int(self._settings.fence_s * 1000)),
        )
        if done is None:
            self._owes_flush = True
        return token

    async def unfence(self, key: Key, token: str) -> None:
        """After a write that was rolled back: remove our own fence only."""
        await self._guarded(key.kind, lambda: self._release(keys=[key.slot], args=["F" + token]))

    async def written(self, key: Key | None, token: str, document: Document | None, kinds: Iterable[Kind]) -> None:
        """After a commit, before its acknowledgement: the new document (None: deleted) and new generations.

        Where Redis is away this is owed: the whole namespace gets new generations before it is read again.
        """
        kinds = list(kinds)

        async def send() -> bool:
            async with self._client.pipeline(transaction=False) as pipe:
                if kinds:
                    await pipe.mset({self.keys.generation(kind): secrets.token_hex(8) for kind in kinds})
                if key is not None and document is not None:
                    await self._put(
                        keys=[key.slot, key.generation],
                        args=[token, document.version, document.body, document.etag, self.ttl_ms(key.kind)],
                        client=pipe,
                    )
                elif key is not None:
                    await self._remove(keys=[key.slot], args=[token], client=pipe)
                await pipe.execute()
            return True

        done = await self._guarded(key.kind if key else kinds[0], send)
        if done is None:
            self._owes_flush = True
            return
        for kind in kinds:
            count(kind, "delete")
        if key is not None:
            count(key.kind, "set" if document is not None else "delete")

    # -- the whole -----------------------------------------------------------------------------------------

    async def flush(self) -> bool:
        """Make every entry of the namespace invalid, in constant time; False where Redis is away."""
        done = await self._guarded(Kind.CARD, self._new_generations)
        if done:
            for kind in Kind:
                count(kind, "delete")
        else:
            self._owes_flush = True
        return bool(done)

    async def health(self) -> dict[str, Any]:
        """Size, memory and latency as Redis tells them, or {"connected": False}."""
        began = time.perf_counter()
        answer = await self._guarded(Kind.CARD, lambda: self._info())
        if answer is None:
            return {"connected": False}
        info, keys = answer
        return {
            "connected": True,
            "latency_ms": round((time.perf_counter() - began) * 1000, 3),
            "version": info.get("redis_version", ""),
            "used_memory_bytes": int(info.get("used_memory", 0)),
            "maxmemory_bytes": int(info.get("maxmemory", 0)),
            "evicted_keys": int(info.get("evicted_keys", 0)),
            "keys": int(keys),
        }

    async def add_usage(self, counts: dict[str, int], keep: int) -> None:
        """Add to the shared table of what is asked for most, and keep its `keep` greatest."""

        async def send() -> bool:
            async with self._client.pipeline(transaction=False) as pipe:
                for member, amount in counts.items():
                    await pipe.zincrby(self.keys.usage, amount, member)
                await pipe.zremrangebyrank(self.keys.usage, 0, -keep - 1)
                await pipe.execute()
            return True

        await self._guarded(Kind.CARD, send)

    async def top_usage(self, most: int) -> list[str]:
        """What is asked for most, the commonest first."""
        found = await self._guarded(Kind.CARD, lambda: self._client.zrevrange(self.keys.usage, 0, most - 1))
        return [member.decode() for member in cast("list[bytes]", found or [])]

    def ttl_ms(self, kind: Kind) -> int:
        """The kind's TTL less a random part, so that what was stored together does not expire together."""
        ttl_s: float = getattr(self._settings, f"ttl_{kind.value}_s")
        return max(1, int(ttl_s * 1000 * (1 - self._settings.ttl_jitter * random.random())))

    async def _new_generations(self) -> bool:
        await cast(
            "Awaitable[Any]",
            self._client.mset({self.keys.generation(kind): secrets.token_hex(8) for kind in Kind}),
        )
        return True

    async def _info(self) -> tuple[dict[str, Any], int]:
        return await self._client.info(), await self._client.dbsize()

    async def _guarded(self, kind: Kind, call: Callable[[], Awaitable[T]]) -> T | None:
        """Run a call within the timeout and behind the breaker; None where it failed or was not tried.

        After an outage the invalidations that could not be told are made good first.
        """
        if not self.breaker.allows():
            return None
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                if self._owes_flush:
                    await self._new_generations()
                    self._owes_flush = False
                result = await call()
        except (RedisError, OSError, TimeoutError) as error:
            count(kind, "error")
            self._last_error = mask_secrets(f"{type(error).__name__}: {error}")
            self.breaker.failure()
            return None
        except asyncio.CancelledError:
            self.breaker.abandoned()
            raise
        CALL_TIME.observe(time.perf_counter() - began)
        self.breaker.success()
        return result

    def _told(self, state: str) -> None:
        if state == "open":
            log.warning("Redis is away (%s); reads go to the database until it is back", self._last_error)
        else:
            log.warning("Redis is back; the cache is in use again")
