"""The outbox of the database: what changed and must be forgotten, drained into Redis, woken by NOTIFY.

A writer of this service tells Redis itself and has its row cleared in passing; every other row (psql, another program,
a process that died after its commit) is drained here. Rows go only after Redis has been told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import psycopg
from psycopg.rows import TupleRow

from archzero_lab.errors import LabError
from archzero_lab.postgres.deadline import cut, cut_after
from archzero_lab.settings import CacheSettings
from archzero_lab.systems.arczero.cache.link import Link
from archzero_lab.systems.arczero.cache.outbox_size import MAKE_ONE
from archzero_lab.systems.arczero.cache.settling import Known, is_nobodys, tell_or_see_away
from archzero_lab.systems.arczero.cache.tasks import end_task
from archzero_lab.systems.arczero.cards.changes import Changed

log = logging.getLogger(__name__)
_GRACE_S = 2.0
"""A row that names its writer is left to it for so long; then the writer is taken for dead."""
_AGAIN_S = 0.25
_BATCH = 500
_STATEMENT_S, _BATCH_S, _MAKE_ONE_S = 2.0, 4.0, 12.0
"""After which the connection is cut: a PostgreSQL that says nothing would keep every later statement waiting too."""
_CONNECT_S = 5


class Invalidates(Protocol):
    """What the outbox needs of the store."""

    async def invalidate(self, changes: list[Changed], position: str = "") -> bool:
        """Forget what has changed, committed up to that position; False where Redis is away."""


class Outbox:
    """One process's hand in draining the outbox. `start()` before use, `close()` after."""

    def __init__(self, database_url: str, store: Invalidates, link: Link, settings: CacheSettings) -> None:
        self._url = database_url
        self._store = store
        self._link = link
        self._settings = settings
        self._period_s = settings.outbox_period_s
        self.place: Callable[[psycopg.AsyncConnection[TupleRow]], Awaitable[str]] | None = None
        """With replicas: up to where the database of a connection has been written."""
        self._done: list[str] = []
        self._connection: psycopg.AsyncConnection[TupleRow] | None = None
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen and drain."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; rows of finished writes that are not cleared yet are left to the next drain."""
        await end_task(self._task)
        if self._connection is not None:
            with suppress(psycopg.Error):
                await self._clear_done()
            await self._drop_connection()

    def lead_to(self, url: str) -> None:
        """The database has another primary: begin anew there."""
        self._url = url
        if self._task is not None:
            self._task = asyncio.create_task(self._begin_anew(self._task))

    async def _begin_anew(self, before: asyncio.Task[None]) -> None:
        await end_task(before)
        await self._drop_connection()
        await self._run()

    def done(self, origin: str) -> None:
        """A write whose invalidation Redis has acknowledged: its row may go."""
        self._done.append(origin)

    async def settle(self, origin: str, tell: Callable[[], Awaitable[bool]]) -> bool:
        """A write that Redis could not be told of: wait until it is safe to acknowledge, False where it never was.

        Safe is when Redis could be told after all (`tell`), when another process, asked by NOTIFY, has drained its row,
        or when no process can hold a licence any more, for then every reader drains before it believes Redis again.
        Where Redis has been away for longer than that and is so still, nobody waits. Not safe is a Redis that renews
        licences and yet could not be told, nor a PostgreSQL that could not be asked in all that time: a process that
        has Redis, but not the row, may go on reading the old value. Nor is it safe where only this process is late:
        see cache.absence.
        """
        if await is_nobodys(self._link, self._settings):
            return True
        # the write has been committed: nothing that goes wrong from here on is its failure
        with suppress(Exception):
            await self._execute("SELECT pg_notify('cache_outbox', %s)", [origin])
        waited = False

        async def is_settled() -> bool:
            nonlocal waited
            with suppress(Exception):
                if not await self._execute("SELECT 1 FROM cache_outbox WHERE origin = %s", [origin]):
                    return True
                waited = True
            if await tell():
                self.done(origin)
                return True
            return False

        known = await tell_or_see_away(self._link, self._settings, is_settled)
        return known is Known.TOLD or (known is Known.AWAY and waited)

    async def drain(self, *, everything: bool, origins: list[str] | None = None) -> bool:
        """Tell Redis of waiting rows and delete them; True where all that were seen are gone.

        Rows of living writers are left to them, except those of `origins`, who have asked. `everything` takes all rows,
        and waits for another process that is draining: what is asked for before Redis is believed again.
        """
        query = "SELECT id, card_ids, kinds, names FROM cache_outbox WHERE "
        where = (
            "true"
            if everything
            else ("origin IS NULL OR origin = ANY(%s) OR created_at < clock_timestamp() - %s * interval '1 second'")
        )
        lock = "FOR UPDATE" if everything else "FOR UPDATE SKIP LOCKED"
        params = [] if everything else [origins or [], _GRACE_S]
        while True:
            async with self._alone(_BATCH_S) as connection, connection.transaction():
                rows = await (
                    await connection.execute(f"{query}{where} ORDER BY id LIMIT {_BATCH} {lock}".encode(), params)
                ).fetchall()
                if not rows:
                    return True
                place = await self.place(connection) if self.place is not None else ""
                if not await self._store.invalidate([Changed(*row[1:]) for row in rows], place):
                    # leaves the block without deleting: the rows wait for Redis
                    return False
                await connection.execute("DELETE FROM cache_outbox WHERE id = ANY(%s)", [[row[0] for row in rows]])
            if len(rows) == _BATCH:  # there are more
                async with self._alone(_MAKE_ONE_S) as connection:
                    await connection.execute(MAKE_ONE.encode(), [0.0 if everything else _GRACE_S])

    async def _run(self) -> None:
        while True:
            try:
                listener = await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, application_name="archzero-lab outbox", connect_timeout=_CONNECT_S,
                    keepalives_idle=5, keepalives_interval=2, keepalives_count=3,  # it only listens: else it never knew
                )  # fmt: skip
                try:
                    await listener.execute("LISTEN cache_outbox")
                    origins: list[str] = []
                    while True:
                        await self._clear_done()
                        if not self._link.breaker.is_open and await self.drain(everything=False, origins=origins):
                            origins = []
                        async for note in listener.notifies(timeout=self._period_s, stop_after=1):
                            origins += [note.payload] if note.payload else []
                finally:
                    await listener.close()
            except (psycopg.Error, OSError, LabError) as error:  # or a database that is the primary no longer
                log.debug("outbox: %s", type(error).__name__)
                await self._drop_connection()
                await asyncio.sleep(_AGAIN_S)  # PostgreSQL is away: rows wait, and so do we

    async def _clear_done(self) -> None:
        if not self._done:
            return
        origins, self._done = self._done, []
        try:
            await self._execute("DELETE FROM cache_outbox WHERE origin = ANY(%s)", [origins])
        except (psycopg.Error, OSError):
            self._done += origins
            raise

    async def _execute(self, sql: str, params: list[Any] | None = None) -> list[TupleRow]:
        async with self._alone(_STATEMENT_S) as connection:
            cursor = await connection.execute(sql.encode(), params)
            return await cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def _alone(self, longest_s: float) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        """The connection, which one block has at a time, and not for longer.

        Raises TimeoutError where another has it for so long, psycopg.OperationalError where PostgreSQL says nothing.
        """
        async with asyncio.timeout(longest_s):
            await self._lock.acquire()
        try:
            connection = await self._open()
            try:
                with cut_after(connection, longest_s):
                    yield connection
            finally:
                if connection is not self._connection:  # it was dropped meanwhile
                    await connection.close()
        finally:
            self._lock.release()

    async def _open(self) -> psycopg.AsyncConnection[TupleRow]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, application_name="archzero-lab outbox", connect_timeout=_CONNECT_S,
                options="-c statement_timeout=10s -c idle_in_transaction_session_timeout=5s",
            )  # fmt: skip
        return self._connection

    async def _drop_connection(self) -> None:
        """Use it no longer. Who is using it ends it: closed under him, libpq would read what has been freed."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._lock.locked():
            cut(connection)
            return
        with suppress(psycopg.Error, OSError):
            await connection.close()
