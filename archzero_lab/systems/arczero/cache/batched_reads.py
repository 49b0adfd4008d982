"""Reads that wait at the same moment, joined into one MGET."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from archzero_lab.systems.arczero.cache.counters import count
from archzero_lab.systems.arczero.cache.entries import Hit, Miss, decode
from archzero_lab.systems.arczero.cache.keys import Key
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.near import NearCache

_MAX_BATCH = 64
_MAX_BATCHES = 4
"""Reads beyond this many MGETs under way wait for the next one, and so travel together."""


class BatchedReads:
    """The reading half of the store."""

    def __init__(self, link: Link, near: NearCache | None) -> None:
        self.link = link
        self.near = near
        self._client: Any = link.client
        self._one_server = not hasattr(self._client, "mget_nonatomic")
        self._waiting: list[tuple[Key, asyncio.Future[Hit | Miss | None]]] = []
        self._scheduled = False
        self._batches: set[asyncio.Task[None]] = set()

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
            value = self._decode(found[key.slot], found[key.generation])
            if isinstance(value, Hit):
                count(key.kind, "hit")
                if self.near is not None:
                    self.near.put(key, value.document, ticket)
            else:
                count(key.kind, "miss")
            future.set_result(value)

    def _decode(self, slot: bytes | None, generation: bytes | None) -> Hit | Miss:
        """What a slot holds, valid only under the generation that stands now."""
        return decode(slot, generation)
