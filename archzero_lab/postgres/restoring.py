"""A dump restored as far as our server can: what could not be made is named with PostgreSQL's reason."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from archzero_lab.errors import DatabaseError
from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.postgres.programs import run_program

_KINDS = (
    "MATERIALIZED VIEW DATA", "MATERIALIZED VIEW", "FOREIGN DATA WRAPPER", "FOREIGN SERVER", "FOREIGN TABLE",
    "CHECK CONSTRAINT", "FK CONSTRAINT", "CONSTRAINT", "TABLE DATA", "TABLE ATTACH", "TABLE", "INDEX ATTACH", "INDEX",
    "SEQUENCE SET", "SEQUENCE OWNED BY", "SEQUENCE", "ROW SECURITY", "EVENT TRIGGER", "TRIGGER", "POLICY", "RULE",
    "VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR CLASS", "OPERATOR FAMILY", "OPERATOR", "DEFAULT", "DOMAIN",
    "TYPE", "SHELL TYPE", "COLLATION", "CAST", "SCHEMA", "STATISTICS DATA", "STATISTICS", "EXTENSION", "TRANSFORM",
    "USER MAPPING", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE",
)  # fmt: skip
_ENTRY = re.compile(rf"pg_restore: from TOC entry \d+; \d+ \d+ ({'|'.join(_KINDS)}) (.+) \S+$")
_ERROR = re.compile(r"pg_restore: error: (?:could not execute query: |COPY failed for table \S+: )?(?:ERROR:\s*)?(.+)$")
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")
_COMMAND = "Command was: "


@dataclass(frozen=True)
class LeftOut:
    """An object of the source that its copy has not, as pg_restore names it (kind, name), and why."""

    kind: str
    name: str
    reason: str

    @property
    def in_words(self) -> str:
        """What and why, in a line."""
        return f"{self.kind.lower()} {self.name}: {self.reason}"

    @property
    def holds_rows(self) -> bool:
        """Whether rows are missing with it."""
        return self.kind in ("TABLE", "TABLE DATA", "TABLE ATTACH", "FOREIGN TABLE")


@dataclass(frozen=True)
class _Failed:
    left_out: LeftOut
    command: str


def restore(url: str, programs: Path, dump: Path, options: list[str]) -> list[LeftOut]:
    """Restore a dump's listed part into a database as its owner; what could not be made.

    pg_restore works with an empty search_path: what failed is tried once more with the database's own, as the source
    was made. Raises DatabaseError where nothing was restored at all.
    """
    # it names the entry of an error only where it is verbose
    command = [str(programs / "pg_restore"), "--no-owner", "--no-privileges", "--verbose", *options, str(dump)]
    done = run_program(command, url, {})
    failed = _failures(done.stderr)
    ignored = _IGNORED.search(done.stderr)
    if done.returncode != 0 and (ignored is None or int(ignored[1]) > len(failed)):
        lines = [line for line in done.stderr.splitlines() if "error:" in line] or [done.stderr.strip()]
        raise DatabaseError(f"writing the copy: {lines[0]}")
    return [one.left_out for one in _tried_again(url, [one for one in failed if one.left_out.kind])]


def _failures(printed: str) -> list[_Failed]:
    """The errors that it printed; of no kind one of a setting that this server does not know."""
    failures: list[_Failed] = []
    kind, name, reading = "", "", False
    for line in printed.splitlines():
        if entry := _ENTRY.match(line):
            kind, name, reading = entry[1], entry[2], False
        elif error := _ERROR.match(line):
            reading = False
            failures.append(_Failed(LeftOut(kind, name, error[1].strip()), ""))
        elif line.startswith(_COMMAND) and failures:
            failures[-1] = replace(failures[-1], command=line.removeprefix(_COMMAND))
            reading = True
        elif line.startswith("pg_restore: "):
            reading = False
        elif reading:
            failures[-1] = replace(failures[-1], command=f"{failures[-1].command}\n{line}")
    return failures


def _execute(connection: Connection, one: _Failed) -> None:
    """Run a command that failed; a foreign key whose rows are not all there as NOT VALID: it says what it is for."""
    try:
        connection.execute(one.command.encode())
    except psycopg.errors.ForeignKeyViolation:
        connection.execute(f"{one.command.strip().rstrip(';')} NOT VALID".encode())


def _tried_again(url: str, failed: list[_Failed]) -> list[_Failed]:
    """Those that fail again, as often as one of the others succeeds."""
    if not failed:
        return []
    with connect(url, autocommit=True) as connection:
        connection.execute("SET check_function_bodies = off")
        while True:
            left = []
            for one in failed:
                try:
                    if not one.command.strip() or one.left_out.kind == "TABLE DATA":
                        raise DatabaseError(one.left_out.reason)
                    _execute(connection, one)
                except (psycopg.Error, DatabaseError):
                    left.append(one)
            if len(left) in (0, len(failed)):
                return left
            failed = left
