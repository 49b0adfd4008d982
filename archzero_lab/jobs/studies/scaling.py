"""How reads scale with replicas and with masters of a Cluster: claims that know how many cores they need, and a
calculation from CPU times for sizes that no machine at hand has."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from archzero_lab.errors import MeasurementError
from archzero_lab.jobs.studies.scaling_calculation import SIZES, Assumptions, Carried, most_requests
from archzero_lab.jobs.studies.scaling_costs import Checked, Costs, check_costs, measure_costs
from archzero_lab.jobs.studies.scaling_worker import AT_ONCE
from archzero_lab.postgres.databases import database_url
from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.servers.process import ProcessRecord, is_alive, tail
from archzero_lab.servers.replicas import Replicated, replicated
from archzero_lab.servers.stack import Stack
from archzero_lab.stats.estimates import Interval, hodges_lehmann
from archzero_lab.stats.verdict import Verdict, at_least
from archzero_lab.systems.scaled import Asked, Scaled

REPLICAS = 2
_CLIENTS, _TOLD_S, _LATE_S = 2, 0.2, 60.0


@dataclass(frozen=True)
class ScalingClaim:
    """That `more` servers answer at least `claimed` times what `few` do. Each has a core, its clients another."""

    title: str
    kind: str
    few: int
    more: int
    claimed: float

    @property
    def cores(self) -> int:
        """Without which nothing can scale."""
        return 2 * self.more


CLAIMS = (
    ScalingClaim("Reads of one replica beside the primary", "PostgreSQL", 1, 2, 1.8),
    ScalingClaim("Reads of two replicas beside the primary", "PostgreSQL", 1, 3, 2.6),
    # each has its share of the keys, and clients know which: so no follower and no bus is needed to measure it
    ScalingClaim("Reads of three masters of a Cluster", "Redis", 1, 3, 2.6),
)


@dataclass(frozen=True)
class Judged:
    """A claim's verdict: by the interval of the ratio over rounds, or why there is none."""

    claim: ScalingClaim
    verdict: Verdict
    ratio: Interval | None = None
    why: str = ""


@dataclass(frozen=True)
class Scaling:
    """What came out. `checked`: mixed loads against the costs."""

    claims: list[Judged]
    costs: Costs
    checked: list[Checked]

    def calculated(self, assumed: Assumptions) -> dict[int, Carried]:
        """What so many replicas carry, by their number."""
        return {number: most_requests(self.costs, number, assumed) for number in SIZES}


def cores_here() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def study_scaling(
    scaled: Scaled, stack: Stack, *, seconds: float = 2.0, rounds: int = 8, cores: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Scaling:  # fmt: skip
    """Measure the costs, check them, and judge the claims that this machine has the cores for.

    `cores`: instead of those that are here. Raises LabError where servers do not come up, MeasurementError where a
    client dies.
    """
    cores = cores_here() if cores is None else cores
    with ExitStack() as closing:
        servers = closing.enter_context(replicated(stack.postgres_programs, stack.registry, REPLICAS))
        asked = scaled.fill(stack, servers.primary)
        servers.wait_until_replayed()
        costs = measure_costs(servers, asked, seconds)
        progress(0.3)
        checked = []
        for number in range(REPLICAS + 1):
            checked += check_costs(servers, asked, costs, number, seconds)
            progress(0.3 + 0.1 * (number + 1))
        judged = []
        for number, claim in enumerate(CLAIMS):
            judged.append(_judge(claim, stack, servers, asked, cores, seconds, rounds))
            progress(0.6 + 0.4 * (number + 1) / len(CLAIMS))
    return Scaling(judged, costs, checked)


def _judge(
    claim: ScalingClaim, stack: Stack, servers: Replicated, asked: Asked, cores: int, seconds: float, rounds: int
) -> Judged:
    if cores < claim.cores:
        why = f"no cores to scale on: {claim.more} servers and their clients need {claim.cores}, {cores} are here"
        return Judged(claim, Verdict.INCONCLUSIVE, why=why)
    if not hasattr(psutil.Process, "cpu_affinity"):
        return Judged(claim, Verdict.INCONCLUSIVE, why="this system gives no server a core of its own")
    with ExitStack() as closing:
        if claim.kind == "Redis":
            masters = []
            for _ in range(claim.more):
                masters.append(HurtRedis(stack))
                closing.callback(masters[-1].close)
            keys = [f"scaling:{number}" for number in range(AT_ONCE)]
            for master in masters:
                _fill(master.server.url, keys)
            urls, pids = [one.server.url for one in masters], [one.server.record.pid for one in masters]
            queries: Sequence[object] = keys
        else:
            all_of = [servers.primary, *servers.replicas][: claim.more]
            urls = [database_url(one.url, asked.database) for one in all_of]
            pids, queries = [one.record.pid for one in all_of], asked.reads
        logs = []
        rng = random.Random(claim.title)
        for _ in range(rounds):
            rates = {}
            for number in rng.sample([claim.few, claim.more], 2):
                rates[number] = _throughput(stack, urls[:number], pids[:number], queries, seconds)
            logs.append(math.log(rates[claim.more] / rates[claim.few]))
    found = hodges_lehmann(logs)
    ratio = Interval(math.exp(found.estimate), math.exp(found.low), math.exp(found.high), found.method)
    return Judged(claim, at_least(claim.claimed, ratio.low, ratio.high), ratio)


def _fill(url: str, keys: Sequence[str]) -> None:
    client = redis.Redis.from_url(url)
    for key in keys:
        client.set(key, b"x" * 1_000)
    client.close()


def _throughput(
    stack: Stack, urls: Sequence[str], pids: Sequence[int], queries: Sequence[object], seconds: float
) -> float:
    """Answers a second of servers on a core each, whose clients share another each."""
    mine = sorted(psutil.Process().cpu_affinity() or [])
    folder = Path(tempfile.mkdtemp(prefix="archzero-scaling-"))
    go = folder / "go"
    workers: list[tuple[ProcessRecord, Path, Path]] = []
    try:
        for number, (url, pid) in enumerate(zip(urls, pids, strict=True)):
            _pin(pid, mine[2 * number % len(mine)])
            for client in range(_CLIENTS):
                job, ready, out, log = (folder / f"{what}-{number}-{client}" for what in ("job", "ready", "out", "log"))
                job.touch(mode=0o600)
                told = {"url": url, "queries": queries, "seconds": seconds, "go": str(go)}
                job.write_text(json.dumps(told | {"ready": str(ready), "out": str(out)}))
                argv = [sys.executable, "-P", "-m", "archzero_lab.jobs.studies.scaling_worker", str(job)]
                name = f"scaling-{number}-{client}"
                record = stack.registry.spawn(name, argv, log=log, env=dict(os.environ))
                workers.append((record, ready, out))
                _pin(record.pid, mine[(2 * number + 1) % len(mine)])
        for record, ready, _ in workers:
            _wait_for(ready, record)
        begin = folder / "begin"
        begin.write_text(str(time.monotonic() + _TOLD_S))
        begin.rename(go)
        return sum(float(_wait_for(out, record).read_text()) for record, _, out in workers)
    finally:
        for record, _, _ in workers:
            stack.registry.stop(record)
        shutil.rmtree(folder, ignore_errors=True)


def _pin(pid: int, core: int) -> None:
    """It and what it starts from now on, and has started, run on this core alone."""
    process = psutil.Process(pid)
    for one in (process, *process.children(recursive=True)):
        one.cpu_affinity([core])


def _wait_for(file: Path, record: ProcessRecord) -> Path:
    """A file that a client writes, when it is there. Raises MeasurementError for a client that died."""
    deadline = time.monotonic() + _LATE_S
    while not file.exists():
        if not is_alive(record) or time.monotonic() > deadline:
            if file.exists():
                break
            log = file.with_name(f"log-{file.name.partition('-')[2]}")
            raise MeasurementError(f"a client of the servers died: {tail(log, 2) or 'no message'}")
        time.sleep(0.02)  # polling until it has written it
    return file
