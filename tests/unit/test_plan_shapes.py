"""What is said of plans that were counted: robust, fragile, undecided."""

from __future__ import annotations

import math

import pytest

from archzero_lab.jobs.indexes.plan_shapes import Fragility, Seen, Shape

INDEX: Shape = ((0, "Index Scan using a on t"),)
OTHER: Shape = ((0, "Index Scan using b on t"),)
WALK: Shape = ((0, "Limit"), (1, "Index Scan using t_pkey on t"))


def seen(**counted: tuple[int, float]) -> Seen:
    shapes = {"index": INDEX, "other": OTHER, "walk": WALK}
    found = Seen("q", 100)
    for name, (count, blocks) in counted.items():
        found.shapes[shapes[name]] = count
        found.blocks[shapes[name]] = blocks
    return found


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (seen(index=(100, 5.0)), Fragility.ROBUST),
        (seen(index=(60, 5.0)), Fragility.UNDECIDED),
        (seen(index=(60, 5.0), other=(40, 9.0)), Fragility.ROBUST),  # a tie of equal work is no finding
        (seen(index=(99, 5.0), walk=(1, 52_110.0)), Fragility.FRAGILE),
        (seen(index=(50, 1_384.0), walk=(50, 1_500.0)), Fragility.ROBUST),
        (seen(index=(20, 3.0), walk=(80, 60.0)), Fragility.ROBUST),  # twenty times, and fifty blocks
        (seen(index=(99, 5.0), walk=(1, math.inf)), Fragility.FRAGILE),
    ],
)
def test_a_statement_is_fragile_by_what_its_plans_read_not_by_how_they_look(found: Seen, verdict: Fragility) -> None:
    assert found.verdict is verdict


def test_what_was_seen_is_said_by_work() -> None:
    told = seen(index=(120, 1_384.0), other=(63, 1_400.0), walk=(17, 1_900_000.0))
    assert told.in_words == (
        "183 of 200 plans read at most 1,400 blocks, 17 read 1,900,000 by Index Scan using t_pkey on t"
    )
    low, high = told.interval
    assert (low, high) == (pytest.approx(0.0537, abs=1e-3), pytest.approx(0.1318, abs=1e-3))
