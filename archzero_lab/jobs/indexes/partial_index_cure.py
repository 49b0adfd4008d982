"""A partial index that may cure a fragile statement: over the rows that one of its conditions names, in its order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pglast.enums.primnodes import BoolExprType
from pglast.stream import RawStream
from psycopg import sql

from archzero_lab.postgres.sql_text import ast, nodes_of, walk
from archzero_lab.postgres.statement import Statement

_NAME = "archzero_lab_part"


def partial_indexes(case: Statement, tables: Sequence[tuple[str, str]]) -> Iterator[tuple[sql.Composed, sql.Composed]]:
    """For each condition `column = value` on a single table the index over its rows, and what drops it.

    Its keys are what the statement is ordered by, else its other columns with a value; without any there is none.
    """
    for select in (node for top in nodes_of(case.sql) for node in walk(top) if isinstance(node, ast.SelectStmt)):
        sources = list(select.fromClause or ())
        if len(sources) != 1 or not isinstance(sources[0], ast.RangeVar):
            continue
        named = [table for table in tables if table[1] == sources[0].relname]
        equal = dict(_equal(select.whereClause, case.values))
        order = [_column(by.node) for by in select.sortClause or ()]
        if len(named) != 1 or None in order:
            continue
        for column, value in equal.items():
            keys = [name for name in order or equal if name != column]
            if keys:
                yield (
                    sql.SQL("CREATE INDEX {} ON {} ({}) WHERE {} = {}").format(
                        sql.Identifier(_NAME), sql.Identifier(*named[0]),
                        sql.SQL(", ").join(sql.Identifier(str(key)) for key in keys), sql.Identifier(column), value,
                    ),
                    sql.SQL("DROP INDEX {}").format(sql.Identifier(named[0][0], _NAME)),
                )  # fmt: skip


def _equal(condition: Any, values: Sequence[str | None]) -> Iterator[tuple[str, sql.Composable]]:
    """Columns that must equal a value, with it, of conditions that all must hold."""
    if isinstance(condition, ast.BoolExpr) and condition.boolop == BoolExprType.AND_EXPR:
        for one in condition.args:
            yield from _equal(one, values)
    elif isinstance(condition, ast.A_Expr) and condition.name and condition.name[-1].sval == "=":
        for one, other in ((condition.lexpr, condition.rexpr), (condition.rexpr, condition.lexpr)):
            column, value = _column(one), _value(other, values)
            if column is not None and value is not None:
                yield column, value
                return


def _column(node: Any) -> str | None:
    fields = list(node.fields or ()) if isinstance(node, ast.ColumnRef) else []
    return str(fields[-1].sval) if fields and isinstance(fields[-1], ast.String) else None


def _value(node: Any, values: Sequence[str | None]) -> sql.Composable | None:
    if isinstance(node, ast.TypeCast):
        return _value(node.arg, values)
    if isinstance(node, ast.ParamRef) and node.number <= len(values):
        value = values[node.number - 1]
        return None if value is None else sql.Literal(value)
    return sql.SQL(RawStream()(node)) if isinstance(node, ast.A_Const) and not node.isnull else None
