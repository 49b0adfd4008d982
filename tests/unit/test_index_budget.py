"""A budget takes blocks away, never below what says something, and is told where it does not suffice."""

from __future__ import annotations

import pytest

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.indexes.budget import LEAST_BLOCKS, fitting_blocks, in_words, seconds_of, too_dear
from archzero_lab.jobs.indexes.reads import Reads, slot_s
from archzero_lab.postgres.plans import parse_plan
from archzero_lab.postgres.statement import Statement


def test_as_many_blocks_as_fit_are_measured_and_never_fewer_than_the_least() -> None:
    assert fitting_blocks(10, 2.0, 0.0) == 10
    assert fitting_blocks(10, 2.0, 60.0) == 10
    assert fitting_blocks(10, 2.0, 16.0) == 8
    assert fitting_blocks(10, 2.0, 3.0) == LEAST_BLOCKS
    assert "more than the budget" in in_words(3, 2, LEAST_BLOCKS, 2.0, 3.0)
    assert in_words(3, 2, 8, 2.0, 16.0) == "3 cases, 2 indexes, 8 blocks: about 16 s"


def test_a_budget_is_seconds_minutes_or_hours() -> None:
    assert [seconds_of(text) for text in ("90s", "5m", "1.5h")] == [90.0, 300.0, 5400.0]
    with pytest.raises(SettingsError, match="--budget five: give it as"):
        seconds_of("five")


def test_a_slot_is_thirty_calls_of_a_fast_statement_and_one_of_a_slow() -> None:
    assert slot_s(0.0001) == pytest.approx(0.0031)
    assert slot_s(0.005) == pytest.approx(0.035)
    assert slot_s(0.5) == 0.5


def test_under_a_budget_the_dearest_statements_go_first_and_one_stays() -> None:
    plan = lambda ms: parse_plan([{"Plan": {"Node Type": "Result"}, "Planning Time": 0.0, "Execution Time": ms}])  # noqa: E731
    cases = [Statement(name, "SELECT 1") for name in ("fast", "slow", "slower")]
    reads = Reads(None, None, cases, 10, 1)  # type: ignore[arg-type]  # nothing is asked of a database
    reads.plans = {"fast": plan(1.0), "slow": plan(2_000.0), "slower": plan(5_000.0)}
    assert too_dear(reads, {}, 0, 0.0) == []
    assert too_dear(reads, {}, 0, 1_000.0) == []
    assert too_dear(reads, {}, 0, 60.0) == ["slower"]
    assert too_dear(reads, {}, 0, 0.1) == ["slower", "slow"]
