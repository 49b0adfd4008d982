"""What statements made PostgreSQL do, by statement: calls, rows, blocks, from the totals of pg_stat_statements."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeVar

from pglast import fingerprint, parse_sql, parser

from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.sql_text import ast, shape_of

_SESSION: tuple[Any, ...] = (
    ast.TransactionStmt, ast.VariableSetStmt, ast.VariableShowStmt, ast.DiscardStmt,
    ast.DeallocateStmt, ast.ListenStmt, ast.UnlistenStmt,
)  # fmt: skip
"""What sets a session or a transaction, and reads and writes no row: pools send it at moments of their own."""


@dataclass(frozen=True)
class StatementWork:
    """Whole numbers, summed over calls: `blocks` are shared ones, hit or read; `temporary` ones read and written."""

    calls: int = 0
    rows: int = 0
    blocks: int = 0
    temporary: int = 0

    def __add__(self, other: StatementWork) -> StatementWork:
        return StatementWork(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: StatementWork) -> StatementWork:
        return StatementWork(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class StatementName:
    """A statement whatever its values: `mark` is libpg_query's fingerprint, which is the same on any server.

    `inner` says that another one ran it: by a trigger, a foreign key, a function. Its blocks are in that one's too.
    """

    mark: str
    text: str
    inner: bool = False


Name = TypeVar("Name", str, StatementName)
"""What totals are kept by: a text, or a name that is the same on any server."""


class StatementTotals:
    """Totals of one database's statements by others than us, as often as asked; a text is fetched once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names: dict[tuple[int, bool], StatementName | None] = {}

    def read(self) -> dict[StatementName, StatementWork]:
        """Totals so far, without what sets a session or a transaction. Needs pg_stat_statements."""
        rows = self._connection.execute(
            "SELECT queryid, toplevel, calls, rows, shared_blks_hit + shared_blks_read,"
            " temp_blks_read + temp_blks_written FROM pg_stat_statements(false)"
            " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND userid <> (SELECT oid FROM pg_roles WHERE rolname = current_user)"
        ).fetchall()
        if any((row[0], row[1]) not in self._names for row in rows):
            self._fetch_names()
        work: dict[StatementName, StatementWork] = {}
        for queryid, toplevel, *numbers in rows:
            name = self._names.get((queryid, toplevel))
            if name is not None:
                work[name] = work.get(name, StatementWork()) + StatementWork(*(int(number) for number in numbers))
        return work

    def _fetch_names(self) -> None:
        rows = self._connection.execute(
            "SELECT queryid, toplevel, query FROM pg_stat_statements"
            " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()
        for queryid, toplevel, text in rows:
            if (queryid, toplevel) not in self._names and text is not None:
                self._names[queryid, toplevel] = name_of(text, inner=not toplevel)


def work_since(now: Mapping[Name, StatementWork], then: Mapping[Name, StatementWork]) -> dict[Name, StatementWork]:
    """What was added, of the statements that were called."""
    less = {name: work - then.get(name, StatementWork()) for name, work in now.items()}
    return {name: work for name, work in less.items() if work.calls}


@lru_cache(4_096)
def name_of(text: str, *, inner: bool = False) -> StatementName | None:
    """A statement's name; None for one that sets a session or a transaction alone."""
    try:
        parsed: Any = parse_sql(text)
        if all(isinstance(raw.stmt, _SESSION) for raw in parsed):
            return None
        return StatementName(fingerprint(text), text, inner)
    except parser.ParseError:  # of a newer PostgreSQL than our parser, or cut short
        return StatementName(hashlib.sha256(shape_of(text).encode()).hexdigest()[:16], text, inner)
