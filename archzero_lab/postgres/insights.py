"""What PostgreSQL itself tells: the analysis queries of sql/analysis, index sizes, counters of a database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.request_statements import REQUEST_TAG
from archzero_lab.postgres.statement_work import StatementWork, work_since
from archzero_lab.settings import RESOURCES

ANALYSIS = RESOURCES / "sql" / "analysis"
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class AnalysisTable:
    """The answer of one analysis query: its title is the query's first comment line."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def statistics_since(connection: Connection) -> str:
    """The day and minute from which the server counts the uses of a database's indexes."""
    row = connection.execute(
        "SELECT to_char(coalesce(stats_reset, (SELECT min(stats_reset) FROM pg_stat_bgwriter),"
        " pg_postmaster_start_time()), 'YYYY-MM-DD HH24:MI') FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    return str(row[0]) if row else "its start"


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
    """A read-only transaction that gives up rather than hurt: for databases that are not ours."""
    with connection.transaction():
        connection.execute("SET LOCAL TRANSACTION READ ONLY")
        connection.execute("SET LOCAL statement_timeout = '30s'")
        connection.execute("SET LOCAL lock_timeout = '2s'")
        yield


def analyze(connection: Connection, folder: Path = ANALYSIS) -> list[AnalysisTable]:
    """Run every analysis query in a read-only transaction that gives up rather than hurt.

    Raises DatabaseError naming the query where one fails for another reason than a missing
    pg_stat_statements, whose table then says how to get it.
    """
    tables = []
    for path in sorted(folder.glob("*.sql")):
        text = path.read_text()
        title = text.splitlines()[0].removeprefix("--").strip()
        try:
            with reading(connection), connection.cursor() as cursor:
                cursor.execute(text.encode())
                columns = tuple(column.name for column in cursor.description or ())
                tables.append(AnalysisTable(path.stem, title, columns, tuple(cursor.fetchall())))
        except (psycopg.errors.UndefinedTable, psycopg.errors.ObjectNotInPrerequisiteState):
            advice = "not available: add pg_stat_statements to shared_preload_libraries and CREATE EXTENSION it"
            tables.append(AnalysisTable(path.stem, title, ("note",), ((advice,),)))
        except psycopg.Error as error:
            raise DatabaseError(f"analysis {path.name} failed: {error.diag.message_primary or error}") from None
    return tables


@dataclass(frozen=True)
class IndexSize:
    """One index of a database: its size, scans so far, and whether a constraint needs it."""

    table: str
    name: str
    bytes: int
    scans: int
    constraint: bool


def index_sizes(connection: Connection) -> list[IndexSize]:
    """All indexes of the user's tables, the largest first."""
    rows = connection.execute(
        "SELECT s.relname, s.indexrelname, pg_relation_size(s.indexrelid), s.idx_scan,"
        " EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = s.indexrelid)"
        " FROM pg_stat_user_indexes s WHERE s.relname NOT IN"
        " ('_yoyo_log', '_yoyo_migration', '_yoyo_version', 'yoyo_lock') ORDER BY 3 DESC"
    ).fetchall()
    return [IndexSize(*row) for row in rows]


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
    wal: LiteralString = "wal_bytes::bigint" if counted else "NULL"
    rows = connection.execute(
        "SELECT query, calls, total_exec_time / 1000, shared_blks_hit, shared_blks_read, rows,"
        " temp_blks_read + temp_blks_written, "
        + wal
        + " FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND strpos(query, %s) > 0 AND strpos(query, 'pg_stat_statements') = 0"
        " AND NOT (%s AND userid = (SELECT oid FROM pg_roles WHERE rolname = current_user))",
        [tag, of_others],
    ).fetchall()
    by_statement: dict[str, StatementWork] = {}
    for text, calls, _, hit, read, number, temporary, _ in rows:
        name = " ".join(_COMMENT.sub(" ", text).split())
        work = StatementWork(calls, number, hit + read, temporary)
        by_statement[name] = by_statement.get(name, StatementWork()) + work
    calls, seconds, hit, read, number, temporary, written = (sum(row[at] or 0 for row in rows) for at in range(1, 8))
    return DatabaseCounters(
        calls, float(seconds), hit, read, number, temporary, written if counted else None, by_statement
    )
