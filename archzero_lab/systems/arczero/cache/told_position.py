"""Up to where in the database's history Redis has been told, beside the sequence number: what a load must have seen.

A load may then be a replica's. The position that a lease reads belongs to the sequence number that it reads: a writer
advances it before it tells, so a replica that has replayed it has every change that was told by then. Lost (evicted,
flushed), a mark stands in its place from the next lease on; it is made again from where the primary is, asked for
after that, unless somebody has told meanwhile. A primary's end begins a new timeline: the cache's epoch names it, and
who does not know of it yet is granted nothing and tells nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from enum import Enum
from typing import Any, Protocol

from redis.exceptions import ResponseError

from archzero_lab.postgres.positions import SESSION, Position, Session, later
from archzero_lab.systems.arczero.cache.keys import Keyspace, Kind
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.script_calls import Scripts

log = logging.getLogger(__name__)
UNKNOWN = "?"
"""The position of what may have been committed, nobody knows where."""
_NOT_YET = 2


class Told(Enum):
    """How advancing went."""

    YES = "it has been advanced"
    AWAY = "Redis is away, or its entries are of the timeline before still"
    OTHER = "the cache is of a later timeline: what was written went to a primary of before"


class Primary(Protocol):
    """What it needs of the database."""

    @property
    def timeline(self) -> int | None:
        """The timeline of the primary, as far as is known here."""

    async def position(self) -> Position:
        """Where the primary is now."""

    def hear_of(self, timeline: int) -> None:
        """Somebody knows of a primary on this timeline."""


class ToldPosition:
    """The position in Redis, of a service with replicas."""

    def __init__(self, link: Link, keys: Keyspace, scripts: Scripts, primary: Primary) -> None:
        self._link, self._keys, self._scripts, self._primary = link, keys, scripts, primary
        self._settling: asyncio.Task[None] | None = None

    @property
    def timeline(self) -> str:
        """The primary's timeline as the scripts compare it."""
        return f"{self._primary.timeline or 0:08x}"

    def hear_of(self, timeline: str) -> None:
        """The cache is of this timeline ("" for none): a primary of before is believed no longer."""
        self._primary.hear_of(int(timeline or "0", 16))

    def session_for(self, said: str, client: Session | None) -> Session:
        """What a load under a lease that said this may be answered from; `said` "" is one without a lease.

        Where the position is lost or of another timeline the primary answers, and it is settled meanwhile.
        """
        needed = client.needed if client is not None else None
        try:
            position = Position.parse(said)
        except ValueError:
            position = None
        if position is None or position.timeline != (self._primary.timeline or 0):
            if said:
                self._settle_later(said)
            return Session(later(needed, position), primary=True)
        return Session(later(needed, position))

    async def advance(self, position: str) -> Told:
        """Tell, before a change is told, up to where the database has been written."""
        args = [position, self.timeline, secrets.token_hex(8)]
        keys = [self._keys.position, self._keys.epoch]

        async def advance() -> Any:
            try:
                return await self._scripts.advance(keys=keys, args=args)
            except ResponseError:  # memory is full: to take it away is never refused
                await self._link.client.delete(self._keys.position)
                return 1

        done = await self._link.tell(Kind.LIST, advance)
        if done == _NOT_YET:
            self._link.revoke()  # what is given again after validation: the cache of this timeline
            return Told.AWAY
        if isinstance(done, bytes):
            self.hear_of(done.decode())
            self._link.revoke()
            return Told.OTHER
        return Told.AWAY if done is None else Told.YES

    def _settle_later(self, said: str) -> None:
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._settle_now(said))

    async def _settle_now(self, said: str) -> None:
        before = SESSION.set(None)
        try:
            position = await self._primary.position()
        except Exception as error:  # whatever it is, the next load tries again
            log.debug("the primary's position: %s", type(error).__name__)
            return
        finally:
            SESSION.reset(before)
        keys = [self._keys.position, self._keys.epoch]
        await self._link.write(Kind.LIST, lambda: self._scripts.settle(keys=keys, args=[said, str(position)]))
