"""The self-check's own verdict, on blocks whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from archzero_lab.jobs.studies.self_check import Delay, SelfCheck, _same
from archzero_lab.stats.verdict import Change


def _slots(ratio: float, noise: float = 0.01) -> pd.DataFrame:
    """The p50 of 20 paired blocks of a detail, b so many times a."""
    rng = np.random.default_rng(4)
    rows = []
    for block in range(20):
        level = 0.5 * np.exp(rng.normal(0, 0.3))  # blocks differ by much, the arms of one by little
        for arm, factor in (("a", 1.0), ("b", ratio)):
            ms = level * factor * np.exp(rng.normal(0, noise))
            rows.append({"block": block, "arm": arm, "ms": ms, "metric": "p50", "operation": "detail"})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("ratio", "noise", "found"),
    [(1.0, 0.01, Change.EQUIVALENT), (1.3, 0.01, Change.REGRESSED), (1.0, 0.5, Change.INCONCLUSIVE)],
)
def test_identical_arms_are_told_from_different_ones(ratio: float, noise: float, found: Change) -> None:
    assert _same(_slots(ratio, noise), "detail", "p50").found is found


def test_the_margin_grows_with_what_identical_arms_differ_by() -> None:
    quiet, noisy = (_same(_slots(1.0, noise), "detail", "p50").margin for noise in (0.005, 0.2))
    assert 0.01 <= quiet < noisy


@pytest.mark.parametrize(
    ("ratio", "found_ms", "trustworthy"), [(1.0, 4.6, True), (1.0, 3.9, False), (1.0, 6.2, False), (1.3, 5.0, False)]
)
def test_a_machine_is_trusted_where_nothing_differs_and_the_delay_is_found_within_a_fifth(
    ratio: float, found_ms: float, trustworthy: bool
) -> None:
    slots = _slots(ratio)
    delay = Delay("PostgreSQL", 5.0, found_ms, found_ms - 0.1, found_ms + 0.1)
    found = SelfCheck("m", [_same(slots, "detail", "p50")], [delay], slots)
    assert found.trustworthy is trustworthy
    assert found.in_words.startswith("Yes: " if trustworthy else "No: ")
