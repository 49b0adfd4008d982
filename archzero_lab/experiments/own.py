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

from archzero_lab.errors import LabError, MeasurementError
from archzero_lab.experiments.noise import STEAL_LIMIT
from archzero_lab.experiments.own_metrics import OwnMetric
from archzero_lab.experiments.runner import cpu_seconds, steal_share
from archzero_lab.experiments.schedule import schedule
from archzero_lab.experiments.turns import turn
from archzero_lab.postgres.statement_log import record_statements
from archzero_lab.postgres.statement_work import StatementWork, work_since
from archzero_lab.stats.comparison import Comparison, compare
from archzero_lab.stats.estimates import MINIMUM_BLOCKS
from archzero_lab.stats.sequential import blocks_needed
from archzero_lab.stats.verdict import Change

_SLOT_S = 0.2
_MOST = 1_000
_WARM_UP = 3


@dataclass(frozen=True)
class OwnArm:
    """One side: `call` does the work once, `reset` comes before each slot; `totals`, and those by statement, only grow.

    `close` is called when the experiment ends, however it does.
    """

    name: str
    call: Callable[[], Any]
    close: Callable[[], None] = lambda: None
    described: dict[str, Any] = field(default_factory=dict)
    totals: Callable[[], Mapping[str, float]] = dict
    statements: Callable[[], Mapping[str, StatementWork]] = dict
    reset: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class OwnResult:
    """What came of it. Effects are ratios treatment / control: 0.25 is four times as fast.

    `blocks`: a row a block and arm, with block, order, arm, calls, the metric (ms, calls_a_second or share), steal.
    `verdict`: improved, regressed, equivalent or inconclusive, a difference below `margin` being none.
    """

    verdict: Change
    comparison: Comparison | None
    metric: OwnMetric
    margin: float
    blocks: pd.DataFrame
    warnings: tuple[str, ...]
    mechanism: pd.DataFrame
    statements: pd.DataFrame = field(default_factory=pd.DataFrame)
    """A row a statement and arm where a database counts them: calls, rows and blocks a call of the arm."""

    @property
    def by_block(self) -> pd.DataFrame:
        """The metric, a row a block, an arm a column."""
        return self.blocks.pivot_table(index="block", columns="arm", values=self.metric.column)

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
        self.events = 0
        """Calls that a share counts, of both arms."""
        self.times: list[tuple[int, int, str, float]] = []
        """Each call: block, order, arm, seconds."""
        self.work: dict[str, Counter[str]] = {}
        """What the calls of each arm added to its totals."""
        self.statements: dict[str, dict[str, StatementWork]] = {}
        """What they made of each statement, where a database counts them."""
        self.sent: dict[str, Counter[str]] = {}
        """Statements of one call by shape, of those that this process sends by psycopg."""
        self.waits = ""
        """What it waits for before it may measure, in words."""
        self._stopped = threading.Event()

    def add(self, arm: str, by_statement: Mapping[str, StatementWork]) -> None:
        """Add what a slot of an arm made of each statement."""
        total = self.statements.setdefault(arm, {})
        for text, work in by_statement.items():
            total[text] = total.get(text, StatementWork()) + work

    def stop(self) -> None:
        """End after the current block and keep what was measured."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether somebody asked for the end."""
        return self._stopped.is_set()


_MEDIAN = OwnMetric("p50")


def run_own(
    control: OwnArm,
    treatment: OwnArm,
    *,
    metric: OwnMetric = _MEDIAN,
    blocks: int = 12,
    calls: int | None = None,
    margin: float = 0.05,
    seed: int = 1,
    course: Course | None = None,
) -> OwnResult:
    """Measure two arms over `blocks` paired blocks in random order; `calls` a slot, or as many as 0.2 s hold.

    A quantile gets the calls that it needs (p95 200, p99 3,000), a share 100, where `calls` is not given.
    It waits until no other experiment of this machine measures. Raises MeasurementError naming arm and block for an arm
    that raises, but where errors are counted; nothing of such a run counts.
    """
    course = course if course is not None else Course(blocks)
    arms = {"control": control, "treatment": treatment}
    try:
        with turn("an experiment", lambda reason: setattr(course, "waits", reason), lambda: course.stopped) as mine:
            if mine:
                _measure(arms, course, metric, blocks, calls, seed)
    finally:
        for arm in arms.values():
            arm.close()
    return result_of(arms, course, metric, margin)


def _measure(
    arms: dict[str, OwnArm], course: Course, metric: OwnMetric, blocks: int, calls: int | None, seed: int
) -> None:
    """All blocks, or those up to where somebody asked for the end."""
    may_fail = metric.counts_errors
    for name, arm in arms.items():
        for _ in range(_WARM_UP):
            _once(name, arm, 0, blocks, may_fail)
        with record_statements() as log:  # of one call that is not timed
            _once(name, arm, 0, blocks, may_fail)
        course.sent[name] = log.by_shape
    number = calls if calls is not None else _calls_of(arms, metric, blocks)
    for slot in schedule(["control", "treatment"], blocks, seed):
        if slot.order == 0 and course.stopped:
            break
        arm = arms[slot.arm]
        arm.reset()
        for _ in range(_WARM_UP):
            _once(slot.arm, arm, slot.block, blocks, may_fail)
        counted, by_statement, before = arm.totals(), arm.statements(), cpu_seconds()
        called = [_once(slot.arm, arm, slot.block, blocks, may_fail) for _ in range(number)]
        steal = steal_share(before, cpu_seconds())
        work = course.work.setdefault(slot.arm, Counter())
        work.update({name: value - counted[name] for name, value in arm.totals().items()})
        course.add(slot.arm, work_since(arm.statements(), by_statement))
        times = [seconds for seconds, _ in called]
        events = metric.events(times, sum(failed for _, failed in called))
        course.events += events
        course.times += [(slot.block, slot.order, slot.arm, seconds) for seconds in times]
        course.rows.append(
            {"block": slot.block, "order": slot.order, "arm": slot.arm, "calls": number,
             metric.column: metric.value(times, events), "steal": steal}
        )  # fmt: skip
        course.done = len(course.rows) // 2


def result_of(arms: dict[str, OwnArm], course: Course, metric: OwnMetric, margin: float) -> OwnResult:
    """The verdict on what a course holds, whole blocks only."""
    rows = list(course.rows)  # while the course goes on, a table of the list that grows would be of two lengths
    frame = pd.DataFrame(rows, columns=["block", "order", "arm", "calls", metric.column, "steal"])
    whole = frame[frame.groupby("block")["arm"].transform("nunique") == 2]
    mechanism = pd.DataFrame({name: arm.described | _a_call(name, course, rows) for name, arm in arms.items()}).T
    statements = _by_statement(course, rows)
    if whole.empty:
        warning = (f"needs at least {MINIMUM_BLOCKS} blocks, had 0",)
        return OwnResult(Change.INCONCLUSIVE, None, metric, margin, whole, warning, mechanism, statements)
    table = whole.pivot_table(index="block", columns="arm", values=metric.column)
    comparison = compare(
        table["control"].tolist(), table["treatment"].tolist(), quantile=metric.quantile,
        requests_a_slot=int(whole["calls"].min()), samples=int(whole["calls"].sum()),
    )  # fmt: skip
    warnings = list(comparison.warnings)
    if len(table) < course.wanted:
        warnings.append(f"stopped after {len(table)} of {course.wanted} blocks")
    disturbed = sorted(set(whole.loc[whole["steal"] > STEAL_LIMIT, "block"]))
    if disturbed:
        named = ", ".join(map(str, disturbed))
        warnings.append(f"the host gave more than {STEAL_LIMIT:.0%} of the CPU to others in blocks {named}")
    too_few = metric.too_few(course.events, comparison.samples)
    if too_few:
        warnings.append(too_few)
    undecidable = comparison.undecidable or bool(too_few)
    verdict = Change.INCONCLUSIVE if undecidable else metric.change(comparison, margin)
    if verdict is Change.INCONCLUSIVE and not undecidable:
        ratios = np.log(table["treatment"].to_numpy() / table["control"].to_numpy())
        distance = min(abs(np.log(comparison.effect_size) - edge) for edge in (np.log1p(margin), -np.log1p(margin)))
        more = blocks_needed(ratios, float(distance)) - comparison.blocks
        if more > 0:
            warnings.append(f"it would take about {more} more {'block' if more == 1 else 'blocks'} to decide")
    return OwnResult(
        verdict, comparison, metric, margin, whole.reset_index(drop=True), tuple(warnings), mechanism, statements
    )


def _by_statement(course: Course, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The statements of both arms, those that read the most first."""
    lines: list[dict[str, Any]] = []
    for arm, statements in course.statements.items():
        calls = _calls(arm, rows)
        for text, work in dict(statements).items() if calls else ():  # it may be added to meanwhile
            a_call = {f"{name} a call": value / calls for name, value in vars(work).items()}
            lines.append({"statement": text, "arm": arm, **a_call})
    counted = {row["arm"] for row in lines}
    lines += [
        {"statement": shape, "arm": arm, "calls a call": float(times)}
        for arm, shapes in course.sent.items() if arm not in counted for shape, times in shapes.items()
    ]  # fmt: skip
    lines.sort(key=lambda row: (-row.get("blocks a call", 0.0), row["statement"], row["arm"]))
    return pd.DataFrame(lines)


def _calls(arm: str, rows: list[dict[str, Any]]) -> int:
    return sum(row["calls"] for row in rows if row["arm"] == arm)


def _a_call(arm: str, course: Course, rows: list[dict[str, Any]]) -> dict[str, float]:
    calls = _calls(arm, rows)
    totals = {f"{name} a call": value / calls for name, value in course.work.get(arm, {}).items()} if calls else {}
    sent = course.sent.get(arm, Counter()).total()
    return totals or ({"statements a call": float(sent)} if sent else {})


def _calls_of(arms: dict[str, OwnArm], metric: OwnMetric, blocks: int) -> int:
    slowest = max(
        min(_once(name, arm, 0, blocks, metric.counts_errors)[0] for _ in range(2)) for name, arm in arms.items()
    )
    fits = int(_SLOT_S / max(slowest, 1e-6))
    return max(metric.calls_needed, min(fits, _MOST))


def _once(name: str, arm: OwnArm, block: int, blocks: int, may_fail: bool) -> tuple[float, bool]:
    """(seconds, whether it raised, where it may)."""
    began = time.perf_counter()
    try:
        arm.call()
    except LabError as error:
        if may_fail:
            return time.perf_counter() - began, True
        raise MeasurementError(f"{name} failed in block {block + 1} of {blocks}: {error}") from None
    except Exception as error:
        if may_fail:
            return time.perf_counter() - began, True
        raise MeasurementError(
            f"{name} raised {type(error).__name__} in block {block + 1} of {blocks}: {error}; "
            "an arm must do its work every time"
        ) from error
    return time.perf_counter() - began, False
