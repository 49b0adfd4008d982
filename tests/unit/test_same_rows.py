"""Answers that must be the same are, and those that a statement leaves open are known for that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.jobs.indexes.same_rows import Answer, same_rows, takes_order_as_it_comes, without_limit

INT, FLOAT = 23, 701


def _answer(*rows: tuple[object, ...], types: tuple[int, ...] = (INT, INT)) -> Answer:
    return Answer(types, [tuple(None if part is None else str(part).encode() for part in row) for row in rows])


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 3))), seed=st.randoms())
def test_rows_in_another_order_are_the_same_and_one_row_less_is_not(
    rows: list[tuple[object, ...]], seed: object
) -> None:
    turned = list(rows)
    seed.shuffle(turned)  # type: ignore[attr-defined]
    assert same_rows(_answer(*rows), _answer(*rows), _answer(*turned))
    if rows:
        assert not same_rows(_answer(*rows), _answer(*rows), _answer(*rows[1:]))


def test_a_column_that_changes_by_itself_is_not_compared_and_the_others_are() -> None:
    first, again = _answer((1, 10), (2, 11)), _answer((1, 12), (2, 13))
    assert same_rows(first, again, _answer((2, 14), (1, 15)))
    assert not same_rows(first, again, _answer((3, 14), (1, 15)))
    assert same_rows(first, _answer((1, 10)), _answer()), "not even their number is promised"


def test_floating_sums_may_differ_in_their_last_digits_only() -> None:
    types = (INT, FLOAT)
    first = _answer((1, 0.30000000000000004), (2, None), types=types)
    assert same_rows(first, first, _answer((2, None), (1, 0.3), types=types))
    assert not same_rows(first, first, _answer((2, None), (1, 0.31), types=types))
    assert not same_rows(first, first, _answer((2, 0.0), (1, 0.3), types=types))


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("SELECT DISTINCT ON (a) a, b FROM t", True),
        ("SELECT array_agg(a) FROM t", True),
        ("SELECT a, row_number() OVER (ORDER BY b) FROM t", True),
        ("SELECT DISTINCT a FROM t", False),
        ("SELECT sum(a) FROM t", False),
    ],
)
def test_an_answer_that_hangs_on_the_order_of_rows_is_known(text: str, free: bool) -> None:
    assert takes_order_as_it_comes(text) is free


def test_a_statement_without_its_limits_keeps_everything_else() -> None:
    assert without_limit("SELECT a FROM t ORDER BY b LIMIT 5 OFFSET 3") == "SELECT a FROM t ORDER BY b"
    assert without_limit("SELECT a FROM (SELECT a FROM t LIMIT 1) s") == "SELECT a FROM (SELECT a FROM t) AS s"
    assert without_limit("SELECT a FROM t ORDER BY b FETCH FIRST 5 ROWS WITH TIES") == "SELECT a FROM t ORDER BY b"
    assert without_limit("SELECT a FROM t") is None
