"""CacheStore: the cache protocol on Redis. Every method says None or False where Redis is away; none fails for it."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.exceptions import ResponseError

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache import scripts
from archzero_lab.systems.arczero.cache.counters import count
from archzero_lab.systems.arczero.cache.entries import NOT_FOUND, Hit, Miss, decode, encode_rest, encode_value
from archzero_lab.systems.arczero.cache.keys import Key, Keyspace, Kind
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cards.model import Document

Call = Callable[[Any], Awaitable[Any]]
"""A command, to be sent by the client or put into the pipeline that it is given."""

_SETTLING_MS = 500
_MAX_BATCH = 64
_MAX_BATCHES = 4
"""Reads beyond this many MGETs under way wait for the next one, and so travel together."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What asking for a lease gave. `state`: granted, busy (`token` is the holder's), fenced or value."""

    state: str
    generation: str
    token: str
    value: Hit | None = None


class CacheStore:
    """One service's entries in Redis, reads that wait at the same moment joined into one MGET.

    `without` takes guards out (lease, fence, generation), so that tests can show that each is needed.
    """

    def __init__(
        self,
        link: Link,
        keys: Keyspace,
        settings: CacheSettings,
        near: NearCache | None = None,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.link = link
        self.keys = keys
        self.near = near
        self._settings = settings
        self._without = without
        client = link.client
        self._client = client
        self._lease = client.register_script(scripts.LEASE)
        self._fill = client.register_script(scripts.FILL)
        self._refill = client.register_script(scripts.REFILL)
        self._release = client.register_script(scripts.RELEASE)
        self._bump = client.register_script(scripts.BUMP)
        self._fence = client.register_script(scripts.FENCE)
        self._claim = client.register_script(scripts.CLAIM)
        self._unfence = client.register_script(scripts.UNFENCE)
        self._put = client.register_script(scripts.PUT)
        self._overwrite = client.register_script(scripts.OVERWRITE)
        self._remove = client.register_script(scripts.REMOVE)
        self._scripts_allow_oom = False
        self._seen_epoch = False
        self._one_server = not hasattr(client, "mget_nonatomic")
        self._waiting: list[tuple[Key, asyncio.Future[Hit | Miss | None]]] = []
        self._scheduled = False
        self._batches: set[asyncio.Task[None]] = set()

    # -- reads ---------------------------------------------------------------------------------------------

    def read(self, key: Key) -> asyncio.Future[Hit | Miss | None]:
        """The value, or a Miss, or None where Redis is away. Joins the reads of this turn of the event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Hit | Miss | None] = loop.create_future()
        if not self.link.licensed:
            future.set_result(None)
            return future
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

    async def _read_batch(self, batch: list[tuple[Key, asyncio.Future[Hit | Miss | None]]]) -> None:
        names = list(dict.fromkeys(name for key, _ in batch for name in (key.generation, key.slot)))
        mget = self._client.mget if self._one_server else self._client.mget_nonatomic
        ticket = self.near.ticket() if self.near is not None else 0
        answers: Sequence[bytes | None] | None = await self.link.read(batch[0][0].kind, lambda: mget(names))
        found = dict(zip(names, answers, strict=True)) if answers is not None else {}
        for key, future in batch:
            if future.done():  # its reader was cancelled
                continue
            if answers is None:
                future.set_result(None)
                continue
            generation = found[key.generation]
            slot = found[key.slot]
            if "generation" in self._without and slot is not None and slot[:1] == b"V":
                generation = slot[1:17]
            value = decode(slot, generation)
            if isinstance(value, Hit):
                count(key.kind, "hit")
                if self.near is not None:
                    self.near.put(key, value.document, ticket)
            else:
                count(key.kind, "miss")
            future.set_result(value)

    # -- loads ---------------------------------------------------------------------------------------------

    async def lease(self, key: Key) -> Lease | None:
        """Ask for the right to fill. The token is new for each fill, so that an old one can never serve."""
        token = secrets.token_hex(8)
        if "lease" in self._without:
            generation = await self.link.read(key.kind, lambda: self._client.get(key.generation))
            return Lease("granted", generation.decode(), token) if generation is not None else None
        answer = await self.link.read(
            key.kind,
            lambda: self._lease(
                keys=[key.slot, key.generation, key.generation + ":missed"],
                args=[token, int(self._settings.lease_s * 1000), _new_generation(), _SETTLING_MS],
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
            if isinstance(value, Hit):
                return Lease("value", generation, "", value)
        return Lease("fenced", generation, "")

    async def fill(self, key: Key, lease: Lease, document: Document, load_s: float) -> bool:
        """Store a load under its lease; False where a write or a flush has voided it."""
        soft_ms, ttl_ms = self._expiries(key.kind, document)
        value = encode_value(lease.generation, document, soft_ms, int(load_s * 1000))

        async def send() -> Any:
            if "lease" in self._without:
                return await self._client.set(key.slot, value, px=ttl_ms)
            return await self._fill(
                keys=[key.slot, key.generation], args=[lease.token, lease.generation, value, ttl_ms]
            )

        stored = await self.link.read(key.kind, send)
        if stored:
            count(key.kind, "set")
        return bool(stored)

    async def release(self, key: Key, lease: Lease) -> None:
        """Give a lease back after a load that failed."""
        await self.link.write(key.kind, lambda: self._release(keys=[key.slot], args=[lease.token, lease.generation]))

    async def claim_refresh(self, key: Key) -> bool:
        """Whether this process may load a value anew; one does at a time, over all processes."""
        name, px = key.slot + ":refresh", int(self._settings.lease_s * 1000)
        return bool(await self.link.read(key.kind, lambda: self._client.set(name, "1", nx=True, px=px)))

    async def refill(self, key: Key, seen: Hit, document: Document, load_s: float) -> bool:
        """Store a value loaded anew, where the slot still holds the very one that was seen; ends the claim."""
        soft_ms, ttl_ms = self._expiries(key.kind, document)
        value = encode_value(seen.identity[1:17].decode(), document, soft_ms, int(load_s * 1000))

        async def send() -> Any:
            stored = await self._refill(keys=[key.slot, key.generation], args=[seen.identity, value, ttl_ms])
            await self._client.delete(key.slot + ":refresh")
            return stored

        stored = await self.link.read(key.kind, send)
        if stored:
            count(key.kind, "set")
        return bool(stored)

    # -- writes --------------------------------------------------------------------------------------------

    async def fence(self, key: Key | None, kinds: Iterable[Kind], token: str) -> bool:
        """Before a write: nobody fills the slot, or any slot of the kinds, until written() or fence_s from now.

        Where memory is full the slot is deleted instead: what is there before the write is gone, and written()
        removes what comes meanwhile.
        """
        if "fence" in self._without:
            return True
        px = int(self._settings.fence_s * 1000)
        names = [name for kind in kinds for name in self.keys.generations(kind)]
        calls = [_script(self._claim, [name], [_fence(token), px]) for name in names]
        if key is not None:
            names.append(key.slot)
            calls.append(_script(self._fence, [key.slot], [token, px]))
        done = await self._all(key.kind if key else Kind.LIST, calls, instead=names)
        self._forget_near(key, kinds)
        return done

    async def unfence(self, key: Key | None, kinds: Iterable[Kind], token: str) -> None:
        """After a write that was rolled back: remove our own fences only."""
        calls = self._bumps(kinds, token)
        if key is not None:
            calls.append(_script(self._unfence, [key.slot], [token]))
        await self._all(key.kind if key else Kind.LIST, calls, instead=[])

    async def written(
        self, key: Key | None, token: str, document: Document | None, kinds: Iterable[Kind], also: Iterable[Key] = ()
    ) -> bool:
        """After a commit, before its acknowledgement: the new document (None: deleted) and new generations.

        `also` are slots to be emptied. False where Redis could not be told; the outbox holds the change then.
        """
        kinds = [] if "generation" in self._without else list(kinds)
        calls = self._bumps(kinds, token)
        slots = [other.slot for other in also]
        if key is not None and document is not None:
            soft_ms, ttl_ms = self._expiries(key.kind, document)
            args = [token, f"{document.version:010d}", encode_rest(document, soft_ms, 1), ttl_ms]
            if "fence" in self._without:
                calls.append(_script(self._overwrite, [key.slot, key.generation], args))
            else:
                calls.append(_script(self._put, [key.slot, key.generation], args))
        elif key is not None:
            slots.append(key.slot)
        calls += [_script(self._remove, [name], [token]) for name in slots]
        instead = [*(name for kind in kinds for name in self.keys.generations(kind)), *slots]
        if key is not None:
            instead.append(key.slot)
        self._forget_near(key, kinds)
        done = await self._all(key.kind if key else Kind.LIST, calls, instead=instead)
        if done:
            for kind in kinds:
                count(kind, "delete")
            if key is not None:
                count(key.kind, "set" if document is not None else "delete")
        return done

    async def invalidate(self, card_ids: Sequence[uuid.UUID] | None, kinds: Iterable[Kind]) -> bool:
        """What somebody else changed: the cards (None: all of them) and the kinds. False where Redis is away."""
        kinds = [*kinds, *([Kind.CARD] if card_ids is None else [])]
        keys = [self.keys.card(card_id) for card_id in card_ids or ()]
        for key in keys:
            self._forget_near(key, ())
        return await self.written(None, "", None, kinds, also=keys)

    # -- the whole -----------------------------------------------------------------------------------------

    async def flush(self) -> bool:
        """Make every entry of the namespace invalid, in constant time; False where Redis is away."""
        return await self.written(None, "", None, list(Kind))

    async def check_epoch(self, probe: Any) -> bool:
        """Void every generation where this Redis is not the one that they were made in.

        A restart, even with its old data, and a failover have another run id. True when that is settled.
        """
        info = await probe.info("server")
        servers = info if "run_id" not in info else {"": info}
        self._choose_scripts(servers.values())
        run_id = ",".join(sorted(str(server["run_id"]) for server in servers.values()))
        if await probe.get(self.keys.epoch) == run_id.encode():
            self._seen_epoch = True
            return True
        for kind in Kind:
            for name in self.keys.generations(kind):
                if self._seen_epoch:
                    # the fences of writes under way went with the old one: nothing is filled until those have ended
                    await probe.set(name, _fence(secrets.token_hex(8)), px=_SETTLING_MS)
                else:
                    await probe.set(name, _new_generation())
        await probe.set(self.keys.epoch, run_id)
        self._seen_epoch = True
        return True

    def _choose_scripts(self, servers: Iterable[dict[str, Any]]) -> None:
        """Scripts that work while memory is full, where every server knows how."""
        able = all(int(str(server["redis_version"]).split(".")[0]) >= 7 for server in servers)
        head = scripts.ALLOW_OOM if able else ""
        if able != self._scripts_allow_oom:
            self._scripts_allow_oom = able
            self._bump = self._client.register_script(head + scripts.BUMP)
            self._fence = self._client.register_script(head + scripts.FENCE)
            self._claim = self._client.register_script(head + scripts.CLAIM)
            self._remove = self._client.register_script(head + scripts.REMOVE)

    async def health(self) -> dict[str, Any]:
        """Size, memory and latency as Redis tells them, or {"connected": False}."""
        began = time.perf_counter()
        answer = await self.link.write(Kind.CARD, self._info)
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
        calls = [_add(self.keys.usage, member, amount) for member, amount in counts.items()]
        calls.append(lambda c: c.zremrangebyrank(self.keys.usage, 0, -keep - 1))
        await self._all(Kind.CARD, calls, instead=[])

    async def top_usage(self, most: int) -> list[str]:
        """What is asked for most, the commonest first."""
        found = await self.link.read(Kind.CARD, lambda: self._client.zrevrange(self.keys.usage, 0, most - 1))
        return [member.decode() for member in cast("list[bytes]", found or [])]

    def _bumps(self, kinds: Iterable[Kind], token: str) -> list[Call]:
        names = [name for kind in kinds for name in self.keys.generations(kind)]
        return [_script(self._bump, [name], [_fence(token), _new_generation()]) for name in names]

    async def _all(self, kind: Kind, calls: list[Call], *, instead: list[str]) -> bool:
        """Send all calls in one round trip; where Redis refuses one (memory full), delete `instead`."""
        if not calls:
            return True

        async def send() -> bool:
            try:
                if self._one_server:
                    async with self._client.pipeline(transaction=False) as pipe:
                        for call in calls:
                            await call(pipe)
                        await pipe.execute()
                else:
                    await asyncio.gather(*(call(self._client) for call in calls))
            except ResponseError:
                for name in instead:  # DEL is never refused for want of memory
                    await self._client.delete(name)
            return True

        return bool(await self.link.write(kind, send))

    def _forget_near(self, key: Key | None, kinds: Iterable[Kind]) -> None:
        if self.near is not None:
            self.near.forget([key.slot] if key is not None else [], kinds)

    def _expiries(self, kind: Kind, document: Document) -> tuple[int, int]:
        """(soft expiry, epoch ms; TTL of the key, ms), less a random part: what was stored together expires apart.

        Lists and searches outlive their soft expiry by stale_s: served while one reader loads them anew. A write's
        invalidation does not wait for that: their generation is void.
        """
        if document is NOT_FOUND:
            ttl_ms = self._settings.ttl_not_found_s * 1000
        else:
            ttl_s: float = getattr(self._settings, f"ttl_{kind.value}_s")
            ttl_ms = ttl_s * 1000 * (1 - self._settings.ttl_jitter * secrets.randbelow(1000) / 1000)
        stale_ms = self._settings.stale_s * 1000 if kind in (Kind.LIST, Kind.SEARCH) else 0
        return int(time.time() * 1000 + ttl_ms), max(1, int(ttl_ms + stale_ms))

    async def _info(self) -> tuple[dict[str, Any], int]:
        info = await self._client.info()
        if "redis_version" not in info:  # a Cluster answers by node
            nodes = list(info.values())
            summed = ("used_memory", "maxmemory", "evicted_keys")
            info = {**nodes[0], **{name: sum(int(node.get(name, 0)) for node in nodes) for name in summed}}
        return info, await self._client.dbsize()


def _new_generation() -> str:
    return secrets.token_hex(8)


def _fence(token: str) -> str:
    """A writer's claim on a generation: F and as many of its token's digits as there is room for."""
    return ("F" + token)[:16].ljust(16, "0")


def _add(name: str, member: str, amount: int) -> Call:
    return lambda client: client.zincrby(name, amount, member)


def _script(script: Any, keys: list[str], args: list[Any]) -> Call:
    return lambda client: script(keys=keys, args=args, client=client)
