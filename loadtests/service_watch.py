"""What the service says of itself each second beside the load: hits by kind, near and far, statements, pool, Redis."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from itertools import pairwise
from typing import Any

import gevent
import pace
from recorder import RECORDER

_METRICS = {
    "archzero_database_statements_total": "statements",
    "archzero_pool_acquire_wait_seconds_sum": "pool_wait_s",
    "archzero_pool_acquire_wait_seconds_count": "pool_acquired",
}


def ask(url: str, timeout_s: float = 2.0) -> str | None:
    """The body of a GET; None where there was no answer, as with a host that has no such path."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # the host under test
            return str(answer.read().decode("utf-8", "replace"))
    except (OSError, ValueError):
        return None


def totals(host: str) -> dict[str, Any]:
    """Counters since the service began: what it does not tell is not there."""
    found: dict[str, Any] = {"at": time.time()}
    stats, health, metrics = (ask(host + path) for path in ("/api/v1/cache/stats", "/api/v1/cache/health", "/metrics"))
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # a host that speaks otherwise
        if stats is not None:
            told = json.loads(stats)
            found |= {name: told[name] for name in ("hits", "near_hits", "misses")}
            found["by_kind"] = {
                kind: {name: counts[name] for name in ("hits", "near_hits", "misses")}
                for kind, counts in told["by_kind"].items()
            }
        if health is not None:
            found["redis_memory_bytes"] = json.loads(health).get("used_memory_bytes")
    for line in (metrics or "").splitlines():
        name, _, value = line.partition(" ")
        if name in _METRICS:
            found[_METRICS[name]] = float(value)
    return found


def watch(environment: Any) -> None:
    """Add a row of totals in the middle of each second of the run, so that none is without one, or has two."""
    while True:
        since = (time.time() - pace.CURRENT.origin - 0.5) % 1
        gevent.sleep(1 - since)
        if environment.runner.state in ("spawning", "running"):
            RECORDER.service.append(totals(str(environment.host).rstrip("/")))


def rates(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What happened between one row of totals and the next; nothing of what the service does not tell."""
    made = []
    for before, after in pairwise(rows):
        seconds = max(after["at"] - before["at"], 0.001)
        row: dict[str, Any] = {"at": after["at"], "redis_memory_bytes": after.get("redis_memory_bytes")}
        if "hits" in before and "hits" in after:
            near = after["near_hits"] - before["near_hits"]
            hits, misses = after["hits"] - before["hits"], after["misses"] - before["misses"]
            asked = hits + misses
            row["hit_rate"] = hits / asked if asked > 0 else None
            row["near_share"] = near / asked if asked > 0 else None
            row["by_kind"] = {kind: _hit_rate(before["by_kind"].get(kind, {}), counts)
                              for kind, counts in after["by_kind"].items()}  # fmt: skip
        if "statements" in before and "statements" in after:
            row["statements_per_s"] = (after["statements"] - before["statements"]) / seconds
        both = "pool_acquired" in before and "pool_acquired" in after  # an overloaded service leaves out a second
        acquired = after["pool_acquired"] - before["pool_acquired"] if both else 0
        if acquired > 0:
            row["pool_wait_ms"] = (after["pool_wait_s"] - before["pool_wait_s"]) / acquired * 1000
        made.append(row)
    return made


def _hit_rate(before: dict[str, int], after: dict[str, int]) -> float | None:
    hits, misses = (after[name] - before.get(name, 0) for name in ("hits", "misses"))
    return hits / (hits + misses) if hits + misses > 0 else None
