"""A copy of somebody's database on a server of ours, by pg_dump: it is read, gently, and never changed."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection, connect, connection_parts, require_no_pooler
from archzero_lab.postgres.copied_extensions import copy_extensions
from archzero_lab.postgres.databases import create_guest_database, database_url, drop_database
from archzero_lab.postgres.sql_text import read_file

OLDEST = 12
"""pg_dump's own oldest that we have tried to read from."""
_TAKES_STATISTICS = 18
_GENTLE = "-c default_transaction_read_only=on -c lock_timeout=5000"


Contents = Literal["rows", "schema", "statistics"]
_CONTENTS: dict[Contents, tuple[list[str], list[list[str]]]] = {
    "rows": ([], [[]]),
    "schema": (["--schema-only"], [[]]),
    # PostgreSQL 18 and later; the statistics once the indexes are made, whose making counts the rows that are not there
    "statistics": (["--no-data", "--statistics"], [["--no-statistics"], ["--statistics-only"]]),
}
"""What is copied -> options of pg_dump, of each run of pg_restore; the schema always."""


@contextmanager
def dump_sections(
    source_url: str, server_url: str, name: str, programs: Path
) -> Iterator[tuple[str, Callable[[], None]]]:
    """A new database with the source's tables and nothing else yet; call what comes beside its URL for the rest.

    For rows that are not all copied: keys, indexes and triggers are made once they are there. Dropped where the block
    raises. Raises DatabaseError.
    """
    with tempfile.TemporaryDirectory(prefix="archzero-copy-") as folder:
        dump = Path(folder) / "dump"
        _dump(source_url, programs, dump, ["--schema-only"])
        url = create_guest_database(server_url, name)
        try:
            listed = _prepare(source_url, server_url, url, programs, dump)
            _restore(url, programs, dump, ["--section=pre-data", listed])
            yield url, lambda: _restore(url, programs, dump, ["--section=post-data", listed])
        except BaseException:
            drop_database(server_url, name)
            raise


def _dump(source_url: str, programs: Path, dump: Path, options: list[str]) -> None:
    with connect(source_url, autocommit=True) as source:
        require_no_pooler(source)
        version = source.info.server_version // 10_000
        if version < OLDEST:
            raise DatabaseError(f"PostgreSQL {version} at {source_url} is too old; {OLDEST} or newer can be copied")
    _run(
        [str(programs / "pg_dump"), "--format=custom", "--compress=0", "--no-owner", "--no-privileges",
         "--no-publications", "--no-subscriptions", "--no-comments", "--no-security-labels", "--no-tablespaces",
         "--lock-wait-timeout=5000", f"--file={dump}", *options],
        source_url, "reading it", {"PGOPTIONS": _GENTLE},
    )  # fmt: skip


def _restore(url: str, programs: Path, dump: Path, options: list[str]) -> None:
    _run(
        [str(programs / "pg_restore"), "--no-owner", "--no-privileges", "--exit-on-error", *options, str(dump)],
        url, "writing the copy", {},
    )  # fmt: skip


def _prepare(source_url: str, server_url: str, url: str, programs: Path, dump: Path) -> str:
    """Make the extensions, and list what else of the dump an ordinary role restores: pg_restore's option for that."""
    parts = connection_parts(url)
    schemas = copy_extensions(source_url, database_url(server_url, str(parts["dbname"])), str(parts["user"]))
    command = [str(programs / "pg_restore"), "--list", str(dump)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    left_out = re.compile(r"\d+; \d+ \d+ (?:EXTENSION|EVENT TRIGGER|PUBLICATION|SUBSCRIPTION)\b")
    made = tuple(f" SCHEMA - {schema} " for schema in schemas)
    kept = [line for line in told.splitlines() if not left_out.match(line) and not any(one in line for one in made)]
    listed = dump.with_name("list")
    listed.write_text("\n".join(kept) + "\n")
    return f"--use-list={listed}"


def copy_database(source_url: str, server_url: str, name: str, programs: Path, contents: Contents = "rows") -> str:
    """Copy `source_url`'s schema into a new database of our server, with its rows, its statistics or neither; the URL.

    The copy belongs to an ordinary role of its own, whose URL this is: what the source's functions do, they do as that.
    One REPEATABLE READ snapshot, read only, a lock waited for 5 s at most. Nothing of the copy is left where it fails.
    Raises DatabaseError: no permission, a server that is too old, an extension that our server has not or does not make
    for a stranger, a function in a language that wants a superuser.
    """
    with tempfile.TemporaryDirectory(prefix="archzero-copy-") as folder:
        dump = Path(folder) / "dump"
        _dump(source_url, programs, dump, _CONTENTS[contents][0])
        url = create_guest_database(server_url, name)
        try:
            listed = _prepare(source_url, server_url, url, programs, dump)
            for options in _CONTENTS[contents][1]:
                _restore(url, programs, dump, [*options, listed])
            if contents == "rows":
                with connect(url, autocommit=True) as connection:
                    connection.execute("VACUUM ANALYZE")
                    stop_autovacuum(connection)
        except BaseException:
            drop_database(server_url, name)
            raise
    return url


def stop_autovacuum(connection: Connection) -> None:
    """Leave every table that this role owns to us: no ANALYZE or VACUUM in the middle of a measurement.

    Trial writes count as changes though they are rolled back, and statistics that were given to a table would go.
    """
    tables = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'm') AND pg_get_userbyid(c.relowner) = current_user"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
    ).fetchall()
    for table in tables:
        connection.execute(sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = false)").format(sql.Identifier(*table)))


@contextmanager
def statistics_of(source_url: str, programs: Path) -> Iterator[Callable[[str], None] | None]:
    """What gives the source's statistics to a database with the same tables, by its URL; None before pg_dump 18.

    Commonest values, histograms and correlations are the source's then; an ANALYZE takes them away again. Read once.
    """
    told = subprocess.run([str(programs / "pg_dump"), "--version"], capture_output=True, text=True).stdout
    if int(told.split()[-1].split(".")[0] if told else 0) < _TAKES_STATISTICS:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="archzero-copy-") as folder:
        dump = Path(folder) / "dump"
        _dump(source_url, programs, dump, ["--statistics-only"])
        yield lambda url: _restore(url, programs, dump, ["--statistics-only"])


def apply_file(url: str, migration: Path) -> None:
    """Run a migration's file on a database of ours, statement by statement, ending at the first error.

    Nothing but SQL is run: no command of psql's, no program, no file. Raises SettingsError for what is no SQL,
    DatabaseError with file, line and PostgreSQL's reason.
    """
    statements = read_file(migration)
    with connect(url, autocommit=True) as connection:
        for statement in statements:
            try:
                connection.execute(statement.text.encode())
            except psycopg.Error as error:
                reason = error.diag.message_primary or str(error).strip()
                raise DatabaseError(f"migration {migration.name} line {statement.line}: {reason}") from None


def _run(command: list[str], url: str, what: str, more: dict[str, str]) -> None:
    """Run one of PostgreSQL's programs on a database; the password travels in the environment, not in the command."""
    parts = connection_parts(url)
    password = parts.pop("password", None)
    secret = {"PGPASSWORD": str(password)} if password is not None else {}
    done = subprocess.run(
        [*command, f"--dbname={make_conninfo('', **parts)}"], capture_output=True, text=True,
        env={**os.environ, **secret, **more},
    )  # fmt: skip
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line or "error:" in line] or [done.stderr]
        reason = lines[0].strip().removeprefix("psql:")
        raise DatabaseError(f"{what}: {reason}")
