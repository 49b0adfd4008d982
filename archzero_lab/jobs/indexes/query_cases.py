"""A user's queries as cases: parameters filled with common, rare and middle values of what they are compared with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import psycopg

from archzero_lab.errors import DatabaseError, LabError, SettingsError
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.logged_values import LoggedValues
from archzero_lab.postgres.optional_parameters import Values, calls_of, switched_off
from archzero_lab.postgres.parameter_uses import uses_of
from archzero_lab.postgres.parameter_values import value_by_type, values_of
from archzero_lab.postgres.placeholders import numbered
from archzero_lab.postgres.sql_text import (
    SqlStatement,
    ast,
    paging_of,
    parameters_of,
    read_statements,
    text_of,
    walk,
)
from archzero_lab.postgres.statement import Statement

_GIVEN = re.compile(r"^--\s*(\$\d+|:?[A-Za-z_]\w*)\s*=\s*(.*?)\s*$", re.MULTILINE)
_KINDS = ("common", "rare", "middle")
_HIDDEN = "<insufficient privilege>"
"""What pg_stat_statements shows of others' texts to who is no member of pg_read_all_stats."""
_FINDING = (ast.SelectStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt, ast.InsertStmt)
_LOOKING = re.compile(
    r"\s*(?:/\*.*?\*/\s*|--[^\n]*\n\s*)*(?:SELECT|WITH|UPDATE|DELETE|MERGE)\b", re.IGNORECASE | re.DOTALL
)
_PAGE = {"LIMIT": "20", "OFFSET": "0"}
"""What LIMIT and OFFSET get where nothing else is known: the first page of twenty."""
_NOBODY: Mapping[str, str] = {}


@dataclass(frozen=True)
class Busiest:
    """The statements that took the most time of a database, by name, with who sent each.

    `share` (0 to 1) is theirs of all its time, `hidden` that of statements whose text this role may not read.
    """

    texts: dict[str, str]
    senders: dict[str, str]
    share: float
    hidden: float = 0.0


def read_queries(folder: Path) -> dict[str, str]:
    """The texts of a folder's *.sql files by name; each is to hold one statement.

    Raises SettingsError for a folder without any, and for a file that is not UTF-8.
    """
    queries = {path.stem: text_of(path).strip().rstrip(";") for path in sorted(folder.glob("*.sql"))}
    if not queries:
        raise SettingsError(f"{folder} holds no .sql file: put one statement into each")
    return queries


def busiest_statements(connection: Connection, number: int) -> Busiest:
    """The statements that took the most time of a database, from pg_stat_statements, their literals as parameters.

    Those that look for rows: SELECT, and what changes or deletes some; INSERT finds none.
    """
    try:
        rows = connection.execute(
            "SELECT query, total_exec_time / nullif(sum(total_exec_time) OVER (), 0), pg_get_userbyid(userid)"
            " FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " ORDER BY total_exec_time DESC"
        ).fetchall()
    except psycopg.Error as error:
        raise DatabaseError(
            f"pg_stat_statements: {error.diag.message_primary}; add it to shared_preload_libraries and CREATE EXTENSION"
            " it there, or give --queries"
        ) from None
    reading = (
        (str(query).rstrip(";"), float(share or 0), str(sender)) for query, share, sender in rows
        if str(query) != _HIDDEN and looks_for_rows(str(query))
    )  # fmt: skip
    hidden = sum(float(share or 0) for query, share, _ in rows if str(query) == _HIDDEN)
    taken = list(islice(reading, number))
    if not taken:
        raise DatabaseError(
            "pg_stat_statements has no statement of that database that may be read and looks for rows; give --queries"
            if not hidden else
            "pg_stat_statements hides its texts from this role: GRANT pg_read_all_stats to it, or give --queries"
        )  # fmt: skip
    texts = {f"statement {at}": query for at, (query, _, _) in enumerate(taken, 1)}
    senders = {f"statement {at}": sender for at, (_, _, sender) in enumerate(taken, 1)}
    return Busiest(texts, senders, sum(share for _, share, _ in taken), hidden)


def looks_for_rows(text: str) -> bool:
    """Whether it finds rows of somebody's tables: not the catalog's, which pg_dump and the lab itself ask."""
    try:
        statements = read_statements(numbered(text)[0], "statement")
    except SettingsError:
        return bool(_LOOKING.match(text))  # told, not lost
    if len(statements) != 1 or not isinstance(statements[0].node, _FINDING):
        return False
    if isinstance(statements[0].node, ast.InsertStmt) and not _selects(statements[0].node):
        return False
    named = [node for node in walk(statements[0].node) if isinstance(node, ast.RangeVar)]
    return any(
        node.schemaname not in ("pg_catalog", "information_schema") and not node.relname.startswith("pg_")
        for node in named
    )


def _selects(statement: ast.InsertStmt) -> bool:
    """Whether an INSERT's rows come from tables."""
    return any(isinstance(node, ast.SelectStmt) and node.fromClause for node in walk(statement))


def understood(connection: Connection, texts: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The texts that PostgreSQL takes on a database, and of the others the reason, a line each.

    Nothing of the database's own runs: they are parsed and their names and types looked up, not planned.
    """
    queries, reasons = {}, []
    for name, text in texts.items():
        try:
            plain, _ = numbered(text)
            _only(plain, name)
            with connection.transaction(force_rollback=True):
                _types(connection, plain)
            queries[name] = text
        except psycopg.Error as error:
            reasons.append(f"statement {name}: {_reason(error)}")
        except LabError as error:
            reasons.append(str(error))
    return queries, reasons


def cases_or_reasons(
    connection: Connection,
    texts: dict[str, str],
    logged: LoggedValues | None = None,
    roles: Mapping[str, str] = _NOBODY,
) -> tuple[list[Statement], list[str]]:
    """The cases of all texts, and of those that give none the reason, a line each: one bad item costs itself.

    Values that a log has of a statement come before all that is made up. `roles`: as whom each text is to be run.
    """
    cases: list[Statement] = []
    reasons = []
    for name, text in texts.items():
        try:
            role = roles.get(name, "")
            called = f"{name} (as {role})" if role else name
            cases += [replace(case, role=role) for case in cases_of(connection, called, text, logged)]
        except LabError as error:
            reasons.append(str(error))
    return cases, reasons


def cases_of(connection: Connection, name: str, text: str, logged: LoggedValues | None = None) -> list[Statement]:
    """One statement's cases: itself, or one each for common, rare and middle values of its parameters.

    Parameters may be written as $1, ?, :name, %s or %(name)s; a line `-- $1 = value` or `-- name = value` gives one.
    Raises SettingsError for what is no SQL or not one statement, DatabaseError for what PostgreSQL does not take,
    naming the statement and the place, and for a parameter of which nothing is known.
    """
    text, names = numbered(text)
    statement = _only(text, name)
    wanted = parameters_of(statement.node)
    sent = logged.of(text) if logged is not None and wanted else []
    if not wanted:
        cases = [Statement(name, text)]
    elif sent:
        labels = [f"{name}, {kind}" for kind in _KINDS] if len(sent) > 1 else [name]
        cases = [Statement(label, text, values) for label, values in zip(labels, sent, strict=False)]
    else:
        try:
            with connection.transaction(force_rollback=True):
                cases = _filled(connection, name, text, statement, wanted, _given(text, names))
        except psycopg.Error as error:
            raise DatabaseError(f"statement {name}: {_reason(error)}") from None
    for case in cases:
        _check(connection, name, case)
    return cases


def _only(text: str, name: str) -> SqlStatement:
    statements = read_statements(text, f"statement {name}")
    if len(statements) != 1:
        raise SettingsError(f"statement {name} holds {len(statements)} statements; give one by one")
    return statements[0]


def _given(text: str, names: dict[str, int]) -> dict[int, str | None]:
    given: dict[int, str | None] = {}
    for written, told in _GIVEN.findall(text):
        value = None if told == "NULL" else told
        if written.startswith("$"):
            given[int(written[1:])] = value
        elif written.lstrip(":") in names:
            given[names[written.lstrip(":")]] = value
    return given


def _filled(
    connection: Connection,
    name: str,
    text: str,
    statement: SqlStatement,
    wanted: Sequence[int],
    given: dict[int, str | None],
) -> list[Statement]:
    types = _types(connection, text)
    uses = uses_of(connection, text, statement.node)
    paging, deciding = paging_of(statement.node), _deciding(statement.node)
    off = switched_off(statement.node, types, uses)
    filled: dict[int, Values] = {}
    for number in wanted:
        kind = types.get(number, "")
        if number in given:
            filled[number] = (given[number],)
        elif number in uses:
            filled[number] = values_of(connection, number, uses, kind)
        elif number in paging and not kind.endswith("[]"):  # of an array there the number is counted
            filled[number] = (_PAGE[paging[number]],)
        elif number not in deciding:
            filled[number] = value_by_type(kind)
        if not filled.get(number) and number in off:
            filled[number] = (off[number],)
    unknown = [number for number in wanted if not filled.get(number)]
    if unknown:
        told = ", ".join(f"${number} ({types.get(number, 'of unknown type')})" for number in unknown)
        raise DatabaseError(
            f"statement {name}: nothing is known of {told}; a line `-- ${unknown[0]} = value` in a file of --queries"
            " gives it a value"
        )
    kinds: dict[Values, str] = {}
    for at, kind in enumerate(_KINDS):
        values = tuple(filled[number][min(at, len(filled[number]) - 1)] for number in wanted)
        kinds.setdefault(values, kind)
    whole = max(wanted)
    cases = [
        Statement(f"{name}, {kind}" if len(kinds) > 1 else name, text, _spread(wanted, values, whole))
        for values, kind in kinds.items()
    ]
    common = {number: filled[number][0] for number in wanted}
    for kind, sent in calls_of(common, off).items():
        call = Statement(f"{name}, {kind}", text, tuple(sent.get(number) for number in range(1, whole + 1)))
        with suppress(DatabaseError):  # what PostgreSQL refuses nobody calls: it costs itself
            _check(connection, name, call)
            cases.append(call)
    return cases


def _types(connection: Connection, text: str) -> dict[int, str]:
    """Parameter -> its type, as PostgreSQL itself takes it."""
    connection.execute(("PREPARE archzero_types AS " + text).encode(), prepare=False)
    row = connection.execute(
        "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'archzero_types'"
    ).fetchone()
    connection.execute("DEALLOCATE archzero_types")
    return dict(enumerate(row[0], 1)) if row else {}


def _deciding(node: object) -> set[int]:
    """Parameters of a WHERE, an ON or a FROM: of one whose use is not known no value can be made up."""
    numbers: set[int] = set()
    for one in walk(node):
        for name in ("whereClause", "quals", "fromClause", "larg", "rarg"):
            if isinstance(one, (ast.SelectStmt, ast.UpdateStmt, ast.DeleteStmt, ast.JoinExpr)):
                part = getattr(one, name, None)
                numbers |= {number for each in (part if isinstance(part, tuple) else (part,)) if each is not None
                          for number in parameters_of(each)}  # fmt: skip
    return numbers


def _spread(wanted: Sequence[int], values: Values, whole: int) -> tuple[str | None, ...]:
    by_number = dict(zip(wanted, values, strict=True))
    return tuple(by_number.get(number) for number in range(1, whole + 1))


def _check(connection: Connection, name: str, case: Statement) -> None:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(("EXPLAIN " + case.sql).encode(), case.values, prepare=False)
    except psycopg.Error as error:
        raise DatabaseError(f"statement {name}: {_reason(error)}") from None


def _reason(error: psycopg.Error) -> str:
    place = f" (at character {error.diag.statement_position})" if error.diag.statement_position else ""
    return f"{error.diag.message_primary or error}{place}; correct the statement and run again"
