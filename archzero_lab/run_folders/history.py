"""The history of all runs: a row a metric and run in one Parquet file, drawn over time, its change points marked."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from archzero_lab.errors import LabError
from archzero_lab.run_folders.run import Run
from archzero_lab.settings import REPORTS
from archzero_lab.stats.estimates import hodges_lehmann

FILE = REPORTS / "history.parquet"
RATIO = "treatment / control"
YARDSTICK = "yardstick"
"""The arm of the work that is no code of ours: what the machine itself did."""
WHOSE = {
    RATIO: "the code changed",
    "control": "the machine or the baseline changed",
    YARDSTICK: "the machine changed",
}
_LEAST_SEGMENT = 4
"""Runs on each side of a change point, below which no rank test at 5 % can see one."""


def append(run: Run, control_of: dict[str, tuple[str, str]], file: Path = FILE) -> int:
    """Add a run's rows, replacing those it may have there already; returns how many.

    Columns: run_id, time, commit, dirty, machine, profile, size, seed, claim, metric, arm, value, ci_low, ci_high.
    `value` is in ms, of the arm RATIO it is the ratio over paired blocks. `control_of` gives each claim's (control,
    treatment). The file is replaced in one step: a run that is cut short leaves it whole.
    """
    environment = run.summary.get("environment", {})
    row = {
        "run_id": run.id,
        "time": dt.datetime.now(dt.UTC),
        "commit": environment.get("git_commit") or "",
        "dirty": bool(environment.get("git_dirty")),
        "machine": environment.get("machine") or "",
        "profile": run.summary.get("profile"),
        "size": run.summary.get("size", run.summary.get("cards")),
        "seed": run.summary.get("seed"),
    }
    rows = []
    for (claim, arm, metric), values in run.series.items():
        interval = hodges_lehmann(np.log(values))
        # the scorecard's number is the median over blocks: the same here
        median = float(np.log(np.median(values)))
        rows.append(row | _row(claim, metric, arm, median, min(interval.low, median), max(interval.high, median)))
        control, treatment = control_of.get(claim, ("control", "treatment"))
        beside = run.series.get((claim, control, metric))
        if arm == treatment and beside is not None and len(beside) == len(values):
            ratio = hodges_lehmann(np.log(values) - np.log(beside))
            rows.append(row | _row(claim, metric, RATIO, ratio.estimate, ratio.low, ratio.high))
    if "yardstick_ms" in run.slots:
        for of_claim, group in run.slots.groupby("claim"):
            values = np.log(group.groupby("block")["yardstick_ms"].mean().dropna().to_numpy())
            if values.size:
                interval = hodges_lehmann(values)
                rows.append(row | _row(str(of_claim), "p50", YARDSTICK, interval.estimate, interval.low, interval.high))
    if not rows:
        return 0
    frame = pd.DataFrame(rows)
    if file.exists():
        earlier = _read(file)
        frame = pd.concat([earlier[earlier["run_id"] != run.id], frame], ignore_index=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    frame.to_parquet(partial, index=False)
    partial.replace(file)
    return len(rows)


def read(file: Path = FILE) -> pd.DataFrame:
    """All rows, oldest first. Raises LabError where there is no history yet."""
    if not file.exists():
        raise LabError("there is no history yet: each ./lab report adds to it")
    return _read(file).sort_values("time", kind="stable")


def _read(file: Path) -> pd.DataFrame:
    """The file's rows; what was called cards before 0.2 is the size."""
    return pd.read_parquet(file).rename(columns={"cards": "size"})


@dataclass(frozen=True)
class ChangePoint:
    """A shift in a series of one machine: first in run `run_id`, by the factor `ratio`; `what` says whose it is."""

    machine: str
    claim: str
    metric: str
    run_id: str
    commit: str
    ratio: float
    what: str


def change_points(history: pd.DataFrame, metric: str = "p50", alpha: float = 0.01) -> list[ChangePoint]:
    """Shifts of the ratio's series, of the control's own and of the yardstick's, each machine, size and claim apart.

    A shift of the ratio is the code's (the machine is in both of its arms); one of the control's alone is the machine's
    or the baseline's, of the yardstick the machine's. Binary segmentation by the Mann-Whitney test, Bonferroni over the
    places tried. (apache-otava would do it, but brings BigQuery, gRPC and an older numpy and scipy with it.)
    """
    points = []
    wanted = history[(history["metric"] == metric) & history["arm"].isin([RATIO, "control", YARDSTICK])]
    for (machine, _, claim), group in wanted.groupby(["machine", "size", "claim"]):
        for arm, what in WHOSE.items():
            series = group[group["arm"] == arm]
            logs = np.log(series["value"].to_numpy())
            for at in _shifts(logs, alpha):
                row = series.iloc[at]
                ratio = float(np.exp(np.median(logs[at:]) - np.median(logs[:at])))
                points.append(
                    ChangePoint(str(machine), str(claim), metric, row["run_id"], row["commit"], ratio, what)
                )  # fmt: skip
    return points


def spread_between_runs(history: pd.DataFrame, machine: str, size: int) -> dict[tuple[str, str, str], float]:
    """By how much two runs of one clean commit may differ on a machine, by (claim, arm, metric): 0.2 is 20 %.

    The 95 % range of the difference of two runs, 1.96 sqrt(2) standard deviations of the log, from at least
    _LEAST_SEGMENT runs of one commit; where several commits have so many, pooled.
    """
    known = history[(history["machine"] == machine) & (history["size"] == size) & ~history["dirty"]]
    spreads = {}
    for key, group in known.groupby(["claim", "arm", "metric"]):
        squares, freedom = 0.0, 0
        for _, runs in group.groupby(["commit", "profile"]):
            if len(runs) >= _LEAST_SEGMENT:
                logs = np.log(runs["value"].to_numpy())
                squares += float(((logs - logs.mean()) ** 2).sum())
                freedom += logs.size - 1
        if freedom:
            claim, arm, metric = key
            spreads[str(claim), str(arm), str(metric)] = float(np.exp(1.96 * np.sqrt(2 * squares / freedom)) - 1)
    return spreads


def _shifts(values: np.ndarray, alpha: float, offset: int = 0) -> list[int]:
    places = range(_LEAST_SEGMENT, values.size - _LEAST_SEGMENT + 1)
    if not places:
        return []
    p = [float(scipy.stats.mannwhitneyu(values[:at], values[at:]).pvalue) for at in places]
    best = int(np.argmin(p))
    if p[best] * len(p) > alpha:
        return []
    at = places[best]
    return [
        *_shifts(values[:at], alpha, offset),
        offset + at,
        *_shifts(values[at:], alpha, offset + at),
    ]


def _row(claim: str, metric: str, arm: str, estimate: float, low: float, high: float) -> dict[str, object]:
    value, ci_low, ci_high = np.exp([estimate, low, high])
    return {"claim": claim, "metric": metric, "arm": arm, "value": value, "ci_low": ci_low, "ci_high": ci_high}
