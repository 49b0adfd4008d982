"""Parameters that may be left away: which they are in a statement's text, and the calls that leave some away."""

from __future__ import annotations

import pytest
from pglast import parse_sql

from archzero_lab.postgres.optional_parameters import calls_of, switched_off


@pytest.mark.parametrize(
    ("where", "off"),
    [
        ("($1 IS NULL OR a = $1)", {1: None}),
        ("($2::text IS NULL OR a = $2::text) AND b = $1", {2: None}),
        ("($1::bigint[] IS NOT NULL AND a = ANY($1)) OR $1 IS NULL", {1: None}),
        ("a = coalesce($1, a)", {1: None}),
        ("a = coalesce(a, $1)", {}),
        ("a = $1", {}),
        ("a IS NULL AND b = $1", {}),
        ("($3 OR a = $1)", {3: "false"}),
    ],
)
def test_a_parameter_that_may_be_null_or_a_switch_is_known_by_the_text(where: str, off: dict[int, str | None]) -> None:
    node = parse_sql(f"SELECT * FROM t WHERE {where}")[0].stmt
    assert switched_off(node, {1: "text", 2: "text", 3: "boolean"} if "$3" in where else {1: "text"}, {1}) == off


def test_a_boolean_that_a_column_is_compared_with_is_no_switch() -> None:
    node = parse_sql("SELECT * FROM t WHERE open = $1")[0].stmt
    assert switched_off(node, {1: "boolean"}, {1}) == {}


def test_each_optional_parameter_is_tried_alone_and_all_are_left_away_once() -> None:
    filled = {1: "acme", 2: "error", 3: "7", 4: "true"}
    assert calls_of(filled, {2: None, 3: None, 4: "false"}) == {
        "nothing optional": {1: "acme", 2: None, 3: None, 4: "false"},
        "$2 alone": {1: "acme", 2: "error", 3: None, 4: "false"},
        "$3 alone": {1: "acme", 2: None, 3: "7", 4: "false"},
        "$4 alone": {1: "acme", 2: None, 3: None, 4: "true"},
    }
    assert calls_of({1: "acme", 2: "error"}, {2: None}) == {"nothing optional": {1: "acme", 2: None}}
    assert calls_of({1: "acme", 2: None}, {2: None}) == {}
    assert calls_of({1: "acme"}, {}) == {}
