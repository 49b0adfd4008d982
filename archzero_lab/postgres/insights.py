"""What PostgreSQL itself tells: the analysis queries of sql/analysis, and the sizes of indexes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection
from archzero_lab.settings import RESOURCES

ANALYSIS = RESOURCES / "sql" / "analysis"


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
