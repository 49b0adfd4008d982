"""A claim about arms that do not answer alike: whatever was measured of it, that is the finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archzero_lab.experiments.claim_result import ClaimResult
from archzero_lab.experiments.claims import Claim
from archzero_lab.stats.verdict import Verdict


def answers_unlike(claim: Claim, differences: Sequence[str], measured: ClaimResult | None) -> ClaimResult:
    """Refuted: an arm that answers emptily or wrongly is no improvement. `measured` is None where nothing was timed."""
    note = f"the arms do not answer alike: {differences[0]}"
    warnings = tuple(f"also {one}" for one in differences[1:])
    if measured is not None:
        # p None: this is no test, and Holm's adjustment must not take it back
        return replace(measured, verdict=Verdict.REFUTED, note=note, warnings=(*warnings, measured.note), p=None)
    return ClaimResult(
        claim=claim, before=float("nan"), after=float("nan"), after_low=float("nan"), after_high=float("nan"),
        improvement=float("nan"), ci_low=float("nan"), ci_high=float("nan"), blocks=0, samples=0, detectable=None,
        target_met=None, mechanism={"moved": False}, verdict=Verdict.REFUTED, note=note,
        warnings=(*warnings, "not timed: the time of a wrong answer says nothing"), counted=True,
    )  # fmt: skip
