"""When a run began and the rate at which requests arrive now: set by the master, the same in every process."""

from __future__ import annotations

import time
from typing import Any

from levels import LEVELS
from locust.runners import MasterRunner, WorkerRunner

MESSAGE = "archzero_pace"
_SLICES = 20


class Pace:
    """Which level of which rate, from when. `began_s` is a perf_counter second of this process.

    `origin` is the run's beginning as Unix time, from which every process counts its seconds.
    """

    def __init__(self) -> None:
        self.shape = "constant"
        self.rate = 0.0
        self.duration_s = float("inf")
        self.origin = time.time()
        self.processes = 1
        self.began_s: float | None = None
        self.finished = False
        self.ended_s: float | None = None
        """Seconds from the origin at which arrivals ended, where that was seen."""

    def set(self, *, shape: str, rate: float, duration_s: float, processes: int, origin: float) -> None:
        """Begin at `origin` with a rate a second over all processes.

        A worker is told a moment later. Did it begin then, it would end so much after the others, with arrivals
        beyond the run's last second.
        """
        self.shape, self.rate, self.duration_s, self.processes = shape, rate, duration_s, processes
        self.origin = origin
        self.began_s, self.finished = time.perf_counter() - (time.time() - origin), False
        self.ended_s = None

    def end(self) -> None:
        """Nobody arrives any more."""
        if not self.finished:
            self.ended_s = time.time() - self.origin
        self.finished = True

    def rate_at(self, now_s: float) -> float:
        """This process' arrivals a second; none after the run's time, whenever Locust gets to ending it."""
        if self.began_s is None or self.finished or now_s - self.began_s >= self.duration_s:
            return 0.0
        level = LEVELS.get(self.shape)
        share = (now_s - self.began_s) / self.duration_s
        return (level(share) if level is not None else 1.0) * self.rate / self.processes

    def planned(self, second: int) -> float:
        """Arrivals of all processes that a second of the run was to have: the integral of the pace over it."""
        level = LEVELS.get(self.shape, LEVELS["constant"])
        middles = (second + (number + 0.5) / _SLICES for number in range(_SLICES))
        return sum(level(at / self.duration_s) * self.rate for at in middles if at < self.duration_s) / _SLICES


CURRENT = Pace()


def processes(runner: Any) -> int:
    """How many processes send requests."""
    return max(int(runner.worker_count), 1) if isinstance(runner, MasterRunner) else 1


def is_open(runner: Any) -> bool:
    """Whether the users of a run are open arrivals."""
    return any(getattr(user, "open_workload", False) for user in runner.user_classes)


def begin(runner: Any, **told: Any) -> None:
    """Begin a run here and in every worker."""
    change(runner, origin=time.time(), **told)


def change(runner: Any, **told: Any) -> None:
    """Set the pace here and in every worker, within a run."""
    told.setdefault("origin", CURRENT.origin)
    CURRENT.set(**told)
    if isinstance(runner, MasterRunner):
        runner.send_message(MESSAGE, told)


def listen(runner: Any) -> None:
    """In a worker: take the master's pace."""
    if isinstance(runner, WorkerRunner):
        runner.register_message(MESSAGE, lambda environment, msg, **_: CURRENT.set(**msg.data))
