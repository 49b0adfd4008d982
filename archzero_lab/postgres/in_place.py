"""A migration applied to the database itself: indexes CONCURRENTLY, locks waited for in turns, leftovers dropped."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError, SettingsError
from archzero_lab.postgres.connection import Connection, connect, require_no_pooler
from archzero_lab.postgres.sql_text import SqlStatement, concurrent_index, index_of, read_file

_LOCK_ATTEMPTS = 5
_NAME = 63
"""Bytes of a name that PostgreSQL keeps."""


@dataclass(frozen=True)
class Step:
    """One statement to apply, and the index that it makes: its name and its table as SQL writes it."""

    text: str
    index: str | None = None
    table: str | None = None
    made: SqlStatement | None = None


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
        table = sql.Identifier(*parts).as_string()
        steps.append(Step(concurrent_index(statement), index.idxname, table, statement))
    return steps


def apply_in_place(url: str, steps: list[Step], tell: Callable[[str], None] = lambda text: None) -> None:
    """Apply statements one by one, each its own transaction; run again, it goes on where it was ended.

    A lock is waited for 5 s, then others are let through and it is tried again, five times in all. An index that a
    failed build left INVALID is dropped before its build and after a failed one. That of a partitioned table is built
    partition by partition and attached. Raises DatabaseError naming the statement; what was applied before it stays.
    """
    with connect(url, autocommit=True) as connection:
        require_no_pooler(connection)  # the settings that follow are of a session
        connection.execute("SET lock_timeout = '5s'")
        for number, step in enumerate(steps, 1):
            tell(f"{number}/{len(steps)} {' '.join(step.text.split())[:90]}")
            for part in _parts(connection, step):
                if part is not step:
                    tell(f"  {' '.join(part.text.split())[:90]}")
                # a build takes the time that it takes; anything else that takes a minute holds locks for a minute
                connection.execute("SET statement_timeout = 0" if part.index else "SET statement_timeout = '60s'")
                _drop_invalid(connection, part)
                _execute(connection, part)


def _parts(connection: Connection, step: Step) -> list[Step]:
    """A step itself; of an index of a partitioned table, which cannot be built CONCURRENTLY, that of each partition."""
    if step.made is None or step.table is None or not _is_partitioned(connection, step.table):
        return [step]
    schema, table = _place_of(connection, step.table)
    return _of_partitioned(connection, step.made, str(step.index), schema, table)


def _of_partitioned(connection: Connection, made: SqlStatement, name: str, schema: str, table: str) -> list[Step]:
    """The index on the table alone, then each partition's, attached; of a partition that is partitioned the same."""
    whole = sql.Identifier(schema, name).as_string()
    steps = [Step(index_of(made, name, schema, table, whole=True))]
    children = connection.execute(
        "SELECT n.nspname, c.relname, c.relkind FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE h.inhparent = to_regclass(%s) AND c.relkind IN ('r', 'p')"
        " ORDER BY c.oid", [sql.Identifier(schema, table).as_string()],
    ).fetchall()  # fmt: skip
    for child_schema, child, kind in children:
        part = f"{name}_{zlib.crc32(f'{child_schema}.{child}'.encode()):08x}"
        if len(part.encode()) > _NAME:
            part = f"{name[:40]}_{zlib.crc32(f'{name} {child_schema}.{child}'.encode()):08x}"
        place = sql.Identifier(child_schema, child).as_string()
        if kind == "p":
            steps += _of_partitioned(connection, made, part, child_schema, child)
        else:
            steps.append(Step(index_of(made, part, child_schema, child), part, place))
        attached = sql.Identifier(child_schema, part).as_string()
        steps.append(Step(f"ALTER INDEX {whole} ATTACH PARTITION {attached}"))
    return steps


def _is_partitioned(connection: Connection, table: str) -> bool:
    row = connection.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)", [table]).fetchone()
    return row == (True,)


def _place_of(connection: Connection, table: str) -> tuple[str, str]:
    row = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = to_regclass(%s)", [table],
    ).fetchone()  # fmt: skip
    assert row is not None
    return row[0], row[1]


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
