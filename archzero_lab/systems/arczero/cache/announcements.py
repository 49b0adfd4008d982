"""The writing half of the cache protocol: a write is announced before its commit, told before its answer."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.exceptions import ResponseError

from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.batched_reads import BatchedReads
from archzero_lab.systems.arczero.cache.counters import count
from archzero_lab.systems.arczero.cache.entries import MOST_BYTES, NOT_FOUND, encode_rest
from archzero_lab.systems.arczero.cache.epochs import Epoch
from archzero_lab.systems.arczero.cache.keys import Key, Keyspace, Kind
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.members import Members
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cache.script_calls import (
    Call,
    Scripts,
    fence_of,
    flushed_generation,
    new_era,
    new_generation,
    new_seed,
    script_call,
    send_in_one,
)
from archzero_lab.systems.arczero.cache.told_position import Primary, Told, ToldPosition
from archzero_lab.systems.arczero.cards.changes import Changed
from archzero_lab.systems.arczero.cards.model import Document, Unavailable

_AT_A_TIME = 1_000
"""Names in one script, during which Redis does nothing else."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is no longer as it was: dependencies by name, and kinds of which every entry goes."""

    names: Sequence[str] = ()
    kinds: Sequence[Kind] = ()
    told_of: Sequence[Kind] = ()
    """The kinds of which some entry may have gone: what is counted."""
    flush: bool = False
    """Whether nothing has changed, and all goes because somebody wants it to."""


class Announcements(BatchedReads):
    """What a writer does: fence() before its commit, then written() or unfence()."""

    def __init__(self, link: Link, keys: Keyspace, settings: CacheSettings, near: NearCache | None) -> None:
        super().__init__(link, keys, near)
        self._settings = settings
        self._scripts = Scripts(self._client)
        if not self._one_server:
            self.members = Members(keys, self._scripts, settings)
        self.told: ToldPosition | None = None
        """Where the database has replicas: up to where in its history Redis has been told."""

    def follow(self, primary: Primary) -> None:
        """Let a load be a replica's: from now on Redis is told where in the primary's history each write stands."""
        self.told = ToldPosition(self.link, self.keys, self._scripts, primary)

    @property
    def _replicated_keys(self) -> list[str]:
        """With replicas: the position and the epoch, for scripts that look at them; see told_position."""
        return [self.keys.position, self.keys.epoch] if self.told is not None and self.keys.exact else []

    @property
    def _timeline(self) -> list[str]:
        return [self.told.timeline] if self.told is not None and self.keys.exact else []

    def change_of(self, changes: Iterable[Changed], besides: Sequence[Kind] = ()) -> Change:
        """What rows of the outbox say together. In a Cluster, and where too much changed to name it, whole kinds go.

        `besides` are kinds that go whatever the rows say.
        """
        changes = list(changes)
        named = [change for change in changes if change.names is not None and self.keys.exact]
        whole = [change for change in changes if change.names is None or not self.keys.exact]
        return Change(
            list(dict.fromkeys(name for change in named for name in change.names or ())),
            [kind for kind in Kind if kind in besides or any(kind.value in change.kinds for change in whole)],
            [kind for kind in Kind if kind in besides or any(kind.value in change.kinds for change in changes)],
        )

    async def fence(self, key: Key | None, change: Change, token: str) -> bool:
        """Before a commit: nobody fills the slot, or what depends on the change, until written() or fence_s from now.

        Where memory is full they are deleted instead: what is there before the commit is gone, and written() removes
        what comes meanwhile. False where Redis could not be told.
        """
        epoch = self.members.counting if self.members is not None else None
        if self.members is not None and epoch is None:
            return False
        px = int(self._settings.fence_s * 1000)
        names = self._generations(change, epoch)
        calls = [script_call(self._scripts.claim, [name], [fence_of(token), px]) for name in names]
        if key is not None and self._used([key.slot], epoch):
            names.append(key.slot)
            calls.append(script_call(self._scripts.fence, [key.slot], [token, px]))
        calls += self._by_name(self._scripts.announce, change, [token, px, self.keys.dependencies])
        done = await self._all(key.kind if key else Kind.LIST, calls, instead=names, lost=change)
        self._forget_near(key, change)
        return done

    async def unfence(self, key: Key | None, change: Change, token: str) -> None:
        """After a write that was rolled back: remove our own fences only. Dependencies are told as if it had been."""
        epoch = self.members.epoch if self.members is not None else None
        calls = [*self._bumps(change, token, epoch), *self._tellings(change, token)]
        if key is not None and self._used([key.slot], epoch):
            calls.append(script_call(self._scripts.unfence, [key.slot], [token]))
        await self._all(key.kind if key else Kind.LIST, calls, instead=[])

    async def written(
        self, key: Key | None, token: str, document: Document | None, change: Change, also: Iterable[Key] = (),
        position: str = "",
    ) -> bool:  # fmt: skip
        """After a commit, before its acknowledgement: the new document (None: deleted) and what changed.

        `also` are slots to be emptied, `position` where it was committed at most (told_position.UNKNOWN: nobody knows;
        "" where nothing was). False where Redis could not be told; the outbox holds the change then. Raises Unavailable
        where it went to a database server that is the primary no longer.
        """
        epoch = self.members.counting if self.members is not None else None
        if self.members is not None and epoch is None:
            return False
        if self.told is not None and self.keys.exact and position:
            advanced = await self.told.advance(position)
            if advanced is Told.AWAY:
                return False
            if advanced is Told.OTHER:
                raise Unavailable("the database has another primary by now; what was written may be lost")
        calls = [*self._bumps(change, token, epoch), *self._tellings(change, token)]
        slots = self._used([other.slot for other in also], epoch)
        if key is not None and not self._used([key.slot], epoch):
            key = None
        if document is not None and len(document.body) > MOST_BYTES:
            document = None  # not kept: the slot is emptied
        if key is not None and document is not None:
            soft_ms, ttl_ms = self._expiries(key.kind, document)
            args = [token, f"{document.version:010d}", encode_rest(document, soft_ms, 1), ttl_ms]
            calls.append(script_call(self._scripts.put, [key.slot, key.generation, *self._replicated_keys[1:]],
                                     [*args, *self._timeline]))  # fmt: skip
        elif key is not None:
            slots.append(key.slot)
        calls += [script_call(self._scripts.remove, [name], [token]) for name in slots]
        instead = [*self._generations(change, epoch), *slots]
        if key is not None:
            instead.append(key.slot)
        self._forget_near(key, change)
        kind_of = key.kind if key else Kind.LIST
        done, stands = await asyncio.gather(
            self._all(kind_of, calls, instead=instead, lost=change), self._stands_still(kind_of, epoch)
        )
        if done and stands:
            for kind in change.told_of:
                count(kind, "delete")
            if key is not None:
                count(key.kind, "set" if document is not None else "delete")
        return done and stands

    async def invalidate(self, changes: Sequence[Changed], position: str = "") -> bool:
        """What somebody else changed, as rows of the outbox, committed up to a position. False where Redis is away."""
        every = any(row.card_ids is None for row in changes)
        change = self.change_of(changes, (Kind.CARD,) if every else ())
        ids: set[uuid.UUID] = set() if every else {card_id for row in changes for card_id in row.card_ids or ()}
        keys = [self.keys.card(card_id) for card_id in ids]
        for key in keys:
            self._forget_near(key, Change())
        return await self.written(None, "", None, change, keys, position)

    def _by_name(self, script: Any, change: Change, args: list[Any]) -> list[Call]:
        return [
            script_call(
                script,
                [self.keys.sequence],
                [*args, "".join(change.names[at : at + _AT_A_TIME]), new_seed()],
            )
            for at in range(0, len(change.names), _AT_A_TIME)
        ]

    def _tellings(self, change: Change, token: str) -> list[Call]:
        args = [token, new_era(), self.keys.dependencies, self._life_ms]
        calls = self._by_name(self._scripts.tell, change, args)
        if calls and token:
            calls.append(script_call(self._scripts.done, [self.keys.writers], [token]))
        return calls

    def _lost(self, change: Change) -> list[str]:
        """What a change that Redis does not write down takes away instead; with the sequence number, every fill."""
        return (
            [self.keys.moved, self.keys.sequence, *(self.keys.dependencies + name for name in change.names)]
            if change.names
            else []
        )

    def _generations(self, change: Change, epoch: Epoch | None) -> list[str]:
        return self._used([name for kind in change.kinds for name in self.keys.generations(kind)], epoch)

    def _used(self, names: list[str], epoch: Epoch | None) -> list[str]:
        """Those keys that an epoch of a Cluster has not left out."""
        members = self.members
        return names if epoch is None or members is None else [name for name in names if members.has(name, epoch)]

    async def _stands_still(self, kind: Kind, epoch: Epoch | None) -> bool:
        """Whether nobody has begun another epoch in a Cluster; asked after a commit, beside telling of it."""
        members = self.members
        if members is None or epoch is None:
            return True
        stands = await self.link.tell(kind, lambda: members.stands(epoch, self._client))
        if stands is False:
            self.link.revoke()
        return bool(stands)

    def _bumps(self, change: Change, token: str, epoch: Epoch | None) -> list[Call]:
        new = flushed_generation if change.flush else new_generation
        names = self._generations(change, epoch)
        return [script_call(self._scripts.bump, [name], [fence_of(token), new()]) for name in names]

    async def _all(self, kind: Kind, calls: list[Call], *, instead: list[str], lost: Change | None = None) -> bool:
        """Send an invalidation's calls; False where Redis could not be told or refuses even to delete `instead`."""
        if not calls:
            return True
        return await self.link.tell(kind, lambda: self._send(calls, instead, self._client, lost)) is not None

    async def _send(self, calls: list[Call], instead: list[str], client: Any, lost: Change | None = None) -> list[Any]:
        """All calls in one round trip, their answers; where Redis refuses one (memory full), delete `instead`."""
        try:
            if self._one_server:
                return await send_in_one(client, calls)
            return cast("list[Any]", await client.send(calls))
        except ResponseError:
            instead = [*instead, *(self._lost(lost) if lost is not None else [])]
            for at in range(0, len(instead), _AT_A_TIME):  # DEL is never refused for want of memory
                if self._one_server:
                    await client.delete(*instead[at : at + _AT_A_TIME])
                else:
                    for name in instead[at : at + _AT_A_TIME]:
                        await client.delete(name)
            return []

    def _forget_near(self, key: Key | None, change: Change) -> None:
        if self.near is not None:
            names = [self.keys.dependencies + name for name in change.names]
            self.near.forget([*([key.slot] if key is not None else []), *names], change.kinds)

    @property
    def _life_ms(self) -> int:
        """How long a dependency lives that nobody touches: twice as long as any entry, so that a fill seldom asks."""
        longest = max(getattr(self._settings, f"ttl_{kind.value}_s") for kind in Kind)
        return int((longest + self._settings.stale_s) * 2_000)

    def _expiries(self, kind: Kind, document: Document) -> tuple[int, int]:
        """(soft expiry, epoch ms; TTL of the key, ms), less a random part: what was stored together expires apart.

        Lists and searches outlive their soft expiry by stale_s: served while one reader loads them anew. A write's
        invalidation does not wait for that: what depends on it is void.
        """
        if document is NOT_FOUND:
            ttl_ms = self._settings.ttl_not_found_s * 1000
        else:
            ttl_s: float = getattr(self._settings, f"ttl_{kind.value}_s")
            ttl_ms = ttl_s * 1000 * (1 - self._settings.ttl_jitter * secrets.randbelow(1000) / 1000)
        stale_ms = self._settings.stale_s * 1000 if kind in (Kind.LIST, Kind.SEARCH) else 0
        return int(time.time() * 1000 + ttl_ms), max(1, int(ttl_ms + stale_ms))
