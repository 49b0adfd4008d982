"""Estimates and verdicts: known values, properties, and coverage of the intervals by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.stats.comparison import compare
from archzero_lab.stats.estimates import _signed_rank_cut, hodges_lehmann, least_detectable, paired_t
from archzero_lab.stats.verdict import Verdict, at_least, at_most

finite = st.floats(-1e3, 1e3, allow_nan=False)


@pytest.mark.parametrize(("n", "cut"), [(5, 0), (6, 1), (8, 4), (10, 9), (12, 14), (20, 53)])
def test_the_signed_rank_cut_is_that_of_the_published_tables(n: int, cut: int) -> None:
    # critical values of Wilcoxon's T, two-sided 5 %: n=6: 0, 8: 3, 10: 8, 12: 13, 20: 52; the cut is one more
    assert _signed_rank_cut(n, 0.95) == cut


def test_fewer_than_six_blocks_bound_nothing() -> None:
    interval = hodges_lehmann([1.0, 1.1, 0.9, 1.0, 1.0])
    assert interval.low == float("-inf")
    assert interval.high == float("inf")


@given(st.lists(finite, min_size=6, max_size=25), finite)
def test_the_interval_holds_its_estimate_and_moves_with_a_shift(values: list[float], shift: float) -> None:
    interval = hodges_lehmann(values)
    assert interval.low <= interval.estimate <= interval.high
    moved = hodges_lehmann(np.asarray(values) + shift)
    assert moved.estimate == pytest.approx(interval.estimate + shift, abs=1e-6)


@pytest.mark.parametrize("blocks", [6, 12, 20])
def test_intervals_cover_the_truth_as_often_as_they_say(blocks: int) -> None:
    rng = np.random.default_rng(5)
    held = {"signed rank": 0, "t": 0}
    trials = 1500
    for values in rng.standard_t(3, (trials, blocks)):
        for interval in (hodges_lehmann(values), paired_t(values)):
            held[interval.method] += interval.low <= 0 <= interval.high
    assert held["signed rank"] / trials >= 0.93
    assert held["t"] / trials >= 0.93


def test_the_least_detectable_effect_is_found_about_as_often_as_its_power_says() -> None:
    rng = np.random.default_rng(6)
    found = 0
    trials = 800
    for _ in range(trials):
        noise = rng.normal(0, 0.1, 20)
        interval = paired_t(rng.normal(0, 0.1, 20) + least_detectable(noise))
        found += not interval.low <= 0 <= interval.high
    assert 0.7 <= found / trials <= 0.9


def test_a_comparison_finds_a_known_ratio() -> None:
    rng = np.random.default_rng(1)
    control = 100 * np.exp(rng.normal(0, 0.05, 20))
    result = compare(control.tolist(), (control * 0.2).tolist())
    assert result.effect_size == pytest.approx(0.2)
    assert result.improvement == pytest.approx(0.8)
    assert result.improvement_low <= 0.8 <= result.improvement_high
    assert not result.undecidable


def test_too_few_requests_for_a_quantile_are_said_and_decide_nothing() -> None:
    result = compare([1.0] * 12, [0.5] * 12, quantile=0.99, requests_a_slot=400)
    assert result.undecidable
    assert "p99 needs 3,000 requests a slot, had 400" in result.warnings


def test_too_few_blocks_are_said_and_decide_nothing() -> None:
    result = compare([1.0] * 5, [0.5] * 5)
    assert result.undecidable
    assert result.warnings == ("needs at least 6 blocks, had 5",)


@pytest.mark.parametrize(("control", "treatment"), [([1.0], [1.0, 2.0]), ([], []), ([0.0] * 6, [1.0] * 6)])
def test_a_ratio_of_nothing_is_refused(control: list[float], treatment: list[float]) -> None:
    with pytest.raises(ValueError, match=r"same number|positive"):
        compare(control, treatment)


def test_verdicts_at_the_edges() -> None:
    assert at_least(0.9, 0.9, 0.99) is Verdict.CONFIRMED
    assert at_least(0.9, 0.5, 0.8999) is Verdict.REFUTED
    assert at_least(0.9, 0.5, 0.9) is Verdict.INCONCLUSIVE
    assert at_most(100, 10, 100) is Verdict.CONFIRMED
    assert at_most(100, 101, 200) is Verdict.REFUTED
    assert at_most(100, 90, 110) is Verdict.INCONCLUSIVE
