"""A claim that a value lies in a range or on its better side: sampled a block at a time, or counted once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from archzero_lab.experiments.claim_result import ClaimResult
from archzero_lab.experiments.claims import Claim
from archzero_lab.stats.estimates import MINIMUM_BLOCKS, hodges_lehmann, least_detectable
from archzero_lab.stats.multiple import signed_rank_p
from archzero_lab.stats.verdict import Verdict, at_least, at_most


def analyze_range(
    claim: Claim,
    values: Sequence[float],
    *,
    samples: int,
    mechanism: dict[str, Any],
    moved: bool,
    before: float = 0.0,
    context: str = "",
    counted: bool = False,
) -> ClaimResult:
    """A claim that a value lies in a range or on its better side, from one value a block, in the claim's unit.

    `improvement` is told as a share: of a hit rate what it gained, of a size what it stays below the claimed
    ceiling. What is `counted`, not sampled (the size of an index), has no width and needs no blocks; equal values that
    were sampled are still a sample.
    """
    assert isinstance(claim.claimed.after, tuple)
    floor, ceiling = claim.claimed.after
    array = np.asarray(values, dtype=float)
    exact = counted
    interval = hodges_lehmann(array)
    low, high = (interval.estimate, interval.estimate) if exact else (interval.low, interval.high)
    warnings = []
    rule = at_least if claim.rule == "at_least" else at_most
    bound = floor if claim.rule == "at_least" else ceiling
    verdict = rule(bound, low, high)
    if not exact and array.size < MINIMUM_BLOCKS:
        verdict = Verdict.INCONCLUSIVE
        warnings.append(f"needs at least {MINIMUM_BLOCKS} blocks, had {array.size}")
    if verdict is Verdict.CONFIRMED and not moved:
        verdict = Verdict.INCONCLUSIVE
        warnings.append(f"without its mechanism ({claim.mechanism} did not move)")
    if not exact and array.size >= MINIMUM_BLOCKS and _still_moving(array):
        warnings.append("the value still moved in one direction over the run: longer runs may say otherwise")
    if claim.rule == "at_least":
        improvement, ci = interval.estimate - before, (low - before, high - before)
        detectable = least_detectable(array)
    else:
        improvement = 1 - interval.estimate / ceiling
        ci = (1 - high / ceiling, 1 - low / ceiling)
        detectable = 0.0 if exact else least_detectable(array) / ceiling
    return ClaimResult(
        claim=claim,
        before=before,
        after=interval.estimate,
        after_low=low,
        after_high=high,
        improvement=improvement,
        ci_low=ci[0],
        ci_high=ci[1],
        blocks=int(array.size),
        samples=samples,
        detectable=detectable,
        target_met=interval.estimate >= floor if claim.rule == "at_least" else interval.estimate <= ceiling,
        mechanism=mechanism,
        verdict=verdict,
        note=_range_note(claim, interval.estimate, low, high, exact) + (f"; {context}" if context else ""),
        warnings=tuple(warnings),
        p=None if exact else signed_rank_p(array, bound),
        counted=exact,
    )


def _still_moving(values: Any) -> bool:
    """Whether the last third of the blocks lies wholly on one side of the first third."""
    third = max(2, len(values) // 3)
    first, last = values[:third], values[-third:]
    return bool(last.min() > first.max() or last.max() < first.min())


def _range_note(claim: Claim, value: float, low: float, high: float, exact: bool) -> str:
    assert isinstance(claim.claimed.after, tuple)
    claimed = limits_in_words(claim.rule, claim.unit, *claim.claimed.after)
    if claim.unit == "share":
        return f"{value:.1%} ({low:.1%} to {high:.1%}), claimed {claimed}"
    spread = "counted exactly" if exact else f"{low:.3g} to {high:.3g}"
    return f"{value:.3g} {claim.unit} ({spread}), claimed {claimed}"


def limits_in_words(rule: str, unit: str, low: float, high: float) -> str:
    """What is claimed of a value that has limits: "at most 500 MB", "at least 80%", "5 to 10 ms"."""

    def one(value: float) -> str:
        return f"{value:.0%}" if unit == "share" else f"{value:g} {unit}"

    if rule == "at_most":
        return f"at most {one(high)}"
    if rule == "at_least":
        return f"at least {one(low)}"
    return f"{low:.0%} to {high:.0%}" if unit == "share" else f"{low:g} to {high:g} {unit}"
