"""Series: a value a block of each claim, arm and metric of a run; and two runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from archzero_lab.run_folders.run import Run
from archzero_lab.stats.estimates import REQUESTS_FOR, hodges_lehmann
from archzero_lab.stats.unpaired import MINIMUM_EACH, shape_changed, shift
from archzero_lab.stats.verdict import Change, change

METRICS = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "mean": None}
LEAST_MARGIN = 0.10
"""Between two runs on one machine, where its history does not tell: what no interval within a run can see (a neighbour
that has come, a warmer CPU). 5 to 25 % was seen on two shared cores for identical code."""

_SAME_REQUESTS = ("seed", "profile", "size", "label")


def block_series(samples: pd.DataFrame) -> dict[tuple[str, str, str], list[float]]:
    """Values in ms by (claim, arm, metric), a value a block; without quantiles that a slot is too small for."""
    series: dict[tuple[str, str, str], list[float]] = {}
    if samples.empty:
        return series
    for (claim, arm), group in samples.groupby(["claim", "arm"]):
        blocks = group.groupby("block")["service_time_s"]
        fewest = int(blocks.size().min())
        for metric, q in METRICS.items():
            if q is not None and fewest < REQUESTS_FOR[q]:
                continue
            values = blocks.mean() if q is None else blocks.quantile(q)
            series[str(claim), str(arm), metric] = (values * 1000).tolist()
    return series


@dataclass(frozen=True)
class Row:
    """One series of two runs. `ratio` is after / before with its interval, `margin` what counts as none."""

    claim: str
    arm: str
    metric: str
    before: float
    after: float
    ratio: float
    ci_low: float
    ci_high: float
    margin: float
    found: Change
    note: str = ""

    @property
    def name(self) -> str:
        """As it is told."""
        return f"{self.claim} / {self.arm} / {self.metric}"


def compare_runs(before: Run, after: Run, margins: Mapping[tuple[str, str, str], float] | None = None) -> list[Row]:
    """Every series that both runs have: log-ratio over their blocks by the Hodges-Lehmann estimate.

    Runs of one seed, size and profile asked the same things in the same blocks, so block is held against block; others
    by the two-sample estimate, which takes what differs between blocks for noise.

    `margins` are this machine's between runs by (claim, arm, metric); LEAST_MARGIN where it is larger or none is known.
    """
    rows = []
    alike = all(_summary_value(before, name) == _summary_value(after, name) for name in _SAME_REQUESTS)
    for key in before.series:
        if key not in after.series:
            continue
        claim, arm, metric = key
        one, other = np.log(before.series[key]), np.log(after.series[key])
        shift_estimate = hodges_lehmann(other - one) if alike and one.size == other.size else shift(one, other)
        low, high = float(np.exp(shift_estimate.low)), float(np.exp(shift_estimate.high))
        margin = max(LEAST_MARGIN, (margins or {}).get(key, 0.0))
        said = change(low, high, margin)
        rows.append(
            Row(
                claim, arm, metric, float(np.median(before.series[key])), float(np.median(after.series[key])),
                float(np.exp(shift_estimate.estimate)), low, high, margin, said, _note(before, after, key, said),
            )
        )  # fmt: skip
    return rows


def yardstick_ratio(before: Run, after: Run) -> float | None:
    """By how much the same little work took longer in the second run; None where a run has no yardstick."""
    medians = []
    for run in (before, after):
        if "yardstick_ms" not in run.slots or run.slots["yardstick_ms"].isna().all():
            return None
        medians.append(float(run.slots["yardstick_ms"].median()))
    return medians[1] / medians[0]


def comparable(before: Run, after: Run) -> list[str]:
    """What a reader must know before two runs are compared: another system, machine, size, label or profile."""
    reasons = []
    for name in ("system", "profile", "size", "label", "machine"):
        one, other = _summary_value(before, name), _summary_value(after, name)
        if one != other:
            reasons.append(f"another {name}: {one} and {other}")
    return reasons


_BEFORE_0_2 = {"size": "cards", "label": "portfolio"}


def _summary_value(run: Run, name: str) -> Any:
    """What a run's summary says, by the name that it has now."""
    summary = run.summary
    if name == "machine":
        return summary.get("environment", {}).get("machine")
    if name == "system":
        return summary.get("system", "arczero")
    return summary.get(name, summary.get(_BEFORE_0_2.get(name, name)))


def _note(before: Run, after: Run, key: tuple[str, str, str], said: Change) -> str:
    claim, arm, metric = key
    fewest = min(len(before.series[key]), len(after.series[key]))
    if fewest < MINIMUM_EACH:
        return f"needs at least {MINIMUM_EACH} blocks in each run, had {fewest}"
    if metric != "p50" or said in (Change.IMPROVED, Change.REGRESSED):
        return ""
    one, other = (
        run.samples.loc[(run.samples["claim"] == claim) & (run.samples["arm"] == arm), "service_time_s"].to_numpy()
        for run in (before, after)
    )
    distance = shape_changed(one, other)
    return f"the shape changed, the median did not (Kolmogorov-Smirnov {distance:.2f})" if distance else ""
