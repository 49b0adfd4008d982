"""A budget of work for a piece of code: how many statements it may send by psycopg, and how many blocks they may read.

Counts, so it is the same on any machine: a test that holds one fails for more work and never for a slow moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import psycopg
from pglast import fingerprint, parser
from psycopg.pq import TransactionStatus

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.placeholders import numbered
from archzero_lab.postgres.statement_log import StatementLog, record_statements

_TOLD = 3
_OF_CURSOR = re.compile(r'(?:DECLARE|CLOSE|(?:FETCH|MOVE)\s.*?\bFROM)\s+("(?:[^"]|"")+")', re.DOTALL)


class WorkOverBudget(AssertionError):
    """A piece of code did more than it may."""


@dataclass
class WorkDone:
    """What was done: the statements in order; `blocks` by their shape, of those databases whose blocks were wanted."""

    statements: StatementLog
    blocks: dict[str, int] = field(default_factory=dict)


@contextmanager
def work_budget(*, statements: int | None = None, blocks: int | None = None) -> Iterator[WorkDone]:
    """Hold that the block sends no more statements by psycopg, and that they read no more shared blocks.

    Listens to this context (a thread's or a task's), SQLAlchemy's engine over psycopg included. Blocks are those of
    pg_stat_statements, over all connections to the databases that were asked: a test server of one's own. BEGIN and
    COMMIT that psycopg sends by itself are no statements here. Raises WorkOverBudget naming the statements and the
    lines that sent them, DatabaseError where blocks are wanted and not counted.

        with work_budget(statements=2, blocks=500):
            list_orders(connection)
    """
    watched = _Watched() if blocks is not None else None
    with record_statements(watched.about_to_send if watched else None) as log:
        done = WorkDone(log)
        try:
            yield done
        except BaseException:
            if watched is not None:
                watched.close()
            raise
    if watched is not None:
        with closing(watched):
            done.blocks = watched.blocks(log)
    if statements is not None and len(log) > statements:
        most = [f"{_times(times)} {sent.shape[:120]} from {sent.call_site}" for sent, times in log.repeated(1)[:_TOLD]]
        raise WorkOverBudget(f"{len(log)} statements, {statements} allowed: {'; '.join(most)}")
    total = sum(done.blocks.values())
    if blocks is not None and total > blocks:
        dearest = sorted(done.blocks.items(), key=lambda one: -one[1])[:_TOLD]
        dearest_text = "; ".join(f"{number:,} by {shape[:120]}" for shape, number in dearest)
        raise WorkOverBudget(f"{total:,} blocks, {blocks:,} allowed: {dearest_text}")


class _Watched:
    """The databases that statements go to, each looked at before its first one by a connection of our own."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[Connection, dict[str, int]]] = {}
        self._connections: WeakSet[Any] = WeakSet()

    def about_to_send(self, connection: Any) -> None:
        """Look at a database that was not seen yet."""
        self._connections.add(connection)
        info = connection.info
        where = f"{info.host}:{info.port}/{info.dbname}"
        if where in self._before:
            return
        own = psycopg.connect(info.dsn, password=info.password or None, autocommit=True)
        try:
            self._before[where] = (own, _blocks(own))
        except BaseException:
            own.close()
            raise

    def blocks(self, log: StatementLog) -> dict[str, int]:
        """Blocks by shape of what was sent since."""
        for connection in self._connections:
            _end_last_statement(connection)
        shapes = {sent.cursor or _mark(sent.text): sent.shape for sent in log.sent}
        by_shape: dict[str, int] = {}
        for own, before in self._before.values():
            for mark, number in _blocks(own).items():
                if mark in shapes and number > before.get(mark, 0):
                    by_shape[shapes[mark]] = by_shape.get(shapes[mark], 0) + number - before.get(mark, 0)
        return by_shape

    def close(self) -> None:
        """Close our connections."""
        for own, _ in self._before.values():
            own.close()


def _end_last_statement(connection: Any) -> None:
    """Have PostgreSQL count the last statement of an open transaction: with parameters it is at work until the next."""
    idle = connection.pgconn.transaction_status == TransactionStatus.INTRANS
    if not connection.closed and idle:
        connection.pgconn.exec_params(b"SELECT NULL", [])


def _blocks(connection: Connection) -> dict[str, int]:
    """Shared blocks so far by the statement's fingerprint, of the connection's database."""
    try:
        rows = connection.execute(
            "SELECT query, shared_blks_hit + shared_blks_read FROM pg_stat_statements WHERE toplevel"
            " AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()
    except psycopg.Error as error:
        raise DatabaseError(
            f"no blocks can be counted: {error.diag.message_primary or error}; add pg_stat_statements to"
            " shared_preload_libraries and CREATE EXTENSION it, or leave blocks out of the budget"
        ) from None
    by_shape: dict[str, int] = {}
    for text, number in rows:
        mark = _mark(text or "")
        by_shape[mark] = by_shape.get(mark, 0) + int(number)
    return by_shape


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _mark(text: str) -> str:
    """What a statement is known by; what declares, moves and reads a server-side cursor by that cursor's name."""
    if cursor := _OF_CURSOR.match(text):
        return cursor.group(1)
    try:
        return str(fingerprint(numbered(text)[0]))
    except parser.ParseError:
        return text
