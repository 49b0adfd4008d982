"""A migration applied to the database itself: indexes CONCURRENTLY, locks waited for in turns, leftovers dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError, SettingsError
from archzero_lab.postgres.connection import Connection, connect, require_no_pooler
from archzero_lab.postgres.sql_text import concurrent_index, read_file

_LOCK_ATTEMPTS = 5


@dataclass(frozen=True)
class Step:
    """One statement to apply, and the index that it makes: its name and its table as SQL writes it."""

    text: str
    index: str | None = None
    table: str | None = None


def read_migration(file: Path) -> list[Step]:
    """The statements of a file, each index built CONCURRENTLY, its BEGIN and COMMIT left out.

    Raises SettingsError with the line of what is no SQL or is not run, and of an index without a name.
    """
    steps = []
    for statement in read_file(file):
        index = statement.new_index
        if index is None:
            steps += [] if statement.begins_or_ends else [Step(statement.text)]
            continue
        where = f"{file.name} line {statement.line}"
        if not index.idxname:
            raise SettingsError(f"{where}: an index without a name cannot be found again: name it")
        parts = [part for part in (index.relation.schemaname, index.relation.relname) if part]
        steps.append(Step(concurrent_index(statement), index.idxname, sql.Identifier(*parts).as_string()))
    return steps


def apply_in_place(url: str, steps: list[Step], tell: Callable[[str], None] = lambda text: None) -> None:
    """Apply statements one by one, each its own transaction; run again, it goes on where it was ended.

    A lock is waited for 5 s, then others are let through and it is tried again, five times in all. An index that a
    failed build left INVALID is dropped before its build and after a failed one. Raises DatabaseError naming the
    statement; what was applied before it stays.
    """
    with connect(url, autocommit=True) as connection:
        require_no_pooler(connection)  # the settings that follow are of a session
        connection.execute("SET lock_timeout = '5s'")
        for number, step in enumerate(steps, 1):
            tell(f"{number}/{len(steps)} {' '.join(step.text.split())[:90]}")
            # a build takes the time that it takes; anything else that takes a minute holds locks for a minute
            connection.execute("SET statement_timeout = 0" if step.index else "SET statement_timeout = '60s'")
            _drop_invalid(connection, step)
            _execute(connection, step)


def _execute(connection: Connection, step: Step) -> None:
    for attempt in range(1, _LOCK_ATTEMPTS + 1):
        try:
            connection.execute(step.text.encode())
            return
        except psycopg.Error as error:
            _drop_invalid(connection, step)
            if isinstance(error, psycopg.errors.LockNotAvailable) and attempt < _LOCK_ATTEMPTS:
                time.sleep(attempt)  # backing off is the point: whoever waits behind us gets through meanwhile
                continue
            reason = error.diag.message_primary or str(error)
            raise DatabaseError(
                f"{' '.join(step.text.split())[:90]}: {reason}; what came before it is applied: mend that and run again"
            ) from None


def _drop_invalid(connection: Connection, step: Step) -> None:
    """Drop the table's index of the step's name where it is INVALID."""
    if step.index is None:
        return
    row = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE NOT i.indisvalid AND c.relname = %s AND i.indrelid = to_regclass(%s)",
        [step.index, step.table],
    ).fetchone()
    if row is not None:
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(*row)))
