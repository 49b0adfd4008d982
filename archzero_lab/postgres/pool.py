"""The connection pool: phase 5's settings, waits and holds measured, a database that is away said so at once."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString, Self
from weakref import WeakSet

import psycopg
from prometheus_client import Counter, Histogram
from psycopg import errors
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from archzero_lab.postgres.connection import merged_parameters, reason_of
from archzero_lab.postgres.deadline import cut_after, in_ms
from archzero_lab.postgres.fair_turns import CLIENT, FairTurns
from archzero_lab.postgres.request_statements import BUCKETS, fetch_row, only_reads
from archzero_lab.postgres.still_answers import still_answers
from archzero_lab.settings import PoolSettings

ACQUIRE_WAIT = Histogram(
    "archzero_pool_acquire_wait_seconds", "Time from asking for a connection to having it", buckets=BUCKETS
)
HELD = Histogram("archzero_pool_held_seconds", "Time a connection was held", buckets=BUCKETS)
REFUSED = Counter("archzero_pool_refused_total", "Requests for a connection that none came free for, or none was left")

Pool = AsyncConnectionPool[psycopg.AsyncConnection[TupleRow]]
log = logging.getLogger(__name__)
_RETRY_S = 0.1
_PATIENCE_S = 1.0
"""How long a request waits for a server that has just gone: a restart takes about as long."""
_ENDED = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow, errors.IdleSessionTimeout)
_GRACE_S = 3.0
"""PostgreSQL ends a statement that takes too long itself; one that has not by then is a server's that says nothing."""
_CONNECT_S = 5
_TRIES = 4
_APART_S = 0.02
_NO_SLOT = ("too many clients", "too many connections", "remaining connection slots")


class Database:
    """Statements on a pool of autocommitting connections.

    A single statement is its own transaction, so a read costs one round trip (and one more where the pool
    checks connections before use). `transaction()` groups several.

    A connection attempt that fails means that the server is away: who waits for a connection, and who asks for one,
    waits `patience_s` for its return (an attempt each _RETRY_S) and gets psycopg_pool.PoolClosed then, at once where it
    has been away for longer. The pool alone would let each of them wait for its whole time-out. One connection that is
    found dead makes all of its age suspect: the pool drops them together, where it would find them one after the other,
    with growing pauses. A read that met a dead connection is run once more; a write is not, it may have been committed.
    """

    def __init__(
        self, url: str, settings: PoolSettings, application_name: str = "archzero-lab",
        connections: type[psycopg.AsyncConnection[TupleRow]] = psycopg.AsyncConnection,
        patience_s: float | None = None,
    ) -> None:  # fmt: skip
        self._url, self._connections = url, connections
        self._patience_s = _PATIENCE_S if patience_s is None else patience_s
        self._settings = settings
        self._kwargs = merged_parameters(url, {
            "autocommit": True,
            "application_name": application_name,
            "connect_timeout": _CONNECT_S,
            # by the default, 4 MB, a bitmap of a third of a million cards is lossy: each is then split into words again
            "options": f"-c statement_timeout={in_ms(settings.statement_timeout_s)}"
                       f" -c lock_timeout={in_ms(settings.lock_timeout_s)} -c timezone=UTC -c work_mem=16MB"
                       # who is cut off within a transaction holds its rows for as long as the server knows nothing
                       f" -c idle_in_transaction_session_timeout={in_ms(settings.statement_timeout_s + _GRACE_S)}",
            "client_encoding": "utf8",
        })  # fmt: skip
        self._pool = self._new_pool()
        self._turns = FairTurns(settings.max_size, max(1, int(settings.max_size * settings.client_share)))
        self._returning: asyncio.Task[None] | None = None
        self._away_since = 0.0
        self._suspected_at = 0.0
        self._made: WeakSet[psycopg.AsyncConnection[TupleRow]] = WeakSet()
        self._asking: set[asyncio.Timeout] = set()
        self._closed = False

    async def open(self) -> None:
        """Open the pool in the background: a service starts, and says 503, while PostgreSQL is away."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.gather(self._returning, return_exceptions=True)
        await self._pool.close()

    def _new_pool(self) -> Pool:
        database, url = self, self._url

        class Watched(self._connections):  # type: ignore[misc,name-defined]
            """A connection whose failed attempts are seen."""

            @classmethod
            async def connect(cls, *arguments: Any, **options: Any) -> Self:
                try:
                    made: Self = await super().connect(*arguments, **options)
                    database._made.add(made)
                    return made
                except psycopg.OperationalError as error:
                    if url == database._url:  # else nobody is led there any more
                        database._attempt_failed(error)
                    raise

        return AsyncConnectionPool(
            url,
            connection_class=Watched,
            kwargs=self._kwargs,
            min_size=self._settings.min_size,
            max_size=self._settings.max_size,
            timeout=self._settings.acquire_timeout_s,
            max_idle=self._settings.max_idle_s,
            max_lifetime=self._settings.max_lifetime_s,
            open=False,
        )

    def _attempt_failed(self, error: psycopg.OperationalError) -> None:
        if any(text in str(error) for text in _NO_SLOT) and not all(one.closed for one in self._made):
            return  # it is there and busy: what connections there are go on working; without any it is as good as away
        if self._returning is None and not self._closed:
            log.warning("PostgreSQL is away (%s); asking again every %s s", reason_of(error), _RETRY_S)
            self._away_since = time.perf_counter()
            self._returning = asyncio.create_task(self._until_back())

    async def _until_back(self) -> None:
        """Close the pool, which tells all who wait; make a new one once the server takes connections again."""
        for limit in self._asking:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())
        await self._pool.close(timeout=0)
        while True:
            try:
                await (await psycopg.AsyncConnection.connect(self._url, **self._kwargs)).close()
                pool = self._new_pool()
                await pool.open(wait=False)
                break
            except Exception:  # whatever it is, nobody else would ask again
                await asyncio.sleep(_RETRY_S)
        self._pool, self._returning = pool, None
        log.warning("PostgreSQL is back")
        # psycopg leaves the socket of an attempt that timed out in a reference cycle: the last ones end by then
        asyncio.get_running_loop().call_later(_CONNECT_S + 1, gc.collect)

    @asynccontextmanager
    async def connection(self, longest_s: float | None = None) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        """A connection for as long as the block runs; where many ask, clients (fair_turns.CLIENT) have it in turn.

        A block that takes longer than `longest_s` (its statement_timeout, and some seconds) has its connection cut.
        Raises psycopg_pool.PoolTimeout when none comes free, PoolClosed while PostgreSQL is away.
        """
        asked_at = time.perf_counter()
        client = CLIENT.get()
        await self._take_turn(client)
        try:
            try:
                pool, connection = await self._acquire(asked_at)
            except (PoolTimeout, PoolClosed, TooManyRequests):
                REFUSED.inc()
                raise
            got = time.perf_counter()
            ACQUIRE_WAIT.observe(got - asked_at)
            try:
                with cut_after(connection, longest_s or self._settings.statement_timeout_s + _GRACE_S):
                    async with connection:  # commits or rolls back what was begun; the pool's connections stay open
                        yield connection
            except psycopg.OperationalError as error:
                if connection.closed or isinstance(error, _ENDED):
                    await self._suspect(pool, connection, got)
                raise
            finally:
                HELD.observe(time.perf_counter() - got)
                await pool.putconn(connection)
        finally:
            self._turns.give(client)

    async def _take_turn(self, client: str) -> None:
        try:
            async with asyncio.timeout(self._settings.acquire_timeout_s):
                await self._turns.take(client)
        except TimeoutError:
            REFUSED.inc()
            raise PoolTimeout("no connection came free") from None

    async def _acquire(self, asked_at: float) -> tuple[Pool, psycopg.AsyncConnection[TupleRow]]:
        while True:
            pool, began = self._pool, time.perf_counter()
            try:
                connection = await self._get(pool, max(asked_at + self._settings.acquire_timeout_s - began, 0.01))
            except PoolClosed:
                now = time.perf_counter()
                left = min(self._away_since, asked_at + self._patience_s) + self._patience_s - now
                if self._closed or not await self._returns_within(left):
                    raise
                continue
            try:
                with cut_after(connection, self._settings.acquire_timeout_s):
                    answers = await still_answers(connection, self._settings.check_before_use)
                if answers:
                    return pool, connection
                await self._suspect(pool, connection, began)
            except BaseException:  # whoever asked is gone: the connection is the pool's all the same
                await pool.putconn(connection)
                raise
            await pool.putconn(connection)

    async def _returns_within(self, seconds: float) -> bool:
        """Wait for a server that is away; False where it was not back in time."""
        until = time.perf_counter() + seconds
        while (task := self._returning) is not None and not task.done() and (left := until - time.perf_counter()) > 0:
            await asyncio.wait({task}, timeout=left)
        return self._returning is None

    async def _suspect(self, pool: Pool, connection: psycopg.AsyncConnection[TupleRow], used_at: float) -> None:
        """Close a dead connection, and with it all that are as old: what ended one has most likely ended them."""
        await connection.close()
        if pool is self._pool and used_at > self._suspected_at and self._returning is None:
            self._suspected_at = time.perf_counter()
            await pool.drain()

    async def _get(self, pool: Pool, timeout_s: float) -> psycopg.AsyncConnection[TupleRow]:
        # closing a pool fails those who wait in it, except one that is just being given a connection: we tell them too
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._asking.add(limit)
                return await pool.getconn(timeout_s)
        except TimeoutError:
            if not limit.expired():
                raise
            raise PoolClosed("PostgreSQL is away") from None
        finally:
            self._asking.discard(limit)

    async def row(
        self, sql: LiteralString, params: dict[str, Any] | None = None, *, prepare: bool | None = None
    ) -> tuple[Any, ...] | None:
        """The first row of one statement, values in their binary form, or None.

        `prepare=False` plans each call for its own parameters: right for filters and searches, whose best
        plan depends on the value. A read whose connection died is run again, once; a statement that another transaction
        got in the way of (a deadlock, a serialization failure) changed nothing, and is run again a few times.
        """
        for _ in range(_TRIES):
            try:
                return await self._row(sql, params, prepare)
            except (errors.SerializationFailure, errors.DeadlockDetected):
                await asyncio.sleep(random.random() * _APART_S)  # not at the same moment as the other again
        return await self._row(sql, params, prepare)

    async def _row(
        self, sql: LiteralString, params: dict[str, Any] | None, prepare: bool | None
    ) -> tuple[Any, ...] | None:
        began = time.perf_counter()
        try:
            async with self.connection() as connection:
                return await self._fetch(connection, sql, params, prepare)
        except (PoolTimeout, PoolClosed, TooManyRequests):
            raise  # they are OperationalErrors as well: no connection was had
        except psycopg.OperationalError as error:
            cut = time.perf_counter() - began >= self._settings.statement_timeout_s  # a second try would take as long
            if cut or not (connection.closed and only_reads(sql)):
                raise
            log.debug("run again on another connection: %s", type(error).__name__)
        async with self.connection() as connection:
            return await self._fetch(connection, sql, params, prepare)

    async def _fetch(
        self,
        connection: psycopg.AsyncConnection[TupleRow],
        sql: LiteralString,
        params: dict[str, Any] | None,
        prepare: bool | None,
    ) -> tuple[Any, ...] | None:
        return await fetch_row(connection, sql, params, prepare=prepare)

    async def note_written(self, connection: psycopg.AsyncConnection[TupleRow]) -> None:
        """Told on the connection of a write that has just been committed; nobody here needs to know."""

    @asynccontextmanager
    async def transaction(self, longest_s: float) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        """A connection inside one transaction, each statement given so long; rolled back on an error."""
        async with self.connection(longest_s + _GRACE_S) as connection:
            async with connection.transaction():
                await connection.execute("SELECT set_config('statement_timeout', %s, true)", [in_ms(longest_s)])
                yield connection
            await self.note_written(connection)
