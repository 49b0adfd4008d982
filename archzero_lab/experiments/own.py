"""An experiment of one's own: any two callables in paired blocks, timed by the same rules as phase 5's claims."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from archzero_lab.errors import LabError, MeasurementError, unknown_name
from archzero_lab.experiments.metrics import QUANTILES
from archzero_lab.experiments.noise import STEAL_LIMIT
from archzero_lab.experiments.runner import cpu_seconds, steal_share
from archzero_lab.experiments.schedule import schedule
from archzero_lab.experiments.turns import turn
from archzero_lab.stats.comparison import Comparison, compare
from archzero_lab.stats.estimates import MINIMUM_BLOCKS, REQUESTS_FOR
from archzero_lab.stats.sequential import blocks_needed
from archzero_lab.stats.verdict import Change, change

METRICS = (*QUANTILES, "mean")
_SLOT_S = 0.2
_LEAST, _MOST = 10, 1_000
_WARM_UP = 3


@dataclass(frozen=True)
class OwnArm:
    """One side: `call` does the work once, `reset` comes before each slot, `totals` only grow.

    `close` is called when the experiment ends, however it does.
    """

    name: str
    call: Callable[[], Any]
    close: Callable[[], None] = lambda: None
    described: dict[str, Any] = field(default_factory=dict)
    totals: Callable[[], Mapping[str, float]] = dict
    reset: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class OwnResult:
    """What came of it. Effects are ratios treatment / control: 0.25 is four times as fast.

    `blocks`: a row a block and arm, with block, order, arm, calls, ms (the metric), steal. `verdict`: improved,
    regressed, equivalent or inconclusive, a difference below `margin` being none.
    """

    verdict: Change
    comparison: Comparison | None
    metric: str
    margin: float
    blocks: pd.DataFrame
    warnings: tuple[str, ...]
    mechanism: pd.DataFrame

    @property
    def effect_size(self) -> float:
        """The estimate: Hodges-Lehmann over the blocks' log-ratios; nan where too little was measured."""
        return self.comparison.effect_size if self.comparison else float("nan")

    @property
    def ci_low(self) -> float:
        """The lower end of the exact signed-rank interval."""
        return self.comparison.ci_low if self.comparison else float("nan")

    @property
    def ci_high(self) -> float:
        """Its upper end."""
        return self.comparison.ci_high if self.comparison else float("nan")


class Course:
    """What is measured so far, seen from another thread; `stop()` ends it after the block that is under way."""

    def __init__(self, blocks: int) -> None:
        self.wanted = blocks
        self.rows: list[dict[str, Any]] = []
        self.done = 0
        self.times: list[tuple[int, int, str, float]] = []
        """Each call: block, order, arm, seconds."""
        self.work: dict[str, Counter[str]] = {}
        """What the calls of each arm added to its totals."""
        self.waits = ""
        """What it waits for before it may measure, in words."""
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End after the current block and keep what was measured."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether somebody asked for the end."""
        return self._stopped.is_set()


def check_metric(metric: str) -> None:
    """Raise UnknownNameError for an unknown metric."""
    if metric not in METRICS:
        raise unknown_name("metric", metric, list(METRICS))


def run_own(
    control: OwnArm,
    treatment: OwnArm,
    *,
    metric: str = "p50",
    blocks: int = 12,
    calls: int | None = None,
    margin: float = 0.05,
    seed: int = 1,
    course: Course | None = None,
) -> OwnResult:
    """Measure two arms over `blocks` paired blocks in random order; `calls` a slot, or as many as 0.2 s hold.

    A quantile gets the calls that it needs (p95 200, p99 3,000) where `calls` is not given.
    It waits until no other experiment of this machine measures. Raises MeasurementError naming arm and block for an arm
    that raises; nothing of such a run counts.
    """
    check_metric(metric)
    course = course if course is not None else Course(blocks)
    arms = {"control": control, "treatment": treatment}
    try:
        with turn("an experiment", lambda told: setattr(course, "waits", told), lambda: course.stopped) as mine:
            if mine:
                _measure(arms, course, metric, blocks, calls, seed)
    finally:
        for arm in arms.values():
            arm.close()
    return result_of(arms, course, metric, margin)


def _measure(arms: dict[str, OwnArm], course: Course, metric: str, blocks: int, calls: int | None, seed: int) -> None:
    """All blocks, or those up to where somebody asked for the end."""
    for name, arm in arms.items():
        for _ in range(_WARM_UP):
            _once(name, arm, 0, blocks)
    number = calls if calls is not None else _calls_of(arms, metric, blocks)
    for slot in schedule(["control", "treatment"], blocks, seed):
        if slot.order == 0 and course.stopped:
            break
        arm = arms[slot.arm]
        arm.reset()
        for _ in range(_WARM_UP):
            _once(slot.arm, arm, slot.block, blocks)
        counted, before = arm.totals(), cpu_seconds()
        times = [_once(slot.arm, arm, slot.block, blocks) for _ in range(number)]
        steal = steal_share(before, cpu_seconds())
        work = course.work.setdefault(slot.arm, Counter())
        work.update({name: value - counted[name] for name, value in arm.totals().items()})
        q = QUANTILES.get(metric)
        value = float(np.mean(times)) if q is None else float(np.quantile(times, q))
        course.times += [(slot.block, slot.order, slot.arm, seconds) for seconds in times]
        course.rows.append(
            {"block": slot.block, "order": slot.order, "arm": slot.arm, "calls": number, "ms": value * 1000,
             "steal": steal}
        )  # fmt: skip
        course.done = len(course.rows) // 2


def result_of(arms: dict[str, OwnArm], course: Course, metric: str, margin: float) -> OwnResult:
    """The verdict on what a course holds, whole blocks only."""
    rows = list(course.rows)  # while the course goes on, a table of the list that grows would be of two lengths
    frame = pd.DataFrame(rows, columns=["block", "order", "arm", "calls", "ms", "steal"])
    whole = frame[frame.groupby("block")["arm"].transform("nunique") == 2]
    mechanism = pd.DataFrame({name: arm.described | _a_call(name, course, rows) for name, arm in arms.items()}).T
    if whole.empty:
        told = (f"needs at least {MINIMUM_BLOCKS} blocks, had 0",)
        return OwnResult(Change.INCONCLUSIVE, None, metric, margin, whole, told, mechanism)
    table = whole.pivot_table(index="block", columns="arm", values="ms")
    found = compare(
        table["control"].tolist(), table["treatment"].tolist(), quantile=QUANTILES.get(metric),
        requests_a_slot=int(whole["calls"].min()), samples=int(whole["calls"].sum()),
    )  # fmt: skip
    warnings = list(found.warnings)
    if len(table) < course.wanted:
        warnings.append(f"stopped after {len(table)} of {course.wanted} blocks")
    disturbed = sorted(set(whole.loc[whole["steal"] > STEAL_LIMIT, "block"]))
    if disturbed:
        named = ", ".join(map(str, disturbed))
        warnings.append(f"the host gave more than {STEAL_LIMIT:.0%} of the CPU to others in blocks {named}")
    verdict = Change.INCONCLUSIVE if found.undecidable else change(found.ci_low, found.ci_high, margin)
    if verdict is Change.INCONCLUSIVE and not found.undecidable:
        ratios = np.log(table["treatment"].to_numpy() / table["control"].to_numpy())
        distance = min(abs(np.log(found.effect_size) - edge) for edge in (np.log1p(margin), -np.log1p(margin)))
        more = blocks_needed(ratios, float(distance)) - found.blocks
        if more > 0:
            warnings.append(f"it would take about {more} more {'block' if more == 1 else 'blocks'} to decide")
    return OwnResult(verdict, found, metric, margin, whole.reset_index(drop=True), tuple(warnings), mechanism)


def _a_call(arm: str, course: Course, rows: list[dict[str, Any]]) -> dict[str, float]:
    calls = sum(row["calls"] for row in rows if row["arm"] == arm)
    return {f"{name} a call": value / calls for name, value in course.work.get(arm, {}).items()} if calls else {}


def _calls_of(arms: dict[str, OwnArm], metric: str, blocks: int) -> int:
    slowest = max(min(_once(name, arm, 0, blocks) for _ in range(2)) for name, arm in arms.items())
    fits = int(_SLOT_S / max(slowest, 1e-6))
    needed = REQUESTS_FOR.get(QUANTILES.get(metric, 0.5), _LEAST)
    return max(needed, min(fits, _MOST), _LEAST)


def _once(name: str, arm: OwnArm, block: int, blocks: int) -> float:
    began = time.perf_counter()
    try:
        arm.call()
    except LabError as error:
        raise MeasurementError(f"{name} failed in block {block + 1} of {blocks}: {error}") from None
    except Exception as error:
        raise MeasurementError(
            f"{name} raised {type(error).__name__} in block {block + 1} of {blocks}: {error}; "
            "an arm must do its work every time"
        ) from error
    return time.perf_counter() - began
