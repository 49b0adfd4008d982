"""A load: the arms served, Locust sent at them in turn, what everything used meanwhile; a run's folder of its own."""

from __future__ import annotations

import json
import math
import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from archzero_lab.errors import MeasurementError
from archzero_lab.jobs.load.request import DEFAULT_RATE, LOADTESTS, LoadRequest
from archzero_lab.jobs.load.result import LEAST_PER_S, capacity_entry, load_entry, seconds_frame, trials_frame
from archzero_lab.jobs.load.saturation import saturation
from archzero_lab.run_folders.run import Run
from archzero_lab.servers.process import has_ended, tail
from archzero_lab.servers.resources import Sampler
from archzero_lab.servers.stack import Stack, registry
from archzero_lab.systems.arms import Opening
from archzero_lab.systems.system import Loading, Rows, System

_NEAR_FACTOR = 1.25
"""From a round's start to its next rate: near what the round before it found."""


@dataclass(frozen=True)
class Target:
    """Where a load goes: a host, and the processes behind it whose use is sampled, by name.

    `environment` is what Locust is told besides, written nowhere.
    """

    arm: str
    host: str
    families: dict[str, int]
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def served_arms(
    system: System, stack: Stack, rows: Rows, arms: Sequence[str], run: Run, loading: Loading
) -> Iterator[list[Target]]:
    """Arms, up side by side, and the values that the load tests ask from, in the run's folder."""
    with system.prepare(stack, rows, f"load{os.getpid()}", arms, loading) as prepared:
        (run.path / "catalog.json").write_text(prepared.load_values(arms))
        with prepared.arms(*(Opening(arm, f"load-{arm}") for arm in arms)) as opened:
            targets = []
            for arm in arms:
                service = opened[f"load-{arm}"]
                pids = {"postgres": stack.postgres_pid, "redis": stack.redis_pid}
                if service.process is not None:
                    pids["service"] = service.process.pid
                families = {name: pid for name, pid in pids.items() if pid is not None}
                targets.append(Target(arm, service.url, families, prepared.load_environment(service)))
            yield targets


def run_loads(
    targets: Sequence[Target],
    request: LoadRequest,
    run: Run,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Send the load at each target and keep its course in the run's folder; returns what its loads are to hold.

    Loads go one after the other. The rounds of a capacity go over all targets in random order, one round after the
    other, so that a machine that changes meanwhile changes for all.
    Raises MeasurementError where Locust ends without a result.
    """
    results: dict[str, list[dict[str, Any]]] = {target.arm: [] for target in targets}
    resources = []
    rounds = request.rounds + 1 if request.shape == "capacity" else 1
    order = random.Random(f"load {request.seed}")
    for number in range(rounds):
        places = list(targets)
        order.shuffle(places)
        for at, target in enumerate(places):
            began = number * len(places) + at
            with Sampler(target.families) as sampler:
                result = _locust(target, _at_round(request, results[target.arm]), run.path, number)
            results[target.arm].append(result)
            resources.append(sampler.frame().assign(arm=target.arm, round=number))
            progress((began + 1) / (rounds * len(places)))
    return keep_results(targets, request, results, pd.concat(resources, ignore_index=True), run)


@dataclass(frozen=True)
class _Round:
    """One run of Locust: the request, with the rate to begin at and by how much a search raises it.

    `fills`: a capacity's first search, which counts only where it is the only one.
    """

    request: LoadRequest
    rate_per_s: float
    raise_by: float
    fills: bool = False


def _at_round(request: LoadRequest, before: list[dict[str, Any]]) -> _Round:
    rate = request.rate_per_s or DEFAULT_RATE
    if not before:
        return _Round(request, rate, 1.6, fills=request.shape == "capacity" and request.rounds > 0)
    return _Round(request, max(before[-1]["capacity"]["rate_per_s"] / _NEAR_FACTOR, LEAST_PER_S), _NEAR_FACTOR)


def locust_command(request: LoadRequest, host: str, *, rate_per_s: float, raise_by: float = 1.6) -> list[str]:
    """Locust's command line for a load, without what says where its results go."""
    command = [
        sys.executable, "-m", "locust", "-f", str(LOADTESTS / "load.py"), "--host", host, "--only-summary",
        "--loglevel", "WARNING", "--exit-code-on-error", "0", "--stop-timeout", "30",
        "--arrival-rate", str(rate_per_s), "--arrivals", request.arrivals, "--load-shape", request.shape,
        "--think-time-s", str(request.think_time_s), "--target-p99-ms", str(request.target_p99_ms),
        "--raise-by", str(raise_by),
        "--warm-up-s", str(request.warm_up_s if request.shape not in ("capacity", "replay") else 0),
    ]  # fmt: skip
    if request.shape not in ("capacity", "replay"):
        command += ["--run-time", str(math.ceil(request.seconds))]
    if request.replay is not None:
        command += ["--replay-log", str(request.replay.resolve()), "--speed", str(request.speed)]
    users = 1 if request.is_open else request.users or 8
    return [*command, "--users", str(users), "--spawn-rate", str(users)]


def _locust(target: Target, round_: _Round, folder: Path, number: int) -> dict[str, Any]:
    request = round_.request
    out, log = folder / f".locust-{target.arm}-{number}.json", folder / f"locust-{target.arm}.log"
    command = locust_command(request, target.host, rate_per_s=round_.rate_per_s, raise_by=round_.raise_by)
    command += ["--headless", "--result-file", str(out)]
    command += processes_of(request)
    if round_.fills:
        command.append("--fills")
    command.append("OpenArrivals" if request.is_open else request.closed_user)
    env = {**os.environ, **target.environment, "ARCHZERO_SEED": f"{request.seed}.{number}"}
    catalog = folder / "catalog.json"
    if catalog.exists():
        env["ARCHZERO_CATALOG"] = str(catalog)
    processes = registry()
    record = processes.spawn(f"locust-{secrets.token_hex(2)}", command, log=log, env=env, cwd=LOADTESTS)
    try:
        while not has_ended(record):
            time.sleep(0.1)  # every load has an end
    finally:
        processes.stop(record)
    if not out.exists():
        raise MeasurementError(f"Locust ended without a result: {tail(log, 3)} (whole log: {log.name})")
    result: dict[str, Any] = json.loads(out.read_text())
    out.unlink()
    return result


def processes_of(request: LoadRequest) -> list[str]:
    """Locust's own ways to be several: a master that waits for others, or one that forks its workers."""
    if request.master:
        return ["--master", "--expect-workers", str(request.workers), "--expect-workers-max-wait", "300"]
    return ["--processes", str(request.workers)] if request.workers > 1 else []


def keep_results(
    targets: Sequence[Target],
    request: LoadRequest,
    results: Mapping[str, list[dict[str, Any]]],
    resources: pd.DataFrame,
    run: Run,
) -> dict[str, Any]:
    """Keep what Locust wrote, by arm a round each, in the run's folder; what its loads are to hold."""
    arms, trials = [], []
    seconds = []
    for target in targets:
        rounds = results[target.arm]
        last = rounds[-1]
        if request.shape == "capacity":
            entry = capacity_entry(target.arm, rounds)
            trials.append(trials_frame(target.arm, rounds))
        else:
            entry = load_entry(target.arm, last, None)
        frames = [seconds_frame(target.arm, measured).assign(round=number) for number, measured in enumerate(rounds)]
        kept_of_last = {name: last[name] for name in ("actions", "blocks", "failed_because", "seconds")}
        climbed = saturation(frames[-1], request.shape, last["workload"])
        arms.append(entry | {"saturated": climbed} | kept_of_last)
        seconds += frames
    kept = [frame for frame in seconds if not frame.empty]
    whole = pd.concat(trials, ignore_index=True) if trials else None
    run.keep_load_course(pd.concat(kept, ignore_index=True), resources, whole)
    return {"request": request.as_dict(), "arms": arms}
