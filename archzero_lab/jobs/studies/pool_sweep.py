"""Pool size against offered load: throughput, waits, holds and PostgreSQL's work at each, and where the knee is."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from archzero_lab.errors import LabError, MeasurementError
from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.progress import QUIET
from archzero_lab.servers.resources import Sampler
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import PoolSettings, patient
from archzero_lab.stats.estimates import quantile
from archzero_lab.systems.arms import Opening
from archzero_lab.systems.driver import Driver
from archzero_lab.systems.http import metrics
from archzero_lab.systems.system import Prepared, Rows, System

ACQUIRE_TIMEOUT_S = 2.0
"""Shorter than phase 5's 30 s, so that a load of seconds shows who is refused."""
_PURPOSE = "pool"
_WARM_UP_S, _LOOK_S = 0.5, 0.02
NEAR_BEST = 0.95
"""The knee is the smallest pool that answers so much of what the best one does."""


@dataclass(frozen=True)
class PoolCell:
    """What `users` who do not pause got from a service whose pool has at most `size` connections, in one round.

    Waits for a connection and holds of one are means, in seconds; `postgres_cores` is how many cores PostgreSQL kept
    busy, `active_backends` how many of the service's connections had a statement under way, on average.
    """

    size: int
    users: int
    round: int
    throughput_per_s: float
    mean_ms: float
    p95_ms: float
    refused_per_min: float
    acquire_wait_s: float
    held_s: float
    postgres_cores: float
    active_backends: float


def sweep_pool(
    system: System,
    stack: Stack,
    sizes: Sequence[int],
    users: Sequence[int],
    *,
    rows: int = 20_000,
    seconds: float = 2.0,
    rounds: int = 3,
    seed: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> pd.DataFrame:
    """A row a PoolCell: every size with every number of users, `rounds` times in random order, without a cache.

    The services are up side by side on one database with phase 5's indexes. Raises MeasurementError for an answer that
    is neither right nor a 503.
    """
    if not sizes or not users or min(sizes) < 1 or min(users) < 1:
        raise LabError("a pool and a crowd have at least one each: give sizes and users from 1 on")
    found: list[PoolCell] = []
    with system.prepare(stack, Rows(rows, seed), _PURPOSE, [system.pool_arm], QUIET) as prepared:
        openings = []
        for size in sizes:
            whole_pool = patient(PoolSettings(max_size=size, min_size=min(size, 5)))
            pool = replace(whole_pool, acquire_timeout_s=ACQUIRE_TIMEOUT_S)
            own = replace(stack, settings=replace(stack.settings, pool=pool))
            openings.append(Opening(system.pool_arm, f"pool-{size}", own))
        url = prepared.urls[system.arms[system.pool_arm].database]
        with prepared.arms(*openings) as arms, connect(url, autocommit=True) as observer:
            cells = [(size, count) for size in sizes for count in users]
            for number in range(rounds):
                for size, count in random.Random(f"pool {seed} {number}").sample(cells, len(cells)):
                    arm = arms[f"pool-{size}"]
                    crowd = _Crowd(arm.url, count, _paths(system, prepared, seed + number))
                    place = _Place(stack, arm.url, observer, system.pool_metrics, size, number)
                    found.append(_cell(place, crowd, seconds))
                    progress(len(found) / (rounds * len(cells)))
    return pd.DataFrame([asdict(cell) for cell in found])


@dataclass(frozen=True)
class _Place:
    """A service with a pool of one size, who looks at its database meanwhile, and the round it is."""

    stack: Stack
    url: str
    observer: Connection
    metrics: Mapping[str, str]
    size: int
    round: int

    def totals(self) -> dict[str, float]:
        """waits, waited_s and held_s of the pool so far."""
        told = metrics(self.url)
        return {name: told.get(counted, 0.0) for name, counted in self.metrics.items()}


def knees(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a number of users: the smallest pool with NEAR_BEST of the best's throughput, and what that is."""
    medians = frame.groupby(["users", "size"])["throughput_per_s"].median().unstack("size")
    rows = []
    for count, row in medians.iterrows():
        sizes, rates = row.index.to_numpy(), row.to_numpy()
        knee, best = int((rates >= NEAR_BEST * rates.max()).argmax()), int(rates.argmax())
        rows.append({"users": count, "knee": int(sizes[knee]), "throughput_per_s": round(float(rates[knee]), 1),
                     "best_size": int(sizes[best]), "best_per_s": round(float(rates[best]), 1)})  # fmt: skip
    return pd.DataFrame(rows).set_index("users")


def formula(cores: int | None = None) -> int:
    """Connections by the formula that is commonly given: twice the cores and one for the disk."""
    return 2 * (cores or os.cpu_count() or 1) + 1


def _paths(system: System, prepared: Prepared, seed: int) -> list[str]:
    """Requests of the mix, in random order."""
    paths = [
        operation.path
        for kind, share in system.pool_mix.items()
        for operation in prepared.operations(kind, distinct=share * 10, requests=1, seed=seed, block=0).warm_up
    ]
    random.Random(seed).shuffle(paths)
    return paths


class _Crowd:
    """So many users, each on a connection of its own, who ask again as soon as they are answered."""

    def __init__(self, url: str, users: int, paths: Sequence[str]) -> None:
        self.users = users
        self.answers: list[tuple[float, float, int]] = []
        """(when it was sent, ms, status) of each, over all users."""
        self.wrong = ""
        self._paths = paths
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(Driver(url), number), daemon=True) for number in range(users)
        ]

    def start(self) -> None:
        """Let them begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait for their last answers."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, driver: Driver, number: int) -> None:
        at = number * 7
        try:
            while not self._over.is_set():
                began = time.perf_counter()
                elapsed_s, status, body = driver.get(self._paths[at % len(self._paths)])
                if status not in (200, 503):
                    self.wrong = f"{status} {body[:80]!r}"
                self.answers.append((began, elapsed_s * 1000, status))
                at += 1
        except MeasurementError as error:
            self.wrong = str(error)
        finally:
            driver.close()


def _cell(place: _Place, crowd: _Crowd, seconds: float) -> PoolCell:
    crowd.start()
    try:
        time.sleep(_WARM_UP_S)
        before, began = place.totals(), time.perf_counter()
        active = []
        families = {"postgres": place.stack.postgres_pid} if place.stack.postgres_pid is not None else {}
        with Sampler(families, period_s=0.25) as sampler:
            while time.perf_counter() - began < seconds:
                row = place.observer.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
                    " AND pid <> pg_backend_pid()"
                ).fetchone()
                active.append(int(row[0]) if row else 0)
                time.sleep(_LOOK_S)
        ended, after = time.perf_counter(), place.totals()
    finally:
        crowd.stop()
    if crowd.wrong:
        raise MeasurementError(f"a service with a pool of {place.size} answered {crowd.wrong}; see .lab/logs")
    within = [answer for answer in crowd.answers if began <= answer[0] < ended]
    right = [ms for _, ms, status in within if status == 200]
    cpu = sampler.frame()["cpu_percent"]
    got = max(after["waits"] - before["waits"], 1)
    return PoolCell(
        size=place.size,
        users=crowd.users,
        round=place.round,
        throughput_per_s=len(right) / (ended - began),
        mean_ms=float(np.mean(right)) if right else float("nan"),
        p95_ms=quantile(right, 0.95),
        refused_per_min=(len(within) - len(right)) / (ended - began) * 60,
        acquire_wait_s=(after["waited_s"] - before["waited_s"]) / got,
        held_s=(after["held_s"] - before["held_s"]) / got,
        postgres_cores=float(cpu.mean()) / 100 if len(cpu) else float("nan"),
        active_backends=float(np.mean(active)),
    )
