"""What a load measured: raw times in sketches by second of the run and by action, over all processes.

Workers send what is new to the master with Locust's own reports, as buckets and counts: percentiles do not add up.
"""

from __future__ import annotations

import math
import time
from typing import Any

import gevent
import pace
import psutil
from locust import events, runners
from locust.runners import MasterRunner, WorkerRunner
from sketch import Sketch

runners.WORKER_REPORT_INTERVAL = 1.0

_COUNTS = ("offered", "done", "failed", "dropped")
_TIMES = ("response", "service", "late")


class Second:
    """Counts and times of the requests that were to be sent in one second."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.times = {name: Sketch() for name in _TIMES}
        self.cpu: dict[str, float] = {}
        self.rss: dict[str, int] = {}

    def merge(self, other: Second) -> None:
        """Add another process' part of the same second, or another second's."""
        for name in _COUNTS:
            self.counts[name] += other.counts[name]
        for name in _TIMES:
            self.times[name].merge(other.times[name])
        for process, percent in other.cpu.items():
            self.cpu[process] = max(self.cpu.get(process, 0.0), percent)
        for process, size in other.rss.items():
            self.rss[process] = max(self.rss.get(process, 0), size)

    def encode(self) -> dict[str, Any]:
        """As it travels."""
        times = {name: sketch.encode() for name, sketch in self.times.items() if sketch.count}
        return {"counts": self.counts, "times": times, "cpu": self.cpu, "rss": self.rss}

    @classmethod
    def decode(cls, encoded: dict[str, Any]) -> Second:
        """What `encode` made."""
        made = cls()
        made.counts = encoded["counts"]
        made.times |= {name: Sketch.decode(sketch) for name, sketch in encoded["times"].items()}
        made.cpu, made.rss = encoded["cpu"], encoded["rss"]
        return made


class Recorder:
    """All of a run, or in a worker what the master has not been told yet."""

    def __init__(self) -> None:
        self.warm_up_s = 0.0
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.seconds: dict[int, Second] = {}
        self.actions: dict[str, Second] = {}
        self.failures: dict[str, int] = {}
        self.trials: list[dict[str, Any]] = []
        self.capacity: dict[str, Any] | None = None
        self.service: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.lost: list[str] = []
        """What was lost of the generator itself: a run with any of it is not valid."""

    def second(self, wall_s: float) -> Second:
        """The second of the run in which a moment (Unix time) lies."""
        return self.seconds.setdefault(_number(wall_s), Second())

    def offered(self, at_s: float) -> None:
        """A request was to be sent at a moment (perf_counter)."""
        self.second(_wall(at_s)).counts["offered"] += 1

    def dropped(self, at_s: float) -> None:
        """It was not sent: too many were under way."""
        self.second(_wall(at_s)).counts["dropped"] += 1

    def keep(self, name: str, response_time: float, exception: Any, start_time: float, context: Any, **_: Any) -> None:
        """Listen to Locust's request event; `response_time` is in ms."""
        late_s = context.get("late_s", 0.0)
        at = start_time - late_s
        places = [self.second(at)]
        if _number(at) >= self.warm_up_s:
            places.append(self.actions.setdefault(name, Second()))
        for place in places:
            place.counts["done"] += 1
            place.counts["failed"] += exception is not None
            place.times["response"].add(response_time / 1000)
            place.times["service"].add(context.get("service_s", response_time / 1000))
            place.times["late"].add(late_s)
        if exception is not None:
            reason = f"{name}: {exception}"[:200]
            self.failures[reason] = self.failures.get(reason, 0) + 1

    def resources(self, process: str, percent: float, size: int) -> None:
        """What a process of the generator used in the last second: per cent of a core, bytes resident."""
        place = self.second(time.time() - 0.5)
        place.cpu[process], place.rss[process] = percent, size

    def encode(self) -> dict[str, Any]:
        """What is new, for the master; begins anew."""
        told = {
            "seconds": {str(at): second.encode() for at, second in self.seconds.items()},
            "actions": {name: action.encode() for name, action in self.actions.items()},
            "failures": self.failures,
        }
        self.seconds, self.actions, self.failures = {}, {}, {}
        return told

    def merge(self, told: dict[str, Any]) -> None:
        """Add a worker's news."""
        for at, second in told["seconds"].items():
            self.seconds.setdefault(int(at), Second()).merge(Second.decode(second))
        for name, action in told["actions"].items():
            self.actions.setdefault(name, Second()).merge(Second.decode(action))
        for reason, number in told["failures"].items():
            self.failures[reason] = self.failures.get(reason, 0) + number

    def window(self, since: float, until: float) -> Second:
        """Everything of the run's whole seconds from `since` to before `until` (Unix time)."""
        found = Second()
        for at, second in self.seconds.items():
            if since <= pace.CURRENT.origin + at and pace.CURRENT.origin + at + 1 <= until:
                found.merge(second)
        return found

    def unanswered(self) -> int:
        """Requests of an open workload that were sent and not answered yet."""
        whole = self.window(float("-inf"), float("inf")).counts
        return whole["offered"] - whole["dropped"] - whole["done"]


RECORDER = Recorder()


def _number(wall_s: float) -> int:
    return math.floor(wall_s - pace.CURRENT.origin)


def _wall(perf_s: float) -> float:
    return time.time() - (time.perf_counter() - perf_s)


def _watch(runner: Any) -> None:
    me = psutil.Process()
    name = f"{getattr(runner, 'client_id', 'locust')}" if isinstance(runner, WorkerRunner) else "locust"
    me.cpu_percent()
    while True:
        gevent.sleep(1)
        RECORDER.resources(name, me.cpu_percent(), me.memory_info().rss)


@events.init.add_listener
def begin(environment: Any, runner: Any, **_: Any) -> None:
    """Listen to every request of this process, and in the master to the workers."""
    if runner is None:
        return
    environment.events.reset_stats.add_listener(lambda **_: RECORDER.reset())
    if isinstance(runner, MasterRunner):
        environment.events.worker_report.add_listener(lambda client_id, data: RECORDER.merge(data["archzero"]))
    else:
        environment.events.request.add_listener(RECORDER.keep)
    if isinstance(runner, WorkerRunner):
        environment.events.report_to_master.add_listener(
            lambda client_id, data: data.__setitem__("archzero", RECORDER.encode())
        )
    gevent.spawn(_watch, runner)


@events.test_start.add_listener
def start_anew(environment: Any, **_: Any) -> None:
    """A run in the web UI follows another one."""
    RECORDER.warm_up_s = getattr(environment.parsed_options, "warm_up_s", 0.0)
    RECORDER.reset()
