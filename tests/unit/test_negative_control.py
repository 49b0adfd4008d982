"""The negative control: what no arm can touch holds verdicts back where it moves, and only there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from archzero_lab.experiments.claim_result import ClaimResult
from archzero_lab.experiments.claims import Claim, Claimed
from archzero_lab.experiments.negative_control import hold_back, negative_controls
from archzero_lab.stats.verdict import Verdict


def result(name: str, treatment: str = "treatment", operations: str = "list") -> ClaimResult:
    claim = Claim(
        name, name, "", "", "p50", Claimed(2.0, 1.0, 0.5), "control", treatment, operations, "improvement", "hits"
    )
    return ClaimResult(
        claim, 2.0, 1.0, 0.9, 1.1, 0.5, 0.4, 0.6, 8, 80, 0.1, True, {}, Verdict.CONFIRMED, "", (), 0.001
    )  # fmt: skip


def controls(claim: str, ratio: Callable[[int], float], treatment: str = "treatment") -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [
        {"claim": claim, "block": block, "order": 0, "arm": arm, "variant": "by its id", "bytes": 9,
         "service_time_s": 0.001 * rng.uniform(0.97, 1.03) * (ratio(block) if arm == treatment else 1.0)}
        for block in range(10) for arm in ("control", treatment) for _ in range(10)
    ]  # fmt: skip


def test_a_control_that_stands_still_holds_nothing_back() -> None:
    results = [result("a"), result("b")]
    found = negative_controls(results, pd.DataFrame(controls("a", lambda _: 1.0) + controls("b", lambda _: 1.02)))
    assert [(one.control, one.treatment, one.blocks, one.moved) for one in found] == [
        ("control", "treatment", 20, False)
    ]
    assert "did not move" in found[0].in_words
    assert hold_back(results, found) == results


@pytest.mark.parametrize("ratio", [1.3, 0.7])
def test_where_a_control_moves_no_timed_claim_of_its_arms_is_confirmed_on_its_word(ratio: float) -> None:
    refuted = replace(result("c"), verdict=Verdict.REFUTED)
    results = [result("a"), result("b", "indexes"), result("mixed", operations="mix"), refuted]
    frame = pd.DataFrame(controls("a", lambda _: ratio) + controls("b", lambda _: 1.0, "indexes"))
    found = negative_controls(results, frame)
    assert {(one.treatment, one.moved) for one in found} == {("treatment", True), ("indexes", False)}
    held = hold_back(results, found)
    assert [one.verdict for one in held] == [
        Verdict.INCONCLUSIVE, Verdict.CONFIRMED, Verdict.INCONCLUSIVE, Verdict.REFUTED,
    ]  # fmt: skip
    assert "moved" in held[0].warnings[-1]


def test_one_that_is_unsteady_has_not_moved() -> None:
    found = negative_controls([result("a")], pd.DataFrame(controls("a", lambda block: 1.5 if block % 2 else 0.6)))
    assert [one.moved for one in found] == [False]


def test_of_a_run_without_controls_or_with_a_single_block_nothing_is_said_to_have_moved() -> None:
    frame = pd.DataFrame(controls("a", lambda _: 2.0))
    assert negative_controls([result("a")], frame[frame["claim"] == "nobody"]) == []
    (one,) = negative_controls([result("a")], frame[frame["block"] == 0])
    assert not one.moved
    assert "too few blocks" in one.in_words
    assert one.as_dict()["ci_high"] is None
