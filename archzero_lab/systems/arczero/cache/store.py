"""CacheStore: the cache protocol on Redis. Every method says None or False where Redis is away; none fails for it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.exceptions import ReadOnlyError

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.announcements import Announcements, Change
from archzero_lab.systems.arczero.cache.counters import count
from archzero_lab.systems.arczero.cache.entries import MOST_BYTES, MOST_NAMES, Hit, decode, encode_value
from archzero_lab.systems.arczero.cache.heartbeat import beat_in_one, refused_of
from archzero_lab.systems.arczero.cache.keys import Key, Keyspace, Kind
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cache.redis_facts import server_facts
from archzero_lab.systems.arczero.cache.script_calls import (
    Call,
    fence_of,
    flushed_generation,
    new_era,
    new_generation,
    new_seed,
    script_call,
)
from archzero_lab.systems.arczero.cache.settling import SETTLING_MS
from archzero_lab.systems.arczero.cache.tasks import end_task
from archzero_lab.systems.arczero.cards.model import Document

OTHER = "other"
"""What a lease says, and which, where the cache is of another timeline."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What asking for a lease gave. `state`: granted, busy (`token` is the holder's), fenced or value.

    `sequence` is the sequence number that was read when it was granted, before the load.
    """

    state: str
    generation: str
    token: str
    value: Hit | None = None
    sequence: str = ""
    position: str = ""
    """With replicas: what a load must have seen at least, as told_position has it."""


class CacheStore(Announcements):
    """One service's entries in Redis."""

    def __init__(self, link: Link, keys: Keyspace, settings: CacheSettings, near: NearCache | None = None) -> None:
        super().__init__(link, keys, settings, near)
        self._seen_epoch = False

    # -- loads ---------------------------------------------------------------------------------------------

    async def lease(self, key: Key, sent: Callable[[], None] = lambda: None) -> Lease | None:
        """Ask for the right to fill, by a token of its own; `sent` is called when the question goes out."""
        token = secrets.token_hex(8)

        async def ask() -> Any:
            sent()
            return await self._scripts.lease(
                keys=[key.slot, key.generation, key.generation + ":missed", key.sequence, *self._replicated_keys],
                args=[
                    token,
                    int(self._settings.lease_s * 1000),
                    new_generation(),
                    SETTLING_MS,
                    new_era(),
                    self.keys.dependencies,
                    new_seed(),
                    *self._timeline,
                ],
            )

        answer = await self.link.read(key.kind, ask)
        if answer is None:
            self._give_back(key, token, still_asked=True)  # it may have been granted, or be yet
            return None
        state, generation, rest, place = answer[0], answer[1].decode(), answer[2], answer[4].decode()
        if self.told is not None and place.startswith(OTHER):
            self.told.hear_of(place.removeprefix(OTHER))
            self.link.revoke()
        if state == b"L":
            return Lease("granted", generation, token, sequence=answer[3].decode(), position=place)
        if state == b"B":
            return Lease("busy", generation, rest.decode(), position=place)
        if state == b"V":
            value = decode(rest, generation.encode())
            if isinstance(value, Hit):
                return Lease("value", generation, "", value)
        return Lease("fenced", generation, "", position=place)

    async def fill(self, key: Key, lease: Lease, document: Document, load_s: float, names: Sequence[str] = ()) -> bool:
        """Store a load under its lease, with the names of what it depends on.

        False where a write or a flush has voided it, what it depends on has changed since the lease was granted, there
        is more of that than a value has room for, or it is too large.
        """
        names = self._kept_names(names)
        if len(names) > MOST_NAMES or len(document.body) > MOST_BYTES:
            await self.release(key, lease)
            return False
        soft_ms, ttl_ms = self._expiries(key.kind, document)
        value = encode_value(lease.generation, document, soft_ms, int(load_s * 1000), lease.sequence, names)
        stored = await self.link.read(key.kind, lambda: self._store_filled(key, lease, value, ttl_ms, names))
        if stored is None:
            self._give_back(key, lease.token)
        if stored:
            count(key.kind, "set")
        return bool(stored)

    async def _store_filled(self, key: Key, lease: Lease, value: bytes, ttl_ms: int, names: Sequence[str]) -> Any:
        return await self._scripts.fill(
            keys=[key.slot, key.generation, key.sequence],
            args=[lease.token, lease.generation, value, ttl_ms, *self._rule(lease.sequence), *names],
        )

    def _rule(self, sequence: str) -> list[str | int]:
        return [sequence, self.keys.dependencies, self._life_ms]

    def _kept_names(self, names: Sequence[str]) -> Sequence[str]:
        return names if self.keys.exact else ()

    async def release(self, key: Key, lease: Lease) -> None:
        """Give a lease back after a load that failed."""
        if await self._released(key, lease.token) is None:
            self._give_back(key, lease.token)

    async def _released(self, key: Key, token: str) -> int | None:
        return await self.link.write(key.kind, lambda: self._scripts.release(keys=[key.slot], args=[token]))

    def _give_back(self, key: Key, token: str, *, still_asked: bool = False) -> None:
        """Give back a lease of which Redis was not heard: whoever comes would wait for its load until it runs out.

        `still_asked`: what asks for it may come to Redis after this; then it is given back until it was there.
        """
        task = asyncio.ensure_future(self._give_back_once_heard(key, token, still_asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_back_once_heard(self, key: Key, token: str, still_asked: bool) -> None:
        pause_s, until = self._settings.timeout_s, time.monotonic() + self._settings.lease_s
        while time.monotonic() < until and (self.members is None or self.members.has(key.slot)):
            released = await self._released(key, token)
            if released or (released is not None and not still_asked):
                return
            await asyncio.sleep(pause_s)
            pause_s *= 2

    async def close(self) -> None:
        """End what is under way in the background, before its connections go."""
        if self.members is not None:
            await self.members.close()
        for task in list(self._tasks):
            await end_task(task)

    async def claim_refresh(self, key: Key) -> str | None:
        """The sequence number to load anew after, where it is this process' turn to; over all processes it is one's."""
        sequence = await self.link.read(
            key.kind,
            lambda: self._scripts.take_turn(
                keys=[key.slot + ":refresh", key.sequence, *self._replicated_keys[1:]],
                args=[int(self._settings.lease_s * 1000), *self._timeline],
            ),
        )
        return sequence.decode() if sequence else None

    async def refill(
        self, key: Key, seen: Hit, document: Document, load_s: float, sequence: str, names: Sequence[str] = ()
    ) -> bool:
        """Store a value loaded anew, where the slot still holds the very one that was seen; ends the turn."""
        names = self._kept_names(names)
        if len(names) > MOST_NAMES or len(document.body) > MOST_BYTES:
            return False
        soft_ms, ttl_ms = self._expiries(key.kind, document)
        generation = seen.identity[1:17].decode()
        value = encode_value(generation, document, soft_ms, int(load_s * 1000), sequence, names)
        stored = await self.link.read(
            key.kind,
            lambda: self._scripts.refill(
                keys=[key.slot, key.generation, key.sequence, key.slot + ":refresh"],
                args=[seen.identity, value, ttl_ms, *self._rule(sequence), *names],
            ),
        )
        if stored:
            count(key.kind, "set")
        return bool(stored)

    # -- the whole -----------------------------------------------------------------------------------------

    async def flush(self) -> bool:
        """Make every entry of the namespace invalid, in constant time; False where Redis is away."""
        return await self.written(None, "", None, Change(kinds=list(Kind), told_of=list(Kind), flush=True))

    async def check_epoch(self, probe: Any) -> str | None:
        """Void every generation where this Redis is not the one that they were made in.

        A restart, even with its old data, has another run id; a failover to and fro another replication id. What a
        heartbeat tells of it from then on; None where that is not settled.
        """
        if self.members is not None:
            timeline = self.told.timeline if self.told is not None else ""
            nonce, known = await self.members.agree(probe, timeline)
            if self.told is not None and known > timeline:
                self.told.hear_of(known)  # somebody knows of a later primary: so will we, in a moment
            return nonce
        info = await probe.info()
        self._scripts.choose([info])
        epoch, held = f"{info['run_id']}.{info['master_replid']}", await probe.get(self.keys.epoch)
        if self.told is not None:
            epoch += f"|{self.told.timeline}"
            known = held.decode().rpartition("|")[2] if held is not None and b"|" in held else ""
            if known > self.told.timeline:
                self.told.hear_of(known)
                return None
        if held != epoch.encode():
            names = [self.keys.generations(kind)[0] for kind in Kind]
            # the fences of writes under way went with the old one: nothing is filled until those have ended
            px = SETTLING_MS if self._seen_epoch else 0
            new = [fence_of(secrets.token_hex(8)) if px else flushed_generation() for _ in names]
            # an older copy's may go back: what is made from now on is of a new era, and counted from another number
            keys = [self.keys.epoch, self.keys.moved, self.keys.sequence, self.keys.position, *names]
            args = [held or b"", epoch, px, *new]
            if not await self._scripts.begin_epoch(keys=keys, args=args, client=probe):
                return None  # another process has; what it began is looked at next
        self._seen_epoch = True
        return str(info["master_replid"])

    async def beat(self, probe: Any) -> str:
        """Do what an invalidation does, to keys that nobody reads; a server's replication id, or a Cluster's epoch.

        So what refuses an invalidation refuses this too: a replica, too few replicas, rights taken, a full disk, a
        script that runs on. Raises what Redis, or the way to it, refuses it with.
        """
        if self.members is not None:
            return await self.members.beat(probe)
        name = self.keys.heartbeats[0]
        info = await beat_in_one(self._scripts, name, probe)
        if info is None:
            await self._write_beats([name], probe)
            info = await probe.info("replication")
        if info["role"] != "master":  # one that takes writes loses them to its master's
            raise ReadOnlyError("this Redis is a replica")
        return str(info["master_replid"])

    async def obey(self, probe: Any) -> bool:
        """Whether a Redis does it where somebody may have a licence. Raises as beat()."""
        if self.members is not None:
            return await self.members.obey(probe)
        await self.beat(probe)
        return True

    async def _write_beats(self, names: list[str], probe: Any) -> None:
        calls = [script_call(self._scripts.bump, [name], [fence_of(""), new_generation()]) for name in names]
        calls += [script_call(self._scripts.remove, [name], [""]) for name in names]
        await self._send(calls, names, probe)

    async def health(self) -> dict[str, Any]:
        """What Redis tells of itself, whether it may be believed, and what it refuses or why it is not reached."""
        began = time.perf_counter()
        try:  # whatever the breaker says: what refuses writes may well be asked
            async with asyncio.timeout(self.link.connections.beat_timeout_s):
                facts = await server_facts(self._client, self.keys.heartbeats)
        except Exception:  # whatever it is, it is not connected; `refused` tells why
            facts = None
        latency_ms = round((time.perf_counter() - began) * 1000, 3)
        health: dict[str, Any] = (
            {"connected": False} if facts is None else {"connected": True, "latency_ms": latency_ms, **facts}
        )
        if self.members is not None:
            health["left_out"] = self.members.left_out
        if not self.link.licensed:
            return health | {"obeys": False, "refused": self.link.trouble}
        name = next(name for name in self.keys.heartbeats if self.members is None or self.members.has(name))
        refused = await refused_of(self._scripts, name, self._client, self._settings.timeout_s)
        return health | {"obeys": True, "refused": refused}

    async def add_usage(self, counts: dict[str, int], keep: int) -> None:
        """Add to the shared table of what is asked for most, and keep its `keep` greatest."""
        calls: list[Call] = [
            lambda c, of=of: c.zincrby(self.keys.usage, of[1], of[0])  # type: ignore[misc]
            for of in counts.items()
        ]
        calls.append(lambda c: c.zremrangebyrank(self.keys.usage, 0, -keep - 1))
        await self.link.write(Kind.CARD, lambda: self._send(calls, [], self._client))

    async def top_usage(self, most: int) -> list[str]:
        """What is asked for most, the commonest first."""
        members = await self.link.read(Kind.CARD, lambda: self._client.zrevrange(self.keys.usage, 0, most - 1))
        return [member.decode() for member in cast("list[bytes]", members or [])]
