"""CacheStore: the cache protocol on Redis. Every method says None or False where Redis is away; none fails for it."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from redis.exceptions import ReadOnlyError, ResponseError

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.batched_reads import BatchedReads
from archzero_lab.systems.arczero.cache.counters import count
from archzero_lab.systems.arczero.cache.entries import NOT_FOUND, Hit, decode, encode_rest, encode_value
from archzero_lab.systems.arczero.cache.heartbeat import beat_in_one, heartbeat_keys
from archzero_lab.systems.arczero.cache.keys import Key, Keyspace, Kind
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cache.redis_facts import server_facts
from archzero_lab.systems.arczero.cache.script_calls import Call, Scripts, fence_of, new_generation, script_call
from archzero_lab.systems.arczero.cards.model import Document

_SETTLING_MS = 500


@dataclass(frozen=True, slots=True)
class Lease:
    """What asking for a lease gave. `state`: granted, busy (`token` is the holder's), fenced or value."""

    state: str
    generation: str
    token: str
    value: Hit | None = None


class CacheStore(BatchedReads):
    """One service's entries in Redis."""

    def __init__(self, link: Link, keys: Keyspace, settings: CacheSettings, near: NearCache | None = None) -> None:
        super().__init__(link, near)
        self.keys = keys
        self._settings = settings
        self._scripts = Scripts(self._client)
        self._seen_epoch = False

    # -- loads ---------------------------------------------------------------------------------------------

    async def lease(self, key: Key) -> Lease | None:
        """Ask for the right to fill. The token is new for each fill, so that an old one can never serve."""
        token = secrets.token_hex(8)
        answer = await self.link.read(
            key.kind,
            lambda: self._scripts.lease(
                keys=[key.slot, key.generation, key.generation + ":missed"],
                args=[token, int(self._settings.lease_s * 1000), new_generation(), _SETTLING_MS],
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
        stored = await self.link.read(key.kind, lambda: self._store_filled(key, lease, value, ttl_ms))
        if stored:
            count(key.kind, "set")
        return bool(stored)

    async def _store_filled(self, key: Key, lease: Lease, value: bytes, ttl_ms: int) -> Any:
        return await self._scripts.fill(
            keys=[key.slot, key.generation], args=[lease.token, lease.generation, value, ttl_ms]
        )

    async def release(self, key: Key, lease: Lease) -> None:
        """Give a lease back after a load that failed."""
        await self.link.write(
            key.kind, lambda: self._scripts.release(keys=[key.slot], args=[lease.token, lease.generation])
        )

    async def claim_refresh(self, key: Key) -> bool:
        """Whether this process may load a value anew; one does at a time, over all processes."""
        name, px = key.slot + ":refresh", int(self._settings.lease_s * 1000)
        return bool(await self.link.read(key.kind, lambda: self._client.set(name, "1", nx=True, px=px)))

    async def refill(self, key: Key, seen: Hit, document: Document, load_s: float) -> bool:
        """Store a value loaded anew, where the slot still holds the very one that was seen; ends the claim."""
        soft_ms, ttl_ms = self._expiries(key.kind, document)
        value = encode_value(seen.identity[1:17].decode(), document, soft_ms, int(load_s * 1000))

        async def send() -> Any:
            stored = await self._scripts.refill(keys=[key.slot, key.generation], args=[seen.identity, value, ttl_ms])
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
        px = int(self._settings.fence_s * 1000)
        names = [name for kind in kinds for name in self.keys.generations(kind)]
        calls = [script_call(self._scripts.claim, [name], [fence_of(token), px]) for name in names]
        if key is not None:
            names.append(key.slot)
            calls.append(script_call(self._scripts.fence, [key.slot], [token, px]))
        done = await self._all(key.kind if key else Kind.LIST, calls, instead=names)
        self._forget_near(key, kinds)
        return done

    async def unfence(self, key: Key | None, kinds: Iterable[Kind], token: str) -> None:
        """After a write that was rolled back: remove our own fences only."""
        calls = self._bumps(kinds, token)
        if key is not None:
            calls.append(script_call(self._scripts.unfence, [key.slot], [token]))
        await self._all(key.kind if key else Kind.LIST, calls, instead=[])

    async def written(
        self, key: Key | None, token: str, document: Document | None, kinds: Iterable[Kind], also: Iterable[Key] = ()
    ) -> bool:
        """After a commit, before its acknowledgement: the new document (None: deleted) and new generations.

        `also` are slots to be emptied. False where Redis could not be told; the outbox holds the change then.
        """
        kinds = list(kinds)
        calls = self._bumps(kinds, token)
        slots = [other.slot for other in also]
        if key is not None and document is not None:
            soft_ms, ttl_ms = self._expiries(key.kind, document)
            args = [token, f"{document.version:010d}", encode_rest(document, soft_ms, 1), ttl_ms]
            calls.append(script_call(self._scripts.put, [key.slot, key.generation], args))
        elif key is not None:
            slots.append(key.slot)
        calls += [script_call(self._scripts.remove, [name], [token]) for name in slots]
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

        A restart, even with its old data, has another run id; a failover to and fro another replication id. True when
        that is settled.
        """
        info = await probe.info()
        servers = list(info.values()) if "run_id" not in info else [info]
        self._scripts.choose(servers)
        epoch = ",".join(sorted(f"{server['run_id']}.{server['master_replid']}" for server in servers))
        if await probe.get(self.keys.epoch) == epoch.encode():
            self._seen_epoch = True
            return True
        for kind in Kind:
            for name in self.keys.generations(kind):
                if self._seen_epoch:
                    # the fences of writes under way went with the old one: nothing is filled until those have ended
                    await probe.set(name, fence_of(secrets.token_hex(8)), px=_SETTLING_MS)
                else:
                    await probe.set(name, new_generation())
        await probe.set(self.keys.epoch, epoch)
        self._seen_epoch = True
        return True

    async def beat(self, probe: Any) -> str:
        """Do what an invalidation does, to keys that nobody reads; the replication id of a single server.

        So what refuses an invalidation refuses this too: a replica, too few replicas, rights taken, a full disk, a
        script that runs on. Raises what Redis, or the way to it, refuses it with.
        """
        if not self._one_server:
            await self._write_beats(heartbeat_keys(self.keys, self._client), probe)
            return ""  # a replica of a Cluster answers MOVED, to its master
        name = self.keys.heartbeats[0]
        told = await beat_in_one(self._scripts, name, probe)
        if told is None:
            await self._write_beats([name], probe)
            told = await probe.info("replication")
        if told["role"] != "master":  # one that takes writes loses them to its master's
            raise ReadOnlyError("this Redis is a replica")
        return str(told["master_replid"])

    async def _write_beats(self, names: list[str], probe: Any) -> None:
        calls = [script_call(self._scripts.bump, [name], [fence_of(""), new_generation()]) for name in names]
        calls += [script_call(self._scripts.remove, [name], [""]) for name in names]
        await self._send(calls, names, probe)

    async def health(self) -> dict[str, Any]:
        """What Redis tells of itself, whether it may be believed, and what it refuses or why it is not reached."""
        began = time.perf_counter()
        try:  # whatever the breaker says: what refuses writes may well be asked
            async with asyncio.timeout(self._settings.timeout_s):
                told = await server_facts(self._client)
        except Exception:  # whatever it is, it is not connected; `refused` tells why
            told = None
        latency_ms = round((time.perf_counter() - began) * 1000, 3)
        found = {"connected": False} if told is None else {"connected": True, "latency_ms": latency_ms, **told}
        return found | {"obeys": self.link.licensed, "refused": None if self.link.licensed else self.link.trouble}

    async def add_usage(self, counts: dict[str, int], keep: int) -> None:
        """Add to the shared table of what is asked for most, and keep its `keep` greatest."""
        calls: list[Call] = [partial(_add, self.keys.usage, member, amount) for member, amount in counts.items()]
        calls.append(lambda c: c.zremrangebyrank(self.keys.usage, 0, -keep - 1))
        await self.link.write(Kind.CARD, lambda: self._send(calls, [], self._client))

    async def top_usage(self, most: int) -> list[str]:
        """What is asked for most, the commonest first."""
        found = await self.link.read(Kind.CARD, lambda: self._client.zrevrange(self.keys.usage, 0, most - 1))
        return [member.decode() for member in cast("list[bytes]", found or [])]

    def _bumps(self, kinds: Iterable[Kind], token: str) -> list[Call]:
        names = [name for kind in kinds for name in self.keys.generations(kind)]
        return [script_call(self._scripts.bump, [name], [fence_of(token), new_generation()]) for name in names]

    async def _all(self, kind: Kind, calls: list[Call], *, instead: list[str]) -> bool:
        """Send an invalidation's calls; False where Redis could not be told or refuses even to delete `instead`."""
        if not calls:
            return True
        return await self.link.tell(kind, lambda: self._send(calls, instead, self._client)) is not None

    async def _send(self, calls: list[Call], instead: list[str], client: Any) -> list[Any]:
        """All calls in one round trip, their answers; where Redis refuses one (memory full), delete `instead`."""
        try:
            if self._one_server:
                async with client.pipeline(transaction=False) as pipe:
                    for call in calls:
                        await call(pipe)
                    return list(await pipe.execute())
            return list(await asyncio.gather(*(call(client) for call in calls)))
        except ResponseError:
            for name in instead:  # DEL is never refused for want of memory
                await client.delete(name)
            return []

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


async def _add(name: str, member: str, amount: int, client: Any) -> Any:
    return await client.zincrby(name, amount, member)
