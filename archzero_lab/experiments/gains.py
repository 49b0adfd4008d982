"""A claim of a gain: from paired blocks to estimate, interval, mechanism, verdict, and a sentence that says it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from archzero_lab.experiments.claim_result import Beside, ClaimResult
from archzero_lab.experiments.claims import NO_MECHANISM, Claim
from archzero_lab.experiments.measurements import OWN
from archzero_lab.experiments.metrics import (
    EVENTS,
    FEWEST_EVENTS,
    QUANTILES,
    by_block,
    events,
    in_unit,
    log_ratios,
    threshold,
)
from archzero_lab.experiments.noise import noise_warnings
from archzero_lab.stats.comparison import Comparison, compare
from archzero_lab.stats.multiple import signed_rank_p
from archzero_lab.stats.sequential import Course, blocks_needed, course
from archzero_lab.stats.verdict import Verdict, at_least, at_most


def claim_course(claim: Claim, samples: pd.DataFrame, slots: pd.DataFrame) -> Course:
    """The e-process that the gain lies just at the claimed one, over the blocks in their order."""
    mine = samples[samples["claim"] == claim.id], slots[slots["claim"] == claim.id]
    return course(log_ratios(claim, by_block(claim.metric, claim.over_ms, *mine)), null=threshold(claim))


def analyze_gain(
    claim: Claim, samples: pd.DataFrame, slots: pd.DataFrame, *, until_decided: bool = False, margin: float = 0.0
) -> ClaimResult:
    """A claim of a gain, from its samples and slots (frames of Measurements, or of a load).

    With `until_decided` the interval is the confidence sequence of the e-process by which blocks were added. `margin`
    is what identical arms differ by on this machine (0.03: 3 %): a verdict that so small a shift would undo is none.
    """
    samples = samples[samples["claim"] == claim.id]
    slots = slots[slots["claim"] == claim.id]
    beside = None
    if claim.beside in set(samples["arm"]):
        beside = _beside(claim, by_block(claim.metric, claim.over_ms, samples, slots))
    samples = samples[samples["arm"] != claim.beside]
    slots = slots[slots["arm"] != claim.beside]
    table = by_block(claim.metric, claim.over_ms, samples, slots)
    comparison = compare(
        table[claim.control].tolist(),
        table[claim.treatment].tolist(),
        quantile=QUANTILES.get(claim.metric),
        requests_a_slot=int(samples.groupby(["block", "arm"]).size().min()),
        samples=len(samples),
    )
    ratios, bar = log_ratios(claim, table), threshold(claim)
    seen = course(ratios, null=bar) if until_decided else None
    if seen is not None:
        low, high = float(np.exp(seen.low[-1])), float(np.exp(seen.high[-1]))
        comparison = replace(comparison, ci_low=low, ci_high=high)
    mechanism, moved = mechanism_of_gain(claim, slots)
    warnings = [*comparison.warnings, *noise_warnings(slots)]
    undecidable = comparison.undecidable
    if claim.metric in EVENTS:
        counted = int(events(claim.over_ms, samples).sum())
        if counted < FEWEST_EVENTS:
            undecidable = True
            warnings.append(f"needs at least {FEWEST_EVENTS} requests of that kind, had {counted} of {len(samples):,}")
    verdict = _verdict(claim, comparison, bar)
    if undecidable:
        verdict = Verdict.INCONCLUSIVE
    elif margin and verdict is not _verdict(claim, comparison, bar, margin):
        verdict = Verdict.INCONCLUSIVE
        warnings.append(f"too close to the claim: identical arms differ by {margin:.1%} on this machine")
    if verdict is Verdict.CONFIRMED and not moved:
        verdict = Verdict.INCONCLUSIVE
        warnings.append(f"the gain came without its mechanism ({claim.mechanism} did not move)")
    low, high = _gain(claim, comparison.ci_low), _gain(claim, comparison.ci_high)
    low, high = min(low, high), max(low, high)
    if claim.mechanism == NO_MECHANISM:
        warnings.append("by time alone: its file names no mechanism")
    elif moved and high <= 0:
        warnings.append(f"the mechanism without the gain: {claim.mechanism} moved, and it is no better")
    if verdict is Verdict.INCONCLUSIVE and not undecidable:
        more = blocks_needed(ratios, float(np.log(comparison.effect_size)) - bar) - comparison.blocks
        if more > 0:
            what = "block" if more == 1 else "blocks"
            warnings.append(f"too close to call; about {more} more {what} would decide")
    assert isinstance(claim.claimed.after, float)
    met: bool | None = None
    if not claim.claimed.unit:
        after = claim.claimed.after
        met = comparison.treatment >= after if claim.rises else comparison.treatment <= after
    return ClaimResult(
        claim=claim,
        before=comparison.control,
        after=comparison.treatment,
        after_low=comparison.treatment * comparison.ci_low / comparison.effect_size,
        after_high=comparison.treatment * comparison.ci_high / comparison.effect_size,
        improvement=_gain(claim, comparison.effect_size),
        ci_low=low,
        ci_high=high,
        blocks=comparison.blocks,
        samples=comparison.samples,
        detectable=comparison.detectable,
        target_met=met,
        mechanism=mechanism,
        verdict=verdict,
        note=_gain_note(claim, comparison, verdict, met),
        warnings=tuple(warnings),
        p=signed_rank_p(ratios, bar),
        course=seen,
        beside=beside,
    )


def _beside(claim: Claim, table: pd.DataFrame) -> Beside:
    """The third arm against the treatment, block by block."""
    comparison = compare(table[claim.treatment].tolist(), table[claim.beside].tolist())
    low, high = (float(bound) if np.isfinite(bound) else None for bound in (comparison.ci_low, comparison.ci_high))
    return Beside(claim.beside, comparison.treatment, comparison.effect_size, low, high)


def _gain(claim: Claim, ratio: float) -> float:
    """A ratio treatment / control as a share gained: less of a time, more of a throughput."""
    return ratio - 1 if claim.rises else 1 - ratio


def _verdict(claim: Claim, comparison: Comparison, bar: float, margin: float = 0.0) -> Verdict:
    """By the whole interval against the claimed ratio; with a margin, by an interval that much wider on either side."""
    rule = at_least if claim.rises else at_most
    return rule(float(np.exp(bar)), comparison.ci_low / (1 + margin), comparison.ci_high * (1 + margin))


_WORK = ("rows", "temporary_blocks", "wal_bytes", "redis_calls")
"""Counted beside what a claim may name as its mechanism; older runs do not have it."""


def mechanism_of_gain(claim: Claim, slots: pd.DataFrame) -> tuple[dict[str, Any], bool]:
    """The counters of both arms a 1,000 requests, and whether the one that must move with a gain did.

    A claim without a mechanism has none that could stay behind: true, and None is told.
    """
    counters: dict[str, Any] = {}
    own = [str(name) for name in slots if str(name).startswith(OWN)]
    for arm in (claim.control, claim.treatment):
        mine = slots[slots["arm"] == arm]
        requests = int(mine["requests"].sum())
        counters[arm] = {
            "requests": requests,
            "cache_hits": int(mine["hits"].sum()),
            "statements_per_1000": _per(mine["statements"], requests),
            "database_ms_per_1000": _per(mine["database_s"] * 1000, requests),
            "blocks_per_1000": _per(mine["blocks"], requests),
            **{f"{name}_per_1000": _per(mine[name], requests) for name in _WORK if name in mine},
            **{f"{name.removeprefix(OWN)}_per_1000": _per(mine[name], requests) for name in own},
        }
    control, treatment = counters[claim.control], counters[claim.treatment]
    if claim.mechanism == NO_MECHANISM:
        return counters | {"moved": None}, True
    if claim.mechanism == "hits":
        # the cache of a slot of its own was filled with just these requests; under the mix it is as it happens
        enough = 0.9 * treatment["requests"] if claim.timed else 1
        moved = control["cache_hits"] < treatment["cache_hits"] >= enough
    else:
        counted = {"blocks": "blocks_per_1000", "statements": "statements_per_1000"}
        name = counted.get(claim.mechanism, f"{claim.mechanism}_per_1000")
        before, after = control[name], treatment[name]
        if before is None or after is None:
            moved = False
        else:
            moved = after > before if claim.mechanism_rises else after < before
    counters["moved"] = bool(moved)
    return counters, bool(moved)


def _per(column: Any, requests: int) -> float | None:
    if not requests or column.isna().any():
        return None
    return round(float(column.sum()) / requests * 1000, 3)


def _gain_note(claim: Claim, c: Comparison, verdict: Verdict, met: bool | None) -> str:
    claimed = claim.claimed
    assert isinstance(claimed.after, float)
    assert claimed.improvement is not None
    more = c.effect_size > 1
    ends = sorted(abs(ratio - 1) if (ratio > 1) == more else -abs(ratio - 1) for ratio in (c.ci_low, c.ci_high))
    gained = f"{abs(c.effect_size - 1):.1%} {'more' if more else 'less'} ({ends[0]:.1%} to {ends[1]:.1%})"
    what = f"share over {claim.over_ms:g} ms" if claim.metric == "share_over" else claim.metric.replace("_", " ")
    sentence = f"{what} {gained}, claimed {claimed.improvement:.1%} {'more' if claim.rises else 'less'}"
    if verdict is Verdict.REFUTED:
        sentence += f": short by {(claimed.improvement - _gain(claim, c.effect_size)) * 100:.1f} points"
    if met is None:
        claim_text = f"{claimed.before:g} to {claimed.after:g} {claimed.unit}"
        before, after = in_unit(claim.unit, c.control), in_unit(claim.unit, c.treatment)
        return f"{sentence}; before {before}, after {after} (claimed as {claim_text})"
    before, after, was, wanted = (
        in_unit(claim.unit, value) for value in (c.control, c.treatment, claimed.before, claimed.after)
    )
    start = f"before {before} (claimed {was}"
    reproduced = claimed.before > 0 and 0.5 <= c.control / claimed.before <= 2
    start += ")" if reproduced else ", not reproduced at this size)"
    return f"{sentence}; {start}; after {after} ({'meets' if met else 'misses'} {wanted})"
