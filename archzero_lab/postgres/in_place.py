"""A migration applied to the database itself: indexes CONCURRENTLY, locks waited for in turns, leftovers dropped."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import sqlparse
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection, connect

_LOCK_ATTEMPTS = 5
_INDEX = re.compile(
    r"^\s*CREATE\s+(?P<unique>UNIQUE\s+)?INDEX\s+(?P<concurrently>CONCURRENTLY\s+)?(?P<exists>IF\s+NOT\s+EXISTS\s+)?"
    r'(?P<name>(?!ON\b)(?:"(?:[^"]|"")+"|\w+))?\s*ON\s+(?P<rest>(?:ONLY\s+)?(?P<table>(?:(?:"(?:[^"]|"")+"|\w+)\.)?'
    r'(?:"(?:[^"]|"")+"|\w+)).*)$',
    re.IGNORECASE | re.DOTALL,
)


def read_migration(file: Path) -> list[str]:
    """The statements of a file, each index built CONCURRENTLY. Raises DatabaseError for an index without a name."""
    statements = []
    for text in sqlparse.split(file.read_text()):
        bare = sqlparse.format(text, strip_comments=True).strip().rstrip(";")
        if not bare:
            continue
        found = _INDEX.match(bare)
        if found is None:
            statements.append(bare)
            continue
        if found["name"] is None:
            raise DatabaseError(f"{file.name}: an index without a name cannot be found again: name it ({bare[:60]}…)")
        statements.append(
            f"CREATE {found['unique'] or ''}INDEX CONCURRENTLY IF NOT EXISTS {found['name']} ON {found['rest']}"
        )
    return statements


def apply_in_place(url: str, statements: list[str], tell: Callable[[str], None] = lambda text: None) -> None:
    """Apply statements one by one, each its own transaction; run again, it goes on where it was ended.

    A lock is waited for 5 s, then others are let through and it is tried again, five times in all. An index that a
    failed build left INVALID is dropped before its build and after a failed one. Raises DatabaseError naming the
    statement; what was applied before it stays.
    """
    with connect(url, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '5s'")
        for number, statement in enumerate(statements, 1):
            tell(f"{number}/{len(statements)} {' '.join(statement.split())[:90]}")
            index = _INDEX.match(statement)
            # a build takes the time that it takes; anything else that takes a minute holds locks for a minute
            connection.execute("SET statement_timeout = 0" if index else "SET statement_timeout = '60s'")
            if index is not None:
                _drop_invalid(connection, index["table"], index["name"])
            _execute(connection, statement, index)


def _execute(connection: Connection, statement: str, index: re.Match[str] | None) -> None:
    for attempt in range(1, _LOCK_ATTEMPTS + 1):
        try:
            connection.execute(statement.encode())
            return
        except psycopg.Error as error:
            if index is not None:
                _drop_invalid(connection, index["table"], index["name"])
            if isinstance(error, psycopg.errors.LockNotAvailable) and attempt < _LOCK_ATTEMPTS:
                time.sleep(attempt)  # backing off is the point: whoever waits behind us gets through meanwhile
                continue
            reason = error.diag.message_primary or str(error)
            raise DatabaseError(
                f"{' '.join(statement.split())[:90]}: {reason}; what came before it is applied: mend that and run again"
            ) from None


def _drop_invalid(connection: Connection, table: str, name: str) -> None:
    """Drop the table's index of that name where it is INVALID."""
    plain = name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
    row = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE NOT i.indisvalid AND c.relname = %s AND i.indrelid = to_regclass(%s)",
        [plain, table],
    ).fetchone()
    if row is not None:
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(*row)))
