"""Statements that answer a request: tagged, counted, timed, and known for whether a second run does harm."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Any, LiteralString

import psycopg
from prometheus_client import Counter, Histogram
from psycopg.rows import TupleRow

BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
STATEMENTS = Counter("archzero_database_statements_total", "Statements sent to PostgreSQL")
STATEMENT_TIME = Histogram("archzero_database_statement_seconds", "Time of a statement, rows fetched", buckets=BUCKETS)

REQUEST_TAG: LiteralString = "/* archzero-lab request */"
"""In each statement that answers a request: pg_stat_statements tells them from the work in the background by it."""


@lru_cache(4_096)
def _tagged(sql: LiteralString) -> str:
    """The statement with the tag after its first word: PostgreSQL forgets what stands before that."""
    first, rest = sql.split(maxsplit=1)
    return f"{first} {REQUEST_TAG} {rest}"


@lru_cache(4_096)
def only_reads(sql: LiteralString) -> bool:
    """True where a second run does no harm: no word of a change in it, not even in a WITH."""
    return not re.search(r"\b(insert|update|delete|merge|call|do|lock|truncate|copy)\b", sql, re.IGNORECASE)


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
        await cursor.execute(_tagged(sql).encode(), params, prepare=prepare)
        row = await cursor.fetchone() if cursor.description else None
    STATEMENTS.inc()
    STATEMENT_TIME.observe(time.perf_counter() - began)
    return row


async def fetch_row_and_place(
    connection: psycopg.AsyncConnection[TupleRow],
    sql: LiteralString,
    params: dict[str, Any] | None,
    prepare: bool | None,
    place: LiteralString,
    first: LiteralString = "SELECT 1",
) -> tuple[tuple[Any, ...] | None, tuple[Any, ...], tuple[Any, ...]]:
    """As fetch_row, and the rows of a statement that is run after it and of one before it; all in one round trip."""
    began = time.perf_counter()
    async with (
        connection.pipeline(),
        connection.cursor(binary=True) as cursor,
        connection.cursor(binary=True) as after,
        connection.cursor(binary=True) as before,
    ):
        await before.execute(first, prepare=True)
        await cursor.execute(_tagged(sql).encode(), params, prepare=prepare)
        await after.execute(place, prepare=True)
        began_at, row, placed = await before.fetchone(), await cursor.fetchone(), await after.fetchone()
    assert placed is not None
    assert began_at is not None
    STATEMENTS.inc()
    STATEMENT_TIME.observe(time.perf_counter() - began)
    return row, placed, began_at


async def fetch_row_and_rows(
    connection: psycopg.AsyncConnection[TupleRow],
    sql: LiteralString,
    params: dict[str, Any],
    then: LiteralString,
    first: LiteralString = "",
) -> tuple[tuple[Any, ...] | None, list[TupleRow]]:
    """Begin a transaction, run a statement of a request, ask another: its first row and the other's, in one round trip.

    For a connection in pipeline mode. `first` runs before it with the same parameters: what waits there is over when
    the statement takes its snapshot.
    """
    began = time.perf_counter()
    async with connection.cursor(binary=True) as cursor, connection.cursor() as second:
        await connection.execute("BEGIN")
        if first:
            await connection.execute(first, params)
        await cursor.execute(_tagged(sql).encode(), params)
        await second.execute(then)
        row, rows = await cursor.fetchone(), await second.fetchall()
    STATEMENTS.inc()
    STATEMENT_TIME.observe(time.perf_counter() - began)
    return row, rows
