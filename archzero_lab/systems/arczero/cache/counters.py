"""Cache counters that add up over worker processes, by kind of key, and the hit rate they give."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from archzero_lab.systems.arczero.cache.keys import Kind

_VERSION = importlib.metadata.version("archzero-lab")
OUTCOMES = ("hit", "near_hit", "miss", "set", "delete", "error", "reload", "needless")
"""A reload is a load in place of a value that a change made invalid; a needless one brought the very bytes back."""

_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_PLACES = {pair: place for place, pair in enumerate((kind, outcome) for kind in Kind for outcome in OUTCOMES)}
_CALLS = len(_PLACES)
"""Where the histogram of calls begins: a number a bucket, one for what is longer than all, then the sum in seconds."""
_SIZE = _CALLS + len(_BUCKETS_S) + 2


def _folder() -> Path | None:
    """Where the worker processes of one service share their numbers; its launcher sets it."""
    name = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(name) if name else None


def _open_numbers() -> memoryview[float]:
    """This process' numbers: in a file that the others can read, which outlives it, or in memory where it is alone.

    prometheus_client's own counter takes 2 microseconds of a hit that takes 20 in all: a lock, a look at the process'
    id, an encoding. Adding to one of these takes a twentieth.
    """
    folder = _folder()
    if folder is None:
        return memoryview(bytearray(8 * _SIZE)).cast("d")
    with (folder / f"cache_{os.getpid()}.numbers").open("a+b") as file:
        file.truncate(8 * _SIZE)
        return memoryview(mmap.mmap(file.fileno(), 8 * _SIZE)).cast("d")


_NUMBERS = _open_numbers()
_BASELINE = "baseline.json"
_TRIPS = "round_trips"
_alone: dict[str, dict[str, int]] = {}
"""The baseline of a process that has no folder to share."""


def count(kind: Kind, outcome: str, amount: int = 1) -> None:
    """Add to a counter of this process."""
    _NUMBERS[_PLACES[kind, outcome]] += amount


def count_call(seconds: float) -> None:
    """A round trip to Redis took so long."""
    _NUMBERS[_CALLS + bisect_left(_BUCKETS_S, seconds)] += 1
    _NUMBERS[_SIZE - 1] += seconds


def _all_numbers() -> list[float]:
    """The numbers of all processes of this service, those that have ended too, added up."""
    folder = _folder()
    if folder is None:
        return list(_NUMBERS)
    each = [memoryview(path.read_bytes()).cast("d") for path in folder.glob("cache_*.numbers")]
    return [sum(numbers) for numbers in zip(*(one for one in each if len(one) == _SIZE), strict=True)]


class _Collector(Collector):
    """The numbers as Prometheus reads them."""

    def collect(self) -> Iterator[Metric]:
        """The counters by kind and outcome, and the histogram."""
        build = GaugeMetricFamily("archzero_build_info", "What runs here", labels=["version"])
        build.add_metric([_VERSION], 1.0)
        yield build
        numbers = _all_numbers()
        operations = CounterMetricFamily("archzero_cache_operations", "Cache operations", labels=["kind", "outcome"])
        for (kind, outcome), place in _PLACES.items():
            operations.add_metric([kind.value, outcome], numbers[place])
        yield operations
        calls = HistogramMetricFamily("archzero_cache_call_seconds", "Time of a round trip to Redis")
        below, buckets = 0.0, []
        for bound, number in zip((*map(str, _BUCKETS_S), "+Inf"), numbers[_CALLS : _SIZE - 1], strict=True):
            below += number
            buckets.append((bound, below))
        calls.add_metric([], buckets, numbers[_SIZE - 1])
        yield calls


if _folder() is None:
    REGISTRY.register(_Collector())


def registry() -> CollectorRegistry:
    """What sums over the worker processes of this service, where it has several; else the process' own."""
    folder = _folder()
    if folder is None:
        return REGISTRY
    for path in folder.glob("gauge_live*_*.db"):
        if not Path(f"/proc/{path.stem.rpartition('_')[2]}").exists():
            path.unlink(missing_ok=True)  # of a worker that has ended: it is in no state any more
    collected = CollectorRegistry()
    MultiProcessCollector(collected)
    collected.register(_Collector())
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
    folder = _folder()
    counted = _raw_totals() | {_TRIPS: {_TRIPS: _round_trips()}}
    if folder is None:
        _alone.clear()
        _alone.update(counted)
        return
    partial = folder / f"baseline.{os.getpid()}"
    partial.write_text(json.dumps(counted))
    partial.rename(folder / _BASELINE)


def hit_rate(hits: int, misses: int) -> float | None:
    """hits / (hits + misses), None where nothing was asked."""
    return hits / (hits + misses) if hits + misses else None


def summary() -> dict[str, Any]:
    """The counters as the stats endpoint tells them."""
    by_kind = totals()
    whole = {outcome: sum(counts[outcome] for counts in by_kind.values()) for outcome in OUTCOMES}
    trips = _round_trips() - _read_baseline().get(_TRIPS, {}).get(_TRIPS, 0)
    return {**_summary(whole), _TRIPS: trips, "by_kind": {kind: _summary(counts) for kind, counts in by_kind.items()}}


def _summary(counts: dict[str, int]) -> dict[str, Any]:
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


def _round_trips() -> int:
    """Calls of Redis that were answered, without heartbeats."""
    return int(sum(_all_numbers()[_CALLS : _SIZE - 1]))


def _raw_totals() -> dict[str, dict[str, int]]:
    numbers = _all_numbers()
    return {kind.value: {outcome: int(numbers[_PLACES[kind, outcome]]) for outcome in OUTCOMES} for kind in Kind}


def _read_baseline() -> dict[str, dict[str, int]]:
    folder = _folder()
    if folder is None:
        return _alone
    with contextlib.suppress(OSError, ValueError):
        read: dict[str, dict[str, int]] = json.loads((folder / _BASELINE).read_text())
        return read
    return {}
