"""Migrations by yoyo, made safe: one build at a time, no INVALID index taken for done, no stale lock.

yoyo-migrations keeps the list of what was applied; a failed CREATE INDEX CONCURRENTLY leaves an INVALID index
that IF NOT EXISTS would skip for ever, and a killed run leaves yoyo's lock row: both are mended here, under an
advisory lock of our own that dies with its connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yoyo
import yoyo.exceptions
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection, connect, require_no_pooler, require_url
from archzero_lab.postgres.sql_text import read_file
from archzero_lab.settings import RESOURCES

MIGRATIONS = RESOURCES / "sql" / "migrations"
_ADVISORY_KEY = 0x61726368  # "arch"
_LOCK_ATTEMPTS = 5
INDEX_SETS = {"phase5": "001", "v2": None}
"""The last number of a migration that belongs to each set of indexes; v2 goes on from phase 5's, to the newest."""


@dataclass(frozen=True)
class MigrationState:
    """A migration file and whether it is applied to a database."""

    id: str
    applied: bool


class Migrations:
    """The migrations of a folder on one database."""

    def __init__(self, url: str, folder: Path = MIGRATIONS) -> None:
        self._url = require_url(url)
        self._folder = folder

    def status(self) -> list[MigrationState]:
        """Every migration in the order of application."""
        with self._backend() as (backend, migrations):
            applied = set(backend.get_applied_migration_hashes())
            return [MigrationState(m.id, m.hash in applied) for m in migrations]

    def up(
        self, progress: Callable[[str, int, int], None] = lambda name, done, total: None, *, index_set: str = "v2"
    ) -> list[str]:
        """Apply what an index set wants and is not applied; return the names. A run after a failure goes on from there.

        `progress` gets the name about to run, how many are done and how many there are. Raises DatabaseError.
        """
        applied = []
        last = INDEX_SETS[index_set]
        with self._exclusive() as connection, self._backend() as (backend, migrations):
            pending = [
                m for m in backend.to_apply(migrations) if not m.id[:3].isdigit() or last is None or m.id[:3] <= last
            ]
            for number, migration in enumerate(pending):
                progress(migration.id, number, len(pending))
                index = self._index_of(migration)
                if index is not None:
                    _drop_if_invalid(connection, index)
                self._run(backend.apply_one, migration)
                if index is not None:
                    _assert_valid(connection, index, migration.id)
                applied.append(migration.id)
            connection.execute("ANALYZE")
        return applied

    def down(self) -> list[str]:
        """Roll every applied migration back, the last first; return the names. Raises DatabaseError."""
        rolled_back = []
        with self._exclusive(), self._backend() as (backend, migrations):
            for migration in backend.to_rollback(migrations):
                self._run(backend.rollback_one, migration)
                rolled_back.append(migration.id)
        return rolled_back

    def _run(self, action: Callable[[Any], None], migration: Any) -> None:
        for attempt in range(1, _LOCK_ATTEMPTS + 1):
            try:
                action(migration)
                return
            except psycopg.errors.LockNotAvailable:
                if attempt == _LOCK_ATTEMPTS:
                    raise DatabaseError(
                        f"migration {migration.id}: others held its table's lock through {attempt} attempts; "
                        "end the long transactions (pg_stat_activity) and run it again"
                    ) from None
                time.sleep(attempt)  # backing off is the point: whoever waits behind us gets through meanwhile
            except (psycopg.errors.UndefinedFile, psycopg.errors.FeatureNotSupported) as error:
                # what a missing extension is called before PostgreSQL 18, and since
                raise DatabaseError(
                    f"migration {migration.id}: {error.diag.message_primary}; install PostgreSQL's contrib extensions "
                    "(Debian: they are in the postgresql package) or use the embedded server"
                ) from None
            except psycopg.Error as error:
                reason = error.diag.message_primary or str(error).strip().splitlines()[0]
                raise DatabaseError(
                    f"migration {migration.id} failed: {reason}; mend that and run `./lab migrate up` again"
                ) from None

    def _index_of(self, migration: Any) -> str | None:
        made = (one.new_index for one in read_file(Path(migration.path)) if one.concurrently)
        return next((str(index.idxname) for index in made if index is not None), None)

    @contextmanager
    def _exclusive(self) -> Iterator[Connection]:
        """Hold our advisory lock, and break a lock row of yoyo's that a killed run left."""
        with connect(self._url, autocommit=True) as connection:
            require_no_pooler(connection)  # a lock of a session that is anybody's keeps nobody out
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", [_ADVISORY_KEY]).fetchone()
            if row is None or not row[0]:
                raise DatabaseError("another migration is running on this database; wait until it has ended")
            exists = connection.execute("SELECT to_regclass('yoyo_lock') IS NOT NULL").fetchone()
            if exists and exists[0]:
                connection.execute("DELETE FROM yoyo_lock")
            try:
                yield connection
            finally:
                # said, not left to the session's end, which comes a moment after this
                with suppress(psycopg.Error):
                    connection.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_KEY])

    @contextmanager
    def _backend(self) -> Iterator[tuple[Any, Any]]:
        with connect(self._url):
            pass  # for our own error where it cannot be reached
        backend = yoyo.get_backend(self._url.replace("postgresql://", "postgresql+psycopg://", 1))
        try:
            yield backend, yoyo.read_migrations(str(self._folder))
        finally:
            backend.connection.close()


def _drop_if_invalid(connection: Connection, index: str) -> None:
    if _is_valid(connection, index) is False:
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(index)))


def _assert_valid(connection: Connection, index: str, migration: str) -> None:
    if not _is_valid(connection, index):
        raise DatabaseError(f"migration {migration}: index {index} is not valid after its build; run it again")


def _is_valid(connection: Connection, index: str) -> bool | None:
    """Whether the index is valid; None where there is no such index."""
    row = connection.execute(
        "SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass(%s)", [index]
    ).fetchone()
    return None if row is None else bool(row[0])
