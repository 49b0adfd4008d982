"""A load whose response times climb while it runs says so, and arms are compared in a sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archzero_lab.jobs.load.result import answer_of
from archzero_lab.jobs.load.saturation import saturation


def _seconds(medians: list[float | None], warm_up: int = 2) -> pd.DataFrame:
    return pd.DataFrame(
        {"t_s": range(len(medians)), "response_p50_s": medians, "warm_up": [at < warm_up for at in range(len(medians))]}
    )


CLIMBING = [0.01 * 1.3**at for at in range(12)]


def test_a_median_that_climbs_through_a_steady_load_is_saturation() -> None:
    said = saturation(_seconds(CLIMBING), "constant", "open")
    assert said is not None
    assert said.startswith("saturated: the median response time climbed from 22 ms to 138 ms; requests queued up")
    assert "each answer took longer" in (saturation(_seconds(CLIMBING), "soak", "closed") or "")


@pytest.mark.parametrize(
    ("medians", "shape"),
    [
        (CLIMBING, "ramp"),
        (CLIMBING[:6], "constant"),
        (list(reversed(CLIMBING)), "constant"),
        ([0.01, 0.01, *[0.01 + 0.0005 * at for at in range(10)]], "constant"),
        ([0.5, 0.4, *[0.01] * 10], "constant"),
        ([0.01] * 11 + [1.0], "constant"),
        ([None] * 12, "constant"),
        ([], "constant"),
    ],
    ids=[
        "that was raised",
        "too short",
        "falling",
        "by less than twice",
        "cold at first",
        "one second",
        "none",
        "empty",
    ],
)
def test_what_does_not_climb_by_itself_is_none(medians: list[float | None], shape: str) -> None:
    assert saturation(_seconds(medians), shape, "open") is None


@given(st.integers(0, 2**32 - 1), st.integers(6, 120))
def test_times_that_only_scatter_are_none(seed: int, seconds: int) -> None:
    scattered = np.random.default_rng(seed).normal(0.02, 0.001, seconds).tolist()
    assert saturation(_seconds(scattered, 0), "constant", "open") is None


def _arm(name: str, p99: float | None, offered: float | None = 200.0) -> dict[str, object]:
    return {
        "arm": name, "offered_rate_per_s": offered, "achieved_rate_per_s": 142.4,
        "response_time_s": {"p50": 0.002, "p99": p99},
    }  # fmt: skip


def test_arms_are_compared_with_the_first_in_a_sentence() -> None:
    assert answer_of([_arm("control", 2.1), _arm("treatment", 0.012)]) == (
        "control: 142 answers a second (200 offered), p50 2 ms, p99 2,100 ms;"
        " treatment: 142 answers a second (200 offered), p50 2 ms, p99 12 ms;"
        " treatment's p99 is 1/175 of control's"
    )
    assert answer_of([_arm("a", 0.1, None), _arm("b", 0.35, None)]).endswith("; b's p99 is 3.5 times a's")
    assert answer_of([_arm("a", 0.1), _arm("b", 0.09)]).endswith("; b's p99 is 90% of a's")
    assert answer_of([_arm("a", None), _arm("b", 0.09)]).endswith("p99 90 ms")
