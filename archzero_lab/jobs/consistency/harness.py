"""verify-consistency: processes that read and write at random while Redis is hurt, and the check over their history."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from archzero_lab.errors import MeasurementError, unknown_name
from archzero_lab.jobs.consistency.faults import Faults
from archzero_lab.postgres.databases import create_database, drop_database
from archzero_lab.postgres.migrations import connect
from archzero_lab.servers.hurt import HurtRedis
from archzero_lab.servers.process import is_alive, tail
from archzero_lab.servers.stack import Stack
from archzero_lab.settings import ROOT, PoolSettings
from archzero_lab.systems.arczero.peers import PEERS
from archzero_lab.systems.arczero.portfolios import choose_portfolio, ensure_base
from archzero_lab.systems.arczero.service import ServiceConfig
from archzero_lab.systems.histories import Verdict, check, load

GUARDS = ("lease", "fence", "outbox", "generation", "breaker-drain")
_PROCESSES = 3
_READERS = 4
_WRITERS = 2
_HOT = 8
_SQL_ONLY = 2
"""Cards besides that nobody writes but plain SQL: the next write of the service would cover a lost change."""
_PURPOSE = "consistency"


@dataclass
class ConsistencyResult:
    """What one round found. `faults` are (seconds, what)."""

    verdict: Verdict
    faults: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0


def verify_consistency(
    stack: Stack,
    *,
    reads: int,
    seed: int = 1,
    without: tuple[str, ...] = (),
    near: bool = False,
    of: str | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> ConsistencyResult:
    """One round: `reads` reads over several processes under faults, then the check.

    `near` reads through the near cache, whose staleness is measured and not a violation. `of` checks another cache
    library of bootstrap.peers in our place. Raises UnknownNameError for a guard or library that is not known,
    MeasurementError for a process that died.
    """
    if of is not None and of not in PEERS:
        raise unknown_name("cache", of, list(PEERS))
    for guard in without:
        if guard not in GUARDS:
            raise unknown_name("guard", guard, list(GUARDS))
    base = ensure_base(stack, choose_portfolio(2_000, 1, None, None), lambda share: None)
    name = stack.database_name(_PURPOSE)
    database_url = create_database(stack.postgres_url, name, template=base.name)
    hurt = HurtRedis(stack)
    folder = Path(tempfile.mkdtemp(prefix="archzero-consistency-"))
    began = time.monotonic()
    try:
        hot, owner = _hot_set(database_url)
        config = ServiceConfig(
            database_url=database_url,
            redis_url=hurt.server.url,
            namespace=f"consistency:{seed}",
            cache=replace(stack.settings.cache, near_bytes=stack.settings.cache.near_bytes if near else 0),
            pool=PoolSettings(min_size=2, max_size=8, check_before_use=False),
        )
        faults = Faults(
            redis_url=hurt.server.url,
            redis_pid=lambda: hurt.server.record.pid,
            restart=hurt.restart,
            database_url=database_url,
            hot=hot[-_SQL_ONLY:],
            rng=random.Random(f"faults {seed}"),
        )
        outs = _run(stack, folder, config, hot, owner, reads, seed, of, without, faults, progress)
        writes, found = load(outs)
        verdict = check([*writes, *faults.writes], found, strict=not near)
        return ConsistencyResult(verdict, faults.done, time.monotonic() - began)
    finally:
        hurt.close()
        drop_database(stack.postgres_url, name)
        shutil.rmtree(folder, ignore_errors=True)


def _hot_set(database_url: str) -> tuple[list[str], str]:
    """A few cards of one owner of their own, which lists and searches find together."""
    owner = str(uuid.uuid4())
    with connect(database_url, autocommit=True) as connection:
        rows = connection.execute(
            "UPDATE cards SET owner_id = %s, description = 'hot set', version = 1 WHERE id IN"
            " (SELECT id FROM cards ORDER BY id LIMIT %s) RETURNING id",
            [owner, _HOT + _SQL_ONLY],
        ).fetchall()
        connection.execute("DELETE FROM cache_outbox")
    return [str(row[0]) for row in rows], owner


def _run(
    stack: Stack,
    folder: Path,
    config: ServiceConfig,
    hot: list[str],
    owner: str,
    reads: int,
    seed: int,
    of: str | None,
    without: tuple[str, ...],
    faults: Faults,
    progress: Callable[[float], None],
) -> list[Path]:
    stop = folder / "stop"
    may_end = folder / "may-end"
    processes, outs, shares_read = [], [], []
    for number in range(_PROCESSES):
        outs.append(folder / f"out-{number}.json")
        shares_read.append(folder / f"done-{number}")
        job = {
            "of": of,
            "service": config.encode(),
            "without": list(without),
            "hot": hot,
            "written": hot[:-_SQL_ONLY],
            "owner": owner,
            "seed": f"{seed}.{number}",
            "reads": reads // _PROCESSES,
            "readers": _READERS,
            "writers": _WRITERS,
            "out": str(outs[-1]),
            "done": str(shares_read[-1]),
            "may_end": str(may_end),
            "stop": str(stop),
        }
        path = folder / f"job-{number}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(job))
        processes.append(
            stack.registry.spawn(
                f"consistency-{number}",
                [sys.executable, "-m", "archzero_lab.systems.arczero.consistency.open_cards", str(path)],
                log=folder / f"log-{number}",
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        )
    try:
        time.sleep(1.5)  # the processes' imports; a fault before the first read would be none
        began = time.monotonic()
        limit_s = 120 + reads / 500

        def running() -> list[bool]:
            late = time.monotonic() - began > limit_s
            return [not late and is_alive(process) for process in processes]

        while all(running()) and not (faults.every_kind_done and all(done.exists() for done in shares_read)):
            faults.one()
            time.sleep(faults.rng.uniform(0.05, 0.4))  # the processes work undisturbed for a while
            progress(1 - 1 / (1 + (time.monotonic() - began) / max(5.0, reads / 6_000)))
        if all(running()):
            faults.last()
        may_end.touch()
        while any(running()):
            time.sleep(0.05)
    finally:
        stop.touch()
        for process in processes:
            stack.registry.stop(process, grace_s=30)
    for number, out in enumerate(outs):
        if not out.exists():
            raise MeasurementError(f"process {number} of the harness died: {tail(folder / f'log-{number}', 2)}")
    return outs
