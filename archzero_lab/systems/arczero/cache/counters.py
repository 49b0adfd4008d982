"""Cache counters that add up over worker processes, by kind of key, and the hit rate they give."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from archzero_lab.systems.arczero.cache.keys import Kind

OUTCOMES = ("hit", "near_hit", "miss", "set", "delete", "error", "reload", "needless")
"""A reload is a load in place of a value that a change made invalid; a needless one brought the very bytes back."""

_OPERATIONS = Counter("archzero_cache_operations_total", "Cache operations", ["kind", "outcome"])
CALL_TIME = Histogram(
    "archzero_cache_call_seconds",
    "Time of a round trip to Redis",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)

# children are looked up once: labels() on the hit path would cost more than the increment
_CHILDREN = {(kind, outcome): _OPERATIONS.labels(kind.value, outcome) for kind in Kind for outcome in OUTCOMES}


def count(kind: Kind, outcome: str, amount: int = 1) -> None:
    """Add to a counter of this process."""
    _CHILDREN[kind, outcome].inc(amount)


def registry() -> CollectorRegistry | None:
    """A registry that sums over the worker processes of this service, or None where there is but one.

    The processes share PROMETHEUS_MULTIPROC_DIR, which the service's launcher sets.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return None
    collected = CollectorRegistry()
    MultiProcessCollector(collected)
    return collected


def totals() -> dict[str, dict[str, int]]:
    """Counters since the last reset, over all worker processes: kind -> outcome -> number."""
    baseline = _read_baseline()
    return {
        kind: {outcome: value - baseline.get(kind, {}).get(outcome, 0) for outcome, value in outcomes.items()}
        for kind, outcomes in _raw_totals().items()
    }


def reset() -> None:
    """Begin counting anew, for all worker processes: what was counted becomes the baseline."""
    path = _baseline_path()
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(_raw_totals()))
    partial.rename(path)


def hit_rate(hits: int, misses: int) -> float | None:
    """hits / (hits + misses), None where nothing was asked."""
    return hits / (hits + misses) if hits + misses else None


def summary() -> dict[str, Any]:
    """The counters as the stats endpoint tells them."""
    by_kind = totals()
    whole = {outcome: sum(counts[outcome] for counts in by_kind.values()) for outcome in OUTCOMES}
    return {**_told(whole), "by_kind": {kind: _told(counts) for kind, counts in by_kind.items()}}


def _told(counts: dict[str, int]) -> dict[str, Any]:
    hits = counts["hit"] + counts["near_hit"]
    return {
        "hits": hits,
        "near_hits": counts["near_hit"],
        "misses": counts["miss"],
        "sets": counts["set"],
        "deletes": counts["delete"],
        "errors": counts["error"],
        "hit_rate": hit_rate(hits, counts["miss"]),
        "reloads": counts["reload"],
        "needless_reloads": counts["needless"],
    }


def _raw_totals() -> dict[str, dict[str, int]]:
    found = {kind.value: dict.fromkeys(OUTCOMES, 0) for kind in Kind}
    collected = registry()
    families = collected.collect() if collected is not None else _OPERATIONS.collect()
    for family in families:
        if family.name != "archzero_cache_operations":
            continue
        for sample in family.samples:
            if sample.name == "archzero_cache_operations_total":
                found[sample.labels["kind"]][sample.labels["outcome"]] = int(sample.value)
    return found


def _baseline_path() -> Path:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) / "baseline.json" if folder else Path(os.devnull)


def _read_baseline() -> dict[str, dict[str, int]]:
    with contextlib.suppress(OSError, ValueError):
        read: dict[str, dict[str, int]] = json.loads(_baseline_path().read_text())
        return read
    return {}
