"""lab.experiment: two arms of one's own, measured in the background while the notebook stays usable."""

from __future__ import annotations

import html
import math
import threading
import time
import weakref
from pathlib import Path

import pandas as pd

from archzero_lab.errors import LabError, SettingsError
from archzero_lab.experiments.metrics import in_unit
from archzero_lab.experiments.own import Course, OwnArm, OwnResult, result_of, run_own
from archzero_lab.experiments.own_metrics import OwnMetric
from archzero_lab.jupyter.arms import Arm, own_arm
from archzero_lab.jupyter.narrowing import narrowing
from archzero_lab.postgres.sql_text import shortened
from archzero_lab.reporting import figures
from archzero_lab.reporting.frame import Frame
from archzero_lab.reporting.tables import whole_html
from archzero_lab.run_folders.own_runs import save_own
from archzero_lab.stats.estimates import MINIMUM_BLOCKS

_LOOK_S = 0.1


_running: weakref.WeakSet[Experiment] = weakref.WeakSet()


def wait() -> None:
    """Wait until every experiment of this kernel has ended; what came of each is asked of it."""
    for one in list(_running):
        one._ended.wait()


class Experiment:
    """An experiment that runs or has run. Asking for what came of it (`verdict`, `effect_size`, …) waits for its end.

    `stop()` ends it after the block that is under way and keeps what was measured, and so does an interrupt.
    """

    def __init__(
        self, arms: dict[str, OwnArm], *, metric: OwnMetric, blocks: int, calls: int | None, margin: float, seed: int
    ) -> None:
        self._arms = arms
        self._metric, self._margin = metric, margin
        self._course = Course(blocks)
        self._result: OwnResult | None = None
        self._error: BaseException | None = None
        self._began = time.monotonic()
        self._intervals: list[tuple[int, float, float]] = []

        def measure() -> None:
            try:
                self._result = run_own(
                    arms["control"], arms["treatment"], metric=metric, blocks=blocks, calls=calls, margin=margin,
                    seed=seed, course=self._course,
                )  # fmt: skip
            except BaseException as error:  # told to whoever asks for the result, in their own cell
                self._error = error
            finally:
                self._ended.set()

        # an event, as a join that is interrupted takes a thread that goes on for ended (CPython before 3.13)
        self._ended = threading.Event()
        _running.add(self)
        # a daemon: a kernel that is closed or restarted waits for nothing
        threading.Thread(target=measure, daemon=True, name="archzero-lab experiment").start()

    @property
    def running(self) -> bool:
        """Whether it is still measuring."""
        return not self._ended.is_set()

    @property
    def progress(self) -> float:
        """The share of its blocks that is measured, 0 to 1."""
        return self._course.done / self._course.wanted

    @property
    def waits(self) -> str:
        """What it waits for before it may measure, in words; "" while it measures."""
        return self._course.waits

    @property
    def seconds_left(self) -> float | None:
        """About how long it still takes; None before the first block."""
        if not self._course.done:
            return None
        return (time.monotonic() - self._began) / self._course.done * (self._course.wanted - self._course.done)

    def stop(self) -> Experiment:
        """End after the current block; what was measured is kept."""
        self._course.stop()
        return self

    def wait(self) -> OwnResult:
        """The result, once there is one. Raises what went wrong: MeasurementError for an arm that raised."""
        try:
            while not self._ended.wait(_LOOK_S):
                pass
        except KeyboardInterrupt:
            self.stop()
            self._ended.wait()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def so_far(self) -> OwnResult:
        """What the blocks measured so far say; for looking, not for a verdict to quote: looking often fools."""
        return result_of(self._arms, self._course, self._metric, self._margin)

    def so_far_html(self) -> str:
        """The blocks so far and how their interval narrows; for looking, as `so_far` is."""
        frame = self.so_far()
        c = frame.comparison
        if c is None:
            return f"<p>{html.escape(self.waits or 'warming up')}</p>"
        if math.isfinite(c.ci_high) and (not self._intervals or self._intervals[-1][0] != c.blocks):
            self._intervals.append((c.blocks, c.ci_low, c.ci_high))
        table = frame.by_block
        ratios = (table["treatment"] / table["control"]).tolist()
        interval = (
            f"{c.ci_low:.3f} to {c.ci_high:.3f}" if self._intervals else f"an interval from block {MINIMUM_BLOCKS} on"
        )
        said = f"so far {c.effect_size:.3f} ({interval}), treatment / control"
        return f"<p>{said}</p>" + narrowing(ratios, self._intervals, self._course.wanted, self._margin)

    @property
    def verdict(self) -> str:
        """improved, regressed, equivalent or inconclusive."""
        return self.wait().verdict.value

    @property
    def effect_size(self) -> float:
        """The ratio treatment / control: 0.25 is four times as fast."""
        return self.wait().effect_size

    @property
    def ci_low(self) -> float:
        """The lower end of its 95 % interval."""
        return self.wait().ci_low

    @property
    def ci_high(self) -> float:
        """The upper end."""
        return self.wait().ci_high

    @property
    def blocks(self) -> Frame:
        """A row a block and arm: block, order, arm, calls, the metric (ms, calls_a_second or share), steal."""
        return Frame(self.wait().blocks)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before the verdict is quoted."""
        return self.wait().warnings

    @property
    def mechanism(self) -> Frame:
        """What stands behind the times, an arm a row: blocks and indexes of a statement, its settings; a URL."""
        return Frame(self.wait().mechanism)

    @property
    def statements(self) -> Frame:
        """What a call made of each statement, a row a statement and arm: calls, rows, blocks where they are counted."""
        return Frame(self.wait().statements)

    def figure(self) -> figures.Picture:
        """The paired blocks behind the verdict."""
        return _figure(self.wait())

    def save(self, name: str) -> Path:
        """Keep it as a run that compare, gate and load_run take: a call a sample, under `name`. Returns its folder.

        Raises LabError where nothing was measured.
        """
        result = self.wait()
        if result.comparison is None:
            raise LabError("nothing was measured: there is nothing to keep")
        return save_own(name, result, self._course.times)

    def __repr__(self) -> str:
        if self.running and self.waits:
            return f"experiment: {self.waits}"
        if self.running:
            return f"experiment: {self._course.done} of {self._course.wanted} blocks measured"
        result = self.wait()
        return f"{_sentence(result)}" + "".join(f"; {warning}" for warning in result.warnings)

    def _repr_html_(self) -> str:
        return result_html(self.wait())

    def _ipython_display_(self) -> None:
        from archzero_lab.jupyter.panel import show

        show(self)


def experiment(
    control: Arm,
    treatment: Arm,
    *,
    metric: str = "p50",
    blocks: int = 12,
    calls: int | None = None,
    margin: float = 0.05,
    seed: int = 1,
    over_ms: float | None = None,
) -> Experiment:
    """Two arms in paired blocks of random order; improved or regressed when the interval lies beyond the margin.

        lab.experiment(control="SELECT count(*) FROM cards", treatment="SELECT 1")
        lab.experiment(lab.Statement(sql, settings={"jit": "on"}), lab.Statement(sql, settings={"jit": "off"}))
        lab.experiment(lambda: json.dumps(rows), lambda: msgspec.json.encode(rows), metric="mean")
        lab.experiment(lab.Requests("http://127.0.0.1:3000", paths), lab.Requests("http://127.0.0.1:3001", paths))

    `metric`: p50, p95, p99, mean; throughput (calls a second of one client); share_over, of calls longer than
    `over_ms`; error_share, of calls that raise (elsewhere one that raises ends it).

    Returns at once and measures in the background. Raises UnknownNameError for an unknown metric,
    SettingsError for what cannot be an arm, DatabaseError for a statement that PostgreSQL rejects.
    """
    wanted = OwnMetric(metric, over_ms)
    if blocks < 1:
        raise SettingsError(f"blocks = {blocks}: give at least 1, and 6 for a verdict")
    arms: dict[str, OwnArm] = {}
    try:
        for name, given in (("control", control), ("treatment", treatment)):
            arms[name] = own_arm(name, given)
    except LabError:
        for arm in arms.values():
            arm.close()
        raise
    return Experiment(arms, metric=wanted, blocks=blocks, calls=calls, margin=margin, seed=seed)


def result_html(result: OwnResult) -> str:
    """A result as a notebook shows it: the verdict in a sentence, warnings, the blocks as a figure, the mechanism."""
    warnings = "".join(f"<li>{html.escape(warning)}</li>" for warning in result.warnings)
    body = f"<p><strong>{html.escape(result.verdict.value)}</strong>: {html.escape(_sentence(result))}</p>"
    body += _compared(result)
    body += f"<ul>{warnings}</ul>" if warnings else ""
    if result.comparison is not None:
        body += _figure(result)._repr_html_()
    mechanism = result.mechanism.drop(columns="asked", errors="ignore")
    if not mechanism.empty:
        body += whole_html(mechanism)
    if not result.statements.empty:
        body += "<p>by statement</p>" + whole_html(_shortened(result.statements))
    return body


def _shortened(statements: pd.DataFrame) -> pd.DataFrame:
    """A row a statement, an arm's numbers beside the other's."""
    numbers = [name for name in statements if str(name).endswith(" a call")]
    table = statements.pivot_table(index="statement", columns="arm", values=numbers, sort=False)
    table.index = pd.Index([shortened(str(text), _LONGEST) for text in table.index], name="statement")
    table.columns = pd.Index([", ".join(map(str, names)) for names in table.columns.to_list()])
    return table.loc[:, (table != 0).any(axis=0)].reset_index()


def _compared(result: OwnResult) -> str:
    """What each arm was: its statement, paths or callable."""
    if "asked" not in result.mechanism:
        return ""
    lines = (
        f"<li>{html.escape(str(arm))}: <code>{html.escape(str(what))}</code></li>"
        for arm, what in result.mechanism["asked"].items()
    )
    return f"<ul>{''.join(lines)}</ul>"


_TITLE, _LONGEST = 60, 200


def _figure(result: OwnResult) -> figures.Picture:
    metric = result.metric
    title = f"{metric.name}, block by block"
    if "asked" in result.mechanism:
        statements = [str(one) for one in result.mechanism["asked"]]
        title = f"{statements[0][:_TITLE]}: {title}" if len(set(statements)) == 1 else title
    return figures.paired_blocks(result.by_block, title, metric.axis, names={})


def _sentence(result: OwnResult) -> str:
    c = result.comparison
    if c is None:
        return "nothing was measured"
    ratio = f"{c.effect_size:.3f} ({c.ci_low:.3f} to {c.ci_high:.3f})"
    before, after = (in_unit(result.metric.unit, value) for value in (c.control, c.treatment))
    return (
        f"{result.metric.name} {before} → {after}, treatment / control {ratio} over {c.blocks} blocks, "
        f"differences below {result.margin:.0%} count as none"
    )
