"""What a statement's parameters are compared with: read from the conditions of its generic plan and from its text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pglast import parse_sql, parser
from pglast.enums.parsenodes import A_Expr_Kind
from pglast.stream import RawStream

from archzero_lab.postgres.connection import Connection
from archzero_lab.postgres.generic_plans import explain_generic
from archzero_lab.postgres.sql_text import ast, parameters_of, walk

_CONDITIONS = ("Index Cond", "Recheck Cond", "Filter", "Hash Cond", "Merge Cond", "Join Filter")
_SUBPLAN = re.compile(r"\(?\b(?:hashed )?(?:SubPlan|InitPlan) \d+\)?(?:\.col\d+)?")
_RETURNED = re.compile(r"\$(\d+)(?=[^()]*\)$)")
_ARITHMETIC = ("+", "-", "*", "/", "%", "||", "->", "->>", "#>", "#>>", "^")
"""Operators that compute and do not compare."""

Shape = Literal["value", "array", "listed", "element", "within"]


@dataclass(frozen=True)
class Use:
    """A parameter and the other side of its comparison: an expression over one table's rows, as SQL.

    `column` where that is a column itself. `shape`: the value itself, an array of values (`= ANY ($1)`), the `at`-th of
    a list of them, an element of the expression's array (`$1 = ANY (tags)`), or within an expression of its own
    (`now() - $1`).
    """

    schema: str
    table: str
    alias: str
    expression: str
    column: str | None
    operator: str
    shape: Shape = "value"
    at: int = 0


def uses_of(connection: Connection, text: str, node: Any) -> dict[int, Use]:
    """Parameter -> its first plain use. Raises psycopg.Error for a statement that PostgreSQL does not take."""
    # the generic plan has no values yet, and without indexes it shows every condition as a filter; no partition may go
    plain = {"enable_indexscan": "off", "enable_bitmapscan": "off", "enable_partition_pruning": "off"}
    plan = explain_generic(connection, text, plain)
    entries = list(_entries(json.loads(plan.raw)[0]["Plan"]))
    tables = {
        entry["Alias"]: (entry.get("Schema", "public"), entry["Relation Name"], entry["Alias"])
        for entry in entries
        if "Alias" in entry and "Relation Name" in entry
    }
    # before 17 what a subplan returns is printed as $4, too: no telling which is meant
    unclear = {int(number) for entry in entries for number in _RETURNED.findall(str(entry.get("Subplan Name", "")))}
    uses: dict[int, Use] = {}
    for entry in entries:
        for condition in (str(entry[name]) for name in _CONDITIONS if name in entry):
            for number, use in uses_in(condition, tables, entry.get("Alias", "")):
                plainer = number not in uses or uses[number].shape == "within"  # that says more
                if plainer and number not in unclear:
                    uses[number] = use
    for number, use in _written(node, connection):
        uses.setdefault(number, use)
    return uses


def _entries(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes as EXPLAIN's JSON tells them."""
    yield entry
    for child in entry.get("Plans", []):
        yield from _entries(child)


def uses_in(condition: str, tables: dict[str, tuple[str, str, str]], alias: str) -> Iterator[tuple[int, Use]]:
    """Parameters of a condition as EXPLAIN prints it, each with its use; `tables` by alias, `alias` the node's own.

    Nothing of one that is no SQL, and nothing of a parameter beside columns of two tables.
    """
    try:
        tree = parse_sql(f"SELECT 1 WHERE {_SUBPLAN.sub('NULL', condition)}")[0].stmt
    except parser.ParseError:
        return
    for node in walk(tree):
        if not isinstance(node, ast.A_Expr) or not node.name:
            continue
        operator = str(node.name[-1].sval)
        for one, other, turned in ((node.lexpr, node.rexpr, False), (node.rexpr, node.lexpr, True)):
            for side, parameters in _pairs(one, other):
                place = _place(side, tables, alias) if operator not in _ARITHMETIC else None
                if place is None or not parameters_of(parameters) or _columns(parameters):
                    continue
                column = _column(side)
                base = (*place, _sql(side), column, _turned(operator) if turned else operator)
                for number, shape, at in _shapes(parameters, node.kind, turned):
                    yield number, Use(*base, shape, at)


def _pairs(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Both sides of a comparison; of rows each part with its own."""
    if isinstance(one, ast.RowExpr) and isinstance(other, ast.RowExpr):
        yield from zip(one.args, other.args, strict=False)
    elif one is not None and other is not None and not isinstance(one, tuple):
        yield one, other


def _shapes(side: Any, kind: Any, turned: bool) -> Iterator[tuple[int, Shape, int]]:
    bare = _uncast(side)
    if kind == A_Expr_Kind.AEXPR_OP_ANY or kind == A_Expr_Kind.AEXPR_OP_ALL:
        if turned:  # the parameter is looked for in the column's array
            yield from ((number, "element", 0) for number in parameters_of(side))
        elif isinstance(bare, ast.A_ArrayExpr):
            for at, element in enumerate(bare.elements or ()):
                yield from ((number, "listed", at) for number in parameters_of(element))
        else:
            yield from ((number, "array", 0) for number in parameters_of(side))
    elif isinstance(bare, ast.ParamRef):
        yield bare.number, "value", 0
    else:
        yield from ((number, "within", 0) for number in parameters_of(side))


def _written(node: Any, connection: Connection) -> Iterator[tuple[int, Use]]:
    """Parameters that are written into a column: SET column = $1, INSERT … VALUES ($1)."""
    if not isinstance(node, (ast.UpdateStmt, ast.InsertStmt)):
        return
    row = connection.execute(
        "SELECT n.nspname, c.relname, ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid"
        " AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)", [_sql(node.relation)],
    ).fetchone()  # fmt: skip
    if row is None:
        return
    schema, table, columns = row
    targets: list[tuple[str, Any]] = []
    if isinstance(node, ast.UpdateStmt):
        targets = [(target.name, target.val) for target in node.targetList]
    elif isinstance(node.selectStmt, ast.SelectStmt) and node.selectStmt.valuesLists:
        named = [target.name for target in node.cols or ()] or columns
        targets = [pair for values in node.selectStmt.valuesLists for pair in zip(named, values, strict=False)]
    for column, value in targets:
        if isinstance(bare := _uncast(value), ast.ParamRef):
            place = _sql(ast.ColumnRef(fields=(ast.String(sval=table), ast.String(sval=column))))
            yield bare.number, Use(schema, table, table, place, column, "=")


def _place(side: Any, tables: dict[str, tuple[str, str, str]], alias: str) -> tuple[str, str, str] | None:
    """The one table whose columns an expression has; None for none, and for more than one."""
    owners = set()
    for column in _columns(side):
        names = [part.sval for part in column.fields if isinstance(part, ast.String)]
        owners.add(names[-2] if len(names) > 1 else alias)
    if len(owners) != 1 or parameters_of(side):
        return None
    return tables.get(owners.pop())


def _column(node: Any) -> str | None:
    bare = _uncast(node)
    return str(bare.fields[-1].sval) if isinstance(bare, ast.ColumnRef) else None


def _uncast(node: Any) -> Any:
    while isinstance(node, ast.TypeCast):
        node = node.arg
    return node


def _columns(node: Any) -> Sequence[Any]:
    return [one for one in walk(node) if isinstance(one, ast.ColumnRef)]


def _sql(node: Any) -> str:
    return str(RawStream()(node))


def _turned(operator: str) -> str:
    """The operator read from the other side."""
    return {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "@>": "<@", "<@": "@>"}.get(operator, operator)
