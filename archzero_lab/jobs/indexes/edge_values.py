"""Cases at the edge of what statistics know: values that no row has, and values beyond the end of the histogram."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from archzero_lab.jobs.indexes.resampled_plans import text_name
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.parameter_uses import Use, uses_of
from archzero_lab.postgres.sql_text import read_statements
from archzero_lab.postgres.statement import Statement

_ORDERED = {"=", "<", "<=", ">", ">="}
_EDGES = {
    # by the type's category: a value that no row has, and one as far beyond the greatest as the least is before it
    "N": (None, "2 * max({0})::numeric - min({0})::numeric + 1"),
    "D": (None, "max({0}) + (max({0}) - min({0}))"),
    "S": ("(percentile_disc(0.5) WITHIN GROUP (ORDER BY {0})) || '~'", "max({0}) || 'z'"),
}
_UUID = "ffffffff-ffff-4fff-bfff-fffffffffffe"


def edge_cases(connection: Connection, cases: Sequence[Statement]) -> list[Statement]:
    """For each text with parameters a case of absent values and one of values beyond, where its columns have such.

    Reads a table for each such parameter: for copies of our own. A text that PostgreSQL does not take gives none.
    """
    made: list[Statement] = []
    for case in {case.sql: case for case in cases if case.values}.values():
        try:
            with connection.transaction(force_rollback=True):
                uses = uses_of(connection, case.sql, read_statements(case.sql, case.name)[0].node)
                edges = {number: _edges(connection, use) for number, use in uses.items()}
        except psycopg.Error:
            continue
        for at, kind in enumerate(("absent", "beyond")):
            values = tuple(edges.get(number, ("", ""))[at] or value for number, value in enumerate(case.values, 1))
            known = [other.values for other in (*cases, *made) if other.sql == case.sql]
            if values not in known and _is_taken(connection, case, values):
                made.append(Statement(f"{text_name(case)}, {kind}", case.sql, values, case.part, case.role))
    return made


def _is_taken(connection: Connection, case: Statement, values: tuple[str | None, ...]) -> bool:
    """Whether the statement can be planned with them: a number beyond its type is no value."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(("EXPLAIN " + case.sql).encode(), values, prepare=False)
    except psycopg.Error:
        return False
    return True


def _edges(connection: Connection, use: Use) -> tuple[str, str]:
    """A value that no row has, and one beyond all; "" for none."""
    if use.column is None or use.shape != "value" or use.operator not in _ORDERED:
        return "", ""
    row = connection.execute(
        "SELECT t.typcategory::text, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attrelid = $1::regclass AND a.attname = $2",
        [sql.Identifier(use.schema, use.table).as_string(connection), use.column],
    ).fetchone()
    category, name = row or ("", "")
    if name == "uuid":
        return _UUID, ""
    if category not in _EDGES or name in ("time", "timetz"):
        return "", ""
    expressions = [
        expression.format(sql.Identifier(use.column).as_string(connection)) if expression else "NULL"
        for expression in _EDGES[category]
    ]
    table = sql.Identifier(use.schema, use.table).as_string(connection)
    try:
        with connection.transaction():
            extremes = connection.execute(
                f"SELECT ({expressions[0]})::text, ({expressions[1]})::text FROM {table}".encode()
            ).fetchone()
    except psycopg.Error:  # a type with no such sum; the other parameters have theirs
        return "", ""
    absent, beyond = extremes or (None, None)
    return absent or "", beyond or ""
