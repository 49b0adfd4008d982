"""Whether a statement reads or writes one row of one table, by its primary key; how a parse tree is walked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pglast import ast, enums

from archzero_lab.postgres.result_cache.schema import Schema, Table

_KEY_TYPES = {"int2", "int4", "int8", "uuid"}


@dataclass(frozen=True)
class Row:
    """The row of a table whose primary key (a UUID, or an integer) is the parameter of that number, from 0."""

    table: str
    parameter: int
    uuid: bool = False


def row_read(statement: Any, schema: Schema, tables: set[str]) -> Row | None:
    """The one row that a statement without joins, sub-queries or aggregates reads."""
    sources: Any = statement.fromClause or ()
    if len(sources) != 1 or not is_a(sources[0], ast.RangeVar) or statement.withClause or statement.op:
        return None
    if statement.havingClause or statement.groupClause:
        return None
    table = schema.table(sources[0].schemaname, sources[0].relname)
    if table is None or tables != {table.name}:
        return None
    every = list(nodes(statement))
    # count(*) is a row where there is none
    grouped = any(is_a(one, ast.FuncCall) and one.funcname[-1].sval in schema.aggregates for one in every)
    if grouped or sum(is_a(one, ast.RangeVar) for one in every) > 1:
        return None
    return row_of(statement.whereClause, table, sources[0])


def row_of(where: Any, table: Table, relation: Any) -> Row | None:
    """The row that a condition confines a table to: its primary key equals a parameter, whatever else must hold."""
    if table.key is None or (relation.alias and relation.alias.colnames):
        return None
    for condition in _all_of(where):
        if not (is_a(condition, ast.A_Expr) and condition.kind == enums.A_Expr_Kind.AEXPR_OP):
            continue
        if [part.sval for part in condition.name] != ["="]:
            continue
        for one, other in ((condition.lexpr, condition.rexpr), (condition.rexpr, condition.lexpr)):
            if _is_key(one, table, relation) and is_a(value := _uncast(other), ast.ParamRef):
                return Row(table.name, value.number - 1, table.uuid)
    return None


def _all_of(where: Any) -> Iterator[Any]:
    if is_a(where, ast.BoolExpr) and where.boolop == enums.BoolExprType.AND_EXPR:
        for part in where.args:
            yield from _all_of(part)
    elif where is not None:
        yield where


def _is_key(node: Any, table: Table, relation: Any) -> bool:
    if not is_a(node, ast.ColumnRef) or not all(is_a(part, ast.String) for part in node.fields):
        return False
    *of, column = [part.sval for part in node.fields]
    called = relation.alias.aliasname if relation.alias else relation.relname
    return column == table.key and of in ([], [called])


def _uncast(node: Any) -> Any:
    """What is cast, where the cast is to a type that a key has: any other may be of another value."""
    if is_a(node, ast.TypeCast) and node.typeName.names[-1].sval in _KEY_TYPES:
        return node.arg
    return node


def is_a(node: Any, *kinds: type) -> bool:
    """isinstance, after which a type checker does not ask of each field whether it is None: a parsed text has them."""
    return isinstance(node, kinds)


def nodes(node: Any) -> Iterator[Any]:
    """Each node of a tree, itself first."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Node):
            yield one
            waiting += [getattr(one, name, None) for name in type(one).__slots__]  # type: ignore[attr-defined]
        elif isinstance(one, tuple | list):
            waiting += one
