"""Locust's shapes of a load: its users, or the rate of its arrivals, follow a level over time."""

from __future__ import annotations

import time
from typing import Any

import pace
import replay
from levels import LEVELS
from locust import LoadTestShape

DEFAULT_S = 60.0


class _Shape(LoadTestShape):
    """Users follow the level; an open workload has one user a process, whose rate follows it."""

    abstract = True
    use_common_options = True
    name = "constant"

    def reset_time(self) -> None:
        """Begin: what ended the run before, in the web UI, is over."""
        super().reset_time()
        pace.CURRENT.finished = False

    def tick(self) -> tuple[int, float] | None:
        """(users, spawn rate), None at the end."""
        options: Any = self.runner.environment.parsed_options  # type: ignore[union-attr]
        duration = float(options.run_time or DEFAULT_S)
        if self.get_run_time() >= duration:
            return None
        if pace.is_open(self.runner):
            return pace.processes(self.runner), 100.0
        level = LEVELS[self.name](min(self.get_run_time() / duration, 1.0))
        return max(round(level * (options.num_users or 1)), 1), float(options.spawn_rate or 100)


class Constant(_Shape):
    """The rate or users asked for, all the time."""


class Ramp(_Shape):
    """From nothing to all of it."""

    name = "ramp"


class Steps(_Shape):
    """Five steps up."""

    name = "steps"


class Spike(_Shape):
    """Four times as much for the middle tenth."""

    name = "spike"


class Soak(_Shape):
    """The same for long."""

    name = "soak"


class Capacity(_Shape):
    """The rate is raised until the target is missed, then closed in on (capacity.py); open workload only."""

    name = "capacity"

    def tick(self) -> tuple[int, float] | None:
        """One user a process until the search is over."""
        if pace.CURRENT.finished:
            return None
        return pace.processes(self.runner), 100.0


class Replay(_Shape):
    """A recorded log at its own times; open workload only."""

    name = "replay"

    def tick(self) -> tuple[int, float] | None:
        """One user a process until the log is over and what it asked for is answered."""
        options: Any = self.runner.environment.parsed_options  # type: ignore[union-attr]
        # from when the arrivals count, which is after the shape began, and a moment for the last of them
        began_s = pace.CURRENT.began_s or time.perf_counter()
        over = time.perf_counter() - began_s > replay.length_s(options.speed) + 0.5
        return None if over or pace.CURRENT.finished else (pace.processes(self.runner), 100.0)


SHAPES = {shape.name: shape for shape in (Constant, Ramp, Steps, Spike, Soak, Capacity, Replay)}
