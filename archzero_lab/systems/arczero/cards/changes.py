"""What a write changed, as its row in the cache's outbox says it, told to whoever must know before the commit."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow

from archzero_lab.postgres.pool import Database
from archzero_lab.postgres.request_statements import fetch_row_and_rows

_TRIES = 4
_APART_S = 0.02
_CHANGES: LiteralString = (
    "SELECT card_ids, kinds, names FROM cache_outbox"
    " WHERE id = ANY (string_to_array(current_setting('archzero.outbox', true), ',')::bigint[])"
)


@dataclass(frozen=True, slots=True)
class Changed:
    """The cards whose rows changed (None: too many to name), the kinds of answers that may have them in it, and the
    names of what changed, as cache.dependencies has them (None: too many; everything of the kinds)."""

    card_ids: Sequence[uuid.UUID] | None
    kinds: Sequence[str]
    names: Sequence[str] | None


Announce = Callable[[Sequence[Changed]], Awaitable[None]]
ANNOUNCE: ContextVar[Announce | None] = ContextVar("announce", default=None)
"""Told what a write changes while its rows are locked and not committed; None where nobody has to know."""


async def write_row(
    database: Database, sql: LiteralString, params: dict[str, Any], *, lock: LiteralString = ""
) -> tuple[Any, ...] | None:
    """The row that one writing statement returns; what it changed is announced before it is committed.

    `lock` is a statement, with the same parameters, that waits for whoever must have finished before.
    Run again where another transaction got in its way, as Database.row does.
    """
    if ANNOUNCE.get() is None and not lock:
        return await database.row(sql, params)
    for _ in range(_TRIES):
        try:
            return await _write_row(database, sql, params, lock)
        except (errors.SerializationFailure, errors.DeadlockDetected):
            await asyncio.sleep(random.random() * _APART_S)  # not at the same moment as the other again
    return await _write_row(database, sql, params, lock)


async def _write_row(
    database: Database, sql: LiteralString, params: dict[str, Any], lock: LiteralString
) -> tuple[Any, ...] | None:
    async with database.connection() as connection, connection.pipeline():  # rolled back for an error
        row, changes = await fetch_row_and_rows(connection, sql, params, _CHANGES, lock)
        await _announce(changes)
        await connection.execute("COMMIT")  # sent, and its answer waited for, where the block ends
        await database.note_written(connection)
    return row


async def announce_changes(connection: psycopg.AsyncConnection[TupleRow]) -> None:
    """Tell what the transaction of this connection has changed so far, to whoever must know before it commits."""
    if ANNOUNCE.get() is not None:
        await _announce(await (await connection.execute(_CHANGES)).fetchall())


async def _announce(rows: list[TupleRow]) -> None:
    announce = ANNOUNCE.get()
    if announce is not None and rows:
        await announce([Changed(*row) for row in rows])
