"""Changes that may cure a fragile statement, of statistics or by a partial index, each tried as the statement was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from pglast import ast
from psycopg import sql

from archzero_lab.jobs.indexes.partial_index_cure import partial_indexes
from archzero_lab.jobs.indexes.plan_shapes import Cure, Fragility, Seen, best_costs
from archzero_lab.jobs.indexes.resampled_plans import ANY_VALUES, Planner, text_name
from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.sql_text import nodes_of, walk
from archzero_lab.postgres.statement import Statement

_MOST_COLUMNS = 8
"""What CREATE STATISTICS takes."""
_DECIDING = ("whereClause", "quals", "sortClause", "groupClause", "havingClause")
_Change = tuple[sql.Composed, sql.Composed]


def tried_cures(
    connection: Connection,
    cases: Sequence[Statement],
    seen: Sequence[Seen],
    tables: Sequence[tuple[str, str]],
    analyzes: int,
) -> dict[str, list[Cure]]:
    """For each fragile case, at the first target where it is: more statistics of the columns that decide, and of them
    together, and an index over the rows that a condition names. Each is taken back; one that PostgreSQL does not take
    is none.
    """
    cures: dict[str, list[Cure]] = {}
    for one in seen:
        if one.target is None or one.verdict is not Fragility.FRAGILE or one.case in cures:
            continue
        text = one.case.removesuffix(f", {ANY_VALUES}")
        mine = [case for case in cases if case.name == one.case]
        mine = mine or [case for case in cases if case.values and text_name(case) == text]
        generic = text != one.case
        cures[one.case] = _with_values(seen, mine, one.target) if generic else []
        for change, undo in _changes_for(connection, mine, tables, of_values=not generic):
            try:
                connection.execute(change)
            except psycopg.Error:
                continue
            with_it = Planner(connection, mine, tables).over_analyzes(one.target, analyzes)
            connection.execute(undo)
            cured = next((other for other in with_it if other.case == one.case), None)
            if cured is not None:
                better = best_costs(with_it)
                cured.best = {case: min(cost, better.get(case, cost)) for case, cost in one.best.items()}
                cures[one.case].append(Cure(change.as_string(connection), cured))
    return cures


def _with_values(seen: Sequence[Seen], cases: Sequence[Statement], target: int) -> list[Cure]:
    """What planning with the values each time came to at that target, for the case for which it is dear most often."""
    names = {case.name for case in cases}
    own = [one for one in seen if one.case in names and one.target == target]
    return [Cure("SET plan_cache_mode = force_custom_plan", max(own, key=lambda one: one.interval))] if own else []


def _changes_for(
    connection: Connection, cases: Sequence[Statement], tables: Sequence[tuple[str, str]], *, of_values: bool
) -> Iterator[_Change]:
    """Changes with what undoes each, of cases of one text; an index over rows of a value serves a plan `of_values`."""
    for table, names in _deciding_columns(connection, cases[0].sql, tables).items():
        yield from _of_statistics(connection, table, names)
    indexes = {change.as_string(connection): (change, undo)
               for case in (cases if of_values else ()) for change, undo in partial_indexes(case, tables)}  # fmt: skip
    yield from indexes.values()


def _of_statistics(connection: Connection, table: tuple[str, str], names: Sequence[str]) -> Iterator[_Change]:
    place = sql.Identifier(*table)
    rows = connection.execute(
        "SELECT attname, coalesce(attstattarget, -1) FROM pg_attribute WHERE attrelid = $1::regclass",
        [place.as_string(connection)],
    ).fetchall()
    own: dict[str, int] = dict(rows)
    for target in (1_000, 10_000):
        change, undo = (
            sql.SQL("ALTER TABLE {} ").format(place)
            + sql.SQL(", ").join(
                sql.SQL("ALTER COLUMN {} SET STATISTICS {}").format(sql.Identifier(name), sql.Literal(value))
                for name, value in targets.items()
            )
            for targets in (dict.fromkeys(names, target), {name: own[name] for name in names})
        )
        yield change, undo
    if 1 < len(names) <= _MOST_COLUMNS:
        name = sql.Identifier(table[0], "archzero_lab_together")
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        yield (
            sql.SQL("CREATE STATISTICS {} ON {} FROM {}").format(name, columns, place),
            sql.SQL("DROP STATISTICS {}").format(name),
        )


def _deciding_columns(
    connection: Connection, text: str, tables: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], list[str]]:
    """Columns by which a statement chooses, orders or groups its rows, by the table that has one of that name."""
    nodes = [node for top in nodes_of(text) for node in walk(top)]
    deciding = [part for node in nodes for name in _DECIDING if (part := getattr(node, name, None)) is not None]
    words: set[str] = set()
    for part in deciding:
        for one in part if isinstance(part, tuple) else (part,):
            for node in walk(one):
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
