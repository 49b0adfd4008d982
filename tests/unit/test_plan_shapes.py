"""What is said of plans that were counted: robust, fragile, undecided."""

from __future__ import annotations

import math

import pytest

from archzero_lab.jobs.indexes.plan_shapes import UNENDING, Fragility, Seen, Shape, Work, hold_together

INDEX: Shape = ((0, "Index Scan using a on t"),)
OTHER: Shape = ((0, "Index Scan using b on t"),)
WALK: Shape = ((0, "Limit"), (1, "Index Scan using t_pkey on t"))


def seen(**counted: tuple[int, float]) -> Seen:
    shapes = {"index": INDEX, "other": OTHER, "walk": WALK}
    found = Seen("q", 100)
    for name, (count, blocks) in counted.items():
        found.shapes[shapes[name]] = count
        found.work[shapes[name]] = {"q": UNENDING if math.isinf(blocks) else Work(blocks)}
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
        (seen(walk=(100, math.inf)), Fragility.UNDECIDED),  # no plan ever ended: there is nothing to hold it against
    ],
)
def test_a_statement_is_fragile_by_what_its_plans_read_not_by_how_they_look(found: Seen, verdict: Fragility) -> None:
    assert found.verdict is verdict


def test_a_plan_that_is_dear_every_time_is_dear_by_what_another_target_gives() -> None:
    usual, always = seen(index=(100, 5.0)), seen(walk=(100, 52_110.0))
    always.target = 10
    hold_together([usual, always])
    assert (usual.verdict, always.verdict) == (Fragility.ROBUST, Fragility.FRAGILE)


def test_the_plan_for_any_values_is_dear_where_it_is_for_the_values_of_one_case() -> None:
    common, rare = Seen("q, common", 100), Seen("q, rare", 100)
    common.shapes[WALK], common.work[WALK] = 100, {"q, common": Work(10)}
    rare.shapes[INDEX], rare.work[INDEX] = 100, {"q, rare": Work(4)}
    generic = Seen("q, any values", 100)
    generic.shapes[WALK], generic.work[WALK] = 100, {"q, common": Work(10), "q, rare": Work(52_110)}
    hold_together([common, rare, generic])
    assert [one.verdict for one in (common, rare, generic)] == [Fragility.ROBUST, Fragility.ROBUST, Fragility.FRAGILE]
    assert generic.in_words.startswith("100 read 52,110 blocks by Index Scan using t_pkey on t")


def test_a_plan_is_dear_by_rows_too_where_it_reads_the_same_blocks() -> None:
    nested = Seen("q", 100)
    nested.shapes[INDEX], nested.work[INDEX] = 90, {"q": Work(100, 1_000)}
    nested.shapes[WALK], nested.work[WALK] = 10, {"q": Work(100, 9_000_000)}
    assert nested.verdict is Fragility.FRAGILE
    assert "10 read 100 blocks and 9,000,000 rows by" in nested.in_words


def test_what_is_not_by_chance_is_decided_by_one_plan() -> None:
    once = Seen("q", None, by_chance=False)
    once.shapes[WALK], once.work[WALK] = 1, {"q": Work(52_110)}
    assert (once.verdict, once.in_words) == (Fragility.ROBUST, "reads 52,110 blocks")
    once.best = {"q": 5.0}
    assert once.verdict is Fragility.FRAGILE
    assert once.in_words == (
        "reads 52,110 blocks by Index Scan using t_pkey on t, another plan costs 10,422 times less"
    )


def test_what_was_seen_is_said_by_work() -> None:
    told = seen(index=(120, 1_384.0), other=(63, 1_400.0), walk=(17, 1_900_000.0))
    assert told.in_words == (
        "183 of 200 plans read at most 1,400 blocks, 17 read 1,900,000 blocks by Index Scan using t_pkey on t"
    )
    low, high = told.interval
    assert (low, high) == (pytest.approx(0.0537, abs=1e-3), pytest.approx(0.1318, abs=1e-3))
