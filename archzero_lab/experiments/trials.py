"""A claim that something never fails: refuted by one failure, confirmed by none in enough trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import scipy

from archzero_lab.experiments.claim_result import ClaimResult
from archzero_lab.experiments.claims import Claim
from archzero_lab.stats.verdict import Verdict

MINIMUM_TRIALS = 20
TOO_SLOW = "the machine was too slow to see"


def analyze_check(
    claim: Claim,
    trials: int,
    failures: Sequence[str],
    mechanism: dict[str, Any],
    *,
    independent: bool = True,
    unseen: Sequence[str] = (),
) -> ClaimResult:
    """A claim that something never fails, from so many trials: refuted by one failure, confirmed by none of enough.

    `after` is the number of failures, bounded by the exact (Clopper-Pearson) interval of their share; `improvement` is
    the share of trials that held, `detectable` the share of failures that would have shown with a chance of 95 %.
    Of `unseen` ones nothing can be said: where there are any, the machine was too slow to see.
    Trials that are not `independent`, a list that somebody chose, have neither: they are counted, no more.
    """
    failed = len(failures)
    moved = bool(mechanism.get("moved"))
    verdict, warnings = Verdict.CONFIRMED, []
    if failed:
        verdict = Verdict.REFUTED
    elif not moved:
        verdict = Verdict.INCONCLUSIVE
        warnings.append(str(mechanism.get("because") or f"{claim.mechanism} did not move"))
    elif unseen:
        verdict = Verdict.INCONCLUSIVE
    elif trials < MINIMUM_TRIALS:
        verdict = Verdict.INCONCLUSIVE
        warnings.append(f"needs at least {MINIMUM_TRIALS} trials, had {trials}")
    if unseen and verdict is not Verdict.REFUTED:
        warnings.append(f"{TOO_SLOW}: {len(unseen)} trials were not seen, the first: {unseen[0]}")
    low, high = _failing_share(failed, trials) if independent else (failed / max(trials, 1),) * 2
    first = f", the first: {failures[0]}" if failed else ""
    ruled_out = f"; a share of {high:.1%} or more is ruled out" if independent else ", each a text of a fixed list"
    return ClaimResult(
        claim=claim,
        before=0.0,
        after=float(failed),
        after_low=low * trials,
        after_high=high * trials,
        improvement=1 - failed / max(trials, 1),
        ci_low=1 - high,
        ci_high=1 - low,
        blocks=1,
        samples=trials,
        detectable=float(1 - 0.05 ** (1 / max(trials, 1))) if independent else None,
        target_met=failed == 0,
        mechanism=mechanism,
        verdict=verdict,
        note=f"{failed} of {trials} trials failed{first}{ruled_out}",
        warnings=tuple(warnings),
        counted=not independent,
    )


def _failing_share(failed: int, trials: int) -> tuple[float, float]:
    interval = scipy.stats.binomtest(failed, max(trials, 1)).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)
