"""A user's queries as cases: parameters filled with a common, a rare and a middle value of their column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from archzero_lab.errors import DatabaseError, SettingsError
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.plans import explain_generic
from archzero_lab.postgres.sql_text import comparisons_of, paging_of, parameters_of, read_file, read_statements
from archzero_lab.postgres.statement import Statement

_GIVEN = re.compile(r"^--\s*\$(\d+)\s*=\s*(.*?)\s*$", re.MULTILINE)
_CONDITIONS = ("Index Cond", "Recheck Cond", "Filter", "Hash Cond", "Merge Cond", "Join Filter")
_PAGE = {"LIMIT": "20", "OFFSET": "0"}
"""What LIMIT and OFFSET get where nothing else is known: the first page of twenty."""

_VALUES = """
SELECT most_common_vals::text::text[], histogram_bounds::text::text[] FROM pg_stats
WHERE schemaname = $1 AND tablename = $2 AND attname = $3
"""


def read_queries(folder: Path) -> dict[str, str]:
    """The statements of a folder's *.sql files, one a file, by name. Raises SettingsError for any other folder."""
    found = {path.stem: _only_statement(path) for path in sorted(folder.glob("*.sql"))}
    if not found:
        raise SettingsError(f"{folder} holds no .sql file: put one statement into each")
    return found


def _only_statement(path: Path) -> str:
    statements = read_file(path)
    if len(statements) != 1:
        raise SettingsError(f"{path.name} holds {len(statements)} statements; put one into each file")
    return path.read_bytes().decode("utf-8-sig").strip().rstrip(";")


def busiest_statements(connection: Connection, number: int) -> dict[str, str]:
    """The SELECTs that took the most time of a database, from pg_stat_statements, their literals as parameters."""
    try:
        rows = connection.execute(
            "SELECT query FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname ="
            " current_database()) AND query ~* '^\\s*(SELECT|WITH)'"
            " AND query !~* 'pg_catalog|pg_stat|information_schema'"
            " ORDER BY total_exec_time DESC LIMIT $1", [number],
        ).fetchall()  # fmt: skip
    except psycopg.Error as error:
        raise DatabaseError(
            f"pg_stat_statements: {error.diag.message_primary}; add it to shared_preload_libraries and CREATE EXTENSION"
            " it there, or give --queries"
        ) from None
    if not rows:
        raise DatabaseError("pg_stat_statements has no SELECT of that database yet; give --queries")
    return {f"statement {number}": str(query).rstrip(";") for number, (query,) in enumerate(rows, 1)}


def cases_of(connection: Connection, name: str, text: str) -> list[Statement]:
    """One statement's cases: itself, or one each for common, rare and middle values of its parameters.

    A line `-- $1 = value` in the text gives a value. Raises SettingsError for what is no SQL, DatabaseError for what
    PostgreSQL does not take, naming the statement and the place, and for a parameter of which nothing is known.
    """
    given = {int(number): value for number, value in _GIVEN.findall(text)}
    (statement,) = read_statements(text, f"statement {name}")
    wanted = parameters_of(statement.node)
    if not wanted:
        _check(connection, name, text)
        return [Statement(name, text)]
    compared = _compared(connection, name, text)
    paging = paging_of(statement.node)
    filled: dict[int, tuple[str | None, ...]] = {}
    for number in wanted:
        if number in given:
            filled[number] = (given[number],)
        elif number in compared:
            filled[number] = _values(connection, *compared[number])
        elif number in paging:
            filled[number] = (_PAGE[paging[number]],)
        if not filled.get(number):
            raise DatabaseError(
                f"statement {name}: nothing is known of ${number}; write a line `-- ${number} = value` into its file"
            )
    kinds = ("common", "rare", "middle")
    found: dict[tuple[str | None, ...], str] = {}
    for at, kind in enumerate(kinds):
        values = tuple(filled[number][min(at, len(filled[number]) - 1)] for number in wanted)
        found.setdefault(values, kind)
    whole = max(wanted)
    return [
        Statement(f"{name}, {kind}" if len(found) > 1 else name, text, _spread(wanted, values, whole))
        for values, kind in found.items()
    ]


def _spread(wanted: Sequence[int], values: Sequence[str | None], whole: int) -> tuple[str | None, ...]:
    by_number = dict(zip(wanted, values, strict=True))
    return tuple(by_number.get(number) for number in range(1, whole + 1))


def _check(connection: Connection, name: str, text: str) -> None:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(("EXPLAIN " + text).encode(), prepare=False)
    except psycopg.Error as error:
        raise DatabaseError(f"statement {name}: {_reason(error)}") from None


def _compared(connection: Connection, name: str, text: str) -> dict[int, tuple[str, str, str, str]]:
    """Parameter -> schema, table, column and operator, read from the conditions of the generic plan."""
    # the generic plan has no values yet, and without indexes it shows every condition as a filter
    try:
        plan = explain_generic(connection, text, {"enable_indexscan": "off", "enable_bitmapscan": "off"})
    except psycopg.Error as error:
        raise DatabaseError(f"statement {name}: {_reason(error)}") from None
    entries = list(_entries(json.loads(plan.raw)[0]["Plan"]))
    tables = {
        entry["Alias"]: (entry.get("Schema", "public"), entry["Relation Name"])
        for entry in entries
        if "Alias" in entry and "Relation Name" in entry
    }
    found: dict[int, tuple[str, str, str, str]] = {}
    for entry in entries:
        told = [entry[name] for name in _CONDITIONS if name in entry]
        for column, operator, numbers in chain.from_iterable(map(comparisons_of, told)):
            place = tables.get(column[-2] if len(column) > 1 else entry.get("Alias", ""))
            if place is not None:
                for number in numbers:
                    found.setdefault(number, (*place, column[-1], operator))
    return found


def _entries(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes as EXPLAIN's JSON tells them."""
    yield entry
    for child in entry.get("Plans", []):
        yield from _entries(child)


def _values(connection: Connection, schema: str, table: str, column: str, operator: str) -> tuple[str | None, ...]:
    """(common, rare, middle) values of a column from its statistics, fewer where there are fewer."""
    row = connection.execute(_VALUES, [schema, table, column]).fetchone()
    common, bounds = (row[0] or [], row[1] or []) if row else ([], [])
    values: list[str] = [common[0], common[-1]] if common else []
    if bounds:
        values.append(bounds[len(bounds) // 2])
    if not values:
        one = connection.execute(
            sql.SQL("SELECT {0}::text FROM {1} WHERE {0} IS NOT NULL LIMIT 1").format(
                sql.Identifier(column), sql.Identifier(schema, table)
            )
        ).fetchone()
        values = [str(one[0])] if one else []
    if operator.startswith("~~"):
        return tuple(f"%{_word(value)}%" for value in values)
    return tuple(values)


def _word(text: str) -> str:
    """The longest word of a text, its wildcards escaped: what somebody would search for."""
    words: list[str] = re.findall(r"\w{3,}", text) or [text]
    return max(words, key=len).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _reason(error: psycopg.Error) -> str:
    place = f" (at character {error.diag.statement_position})" if error.diag.statement_position else ""
    return f"{error.diag.message_primary or error}{place}; correct the statement and run again"
