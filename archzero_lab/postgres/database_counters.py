"""Counters of a database from pg_stat_statements: totals that only grow, whole and by statement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import LiteralString
from weakref import WeakKeyDictionary

from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.request_statements import REQUEST_TAG
from archzero_lab.postgres.statement_work import StatementWork, work_since

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_HIDDEN = "<insufficient privilege>"
"""What PostgreSQL calls a statement of a role whose statistics ours may not read."""
_Place = tuple[int, int]
"""A role's oid and a queryid."""
_TEXTS: WeakKeyDictionary[Connection, dict[_Place, str | None]] = WeakKeyDictionary()
"""By connection: texts, which the server keeps in a file that each reading of all would read whole."""


@dataclass(frozen=True)
class DatabaseCounters:
    """Totals since the statistics began, of one database (from pg_stat_statements)."""

    statements: int
    execution_s: float
    blocks_hit: int
    blocks_read: int
    rows: int = 0
    temporary_blocks: int = 0
    wal_bytes: int | None = None
    """None before PostgreSQL 13, which does not count it."""
    by_statement: Mapping[str, StatementWork] = field(default_factory=dict)
    """By the text that PostgreSQL keeps of a statement, its constants as $1, on one line and without its comments."""

    def minus(self, earlier: DatabaseCounters) -> DatabaseCounters:
        """What was added since `earlier`."""
        return DatabaseCounters(
            self.statements - earlier.statements,
            self.execution_s - earlier.execution_s,
            self.blocks_hit - earlier.blocks_hit,
            self.blocks_read - earlier.blocks_read,
            self.rows - earlier.rows,
            self.temporary_blocks - earlier.temporary_blocks,
            None if self.wal_bytes is None or earlier.wal_bytes is None else self.wal_bytes - earlier.wal_bytes,
            work_since(self.by_statement, earlier.by_statement),
        )


def database_counters(connection: Connection, tag: str = REQUEST_TAG, *, of_others: bool = False) -> DatabaseCounters:
    """Counters of the connection's database over the statements that carry a tag, those that answered requests.

    With "" over all, and `of_others` over those of other roles than the connection's. Needs pg_stat_statements.
    """
    counted = connection.info.server_version >= 130_000
    wal: LiteralString = "wal_bytes::bigint" if counted else "0"
    rows = connection.execute(
        "SELECT userid, queryid, calls, total_exec_time / 1000, shared_blks_hit, shared_blks_read, rows,"
        " temp_blks_read + temp_blks_written, " + wal + " FROM pg_stat_statements(false)"
        " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND NOT (%s AND userid = (SELECT oid FROM pg_roles WHERE rolname = current_user))",
        [of_others],
    ).fetchall()
    texts = _texts_of(connection, {(row[0], row[1]) for row in rows})
    by_statement: dict[str, StatementWork] = {}
    totals = [0, 0.0, 0, 0, 0, 0, 0]
    for userid, queryid, *numbers in rows:
        text = texts.get((userid, queryid)) if queryid is not None else _HIDDEN
        if text is None or tag not in text or "pg_stat_statements" in text:
            continue
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        calls, _, hit, read, answered, temporary, _ = numbers
        name = " ".join(_COMMENT.sub(" ", text).split())
        work = StatementWork(calls, answered, hit + read, temporary)
        by_statement[name] = by_statement.get(name, StatementWork()) + work
    calls, seconds, hit, read, answered, temporary, written = totals
    return DatabaseCounters(
        int(calls), float(seconds), int(hit), int(read), int(answered), int(temporary),
        int(written) if counted else None, by_statement,
    )  # fmt: skip


def _texts_of(connection: Connection, places: set[tuple[int, int | None]]) -> Mapping[_Place, str | None]:
    """The text of each; one is fetched once a connection."""
    known = _TEXTS.setdefault(connection, {})
    wanted = [(userid, queryid) for userid, queryid in places if queryid is not None and (userid, queryid) not in known]
    if wanted:
        fetched = connection.execute(
            "SELECT userid, queryid, min(query) FROM pg_stat_statements"
            " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid = ANY(%s)"
            " GROUP BY 1, 2",
            [[queryid for _, queryid in wanted]],
        ).fetchall()
        known |= dict.fromkeys(wanted) | {(userid, queryid): text for userid, queryid, text in fetched}
    return known
