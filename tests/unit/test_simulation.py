"""The statistics checked by simulation on noise of known kinds and on noise recorded from the real stack.

Each trial is one comparison of two arms over paired blocks; shares are over TRIALS of them, with fixed seeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from archzero_lab.stats.estimates import hodges_lehmann
from archzero_lab.stats.multiple import holm, signed_rank_p
from archzero_lab.stats.sequential import course
from archzero_lab.stats.verdict import Change, change

TRIALS = 1_000
RECORDED = json.loads((Path(__file__).parent / "recorded_noise.json").read_text())
"""Medians in ms of 240 paired blocks of two identical services on one database, by operation and arm: what
`./lab self-check` measures, on two shared cores, 2026-11-24."""
Noise = Callable[[np.random.Generator, int], NDArray[np.float64]]


def _random_order(
    rng: np.random.Generator, first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log-ratios of two slots a block whose arms are in random order, as the schedule draws them."""
    return (first - second) * rng.choice([-1.0, 1.0], first.size)


def normal(rng: np.random.Generator, blocks: int) -> NDArray[np.float64]:
    return rng.normal(0, 0.05, blocks)


def t3(rng: np.random.Generator, blocks: int) -> NDArray[np.float64]:
    return rng.standard_t(3, blocks) * 0.03


def stalls(rng: np.random.Generator, blocks: int) -> NDArray[np.float64]:
    """Either slot is slowed by up to four times in one block of ten."""
    one, other = (rng.normal(0, 0.03, blocks) + (rng.random(blocks) < 0.1) * rng.uniform(0, 1.4, blocks) for _ in "ab")
    return _random_order(rng, one, other)


def drift(rng: np.random.Generator, blocks: int) -> NDArray[np.float64]:
    """The machine gets slower by 10 % over the run, with noise that has a memory; the arms share it but for order."""
    level = np.linspace(0, 0.1, 2 * blocks)
    noise = np.zeros(2 * blocks)
    for at in range(1, 2 * blocks):
        noise[at] = 0.9 * noise[at - 1] + rng.normal(0, 0.02)
    slots = level + noise
    return _random_order(rng, slots[0::2], slots[1::2])


def recorded(operation: str) -> Noise:
    """A stretch of consecutive recorded blocks, the arms put in random order, their common shift taken out."""
    ratios = np.log(np.array(RECORDED[operation]["b"]) / np.array(RECORDED[operation]["a"]))
    centred = ratios - hodges_lehmann(ratios).estimate

    def draw(rng: np.random.Generator, blocks: int) -> NDArray[np.float64]:
        start = rng.integers(centred.size)
        return np.take(centred, range(start, start + blocks), mode="wrap") * rng.choice([-1.0, 1.0], blocks)

    return draw


NOISES: dict[str, Noise] = {
    "normal": normal,
    "t3": t3,
    "stalls": stalls,
    "drift": drift,
    "recorded list": recorded("list"),
    "recorded detail": recorded("detail"),
}


@pytest.mark.parametrize("blocks", [6, 12, 20, 40])
@pytest.mark.parametrize("noise", NOISES)
def test_intervals_cover_the_truth_and_identical_arms_are_seldom_called_different(noise: str, blocks: int) -> None:
    rng = np.random.default_rng([blocks, *noise.encode()])
    truth, held, different = np.log(1.3), 0, 0
    for _ in range(TRIALS):
        drawn = NOISES[noise](rng, blocks)
        interval = hodges_lehmann(drawn + truth)
        held += interval.low <= truth <= interval.high
        same = hodges_lehmann(drawn)
        found = change(float(np.exp(same.low)), float(np.exp(same.high)), 0.0)
        different += found in (Change.IMPROVED, Change.REGRESSED)
    assert held / TRIALS >= 0.93
    # 5 %, and what 1,000 trials may be off by chance (three standard errors of a share of 5 %)
    assert different / TRIALS <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / TRIALS)


@pytest.mark.parametrize("noise", ["normal", "t3", "recorded list", "recorded detail"])
def test_an_effect_of_a_fifth_is_found_at_the_default_block_count(noise: str) -> None:
    rng = np.random.default_rng([20, *noise.encode()])
    found = 0
    for _ in range(TRIALS):
        interval = hodges_lehmann(NOISES[noise](rng, 20) + np.log(1.2))
        found += change(float(np.exp(interval.low)), float(np.exp(interval.high)), 0.05) is Change.REGRESSED
    assert found / TRIALS >= 0.90


@pytest.mark.parametrize("noise", NOISES)
def test_looking_after_every_block_does_not_raise_false_alarms(noise: str) -> None:
    rng = np.random.default_rng([99, *noise.encode()])
    trials = 400
    alarms = sum(course(NOISES[noise](rng, 40)).decided_at is not None for _ in range(trials))
    assert alarms / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


def test_looking_after_every_block_with_an_ordinary_interval_would() -> None:
    """What the e-process is for: the same peeking with the signed-rank interval is wrong several times as often."""
    rng = np.random.default_rng(8)
    trials, alarms = 200, 0
    for _ in range(trials):
        drawn = normal(rng, 40)
        intervals = (hodges_lehmann(drawn[:seen]) for seen in range(6, 41))
        alarms += any(not interval.low <= 0 <= interval.high for interval in intervals)
    assert alarms / trials > 0.12


def test_over_a_report_holm_keeps_all_false_verdicts_together_below_5_percent() -> None:
    """Seven claims of which none differs, on different noises: how often does a report call any of them different?"""
    rng = np.random.default_rng(77)
    kinds = [*NOISES.values(), normal]
    reports, alone, adjusted = 600, 0, 0
    for _ in range(reports):
        p_values = [signed_rank_p(noise(rng, 20)) for noise in kinds]
        alone += min(p_values) < 0.05
        adjusted += min(holm(p_values)) < 0.05
    assert adjusted / reports <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / reports)
    assert alone / reports > 0.2
