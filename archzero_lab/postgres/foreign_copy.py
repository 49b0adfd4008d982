"""A copy of somebody's database on a server of ours, by pg_dump: it is read, gently, and never changed."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection, connect, connection_parts, require_no_pooler
from archzero_lab.postgres.copied_extensions import copy_extensions
from archzero_lab.postgres.copied_roles import copy_roles
from archzero_lab.postgres.databases import create_guest_database, database_url, drop_database, is_superuser
from archzero_lab.postgres.locales import read_locale
from archzero_lab.postgres.planner_settings import copy_settings
from archzero_lab.postgres.programs import run_program
from archzero_lab.postgres.restoring import LeftOut, restore
from archzero_lab.postgres.sql_text import read_file

OLDEST = 12
"""pg_dump's own oldest that we have tried to read from."""
TAKES_STATISTICS = 18
_GENTLE = "-c default_transaction_read_only=on -c lock_timeout=5000"


Contents = Literal["rows", "schema", "statistics"]
_CONTENTS: dict[Contents, tuple[list[str], list[list[str]]]] = {
    "rows": ([], [[]]),
    "schema": (["--schema-only"], [[]]),
    # PostgreSQL 18 and later; the statistics once the indexes are made, whose making counts the rows that are not there
    "statistics": (["--no-data", "--statistics"], [["--no-statistics"], ["--statistics-only"]]),
}
"""What is copied -> options of pg_dump, of each run of pg_restore; the schema always."""


@dataclass(frozen=True)
class Copy:
    """A database made like the source; `url` is its owner's, an ordinary role's. `left_out` it has not."""

    url: str
    left_out: tuple[LeftOut, ...] = ()

    def require_whole(self) -> str:
        """The URL. Raises DatabaseError where anything is missing but policies and rights, naming it."""
        missing = [one for one in self.left_out if one.kind not in ("POLICY", "ROW SECURITY")]
        if missing:
            more = f"; and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise DatabaseError(f"writing the copy: {missing[0].in_words}{more}")
        return self.url


@contextmanager
def dump_sections(
    source_url: str, server_url: str, name: str, programs: Path
) -> Iterator[tuple[str, Callable[[], tuple[LeftOut, ...]]]]:
    """A new database with the source's tables and nothing else yet; call what comes beside its URL for the rest.

    For rows that are not all copied: keys, indexes and triggers are made once they are there. What is called answers
    with what could not be made. Dropped where the block raises. Raises DatabaseError.
    """
    with tempfile.TemporaryDirectory(prefix="archzero-copy-") as folder:
        dump = Path(folder) / "dump"
        _dump(source_url, programs, dump, ["--schema-only"])
        url, listed, left_out = _prepare(source_url, server_url, name, programs, dump)
        try:
            left_out += restore(url, programs, dump, ["--section=pre-data", listed])
            yield url, lambda: (*left_out, *restore(url, programs, dump, ["--section=post-data", listed]))
        except BaseException:
            drop_database(server_url, name)
            raise


def _dump(source_url: str, programs: Path, dump: Path, options: list[str]) -> None:
    with connect(source_url, autocommit=True) as source:
        require_no_pooler(source)
        version = source.info.server_version // 10_000
        if version < OLDEST:
            raise DatabaseError(f"PostgreSQL {version} at {source_url} is too old; {OLDEST} or newer can be copied")
    done = run_program(
        [str(programs / "pg_dump"), "--format=custom", "--compress=0", "--no-owner", "--no-privileges",
         "--no-publications", "--no-subscriptions", "--no-comments", "--no-security-labels", "--no-tablespaces",
         "--lock-wait-timeout=5000", f"--file={dump}", *options],
        source_url, {"PGOPTIONS": _GENTLE},
    )  # fmt: skip
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line or "error:" in line] or [done.stderr]
        raise DatabaseError(f"reading it: {lines[0].strip()}")


def _prepare(source_url: str, server_url: str, name: str, programs: Path, dump: Path) -> tuple[str, str, list[LeftOut]]:
    """Make the database, its extensions, roles and settings; its URL, pg_restore's option for what else is restored.

    That is what an ordinary role restores of the dump. The third is what our server cannot make.
    """
    command = [str(programs / "pg_restore"), "--list", str(dump)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    with connect(source_url, autocommit=True) as source:
        url = create_guest_database(server_url, name, read_locale(source))
        try:
            admin_url = database_url(server_url, str(connection_parts(url)["dbname"]))
            with connect(admin_url, autocommit=True) as copy:
                schemas, left_out = copy_extensions(source, copy, str(connection_parts(url)["user"]))
                if is_superuser(copy):
                    copy_roles(source, copy)
                copy_settings(source, copy)
        except BaseException:
            drop_database(server_url, name)
            raise
    passed_over = re.compile(r"\d+; \d+ \d+ (?:EXTENSION|EVENT TRIGGER|PUBLICATION|SUBSCRIPTION)\b")
    made = tuple(f" SCHEMA - {schema} " for schema in schemas)
    kept = [
        line for line in printed.splitlines() if not passed_over.match(line) and not any(one in line for one in made)
    ]
    listed = dump.with_name("list")
    listed.write_text("\n".join(kept) + "\n")
    return url, f"--use-list={listed}", left_out


def copy_database(source_url: str, server_url: str, name: str, programs: Path, contents: Contents = "rows") -> Copy:
    """Copy `source_url`'s schema into a new database of our server, with its rows, its statistics or neither.

    The copy belongs to an ordinary role of its own: what the source's functions do, they do as that. It has the
    source's locale and the settings that its planner reads, where our server has them. One REPEATABLE READ snapshot,
    read only, a lock waited for 5 s at most. What our server cannot make is left out and named. Nothing of the copy
    stays where it fails. Raises DatabaseError: no permission, a server that is too old.
    """
    with tempfile.TemporaryDirectory(prefix="archzero-copy-") as folder:
        dump = Path(folder) / "dump"
        _dump(source_url, programs, dump, _CONTENTS[contents][0])
        url, listed, left_out = _prepare(source_url, server_url, name, programs, dump)
        try:
            for options in _CONTENTS[contents][1]:
                left_out += restore(url, programs, dump, [*options, listed])
            if contents == "rows":
                with connect(url, autocommit=True) as connection:
                    connection.execute("VACUUM ANALYZE")
                    stop_autovacuum(connection)
        except BaseException:
            drop_database(server_url, name)
            raise
    return Copy(url, tuple(left_out))


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
    printed = subprocess.run([str(programs / "pg_dump"), "--version"], capture_output=True, text=True).stdout
    number = re.search(r"\d+", printed)
    if number is None or int(number[0]) < TAKES_STATISTICS:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="archzero-copy-") as folder:
        dump = Path(folder) / "dump"
        _dump(source_url, programs, dump, ["--statistics-only"])
        with connect(source_url) as source:
            source.read_only = True
            known = source.execute(
                "SELECT schemaname, tablename, attname, inherited FROM pg_stats"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()

        def give(url: str) -> None:
            _clear_statistics(url, known)
            restore(url, programs, dump, ["--statistics-only"])

        yield give


def _clear_statistics(url: str, known: Sequence[tuple[Any, ...]]) -> None:
    """Take away what a copy's own ANALYZE made of these columns: what is given leaves what the source has not.

    A column whose values are equally common has no list of common ones; that of a sample would stay.
    """
    with connect(url, autocommit=True) as copy:
        for schema, table, column, inherited in known:
            copy.execute(
                "SELECT pg_clear_attribute_stats(%(schema)s, %(table)s, %(column)s, %(inherited)s) FROM pg_attribute"
                " WHERE attrelid = to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text))"
                " AND attname = %(column)s",
                {"schema": schema, "table": table, "column": column, "inherited": inherited},
            )


_WANT_ROWS = (
    psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.NoDataFound, psycopg.errors.ForeignKeyViolation,
    psycopg.errors.RaiseException, psycopg.errors.NotNullViolation,
)  # fmt: skip
"""Errors that a statement may meet for want of rows alone."""


def apply_file(url: str, migration: Path, *, without_rows: bool = False) -> list[str]:
    """Run a migration's file on a database of ours, statement by statement, ending at the first error.

    Nothing but SQL is run: no command of psql's, no program, no file. On a copy `without_rows` a statement that may
    want some is passed over; those are answered, a line each. Raises SettingsError for what is no SQL, DatabaseError
    with file, line and PostgreSQL's reason.
    """
    statements = read_file(migration)
    passed_over = []
    with connect(url, autocommit=True) as connection:
        for statement in statements:
            try:
                connection.execute(statement.text.encode())
            except psycopg.Error as error:
                reason = error.diag.message_primary or str(error).strip()
                message = f"migration {migration.name} line {statement.line}: {reason}"
                if not (without_rows and (statement.wants_rows or isinstance(error, _WANT_ROWS))):
                    raise DatabaseError(message) from None
                passed_over.append(message)
    return passed_over
