"""The connection pool: phase 5's settings, waits and holds measured, an exhausted pool said so at once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from prometheus_client import Counter, Histogram
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from archzero_lab.settings import PoolSettings

_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ACQUIRE_WAIT = Histogram(
    "archzero_pool_acquire_wait_seconds", "Time from asking for a connection to having it", buckets=_BUCKETS
)
HELD = Histogram("archzero_pool_held_seconds", "Time a connection was held", buckets=_BUCKETS)
STATEMENTS = Counter("archzero_database_statements_total", "Statements sent to PostgreSQL")
STATEMENT_TIME = Histogram("archzero_database_statement_seconds", "Time of a statement, rows fetched", buckets=_BUCKETS)


class Database:
    """Statements on a pool of autocommitting connections.

    A single statement is its own transaction, so a read costs one round trip (and one more where the pool
    checks connections before use). `transaction()` groups several.
    """

    def __init__(self, url: str, settings: PoolSettings, application_name: str = "archzero-lab") -> None:
        self._settings = settings
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[TupleRow]] = AsyncConnectionPool(
            url,
            kwargs={
                "autocommit": True,
                "application_name": application_name,
                "connect_timeout": 5,
                "options": "-c statement_timeout=30s -c timezone=UTC",
            },
            min_size=settings.min_size,
            max_size=settings.max_size,
            timeout=settings.acquire_timeout_s,
            max_idle=settings.max_idle_s,
            max_lifetime=settings.max_lifetime_s,
            check=AsyncConnectionPool.check_connection if settings.check_before_use else None,
            open=False,
        )

    async def open(self) -> None:
        """Open the pool in the background: a service starts, and says 503, while PostgreSQL is away."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        """A connection for as long as the block runs. Raises psycopg_pool.PoolTimeout when none comes free."""
        asked = time.perf_counter()
        async with self._pool.connection() as connection:
            got = time.perf_counter()
            ACQUIRE_WAIT.observe(got - asked)
            try:
                yield connection
            finally:
                HELD.observe(time.perf_counter() - got)

    async def row(
        self, sql: LiteralString, params: dict[str, Any] | None = None, *, prepare: bool | None = None
    ) -> tuple[Any, ...] | None:
        """The first row of one statement, values in their binary form, or None.

        `prepare=False` plans each call for its own parameters: right for filters and searches, whose best
        plan depends on the value.
        """
        async with self.connection() as connection:
            return await fetch_row(connection, sql, params, prepare=prepare)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        """A connection inside one transaction: committed at the end, rolled back on an error."""
        async with self.connection() as connection, connection.transaction():
            yield connection


async def fetch_row(
    connection: psycopg.AsyncConnection[TupleRow],
    sql: LiteralString,
    params: dict[str, Any] | None = None,
    *,
    prepare: bool | None = None,
) -> tuple[Any, ...] | None:
    """Run one statement on a connection and return its first row, counted and timed."""
    began = time.perf_counter()
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(sql, params, prepare=prepare)
        found = await cursor.fetchone() if cursor.description else None
    STATEMENTS.inc()
    STATEMENT_TIME.observe(time.perf_counter() - began)
    return found
