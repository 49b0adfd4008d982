"""lab check: every arm started, each request asked once, whether they answer alike, counters found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from archzero_lab.errors import MeasurementError
from archzero_lab.servers.stack import Stack
from archzero_lab.systems.arms import Arm, Opening
from archzero_lab.systems.operations import Operation
from archzero_lab.systems.system import Loading, Rows
from archzero_lab.systems.team.arm import TeamArm, said
from archzero_lab.systems.team.system import TeamSystem

_TIMES = 3


@dataclass(frozen=True)
class Asked:
    """One kind of request on one arm: the shortest of three times, in ms; `wrong` where it answered otherwise."""

    request: str
    arm: str
    ms: float
    status: int
    bytes: int
    wrong: str = ""


@dataclass
class Checked:
    """What a check found: `asked`, differences by request, and notes on counters that are missing or shared."""

    arms: Mapping[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    unlike: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether a report would measure what it is asked for."""
        return not self.unlike and not any(one.wrong for one in self.asked)

    def ms_of(self, request: str) -> float:
        """What a request takes on all arms together, in ms."""
        return sum(one.ms for one in self.asked if one.request == request)


def check_system(system: TeamSystem, stack: Stack, loading: Loading) -> Checked:
    """Start every arm and ask each request of it. Raises LabError where an arm does not come up."""
    checked = Checked()
    with system.prepare(stack, Rows(0), "check", list(system.arms), loading) as prepared:
        checked.arms = prepared.facts["arms_are"]
        with loading.work("service"), prepared.arms(*map(Opening, system.arms)) as arms:
            for kind, request in system.project.requests.items():
                operations = prepared.operations(kind, distinct=1, requests=_TIMES, seed=1, block=0)
                may = [arm for arm in arms if not request.writes or _may_write(system, arm)]
                for name in may:
                    shown = kind != system.project.service.login  # its answer may hold what was sent
                    arm = cast("TeamArm", arms[name])
                    checked.asked.append(_asked(arm, kind, operations.timed, request.status, shown=shown))
                if len(may) < len(arms):
                    left = ", ".join(sorted(set(arms) - set(may)))
                    checked.notes.append(f"{kind} writes and was not sent to {left}, which may_write does not allow")
            reads = [kind for kind, request in system.project.requests.items() if not request.writes]
            wrong = {one.request for one in checked.asked if one.wrong}
            checked.unlike = prepared.unlike(arms, [kind for kind in reads if kind not in wrong])
            checked.notes += _notes(system, arms)
            if prepared.facts["copied"]:
                checked.notes.append(prepared.facts["copied"])
    return checked


def _may_write(system: TeamSystem, arm: str) -> bool:
    entry = system.project.arms[arm]
    return bool(entry.build) or entry.may_write


def _asked(arm: TeamArm, kind: str, operations: Sequence[Operation], wanted: int, *, shown: bool) -> Asked:
    times, status, body = [], 0, b""
    for operation in operations:
        elapsed_s, status, body = arm.look(operation)
        times.append(elapsed_s * 1000)
        if status != wanted:
            message = f"{operation.method} {operation.path} answered {status}, not {wanted}"
            message += f": {said(body)}" if shown else ""
            return Asked(kind, arm.name, min(times), status, len(body), message)
    return Asked(kind, arm.name, min(times), status, len(body))


def _notes(system: TeamSystem, arms: Mapping[str, Arm]) -> list[str]:
    notes = []
    for name, arm in arms.items():
        mine = cast("TeamArm", arm)
        try:
            counted = mine.counters()
        except MeasurementError as error:
            notes.append(str(error))
            continue
        if counted.blocks is None:
            notes.append(f'{name}: no database to count in; mechanism = "none" lets a claim be judged by time alone')
        elif not mine.counts_statements:
            notes.append(f"{name}: no pg_stat_statements; blocks are those of pg_stat_database, statements unknown")
        arm.reset()
    shared = [name for name, entry in system.project.arms.items() if entry.redis]
    if len({system.project.arms[name].redis for name in shared}) < len(shared):
        notes.append(
            f"{', '.join(shared)}: one Redis for several: hits are counted together, of whoever asks it meanwhile"
        )
    own = [name for name, entry in system.project.arms.items() if entry.build]
    if system.project.redis and len(own) > 1:
        notes.append(
            f"{', '.join(own)} share the lab's Redis, each with a database of its own; hits are the server's while one "
            "arm alone is asked"
        )
    return notes
