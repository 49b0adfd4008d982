"""Reads of one turn of the event loop, joined into one MGET: entries, and what they are remembered to depend on.

Whether something that an entry depends on has changed needs not be asked while nothing has changed at all: `moved` is
read along, and where it is what it was when the entry was found to hold, that stands. Where it is another, this process
learns so from the first read after a change, which asks again; the others ask for their dependencies at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

from archzero_lab.systems.arczero.cache.counters import count
from archzero_lab.systems.arczero.cache.dependencies import NAME_BYTES
from archzero_lab.systems.arczero.cache.entries import NOT_FOUND, Hit, Miss, decode
from archzero_lab.systems.arczero.cache.keys import Key, Keyspace, packed
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.members import Members
from archzero_lab.systems.arczero.cache.near import NearCache
from archzero_lab.systems.arczero.cache.shards import Address

log = logging.getLogger(__name__)
_MOST_TOGETHER = 64
"""So many entries one MGET asks for; Redis does nothing else meanwhile."""
_REMEMBERED = 4_096
"""Entries whose dependencies this process remembers: their hit is one round trip. Of others it is two."""

Found = Hit | Miss | None
"""A valid value; none; or that Redis is away."""


class Reader(Protocol):
    """Who waits for a read: a Future, or what answers a request as soon as it is there."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: Found, /) -> None:
        """What was found."""


@dataclass(slots=True)
class _Dependencies:
    """The names that an entry carried when it was read last, and their keys; those packed as MGET takes them.

    Its value of that `identity` held while `moved` was what it is here; while it is, they need not be asked for.
    """

    names: bytes
    keys: list[bytes]
    packed: bytes
    identity: bytes = b""
    moved: bytes | None = None

    def held(self, value: Hit, moved: bytes | None) -> None:
        """Note that the value holds, as of this `moved`."""
        self.identity, self.moved = value.identity, moved


_NONE = _Dependencies(b"", [], b"")
Reading = tuple[Key, Reader]


class BatchedReads:
    """The reading half of the store."""

    def __init__(self, link: Link, keys: Keyspace, near: NearCache | None) -> None:
        self.link = link
        self.keys = keys
        self.near = near
        self._client: Any = link.client
        self._one_server = link.pipe is not None
        self.members: Members | None = None
        """In a Cluster, what of it is in use."""
        self._waiting: list[Reading] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._remembered: dict[str, _Dependencies] = {}
        self._moved: bytes | None = None
        """As it was read last."""

    def read(self, key: Key) -> asyncio.Future[Found]:
        """The value, or a Miss, or None where Redis is away."""
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self.read_for(key, future)
        return future

    def read_for(self, key: Key, reader: Reader) -> None:
        """Tell a reader the value, or a Miss, or None where Redis is away. Joins the reads of this turn of the loop."""
        if not self.link.licensed or (self.members is not None and not self.members.has(key.slot)):
            reader.set_result(None)
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send_waiting)
        self._waiting.append((key, reader))

    def _send_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for at in range(0, len(waiting), _MOST_TOGETHER):
            together = waiting[at : at + _MOST_TOGETHER]
            if self._one_server:
                self._read_batch(together)
            else:
                self._read_in_a_cluster(together)

    def _read_batch(self, batch: list[Reading]) -> None:
        ticket = self.near.ticket() if self.near is not None else 0
        # what stays in the process is emptied by what Redis says of its dependencies, so those must have been there
        asks_all = self.near is not None and self.near.listening
        believed: list[_Dependencies] = []
        names: list[bytes] = []
        counts: list[int] = []
        for key, _ in batch:
            names.append(key.packed)
            if not self.keys.depends(key):
                believed.append(_NONE)
                counts.append(2)
                continue
            dependencies = self._remembered.get(key.slot, _NONE)
            believed.append(dependencies)
            if not asks_all and self._stands(dependencies):
                counts.append(4)
            else:
                names.append(dependencies.packed)
                counts.append(4 + len(dependencies.keys))

        def answered(values: Sequence[bytes | None] | None) -> None:
            if values is None:
                _tell_nothing(batch)
            else:
                self._take(batch, believed, counts, values, ticket)

        self.link.send_read(batch[0][0].kind, _mget(sum(counts), names), answered)

    def _take(
        self,
        batch: list[Reading],
        believed: list[_Dependencies],
        counts: list[int],
        values: Sequence[bytes | None],
        ticket: int,
    ) -> None:
        """Judge what was read, and tell it; ask again for what depends on more than was asked for."""
        unknown: list[tuple[Reading, Hit]] = []
        end = 0
        for (key, reader), dependencies, number in zip(batch, believed, counts, strict=True):
            at, end = end, end + number
            try:
                value = self._decode(values[at + 1], values[at])
            except Exception:  # what somebody else has put into the slot; the others have nothing to do with it
                log.exception("the entry at %s", key.slot)
                _tell_nothing([(key, reader)])
                continue
            if number > 2:
                sequence, self._moved = values[at + 2], values[at + 3]
                if isinstance(value, Miss):
                    if value.lease is not None:
                        # a write tells dependencies, it does not void the lease: this load may be older than it
                        value = replace(value, lease=value.lease + (sequence or b"").decode())
                elif value.names != dependencies.names:
                    unknown.append(((key, reader), value))
                    continue
                elif number > 4:
                    value = self._judge(value, values[at + 4 : end])
                    if isinstance(value, Hit):
                        dependencies.held(value, self._moved)
                elif value.names and (value.identity != dependencies.identity or not self._stands(dependencies)):
                    unknown.append(((key, reader), value))
                    continue
            self._tell(key, reader, value, dependencies, ticket)
        if unknown:
            self._read_unknown(unknown, ticket)

    def _read_unknown(self, unknown: list[tuple[Reading, Hit]], ticket: int) -> None:
        """Ask for the dependencies that entries turned out to have, or that may have changed; remembered."""
        known = [self._remember(key, value) for (key, _), value in unknown]

        def answered(values: Sequence[bytes | None] | None) -> None:
            if values is None:
                _tell_nothing([reading for reading, _ in unknown])
                return
            self._moved, end = values[0], 1
            for (reading, value), dependencies in zip(unknown, known, strict=True):
                at, end = end, end + len(dependencies.keys)
                judged = self._judge(value, values[at:end])
                if isinstance(judged, Hit):
                    dependencies.held(judged, self._moved)
                self._tell(*reading, judged, dependencies, ticket)

        number = 1 + sum(len(dependencies.keys) for dependencies in known)
        command = _mget(number, [packed(self.keys.moved), *(dependencies.packed for dependencies in known)])
        self.link.send_read(unknown[0][0][0].kind, command, answered)

    def _read_in_a_cluster(self, batch: list[Reading]) -> None:
        """There each server is asked for what it has, key by key, and nothing has dependencies."""
        by_slot: dict[str, list[Reading]] = {}
        for reading in batch:
            by_slot.setdefault(reading[0].slot, []).append(reading)
        owned = self._client.by_owner(by_slot)
        _tell_nothing([one for slot in by_slot.keys() - set(chain(*owned.values())) for one in by_slot[slot]])
        for address, slots in owned.items():
            task = asyncio.ensure_future(self._read_of_one(address, [by_slot[slot] for slot in slots]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read_of_one(self, address: Address, readings: list[list[Reading]]) -> None:
        keys = [of_one_slot[0][0] for of_one_slot in readings]

        async def ask() -> list[bytes | None]:
            async with self._client.node(address).pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.mget(key.generation, key.slot)
                return list(chain(*await pipe.execute()))

        values = await self.link.read(keys[0].kind, ask)
        for at, of_one_slot in enumerate(readings):
            if values is None:
                _tell_nothing(of_one_slot)
            else:
                number = len(of_one_slot)
                self._take(of_one_slot, [_NONE] * number, [2] * number, values[2 * at : 2 * at + 2] * number, 0)

    def _remember(self, key: Key, value: Hit) -> _Dependencies:
        prefix, names = self.keys.dependencies.encode(), value.names
        keys = [prefix + names[at : at + NAME_BYTES] for at in range(0, len(names), NAME_BYTES)]
        known = _Dependencies(names, keys, b"".join(map(packed, keys)))
        self._remembered.pop(key.slot, None)
        if len(self._remembered) >= _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]  # the one that was learnt first
        self._remembered[key.slot] = known
        return known

    def _tell(self, key: Key, reader: Reader, value: Hit | Miss, dependencies: _Dependencies, ticket: int) -> None:
        if reader.done():  # it was cancelled, or its client has gone
            return
        if isinstance(value, Hit):
            count(key.kind, "hit")
            if self.near is not None and value.document is not NOT_FOUND:
                self.near.put(key, value.document, ticket, dependencies.keys)
        else:
            count(key.kind, "miss")
        _give(reader, value)

    def _decode(self, slot: bytes | None, generation: bytes | None) -> Hit | Miss:
        """What a slot holds, valid only under the generation that stands now."""
        return decode(slot, generation)

    def _stands(self, dependencies: _Dependencies) -> bool:
        """Whether nothing has been announced or told since a value was found to hold."""
        return dependencies.moved is not None and dependencies.moved == self._moved

    def _judge(self, value: Hit, dependencies: Sequence[bytes | None]) -> Hit | Miss:
        """A value, valid only where nothing that it depends on has changed."""
        if value.holds(dependencies):
            return value
        return Miss(value.identity[1:17].decode(), was=value.document.etag)


def _mget(number: int, names: list[bytes]) -> bytes:
    """MGET of `number` packed names."""
    return b"*%d\r\n$4\r\nMGET\r\n%b" % (number + 1, b"".join(names))


def _tell_nothing(batch: list[Reading]) -> None:
    for _, reader in batch:
        if not reader.done():  # else it was cancelled, or its client has gone
            _give(reader, None)


def _give(reader: Reader, entry: Found) -> None:
    try:
        reader.set_result(entry)
    except Exception:  # the others of the batch must hear of theirs
        log.exception("a reader of the cache")
