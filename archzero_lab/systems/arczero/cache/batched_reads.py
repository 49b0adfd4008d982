"""Reads that wait at the same moment, joined into one MGET: entries, and what they are remembered to depend on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cachetools import LRUCache

from archzero_lab.systems.arczero.cache.counters import count
from archzero_lab.systems.arczero.cache.dependencies import NAME_BYTES
from archzero_lab.systems.arczero.cache.entries import Hit, Miss, decode
from archzero_lab.systems.arczero.cache.keys import Key, Keyspace, Kind
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.near import NearCache

_MAX_BATCH = 64
_MAX_BATCHES = 4
"""Reads beyond this many MGETs under way wait for the next one, and so travel together."""


_REMEMBERED = 4_096
"""Entries whose dependencies this process remembers: their hit is one round trip. Of others it is two."""


@dataclass(frozen=True, slots=True)
class _Dependencies:
    """The names that an entry carried when it was read last, and their keys."""

    names: bytes
    keys: list[bytes]


_NONE = _Dependencies(b"", [])
Reading = tuple[Key, asyncio.Future[Hit | Miss | None]]


class BatchedReads:
    """The reading half of the store."""

    def __init__(self, link: Link, keys: Keyspace, near: NearCache | None) -> None:
        self.link = link
        self.keys = keys
        self.near = near
        self._client: Any = link.client
        self._one_server = not hasattr(self._client, "mget_nonatomic")
        self._waiting: list[Reading] = []
        self._scheduled = False
        self._batches: set[asyncio.Task[None]] = set()
        self._remembered: LRUCache[str, _Dependencies] = LRUCache(_REMEMBERED)

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

    async def _read_batch(self, batch: list[Reading]) -> None:
        kind = batch[0][0].kind
        ticket = self.near.ticket() if self.near is not None else 0
        believed = [self._remembered.get(key.slot, _NONE) for key, _ in batch]
        wanted: list[str | bytes] = [name for key, _ in batch for name in (key.generation, key.slot)]
        wanted += [key.sequence for key, _ in batch if self.keys.depends(key)]
        wanted += [name for dependencies in believed for name in dependencies.keys]
        found = await self._get(kind, wanted)
        if found is None:
            for _, future in batch:
                _set(future, None)
            return
        unknown: list[tuple[Reading, Hit]] = []
        for (key, future), dependencies in zip(batch, believed, strict=True):
            value = self._decode(found[key.slot], found[key.generation])
            if isinstance(value, Hit) and value.names:
                if value.names != dependencies.names:
                    unknown.append(((key, future), value))
                    continue
                value = self._judge(value, [found[name] for name in dependencies.keys])
            if isinstance(value, Miss) and value.lease is not None and self.keys.depends(key):
                # a write tells dependencies, it does not void the lease: whose load is under way may be older than it
                value = replace(value, lease=value.lease + (found[key.sequence] or b"").decode())
            self._answer(key, future, value, dependencies, ticket)
        if unknown:
            await self._read_unknown(unknown, ticket)

    async def _read_unknown(self, unknown: list[tuple[Reading, Hit]], ticket: int) -> None:
        """Ask for the dependencies that entries turned out to have; remembered, for the next time."""
        known = [self._remember(key, value) for (key, _), value in unknown]
        found = await self._get(unknown[0][0][0].kind, [name for dependencies in known for name in dependencies.keys])
        for ((key, future), value), dependencies in zip(unknown, known, strict=True):
            if found is None:
                _set(future, None)
                continue
            judged = self._judge(value, [found[name] for name in dependencies.keys])
            self._answer(key, future, judged, dependencies, ticket)

    async def _get(self, kind: Kind, names: list[str | bytes]) -> dict[str | bytes, bytes | None] | None:
        mget = self._client.mget if self._one_server else self._client.mget_nonatomic
        names = list(dict.fromkeys(names))
        answers: Sequence[bytes | None] | None = await self.link.read(kind, lambda: mget(names))
        return dict(zip(names, answers, strict=True)) if answers is not None else None

    def _remember(self, key: Key, value: Hit) -> _Dependencies:
        prefix, names = self.keys.dependencies.encode(), value.names
        keys = [prefix + names[at : at + NAME_BYTES] for at in range(0, len(names), NAME_BYTES)]
        self._remembered[key.slot] = known = _Dependencies(names, keys)
        return known

    def _answer(
        self,
        key: Key,
        future: asyncio.Future[Hit | Miss | None],
        value: Hit | Miss,
        dependencies: _Dependencies,
        ticket: int,
    ) -> None:
        if future.done():  # its reader was cancelled
            return
        if isinstance(value, Hit):
            count(key.kind, "hit")
            if self.near is not None:
                self.near.put(key, value.document, ticket, dependencies.keys)
        else:
            count(key.kind, "miss")
        future.set_result(value)

    def _decode(self, slot: bytes | None, generation: bytes | None) -> Hit | Miss:
        """What a slot holds, valid only under the generation that stands now."""
        return decode(slot, generation)

    def _judge(self, value: Hit, dependencies: Sequence[bytes | None]) -> Hit | Miss:
        """A value, valid only where nothing that it depends on has changed."""
        if value.holds(dependencies):
            return value
        return Miss(value.identity[1:17].decode(), was=value.document.etag)


def _set(future: asyncio.Future[Hit | Miss | None], value: Hit | Miss | None) -> None:
    if not future.done():  # else its reader was cancelled
        future.set_result(value)
