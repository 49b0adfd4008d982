"""From measurements to a result a claim: estimate, interval, mechanism, verdict, and a sentence that says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from archzero_lab.experiments.claim_result import ClaimResult
from archzero_lab.experiments.claims import Claim
from archzero_lab.stats.comparison import Comparison, compare
from archzero_lab.stats.estimates import MINIMUM_BLOCKS, hodges_lehmann, least_detectable
from archzero_lab.stats.multiple import signed_rank_p
from archzero_lab.stats.sequential import Course, blocks_needed, course
from archzero_lab.stats.verdict import Verdict, at_least, at_most

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
STEAL_LIMIT = 0.10
MINIMUM_TRIALS = 20
SLOW_YARDSTICK = 1.5


def claim_course(claim: Claim, samples: pd.DataFrame) -> Course:
    """The e-process that the gain lies just at the claimed one, over the blocks in their order."""
    assert claim.claimed.improvement is not None
    table = _by_block(claim, samples[samples["claim"] == claim.id])
    return course(_log_ratios(claim, table), null=float(np.log1p(-claim.claimed.improvement)))


def _log_ratios(claim: Claim, table: pd.DataFrame) -> NDArray[np.float64]:
    """log(treatment / control) by block."""
    ratios: NDArray[np.float64] = np.log(table[claim.treatment].to_numpy() / table[claim.control].to_numpy())
    return ratios


def _by_block(claim: Claim, samples: pd.DataFrame) -> pd.DataFrame:
    """The claim's metric in ms, a row a block, an arm a column."""
    q = QUANTILES.get(claim.metric)
    grouped = samples.groupby(["block", "arm"])["service_time_s"]
    return ((grouped.quantile(q) if q is not None else grouped.mean()) * 1000).unstack("arm")


def analyze_latency(
    claim: Claim, samples: pd.DataFrame, slots: pd.DataFrame, *, until_decided: bool = False
) -> ClaimResult:
    """A claim of a lower latency, from its samples and slots (frames of Measurements).

    With `until_decided` the interval is the confidence sequence of the e-process by which blocks were added.
    """
    samples = samples[samples["claim"] == claim.id]
    slots = slots[slots["claim"] == claim.id]
    table = _by_block(claim, samples)
    comparison = compare(
        table[claim.control].tolist(),
        table[claim.treatment].tolist(),
        quantile=QUANTILES.get(claim.metric),
        requests_a_slot=int(slots["requests"].min()),
        samples=len(samples),
    )
    claimed = claim.claimed.improvement
    assert claimed is not None
    ratios = _log_ratios(claim, table)
    threshold = float(np.log1p(-claimed))
    seen = course(ratios, null=threshold) if until_decided else None
    if seen is not None:
        low, high = float(np.exp(seen.low[-1])), float(np.exp(seen.high[-1]))
        comparison = replace(comparison, ci_low=low, ci_high=high)
    mechanism, moved = latency_mechanism(claim, slots)
    verdict = at_least(claimed, comparison.improvement_low, comparison.improvement_high)
    warnings = [*comparison.warnings, *noise_warnings(slots)]
    if comparison.undecidable:
        verdict = Verdict.INCONCLUSIVE
    if verdict is Verdict.CONFIRMED and not moved:
        verdict = Verdict.INCONCLUSIVE
        warnings.append(f"the gain came without its mechanism ({claim.mechanism} did not move)")
    if moved and comparison.improvement_high <= 0:
        warnings.append(f"the mechanism without the gain: {claim.mechanism} moved, and it is no faster")
    if verdict is Verdict.INCONCLUSIVE and not comparison.undecidable:
        needed = blocks_needed(ratios, float(np.log(comparison.effect_size)) - threshold)
        if needed > comparison.blocks:
            warnings.append(f"so near the claim it would take about {needed - comparison.blocks} more blocks to decide")
    assert isinstance(claim.claimed.after, float)
    low = comparison.treatment * comparison.ci_low / comparison.effect_size
    high = comparison.treatment * comparison.ci_high / comparison.effect_size
    return ClaimResult(
        claim=claim,
        before=comparison.control,
        after=comparison.treatment,
        after_low=low,
        after_high=high,
        improvement=comparison.improvement,
        ci_low=comparison.improvement_low,
        ci_high=comparison.improvement_high,
        blocks=comparison.blocks,
        samples=comparison.samples,
        detectable=comparison.detectable,
        target_met=comparison.treatment <= claim.claimed.after,
        mechanism=mechanism,
        verdict=verdict,
        note=_latency_note(claim, comparison, verdict),
        warnings=tuple(warnings),
        p=signed_rank_p(ratios, threshold),
        course=seen,
    )


def analyze_range(
    claim: Claim,
    values: Sequence[float],
    *,
    samples: int,
    mechanism: dict[str, Any],
    moved: bool,
    before: float = 0.0,
    context: str = "",
) -> ClaimResult:
    """A claim that a value lies in a range or on its better side, from one value a block, in the claim's unit.

    `improvement` is told as a share: of a hit rate what it gained, of a size what it stays below the claimed
    ceiling. Equal values (a size that is counted, not sampled) have no width.
    """
    assert isinstance(claim.claimed.after, tuple)
    floor, ceiling = claim.claimed.after
    array = np.asarray(values, dtype=float)
    exact = bool(np.all(array == array[0]))
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
    )


def analyze_check(claim: Claim, trials: int, failures: Sequence[str], mechanism: dict[str, Any]) -> ClaimResult:
    """A claim that something never fails, from so many trials: refuted by one failure, confirmed by none of enough.

    `after` is the number of failures, bounded by the exact (Clopper-Pearson) interval of their share; `improvement` is
    the share of trials that held, `detectable` the share of failures that would have shown with a chance of 95 %.
    """
    failed = len(failures)
    interval = stats.binomtest(failed, max(trials, 1)).proportion_ci(0.95, method="exact")
    moved = bool(mechanism.get("moved"))
    verdict, warnings = Verdict.CONFIRMED, []
    if failed:
        verdict = Verdict.REFUTED
    elif trials < MINIMUM_TRIALS or not moved:
        verdict = Verdict.INCONCLUSIVE
        warnings.append(
            f"needs at least {MINIMUM_TRIALS} trials, had {trials}" if moved else f"{claim.mechanism} did not move"
        )
    first = f", the first: {failures[0]}" if failed else ""
    return ClaimResult(
        claim=claim,
        before=0.0,
        after=float(failed),
        after_low=float(interval.low * trials),
        after_high=float(interval.high * trials),
        improvement=1 - failed / max(trials, 1),
        ci_low=float(1 - interval.high),
        ci_high=float(1 - interval.low),
        blocks=1,
        samples=trials,
        detectable=float(1 - 0.05 ** (1 / max(trials, 1))),
        target_met=failed == 0,
        mechanism=mechanism,
        verdict=verdict,
        note=f"{failed} of {trials} trials failed{first}; a share of {interval.high:.1%} or more is ruled out",
        warnings=tuple(warnings),
    )


def latency_mechanism(claim: Claim, slots: pd.DataFrame) -> tuple[dict[str, Any], bool]:
    """The counters of both arms a 1,000 requests, and whether the one that must move with a gain did."""
    told: dict[str, Any] = {}
    for arm in (claim.control, claim.treatment):
        mine = slots[slots["arm"] == arm]
        requests = int(mine["requests"].sum())
        told[arm] = {
            "requests": requests,
            "cache_hits": int(mine["hits"].sum()),
            "statements_per_1000": _per(mine["statements"], requests),
            "database_ms_per_1000": _per(mine["database_s"] * 1000, requests),
            "blocks_per_1000": _per(mine["blocks"], requests),
        }
    control, treatment = told[claim.control], told[claim.treatment]
    if claim.mechanism == "hits":
        moved = control["cache_hits"] == 0 and treatment["cache_hits"] >= 0.9 * treatment["requests"]
    elif control["blocks_per_1000"] is None or treatment["blocks_per_1000"] is None:
        moved = False
    else:
        moved = treatment["blocks_per_1000"] < control["blocks_per_1000"]
    told["moved"] = bool(moved)
    return told, bool(moved)


def noise_warnings(slots: pd.DataFrame) -> list[str]:
    """What the machine did meanwhile that a reader must know: blocks in which others had the CPU."""
    told = []
    for blocks, what in (
        (slots[slots["steal"] > STEAL_LIMIT], f"the host gave more than {STEAL_LIMIT:.0%} of the CPU to others"),
        (
            slots[slots["yardstick_ms"] > SLOW_YARDSTICK * slots["yardstick_ms"].median()],
            f"the machine itself was more than {SLOW_YARDSTICK - 1:.0%} slower",
        ),
    ):
        if not blocks.empty:
            told.append(f"{what} in blocks {', '.join(map(str, sorted({int(block) for block in blocks['block']})))}")
    return told


def _still_moving(values: Any) -> bool:
    """Whether the last third of the blocks lies wholly on one side of the first third."""
    third = max(2, len(values) // 3)
    first, last = values[:third], values[-third:]
    return bool(last.min() > first.max() or last.max() < first.min())


def _per(column: Any, requests: int) -> float | None:
    if not requests or column.isna().any():
        return None
    return round(float(column.sum()) / requests * 1000, 3)


def _latency_note(claim: Claim, c: Comparison, verdict: Verdict) -> str:
    claimed = claim.claimed
    assert isinstance(claimed.after, float)
    assert claimed.improvement is not None
    gained = (
        f"{c.improvement:.1%} less ({c.improvement_low:.1%} to {c.improvement_high:.1%})"
        if c.effect_size <= 1
        else f"{c.effect_size - 1:.1%} more ({c.ci_low - 1:.1%} to {c.ci_high - 1:.1%})"
    )
    sentence = f"{claim.metric} {gained}, claimed {claimed.improvement:.1%} less"
    if verdict is Verdict.REFUTED:
        sentence += f": short by {(claimed.improvement - c.improvement) * 100:.1f} points"
    start = f"before {c.control:.3g} ms (claimed {claimed.before:g} ms"
    start += ")" if 0.5 <= c.control / claimed.before <= 2 else ", not reproduced at this size)"
    end = f"after {c.treatment:.3g} ms ({'meets' if c.treatment <= claimed.after else 'misses'} {claimed.after:g} ms)"
    return f"{sentence}; {start}; {end}"


def _range_note(claim: Claim, value: float, low: float, high: float, exact: bool) -> str:
    assert isinstance(claim.claimed.after, tuple)
    floor, ceiling = claim.claimed.after
    if claim.unit == "share":
        return f"{value:.1%} ({low:.1%} to {high:.1%}), claimed {floor:.0%} to {ceiling:.0%}"
    spread = "counted exactly" if exact else f"{low:.3g} to {high:.3g}"
    where = "within" if floor <= value <= ceiling else "below" if value < floor else "above"
    return f"{value:.3g} {claim.unit} ({spread}), {where} the claimed {floor:g} to {ceiling:g} {claim.unit}"
