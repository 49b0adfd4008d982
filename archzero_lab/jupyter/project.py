"""lab.project: the arms and requests of a team's archzero.toml, compared from a notebook."""

from __future__ import annotations

from pathlib import Path

from archzero_lab.bootstrap.system import team_here
from archzero_lab.errors import LabError, MeasurementError, SettingsError, unknown_name
from archzero_lab.experiments.claims import Claim, Claimed
from archzero_lab.experiments.gains import mechanism_of_gain
from archzero_lab.experiments.measurements import Measurements
from archzero_lab.experiments.own import Course, OwnArm, OwnResult, result_of
from archzero_lab.experiments.own_metrics import OwnMetric
from archzero_lab.experiments.runner import run_claim
from archzero_lab.experiments.turns import turn
from archzero_lab.jupyter.experiment import result_html
from archzero_lab.progress import QUIET
from archzero_lab.reporting import figures
from archzero_lab.reporting.frame import Frame
from archzero_lab.run_folders.own_runs import save_own
from archzero_lab.servers.exclusive import exclusive
from archzero_lab.servers.stack import running_stack
from archzero_lab.settings import PROJECT_FILE, load_settings
from archzero_lab.systems.arms import Opening
from archzero_lab.systems.profiles import SlotSize
from archzero_lab.systems.system import Rows
from archzero_lab.systems.team.system import TeamSystem


class Compared:
    """Two arms of a project under one kind of request: verdict, ratio treatment / control, counters behind it."""

    def __init__(self, request: str, result: OwnResult, times: list[tuple[int, int, str, float]]) -> None:
        self.request = request
        self.result = result
        self._times = times

    @property
    def verdict(self) -> str:
        """improved, regressed, equivalent or inconclusive."""
        return self.result.verdict.value

    @property
    def effect_size(self) -> float:
        """The ratio treatment / control: 0.25 is four times as fast."""
        return self.result.effect_size

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return self.result.ci_low, self.result.ci_high

    @property
    def mechanism(self) -> Frame:
        """Counters of each arm, a 1,000 requests."""
        return Frame(self.result.mechanism)

    @property
    def statements(self) -> Frame:
        """What a request made of each statement, a row a statement and arm: calls, rows, blocks."""
        return Frame(self.result.statements)

    def figure(self) -> figures.Picture:
        """The paired blocks behind the verdict."""
        metric = self.result.metric
        return figures.paired_blocks(
            self.result.by_block, f"{self.request}: {metric.name}, block by block", metric.axis
        )

    def save(self, name: str) -> Path:
        """Keep it as a run that compare, gate and load_run take; its folder."""
        return save_own(name, self.result, self._times)

    def _repr_html_(self) -> str:
        return result_html(self.result)


class Project:
    """A team's archzero.toml: `project.experiment("main", "branch", "search")`."""

    def __init__(self, system: TeamSystem) -> None:
        self._system = system

    @property
    def arms(self) -> list[str]:
        """The arms that it names."""
        return list(self._system.arms)

    @property
    def requests(self) -> list[str]:
        """Its kinds of request."""
        return list(self._system.operations)

    def experiment(
        self, control: str, treatment: str, request: str, *, metric: str = "p50", blocks: int = 12,
        requests: int | None = None, margin: float = 0.05, seed: int = 1, over_ms: float | None = None,
    ) -> Compared:  # fmt: skip
        """Two arms in paired blocks under one kind of request, each slot after the file's reset; waits for the result.

        Each arm has its own copy of the database, as in a report. Raises UnknownNameError, and MeasurementError where
        the arms do not answer alike: that is the finding then, and no time. Metrics are those of lab.experiment, but
        for error_share: a wrong answer ends it.
        """
        wanted = OwnMetric(metric, over_ms)
        if wanted.counts_errors:
            raise SettingsError("error_share: arms of a project must answer rightly, or the answer is the finding")
        for arm in (control, treatment):
            if arm not in self._system.arms:
                raise unknown_name("arm", arm, self.arms)
        if request not in self._system.operations:
            raise unknown_name("request", request, self.requests)
        self._system.require_ready()
        size = SlotSize(10, requests or max(wanted.calls_needed, 20))
        claim = Claim(
            id=request, title=request, sentence="", section="", metric=metric, claimed=Claimed(0, 0, 0.0),
            control="control", treatment="treatment", operations=request, rule="improvement", mechanism="hits",
        )  # fmt: skip
        measured = Measurements()
        with (
            turn(f"an experiment on {self._system.name}"), exclusive("experiment"),
            running_stack(load_settings()) as stack,
            self._system.prepare(stack, Rows(0, seed), "own", [control, treatment], QUIET) as prepared,
            prepared.arms(Opening(control, "control"), Opening(treatment, "treatment")) as opened,
        ):  # fmt: skip
            if differences := prepared.unlike(opened, [request]).get(request):
                raise MeasurementError(f"the arms do not answer alike: {differences[0]}")
            run_claim(claim, opened, prepared.operations, size, blocks, seed, measured)
            if differences := prepared.unlike(opened, ()).get(request):
                raise MeasurementError(f"the arms did not answer alike: {differences[0]}")
        return Compared(request, *_result(wanted, measured, blocks, margin, claim, (control, treatment)))


def project() -> Project:
    """The project of the archzero.toml found upwards from where the notebook runs. Raises LabError where none is."""
    system = team_here()
    if system is None:
        raise LabError(f"no {PROJECT_FILE} here or above says what your service is; lab init writes one")
    return Project(system)


def _result(
    metric: OwnMetric, measured: Measurements, blocks: int, margin: float, claim: Claim, names: tuple[str, str]
) -> tuple[OwnResult, list[tuple[int, int, str, float]]]:
    samples, slots = measured.samples_frame(), measured.slots_frame()
    course = Course(blocks)
    for (block, order, arm), group in samples.groupby(["block", "order", "arm"]):
        times = group["service_time_s"].tolist()
        events = metric.events(times, 0)
        course.events += events
        steal = float(slots.loc[(slots["block"] == block) & (slots["arm"] == arm), "steal"].iloc[0])
        course.rows.append({"block": block, "order": order, "arm": arm, "calls": len(times),
                            metric.column: metric.value(times, events), "steal": steal})  # fmt: skip
    for slot in measured.slots:
        course.add(slot.arm, slot.counters.by_statement)
    counted, _ = mechanism_of_gain(claim, slots)
    arms = {
        side: OwnArm(name, lambda: None, described={"arm": name, **counted[side]})
        for side, name in zip(("control", "treatment"), names, strict=True)
    }
    times_of = [(sample.block, sample.order, sample.arm, sample.service_time_s) for sample in measured.samples]
    return result_of(arms, course, metric, margin), times_of
