"""What a request of each kind makes PostgreSQL and Redis do in the two arms that are compared, counted one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
import redis

from archzero_lab.errors import LabError, mask_secrets
from archzero_lab.jobs.work.baseline import Tolerance
from archzero_lab.jobs.work.counted import Counted, CountedKind
from archzero_lab.jobs.work.differences import differences
from archzero_lab.jobs.work.measure import WorkRequest, count_work
from archzero_lab.progress import Reporter
from archzero_lab.run_folders.run import WORK, Run
from archzero_lab.servers.counting_stack import counting_stack
from archzero_lab.settings import Settings
from archzero_lab.systems.system import System

_MOST_ROWS = 20_000
"""Counts are compared by what they are, not by how large: a small copy says the same in a few seconds."""
_MOST_DIFFERENCES = 6
_MOST_COPYING_S = 60


def count_arms(system: System, settings: Settings, run: Run, size: int, seed: int, reporter: Reporter) -> None:
    """Count both arms on servers of the lab's own and keep what differs; where that cannot be, why.

    One client, a known state, values by the seed: the same numbers on any machine (docs/work.md).
    """
    if run.holds(WORK):  # of a run that goes on
        return
    loaded_s = sum(stage["seconds"] for stage in run.stages if stage["name"] == "load")
    if size == 0 and loaded_s > _MOST_COPYING_S:  # a team's own database, which is copied once more for each arm
        run.work = {"reason": f"its databases took {loaded_s:.0f} s to copy, and counting copies them again: lab work"}
        return
    rows = min(size, _MOST_ROWS)
    try:
        with counting_stack(settings) as counting, reporter.work("work") as tell:
            counted = []
            for number, arm in enumerate(system.compared):

                def progress(share: float, done: int = number) -> None:
                    tell((done + share) / len(system.compared))

                counted.append(count_work(system, counting, WorkRequest(arm, rows, seed), progress=progress))
    except (LabError, psycopg.Error, redis.RedisError, OSError) as error:  # beside a report it must not cost it
        run.work = {"reason": mask_secrets(str(error))}
        return
    run.work = {"rows": rows, "arms": list(system.compared), "kinds": _side_by_side(*counted)}


def _side_by_side(one: Counted, other: Counted) -> list[dict[str, Any]]:
    changed: dict[str, list[str]] = {}
    for difference in differences(one, other, Tolerance()):
        changed.setdefault(difference.where, []).append(f"{difference.what}: {difference.said}")
    kinds = []
    for name, kind in one.kinds.items():
        beside = other.kinds.get(name)
        if beside is not None:
            lines = changed.get(name, [])
            kinds.append(
                {
                    "kind": name, "writes": kind.writes, "requests": kind.requests,
                    "counts": _rows(kind, beside), "differences": lines[:_MOST_DIFFERENCES],
                    "more": max(0, len(lines) - _MOST_DIFFERENCES),
                }
            )  # fmt: skip
    return kinds


def _rows(one: CountedKind, other: CountedKind) -> dict[str, list[float | None]]:
    """What a request takes in each arm: the first time, and again in the second."""
    passes = [(one.first, one.counted), (other.first, other.counted)]
    if not one.writes:
        passes.append((other.again or other.first, other.counted))
    counts: Mapping[str, Any] = {
        "statements": lambda work: work.calls,
        "blocks": lambda work: work.blocks,
        "Redis": lambda work: sum(command.calls for command in work.redis.values()),
        "WAL records": lambda work: sum(work.wal.values()),
        "bytes answered": lambda work: work.bytes,
    }
    return {
        name: [None if (value := of(work)) is None else value / requests for work, requests in passes]
        for name, of in counts.items()
    }
