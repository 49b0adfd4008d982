"""Migrations linted: squawk on the SQL alone, and what a schema adds: repetitions, lost HOT updates, leftovers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.jobs.indexes.session import raw_connection
from archzero_lab.jobs.indexes.writes import hot_lost
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.databases import drop_database
from archzero_lab.postgres.foreign_copy import apply_file, copy_database
from archzero_lab.postgres.index_catalog import Index, list_indexes, redundant
from archzero_lab.postgres.index_purposes import foreign_keys, purposes
from archzero_lab.postgres.sql_text import text_of
from archzero_lab.servers.copy_server import copy_server
from archzero_lab.servers.stack import Stack


@dataclass(frozen=True)
class Fault:
    """One thing to mend, and where: a file's line (from 1) or a database's object."""

    where: str
    rule: str
    message: str
    advice: str


def lint_files(files: Sequence[Path]) -> list[Fault]:
    """What squawk says of migrations, each once.

    Raises SettingsError for a file that is missing or no UTF-8, LabError where squawk did not lint: that is no pass.
    """
    if not files:
        raise SettingsError("no migration to lint: give .sql files")
    for file in files:
        if not file.is_file():
            raise SettingsError(f"{file}: no such file")
        text_of(file)  # squawk passes over what it cannot decode
    program = Path(sys.executable).with_name("squawk")
    try:
        done = subprocess.run(
            [str(program), "--reporter", "json", *map(str, files)], capture_output=True, text=True, timeout=120
        )
        findings = json.loads(done.stdout or "[]")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise LabError(f"squawk did not answer: {error}; run ./lab once, which installs it") from None
    if done.returncode not in (0, 1) or (done.returncode == 1 and not findings):
        said = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        raise LabError(f"squawk could not lint (exit {done.returncode}): {said}")
    return [
        Fault(f"{fault['file']}:{fault['line'] + 1}", fault["rule_name"], fault["message"], fault.get("help") or "")
        for fault in findings
    ]


def lint_schema(
    stack: Stack, database_url: str, migration: Path, tell: Callable[[str], None] = lambda text: None
) -> list[Fault]:
    """What a database's own schema adds, told on an empty copy of it; the database itself is read and never changed.

    Subsumed indexes among those that the migration makes, columns whose updates it ends being heap-only, and indexes
    that a failed CONCURRENTLY build left INVALID there. A statement that wants rows is passed over and told. Raises
    DatabaseError where reading or another statement fails.
    """
    faults = []
    with raw_connection(database_url) as source:
        source.execute("SET default_transaction_read_only = on")
        before = list_indexes(source)
        updates = _updates(source)
        keys_before = {(key.schema, key.table, key.name): key for key in foreign_keys(source)}
        needed = purposes(source)
    name = stack.database_name("lint")
    with copy_server(stack, database_url) as server:
        copy = copy_database(database_url, server.url, name, server.programs, "schema")
        try:
            for one in copy.left_out:
                tell(f"not on the copy: {one.in_words}")
            for passed_over in apply_file(copy.url, migration, without_rows=True):
                tell(f"not tried: {passed_over}")
            with raw_connection(copy.url) as connection:
                after = list_indexes(connection)
                keys_after = {(key.schema, key.table, key.name): key for key in foreign_keys(connection)}
        finally:
            drop_database(server.url, name)
    there = {(index.schema, index.name, index.definition) for index in before}
    new = [index for index in after if (index.schema, index.name, index.definition) not in there]
    superfluous = redundant(after)
    for index in new:
        if index.oid in superfluous:
            faults.append(
                Fault(index.label, "subsumed", f"{superfluous[index.oid].label} serves whatever it would",
                      "leave it out")
            )  # fmt: skip
        of_table = [other for other in after if other.table_oid == index.table_oid]
        if not index.guards and index.method != "brin" and (lost := hot_lost(index, of_table)):
            hot, updated = updates.get((index.schema, index.table), (0, 0))
            share = f"; {hot:,} of its {updated:,} updates were heap-only so far" if updated else ""
            faults.append(
                Fault(index.label, "ends-heap-only-updates",
                      f"an update of {', '.join(lost)} in {index.qualified_table} must then write every index{share}",
                      "measure with ./lab indexes whether the reads are worth it")
            )  # fmt: skip
    left = {(index.schema, index.name) for index in after}
    for index in before:
        if (index.schema, index.name) not in left:
            # a foreign key says more below
            words = [one for one in needed.get(index.oid, []) if "of foreign key" not in one]
            faults += [Fault(index.label, "needed-besides", one, "keep it, or see to that first") for one in words]
    for place, now in keys_after.items():
        if now.served_by:
            continue
        was = keys_before.get(place)
        if was is None or was.served_by:
            how = "a new foreign key, and no index" if was is None else "no index is left for it"
            faults.append(
                Fault(now.name, "foreign-key-without-index",
                      f"{how}: each delete of a row of {now.parent} reads all of {now.table}",
                      "make or keep an index that begins with its columns")
            )  # fmt: skip
    return [*_leftovers(before), *faults]


def _leftovers(indexes: Sequence[Index]) -> list[Fault]:
    return [
        Fault(
            index.label, "invalid-leftover",
            f"INVALID in {index.qualified_table}: a failed CONCURRENTLY build, which IF NOT EXISTS takes for done",
            f"DROP INDEX CONCURRENTLY {index.schema}.{index.name}",
        )
        for index in indexes if not index.valid
    ]  # fmt: skip


def _updates(connection: Connection) -> dict[tuple[str, str], tuple[int, int]]:
    rows = connection.execute(
        "SELECT schemaname, relname, n_tup_hot_upd, n_tup_upd FROM pg_stat_user_tables"
    ).fetchall()
    return {(schema, table): (hot, updated) for schema, table, hot, updated in rows}
