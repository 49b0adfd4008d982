"""Which locks each statement of a migration takes and how long it runs, on a copy of the database that it is for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.postgres.databases import drop_database
from archzero_lab.postgres.foreign_copy import copy_database
from archzero_lab.postgres.sql_text import SqlStatement, read_file
from archzero_lab.servers.copy_server import copy_server
from archzero_lab.servers.stack import Stack

_STOPS = {
    "AccessShareLock": "", "RowShareLock": "", "RowExclusiveLock": "",
    "ShareUpdateExclusiveLock": "other migrations and VACUUM wait",
    "ShareLock": "writers wait", "ShareRowExclusiveLock": "writers wait", "ExclusiveLock": "writers wait",
    "AccessExclusiveLock": "readers and writers wait",
}  # fmt: skip
"""Lock -> who waits for it (PostgreSQL's documentation, Explicit Locking, table 13.2)."""


@dataclass(frozen=True)
class Taken:
    """A statement, the strongest lock that it takes on each table that was there, and its seconds on the copy."""

    statement: str
    locks: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def in_words(self) -> str:
        """What it takes and who waits, in a line."""
        words = [
            f"{mode} on {table}" + (f" ({_STOPS[mode]})" if _STOPS.get(mode) else "") for table, mode in self.locks
        ]
        return f"{self.statement[:70]}: {', '.join(words) or 'no lock on a table'}; {self.seconds * 1000:,.0f} ms"


def locks_taken(stack: Stack, database_url: str, migration: Path) -> list[Taken]:
    """Run a migration statement by statement on a copy with all rows, which is dropped; the database is only read.

    CONCURRENTLY cannot be looked at from within; it takes what PostgreSQL says of it. Raises SettingsError for a file
    that is no SQL, DatabaseError naming the statement that fails.
    """
    statements = read_file(migration)
    name = stack.database_name("lint")
    with copy_server(stack, database_url) as server:
        url = copy_database(database_url, server.url, name, server.programs).url
        try:
            with connect(url, autocommit=True) as connection:
                tables = {row[0] for row in connection.execute(
                    "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN"
                    " ('r', 'p', 'm') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"
                )}  # fmt: skip
                return [_run(connection, one, tables) for one in statements if not one.begins_or_ends]
        finally:
            drop_database(server.url, name)


def _run(connection: Connection, statement: SqlStatement, tables: set[int]) -> Taken:
    bare, text = statement.bare, statement.text
    try:
        began = time.perf_counter()
        if statement.alone:
            connection.execute(text.encode())
            lock = statement.lock_alone
            locks = (("its table", lock),) if lock else ()
            return Taken(bare, locks, time.perf_counter() - began)
        with connection.transaction():
            connection.execute(text.encode())
            took = time.perf_counter() - began
            rows = connection.execute(
                "SELECT l.relation, l.relation::regclass::text, l.mode FROM pg_locks l WHERE l.pid = pg_backend_pid()"
                " AND l.locktype = 'relation' AND l.granted"
            ).fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"on the copy, {bare[:70]}: {error.diag.message_primary or error}") from None
    order = list(_STOPS)
    strongest: dict[str, str] = {}
    for oid, table, mode in rows:
        if oid in tables and order.index(mode) > order.index(strongest.get(table, order[0])):
            strongest[table] = mode
    return Taken(bare, tuple(sorted(strongest.items())), took)
