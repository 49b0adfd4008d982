"""The near cache: documents in the process, bounded in bytes, emptied by push the moment Redis says they changed.

Broadcast tracking on a connection of its own, not redirected to another client: with REDIRECT, invalidations are
silently lost when the data connection drops (redis #11767, #13082).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cachetools import LRUCache

from archzero_lab.errors import mask_secrets
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.clients import REDIS_FAILED
from archzero_lab.systems.arczero.cache.keys import Key, Keyspace, Kind
from archzero_lab.systems.arczero.cache.tasks import end_task
from archzero_lab.systems.arczero.cards.model import Document

log = logging.getLogger(__name__)
_OVERHEAD_BYTES = 400
"""What an entry costs beside its document: key, tuple, two dictionaries; measured with tracemalloc."""
_NAME_BYTES = 120
"""What a dependency's place in the index costs."""
_PING_S = 0.5
_REMEMBERED = 10_000

Entry = tuple[Document, float, Sequence[bytes]]


class _Entries(LRUCache[str, Entry]):
    """Entries by slot, and the slots by what they depend on."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes, getsizeof=lambda e: len(e[0].body) + _OVERHEAD_BYTES + _NAME_BYTES * len(e[2]))
        self.depending: dict[bytes, set[str]] = {}

    def __setitem__(self, slot: str, entry: Entry, *more: Any) -> None:
        if slot in self:
            del self[slot]
        super().__setitem__(slot, entry, *more)
        for name in entry[2]:
            self.depending.setdefault(name, set()).add(slot)

    def __delitem__(self, slot: str, *more: Any) -> None:
        for name in self[slot][2]:
            slots = self.depending[name]
            slots.discard(slot)
            if not slots:
                del self.depending[name]
        super().__delitem__(slot, *more)

    def clear(self) -> None:
        super().clear()
        self.depending.clear()


class NearCache:
    """Documents by slot, for at most `near_ttl_s`. Off (None for every get) while nobody listens for invalidations."""

    def __init__(self, open_listening: Callable[[], Any], keys: Keyspace, settings: CacheSettings) -> None:
        """`open_listening` gives a client, on RESP3, whose connection leads to the Redis that documents come from."""
        self._open_listening = open_listening
        self._keys = keys
        self._settings = settings
        self._entries = _Entries(settings.near_bytes)
        self._by_kind: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self._recent: OrderedDict[str, int] = OrderedDict()
        self._sequence = 0
        self._floor = 0
        self.listening = False
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen."""
        self._listener = asyncio.create_task(self._listen_on())

    async def close(self) -> None:
        """Stop listening and forget everything."""
        await end_task(self._listener)
        self.clear()

    @property
    def used_bytes(self) -> int:
        """Bytes of documents and their overhead now."""
        return int(self._entries.currsize)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Document | None:
        """The document, where it is here and nothing has been said against it."""
        if not self.listening:
            return None
        entry: Entry | None = self._entries.get(key.slot)
        if entry is None or entry[1] < time.monotonic():
            return None
        return entry[0]

    def ticket(self) -> int:
        """To be taken before Redis is asked: it tells put() what has been invalidated since."""
        return self._sequence

    def put(self, key: Key, document: Document, ticket: int, depends_on: Sequence[bytes] = ()) -> None:
        """Keep a document that Redis gave, unless it or what it depends on has been invalidated since the ticket."""
        if not self.listening or ticket < self._floor or ticket < self._by_kind[key.kind]:
            return
        if self._recent.get(key.slot, -1) > ticket:
            return
        if any(self._recent.get(name.decode(), -1) > ticket for name in depends_on):
            return
        entry = (document, time.monotonic() + self._settings.near_ttl_s, depends_on)
        if self._entries.getsizeof(entry) <= self._entries.maxsize:
            self._entries[key.slot] = entry

    def forget(self, names: Iterable[str], kinds: Iterable[Kind]) -> None:
        """What this process itself has just written: gone at once, without waiting for the push."""
        for name in names:
            self._invalidated(name)
        for kind in kinds:
            self._kind_invalidated(kind)

    def listen_anew(self) -> None:
        """Another Redis is listened to from now on."""
        if self._listener is not None:
            self._listener.cancel()
            self.listening = False
            self.clear()
            self._listener = asyncio.create_task(self._begin_anew(self._listener))

    def clear(self) -> None:
        """Forget everything."""
        self._sequence += 1
        self._floor = self._sequence
        self._entries.clear()
        self._recent.clear()

    def _invalidated(self, name: str) -> None:
        self._sequence += 1
        self._recent[name] = self._sequence
        self._recent.move_to_end(name)
        if len(self._recent) > _REMEMBERED:
            _, self._floor = self._recent.popitem(last=False)
        self._entries.pop(name, None)
        for slot in list(self._entries.depending.get(name.encode(), ())):
            del self._entries[slot]

    def _kind_invalidated(self, kind: Kind) -> None:
        self._sequence += 1
        self._by_kind[kind] = self._sequence
        prefix = self._keys.prefix(kind)
        for slot in [slot for slot in self._entries if slot.startswith(prefix)]:
            del self._entries[slot]

    async def _begin_anew(self, before: asyncio.Task[None]) -> None:
        await end_task(before)
        await self._listen_on()

    async def _listen_on(self) -> None:
        while True:
            try:
                await self._listen()
            except REDIS_FAILED as error:
                log.debug("near cache: %s", mask_secrets(str(error)))
            finally:
                self.listening = False
                self.clear()
            await asyncio.sleep(0.1)  # a pause before the next try: Redis may be away for long

    async def _listen(self) -> None:
        client = self._open_listening()
        connection = client.connection_pool.make_connection()
        try:
            await connection.connect()
            # invalidations come as pushes among the answers; the parser hands them to this handler
            connection._parser.set_invalidation_push_handler(self._pushed)
            await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._keys.namespace)
            await connection.read_response()
            self.clear()
            self.listening = True
            while True:
                await connection.send_command("PING")
                async with asyncio.timeout(self._settings.timeout_s * 4):
                    await connection.read_response()
                await self._pushes_for(connection, _PING_S)
        finally:
            await connection.disconnect()
            await client.aclose()

    async def _pushes_for(self, connection: Any, seconds: float) -> None:
        """Read pushes until `seconds` have passed."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                await connection.read_response(push_request=True, timeout=left, disconnect_on_error=False)
            except TimeoutError:
                return

    async def _pushed(self, message: list[Any]) -> None:
        names = message[1]
        if names is None:  # FLUSHALL or FLUSHDB
            self.clear()
            return
        for name in names:
            text = name.decode()
            kind = self._keys.kind_of_generation(text)
            if kind is not None:
                self._kind_invalidated(kind)
            else:
                self._invalidated(text)
