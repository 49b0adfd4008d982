"""Parameters that switch a condition on or off: `$4 IS NULL OR owner = $4`, `coalesce($2, kind)`, a boolean by itself.

Whoever calls such a statement gives one or two and leaves the rest away; filled all at once it finds rows by an index
that none of these calls would use, and the indexes that they use look idle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from archzero_lab.postgres.sql_text import ast, walk

Values = tuple[str | None, ...]


def switched_off(node: Any, types: Mapping[int, str], compared: Collection[int]) -> dict[int, str | None]:
    """Parameter -> the value with which it asks for nothing: None, or "false" of a boolean no column is compared with.

    `types` by parameter; `compared` are those that a column is compared with.
    """
    off: dict[int, str | None] = {}
    for one in walk(node):
        asked: list[Any] = []
        if isinstance(one, ast.NullTest):
            asked = [one.arg]
        elif isinstance(one, ast.CoalesceExpr):
            asked = list(one.args[:-1])  # what comes after it is taken where it is NULL
        for each in asked:
            while isinstance(each, ast.TypeCast):
                each = each.arg
            if isinstance(each, ast.ParamRef):
                off[each.number] = None
    for number, kind in types.items():
        if kind == "boolean" and number not in compared:
            off.setdefault(number, "false")
    return off


def calls_of(filled: Mapping[int, str | None], off: Mapping[int, str | None]) -> dict[str, dict[int, str | None]]:
    """What to call each further call, and its values: nothing optional, and each of the optional ones alone.

    `filled` has every parameter's value where all are given. Those that are off there stay so.
    """
    switches = {number: value for number, value in off.items() if number in filled and filled[number] != value}
    if not switches:
        return {}
    calls = {"nothing optional": {**filled, **switches}}
    if len(switches) > 1:
        for number in switches:
            calls[f"${number} alone"] = {**filled, **switches, number: filled[number]}
    return calls
