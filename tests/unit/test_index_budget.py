"""A budget takes blocks away, never below what says something, and is told where it does not suffice."""

from __future__ import annotations

import math

import pytest

from archzero_lab.errors import SettingsError
from archzero_lab.jobs.indexes.budget import LEAST_BLOCKS, Budget, in_words, seconds_of, too_dear
from archzero_lab.jobs.indexes.reads import slot_s


def test_as_many_blocks_as_fit_are_measured_and_never_fewer_than_the_least() -> None:
    assert Budget().blocks(10, 2.0) == 10
    assert Budget(1_000.0).blocks(10, 2.0) == 10
    assert Budget(1_000.0).blocks(100, 20.0) in (49, 50)
    assert Budget(1_000.0).blocks(100, 20.0, share=0.5) in (24, 25)
    assert Budget(1.0).blocks(10, 2.0) == LEAST_BLOCKS
    assert "more than the budget: 6 blocks are the least" in in_words(3, 2, LEAST_BLOCKS, 2.0, 3.0)
    assert in_words(3, 2, 8, 2.0, math.inf) == "3 cases, 2 indexes, 8 blocks: about 16 s"


def test_a_budget_is_seconds_minutes_or_hours() -> None:
    assert [seconds_of(text) for text in ("90s", "5m", "1.5h")] == [90.0, 300.0, 5400.0]
    with pytest.raises(SettingsError, match="--budget five: give it as"):
        seconds_of("five")


def test_a_slot_is_thirty_calls_of_a_fast_statement_and_one_of_a_slow() -> None:
    assert slot_s(0.0001) == pytest.approx(0.0031)
    assert slot_s(0.005) == pytest.approx(0.035)
    assert slot_s(0.5) == 0.5


def test_under_a_budget_the_dearest_statements_go_first_and_one_stays() -> None:
    cases = {"fast": 0.1, "slow": 4.0, "slower": 10.0}
    assert too_dear(cases, 0.0, math.inf) == []
    assert too_dear(cases, 0.0, 90.0) == []
    assert too_dear(cases, 0.0, 60.0) == ["slower"]
    assert too_dear(cases, 8.0, 60.0) == ["slower", "slow"]
    assert too_dear(cases, 0.0, 0.1) == ["slower", "slow"]
