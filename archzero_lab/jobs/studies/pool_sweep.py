"""Pool size against offered load: throughput, waits, holds and PostgreSQL's work at each, and where the knee is."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice

import numpy as np
import pandas as pd

from archzero_lab.errors import LabError, MeasurementError, SettingsError
from archzero_lab.postgres.connection import Connection, connect
from archzero_lab.progress import QUIET
from archzero_lab.servers.resources import Sampler
from archzero_lab.servers.stack import Stack
from archzero_lab.stats.estimates import quantile
from archzero_lab.systems.arms import Arm
from archzero_lab.systems.driver import Driver
from archzero_lab.systems.http import metrics
from archzero_lab.systems.operations import Operation
from archzero_lab.systems.system import Prepared, Rows, System

_PURPOSE = "pool"
_WARM_UP_S, _LOOK_S = 0.5, 0.02
_REFUSED = 500
"""The least status that says: not now."""
NEAR_BEST = 0.95
"""The knee is the smallest pool that answers so much of what the best one does."""


@dataclass(frozen=True)
class PoolCell:
    """What `users` who do not pause got from a service whose pool has at most `size` connections, in one round.

    `refused_per_min` counts answers of 500 and above. Waits for a connection and holds of one are means, in seconds,
    nan where the service tells none; `postgres_cores` is how many cores PostgreSQL kept busy, `active_backends` how
    many of the service's connections had a statement under way, on average.
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
    arm: str = "",
    rows: int = 20_000,
    seconds: float = 2.0,
    rounds: int = 3,
    seed: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> pd.DataFrame:
    """A row a PoolCell: every size with every number of users, `rounds` times in random order.

    The services are up side by side on one database, that of `arm` (else the system's own choice: phase 5's indexes
    without a cache). Raises SettingsError where an arm cannot be told a size, MeasurementError for an answer that is
    neither right nor a refusal, and where nothing else but those comes.
    """
    if not sizes or not users or min(sizes) < 1 or min(users) < 1:
        raise LabError("a pool and a crowd have at least one each: give sizes and users from 1 on")
    measured: list[PoolCell] = []
    arm = arm or system.pool_arm
    openings = [system.pool_opening(stack, arm, size) for size in sizes]
    with system.prepare(stack, Rows(rows, seed), _PURPOSE, [arm], QUIET) as prepared:
        url = prepared.urls[system.arms[arm].database]
        with prepared.arms(*openings) as arms, connect(url, autocommit=True) as observer:
            cells = [(size, count) for size in sizes for count in users]
            for number in range(rounds):
                for size, count in random.Random(f"pool {seed} {number}").sample(cells, len(cells)):
                    arm_of_size = arms[f"pool-{size}"]
                    crowd = _Crowd(arm_of_size, count, _mixed(system, prepared, seed + number))
                    place = _Place(stack, arm_of_size.url, observer, system.pool_metrics, size, number)
                    measured.append(_cell(place, crowd, seconds))
                    progress(len(measured) / (rounds * len(cells)))
    return pd.DataFrame([asdict(cell) for cell in measured])


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
        """waits, waited_s and held_s of the pool so far, as far as the service tells them."""
        samples = metrics(self.url) if self.metrics else {}
        return {name: samples[counted] for name, counted in self.metrics.items() if counted in samples}


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


def pool_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Medians over the rounds, a row a number of users and a size; waits and holds in ms, left out where unknown."""
    table = frame.groupby(["users", "size"]).median().drop(columns="round")
    table = table.assign(acquire_wait_ms=table.pop("acquire_wait_s") * 1000, held_ms=table.pop("held_s") * 1000)
    return table.dropna(axis="columns", how="all").map(lambda value: float(f"{value:.3g}"))


def knee_in_words(knees: pd.DataFrame) -> str:
    """Where the knee is under the most users, beside the formula."""
    most, knee, best = knees.index[-1], int(knees["knee"].iloc[-1]), float(knees["best_per_s"].iloc[-1])
    return (
        f"with {most} users a pool of {knee} gives {NEAR_BEST:.0%} of the best throughput there is ({best:,.0f}/s);"
        f" twice the cores and one is {formula()}"
    )


def formula(cores: int | None = None) -> int:
    """Connections by the formula that is commonly given: twice the cores and one for the disk."""
    return 2 * (cores or os.cpu_count() or 1) + 1


def _mixed(system: System, prepared: Prepared, seed: int) -> list[Operation]:
    """Requests of the mix, in random order. Raises SettingsError where there is none that reads."""
    operations: list[Operation] = []
    for kind, share in system.pool_mix.items():
        drawn = prepared.operations(kind, distinct=share * 10, requests=1, seed=seed, block=0).warm_up
        operations += islice(cycle(drawn), share * 10)  # one without values is there as often as its weight says
    if not operations:
        raise SettingsError(f"{system.name} has no request that reads and has a weight: there is nothing to ask for")
    random.Random(seed).shuffle(operations)
    return operations


class _Crowd:
    """So many users, each on a connection of its own, who ask again as soon as they are answered."""

    def __init__(self, arm: Arm, users: int, operations: Sequence[Operation]) -> None:
        self.users = users
        self.answers: list[tuple[float, float, bool]] = []
        """(when it was sent, ms, whether it was answered and not refused) of each, over all users."""
        self.wrong = ""
        self.refused = ""
        """An answer that refused, where there was one."""
        self._operations = [arm.as_sent(operation) for operation in operations]
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(Driver(arm.url), number), daemon=True) for number in range(users)
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
                operation = self._operations[at % len(self._operations)]
                elapsed_s, status, body = driver.send(operation)
                if status >= _REFUSED:
                    self.refused = f"{status} {body[:80]!r}"
                elif status != operation.status:
                    self.wrong = f"{operation.method} {operation.path}: {status} {body[:80]!r}"
                self.answers.append((began, elapsed_s * 1000, status < _REFUSED))
                at += 1
        except Exception as error:  # a user that is gone without a word would be a smaller crowd
            self.wrong = str(error) or type(error).__name__
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
    right = [ms for _, ms, answered in within if answered]
    if within and not right:
        raise MeasurementError(
            f"a service with a pool of {place.size} answered nothing but {crowd.refused}; see .lab/logs"
        )
    cpu = sampler.frame()["cpu_percent"]
    return PoolCell(
        size=place.size,
        users=crowd.users,
        round=place.round,
        throughput_per_s=len(right) / (ended - began),
        mean_ms=float(np.mean(right)) if right else float("nan"),
        p95_ms=quantile(right, 0.95),
        refused_per_min=(len(within) - len(right)) / (ended - began) * 60,
        acquire_wait_s=_mean_of("waited_s", before, after),
        held_s=_mean_of("held_s", before, after),
        postgres_cores=float(cpu.mean()) / 100 if len(cpu) else float("nan"),
        active_backends=float(np.mean(active)),
    )


def _mean_of(name: str, before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Seconds a wait, from totals before and after; nan where the service tells none."""
    if name not in after or "waits" not in after:
        return float("nan")
    return (after[name] - before.get(name, 0.0)) / max(after["waits"] - before.get("waits", 0.0), 1)
