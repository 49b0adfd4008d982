"""Rows of a statement on two servers: other rows, only other ties, or nobody can say."""

from __future__ import annotations

from typing import Any

import pytest

from archzero_lab.commands.servers import _in_words, _said
from archzero_lab.errors import DatabaseError
from archzero_lab.jobs.indexes import two_servers
from archzero_lab.jobs.indexes.same_rows import Answer
from archzero_lab.jobs.indexes.two_servers import Met
from archzero_lab.postgres.plans import parse_plan
from archzero_lab.postgres.statement import Statement
from archzero_lab.stats.comparison import compare

TIES = Statement("newest", "SELECT id FROM products ORDER BY category LIMIT 2")
FIRST, SECOND = Answer((23,), [("1",), ("2",)]), Answer((23,), [("1",), ("7",)])


@pytest.mark.parametrize(
    ("wholes", "other"),
    [({"first": ["a"], "second": ["a"]}, False), ({"first": ["a"], "second": ["b"]}, True), ({}, None)],
)
def test_rows_that_a_limit_lets_through_differ_only_where_the_whole_does(
    wholes: dict[str, list[str]], other: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(connection: Any, case: Statement, side: str) -> Answer:
        if not wholes:
            raise DatabaseError("canceling statement due to statement timeout")
        return Answer((25,), [(row,) for row in wholes[side]])

    monkeypatch.setattr(two_servers, "_fetch", fetch)
    connection: Any = None
    assert two_servers._other_rows(TIES, (FIRST, FIRST, SECOND), connection, connection) is other
    assert two_servers._other_rows(TIES, (FIRST, FIRST, FIRST), connection, connection) is False


def test_rows_of_which_nobody_can_say_are_undecided_and_no_loss_however_fast() -> None:
    plan = parse_plan([{"Plan": {"Node Type": "Result", "Total Cost": 1.0, "Plan Rows": 1}}])
    faster, itself = compare([1.0] * 12, [0.5, 0.51, 0.52] * 4), compare([1.0] * 12, [0.99, 1.0, 1.01] * 4)
    met = Met("newest", plan, plan, faster, itself, None)
    assert not met.lost
    assert _said(met) == ("undecided", "yellow")
    assert _in_words(met).endswith("rows within its LIMIT differ, and the whole took too long to compare")
    assert _said(Met("newest", plan, plan, faster, itself, False)) == ("faster", "green")
