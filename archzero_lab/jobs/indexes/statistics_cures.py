"""Changes of statistics that may cure a fragile statement, each tried as the statement was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pglast import ast
from psycopg import sql

from archzero_lab.jobs.indexes.plan_shapes import Cure, Fragility, Seen
from archzero_lab.jobs.indexes.resampled_plans import over_analyzes
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.sql_text import nodes_of, walk
from archzero_lab.postgres.statement import Statement


def tried_cures(
    connection: Connection,
    cases: Sequence[Statement],
    seen: Sequence[Seen],
    tables: Sequence[tuple[str, str]],
    analyzes: int,
) -> dict[str, list[Cure]]:
    """For each fragile case: more statistics of the columns that it names, and of them together, each taken back."""
    cures: dict[str, list[Cure]] = {}
    for one in seen:
        case = next((case for case in cases if case.name == one.case), None)
        if case is None or one.verdict is not Fragility.FRAGILE or one.case in cures:
            continue
        cures[one.case] = []
        for table, names in _named(connection, case.sql, tables).items():
            for change, undo in _changes(table, names):
                connection.execute(change)
                with_it = over_analyzes(connection, [case], tables, analyzes, one.target)[0]
                connection.execute(undo)
                cures[one.case].append(Cure(change.as_string(connection), with_it))
    return cures


def _changes(table: tuple[str, str], names: Sequence[str]) -> Iterator[tuple[sql.Composed, sql.Composed]]:
    place = sql.Identifier(*table)
    for target in (1_000, 10_000):
        change, undo = (
            sql.SQL("ALTER TABLE {} ").format(place)
            + sql.SQL(", ").join(
                sql.SQL("ALTER COLUMN {} SET STATISTICS {}").format(sql.Identifier(name), sql.Literal(value))
                for name in names
            )
            for value in (target, -1)
        )
        yield change, undo
    if len(names) > 1:
        name = sql.Identifier(table[0], "archzero_lab_together")
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        yield (
            sql.SQL("CREATE STATISTICS {} ON {} FROM {}").format(name, columns, place),
            sql.SQL("DROP STATISTICS {}").format(name),
        )


def _named(connection: Connection, text: str, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """Columns that a statement names, by the table that has one of that name, of the tables that it names."""
    nodes = [node for top in nodes_of(text) for node in walk(top)]
    words: set[str] = set()
    for node in nodes:
        last = (node.fields or ())[-1:] if isinstance(node, ast.ColumnRef) else ()
        words |= {str(one.sval) for one in last if isinstance(one, ast.String)}
    named = {node.relname for node in nodes if isinstance(node, ast.RangeVar)}
    columns: dict[tuple[str, str], list[str]] = {}
    for schema, name in tables:
        if name in named:
            rows = connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped"
                " AND attname = ANY($2) ORDER BY attnum",
                [sql.Identifier(schema, name).as_string(connection), sorted(words)],
            ).fetchall()
            if rows:
                columns[schema, name] = [row[0] for row in rows]
    return columns
