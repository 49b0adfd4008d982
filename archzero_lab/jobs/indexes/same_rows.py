"""Whether two answers of a statement are the same where they must be: an index may not change one, a clock may.

What a statement leaves open is known for what it is: volatile columns by asking twice, floating sums by a tolerance,
ties under LIMIT by the whole answer, an order that DISTINCT ON, a window or an aggregate takes as it comes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from pglast.enums.nodes import LimitOption
from pglast.stream import RawStream

from archzero_lab.postgres.sql_text import ast, nodes_of, read_statements, walk

Row = tuple[bytes | None, ...]

_FLOATS = (700, 701)
"""Types whose sums depend on the order of the rows (float4, float8; PostgreSQL's pg_type)."""
_DIGITS, _RELATIVE, _NOTHING = 6, 1e-6, 1e-9
_AS_IT_COMES = frozenset({
    "array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg", "xmlagg", "any_value",
    "row_number", "first_value", "last_value", "nth_value", "lag", "lead", "ntile",
})  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A statement's rows as PostgreSQL's text, with the types (oids) of their columns."""

    types: tuple[int, ...]
    rows: Sequence[Row]

    @property
    def has_floats(self) -> bool:
        """Whether one of its columns is floating."""
        return any(one in _FLOATS for one in self.types)


def answer_of(cursor: psycopg.Cursor[Any]) -> Answer:
    """The rows as PostgreSQL's text: Python need not hold what PostgreSQL can (infinity, a date BC)."""
    result = cursor.pgresult
    if result is None or not result.nfields:  # a statement that writes gives no rows
        return Answer((), ())
    columns = range(result.nfields)
    rows = [tuple(result.get_value(row, at) for at in columns) for row in range(result.ntuples)]
    return Answer(tuple(result.ftype(at) for at in columns), rows)


def digest_of(whole: str, parameters: int) -> str:
    """A statement that counts a query's rows and sums up their hashes; parameters it has not are given all the same."""
    rest = "".join(f", ${number}::text" for number in range(1, parameters + 1) if f"${number}" not in whole)
    return f"SELECT count(*), sum(hashtextextended(whole::text, 0)){rest} FROM ({whole}) AS whole"


def same_rows(first: Answer, again: Answer, other: Answer) -> bool:
    """Whether `other` has the rows of `first`, in any order; `again` is `first` asked once more.

    Columns that differ between those two are nobody's promise; where even the number does, nothing is.
    """
    if len(first.rows) != len(again.rows):
        return True
    if len(first.rows) != len(other.rows):
        return False
    steady = [at for at in range(len(first.types)) if _column(first, at) == _column(again, at)]
    floats = [at for at in steady if first.types[at] in _FLOATS]
    plain = [at for at in steady if at not in floats]
    if not floats:
        return Counter(_part(row, plain) for row in first.rows) == Counter(_part(row, plain) for row in other.rows)
    one, two = (sorted(answer.rows, key=lambda row: _order(row, plain, floats)) for answer in (first, other))
    return all(
        _part(a, plain) == _part(b, plain) and all(_close(a[at], b[at]) for at in floats)
        for a, b in zip(one, two, strict=True)
    )


def takes_order_as_it_comes(text: str) -> bool:
    """Whether an answer hangs on the order in which rows come: by DISTINCT ON, a window function, an aggregate."""
    nodes = nodes_of(text)
    called = {node.funcname[-1].sval for node in nodes if isinstance(node, ast.FuncCall)}
    return bool(called & _AS_IT_COMES) or any(
        part is not None for node in nodes if isinstance(node, ast.SelectStmt) for part in node.distinctClause or ()
    )


def without_limit(text: str) -> str | None:
    """A query without its LIMIT and OFFSET, whose ties are PostgreSQL's to choose; None where it has none."""
    (statement,) = read_statements(text, "statement")
    selects = [node for node in walk(statement.node) if isinstance(node, ast.SelectStmt)]
    limited = [one for one in selects if one.limitCount is not None or one.limitOffset is not None]
    if not limited or not isinstance(statement.node, ast.SelectStmt):
        return None
    for one in limited:
        one.limitCount = one.limitOffset = None
        one.limitOption = LimitOption.LIMIT_OPTION_DEFAULT
    return str(RawStream(comments=None)(statement.node))


def _column(answer: Answer, at: int) -> Counter[Any]:
    if answer.types[at] in _FLOATS:
        return Counter(_rounded(row[at]) for row in answer.rows)
    return Counter(row[at] for row in answer.rows)


def _part(row: Row, columns: Sequence[int]) -> Row:
    return tuple(row[at] for at in columns)


def _order(row: Row, plain: Sequence[int], floats: Sequence[int]) -> list[tuple[bool, Any]]:
    return [(row[at] is None, row[at] or b"") for at in plain] + [(row[at] is None, _rounded(row[at])) for at in floats]


def _rounded(value: bytes | None) -> float:
    return float(f"{float(value):.{_DIGITS}g}") if value is not None else 0.0


def _close(one: bytes | None, other: bytes | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    return math.isclose(float(one), float(other), rel_tol=_RELATIVE, abs_tol=_NOTHING)
