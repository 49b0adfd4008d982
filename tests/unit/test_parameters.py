"""A statement's parameters: drivers' placeholders numbered, and what a plan's conditions compare each with."""

from __future__ import annotations

import pytest

from archzero_lab.postgres.parameter_uses import Use, uses_in
from archzero_lab.postgres.placeholders import numbered

TABLES = {"c": ("public", "cards", "c"), "d": ("shop", "Dear", "d")}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("SELECT 1 FROM t WHERE a = ? AND b IN (?, ?)", "SELECT 1 FROM t WHERE a = $1 AND b IN ($2, $3)"),
        ("SELECT * FROM t WHERE j ? 'k' AND a = ?", "SELECT * FROM t WHERE j ? 'k' AND a = $1"),
        ("SELECT * FROM t WHERE j ? $1", "SELECT * FROM t WHERE j ? $1"),
        ("SELECT a::int FROM t WHERE x = :n AND y = 'a:b'", "SELECT a::int FROM t WHERE x = $1 AND y = 'a:b'"),
        ("SELECT a[1:2] FROM t WHERE x = :n", "SELECT a[1:2] FROM t WHERE x = $1"),
        ("SELECT * FROM t WHERE k = %s AND n LIKE 'a%%'", "SELECT * FROM t WHERE k = $1 AND n LIKE 'a%'"),
        ("SELECT * FROM t WHERE k = %(k)s OR l = %(k)s", "SELECT * FROM t WHERE k = $1 OR l = $1"),
        ("SELECT 'it''s ?', ? -- what?\n FROM t", "SELECT 'it''s ?', $1 -- what?\n FROM t"),
        ("SELECT $body$ ? $body$, ?", "SELECT $body$ ? $body$, $1"),
        ("SELECT * FROM t WHERE at > now() - interval $3", "SELECT * FROM t WHERE at > now() - $3::interval"),
        ("SELECT 5 % s FROM t", "SELECT 5 % s FROM t"),
    ],
)  # fmt: skip
def test_placeholders_of_drivers_become_numbers_and_texts_and_operators_stay(text: str, plain: str) -> None:
    assert numbered(text)[0] == plain


def test_names_keep_their_number() -> None:
    assert numbered("SELECT :b, :a, :b")[1] == {"b": 1, "a": 2}


def _uses(condition: str) -> dict[int, tuple[str, str | None, str, str, int]]:
    found = {}
    for number, use in uses_in(condition, TABLES, "c"):
        assert isinstance(use, Use)
        found.setdefault(number, (use.alias, use.column, use.operator, use.shape, use.at))
    return found


@pytest.mark.parametrize(
    ("condition", "uses"),
    [
        ("((c.name)::text ~~ $1)", {1: ("c", "name", "~~", "value", 0)}),
        ("(c.k = ANY ($1))", {1: ("c", "k", "=", "array", 0)}),
        ("(d.k = ANY (ARRAY[$1, $2]))", {1: ("d", "k", "=", "listed", 0), 2: ("d", "k", "=", "listed", 1)}),
        ("($1 = ANY (c.tags))", {1: ("c", "tags", "=", "element", 0)}),
        ("((c.j ->> 'k'::text) = $1)", {1: ("c", None, "=", "value", 0)}),
        ("(lower(d.name) = lower($1))", {1: ("d", None, "=", "within", 0)}),
        ("(ROW(c.at, c.id) < ROW($1, $2))", {1: ("c", "at", "<", "value", 0), 2: ("c", "id", "<", "value", 0)}),
        ("($1 < c.at)", {1: ("c", "at", ">", "value", 0)}),
        ("((c.at >= $1) AND (c.at <= $2))", {1: ("c", "at", ">=", "value", 0), 2: ("c", "at", "<=", "value", 0)}),
        ("(c.at > (now() - $1))", {1: ("c", "at", ">", "within", 0)}),
        ("((hashed SubPlan 1) AND (c.k = $1))", {1: ("c", "k", "=", "value", 0)}),
        ("(c.k = (d.k + $1))", {}),
        ("(what is this", {}),
    ],
)  # fmt: skip
def test_a_plans_conditions_tell_what_each_parameter_is_compared_with(
    condition: str, uses: dict[int, tuple[str, str | None, str, str, int]]
) -> None:
    assert _uses(condition) == uses
