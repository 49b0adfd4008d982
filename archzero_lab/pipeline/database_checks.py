"""Checks of how the service uses PostgreSQL: statements by number of items, a pool that has no connection left."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from archzero_lab.bootstrap.services import start_service
from archzero_lab.bootstrap.stack import Stack
from archzero_lab.pipeline.trials import Bench, Tried, call, metric
from archzero_lab.postgres.migrations import connect
from archzero_lab.settings import PoolSettings

ITEMS = (1, 10, 100)
_POOL, _WAIT_S, _AT_ONCE = 2, 0.5, 30
_HANGS_S = 10.0
"""A request that has no answer after twenty times the pool's time-out hangs."""


def no_n_plus_one(bench: Bench) -> Tried:
    """No answer takes more statements for 10 or 100 items than for one, by the pool's own count of statements."""
    tried = Tried()
    found = statements_by_items(bench.stack, bench.database_url, bench.ids)
    for name, counts in found.items():
        for size, count in counts.items():
            tried.trial(count > 0, f"{name} of {size}: no answer")
        tried.trial(not grows(counts), f"{name}: {counts} statements by number of items")
    sent = sum(sum(counts.values()) for counts in found.values())
    tried.mechanism = {"statements": sent, "moved": sent >= len(ITEMS)}
    return tried


def statements_by_items(stack: Stack, database_url: str, ids: list[str]) -> dict[str, dict[int, int]]:
    """How many statements each kind of answer takes by its number of items; 0 where there was no right answer.

    On a service of its own without a cache, which sends nothing but what it is asked for.
    """
    service = start_service(stack, "n-plus-one", database_url, cached=False)
    found: dict[str, dict[int, int]] = {}
    try:
        for name, ask in _sized(ids).items():
            found[name] = {}
            for size in ITEMS:
                before = int(metric(service.url, "archzero_database_statements_total"))
                status, _ = ask(service.url, size)
                sent = int(metric(service.url, "archzero_database_statements_total")) - before
                found[name][size] = sent if 200 <= status < 300 else 0
    finally:
        stack.registry.stop(service.record)
    return found


def grows(counts: dict[int, int]) -> bool:
    """Whether more items took more statements than the fewest did."""
    return max(counts.values()) > counts[min(counts)]


def _sized(ids: list[str]) -> dict[str, Callable[[str, int], tuple[int, Any]]]:
    """Questions and writes by name; each takes a service's URL and a number of items."""

    def get(path: str) -> Callable[[str, int], tuple[int, Any]]:
        return lambda url, size: call(url, "GET", path + str(size))

    def import_cards(url: str, size: int) -> tuple[int, Any]:
        rows = [{"name": f"Imported {uuid.uuid4()}", "type": "Risk"} for _ in range(size)]
        return call(url, "POST", "/api/v1/import", "\n".join(json.dumps(row) for row in rows))

    return {
        "list": get("/api/v1/cards?pageSize="),
        "filter": get("/api/v1/cards?type=Application&pageSize="),
        "search": get("/api/v1/search?q=service&pageSize="),
        "relationships": get(f"/api/v1/relationships?card_id={ids[0]}&pageSize="),
        "graph": lambda url, size: call(url, "GET", f"/api/v1/graph?center_card_id={ids[0]}&depth={len(str(size))}"),
        "import": import_cards,
    }


@dataclass(frozen=True)
class _Answer:
    status: int
    retry_after: str | None


def pool_no_exhaustion(bench: Bench) -> Tried:
    """With every connection of the pool stuck, whoever comes is told 503 with Retry-After, counted; later all is well.

    On a service of its own with two connections and without a cache; a lock on the cards' table, held by the check,
    makes the first two hang. Those are answered once it is gone.
    """
    tried = Tried()
    pool = PoolSettings(max_size=_POOL, min_size=_POOL, acquire_timeout_s=_WAIT_S)
    small = replace(bench.stack, settings=replace(bench.stack.settings, pool=pool))
    service = start_service(small, "small-pool", bench.database_url, cached=False)
    try:
        refused = threading.Semaphore(0)

        def ask(_: int) -> _Answer:
            found = _get(service.url + "/api/v1/cards?pageSize=1")
            if found.status == 503:
                refused.release()
            return found

        before = int(metric(service.url, "archzero_pool_refused_total"))
        with connect(bench.database_url) as holder, ThreadPoolExecutor(_AT_ONCE) as clients:
            holder.execute("LOCK TABLE cards IN ACCESS EXCLUSIVE MODE")
            asked = [clients.submit(ask, number) for number in range(_AT_ONCE)]
            deadline = time.monotonic() + _HANGS_S
            told = sum(refused.acquire(timeout=max(deadline - time.monotonic(), 0.01)) for _ in range(_AT_ONCE - _POOL))
            holder.rollback()
            answers = [future.result() for future in asked]
        for answer in answers:
            right = answer.status == 200 or (answer.status == 503 and answer.retry_after is not None)
            tried.trial(right, f"status {answer.status}, Retry-After {answer.retry_after}")
        tried.trial(told == _AT_ONCE - _POOL, f"{_AT_ONCE - _POOL - told} requests hung for {_HANGS_S:g} s")
        counted = int(metric(service.url, "archzero_pool_refused_total")) - before
        tried.trial(counted == told, f"{told} requests were refused, {counted} counted")
        for _ in range(10):
            tried.trial(_get(service.url + "/api/v1/cards?pageSize=1").status == 200, "not well again after the lock")
    finally:
        bench.stack.registry.stop(service.record)
    tried.mechanism = {"refused": told, "counted": counted, "moved": told > 0}
    return tried


def _get(url: str) -> _Answer:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            answer.read()
            return _Answer(answer.status, None)
    except urllib.error.HTTPError as error:
        return _Answer(error.code, error.headers.get("Retry-After"))
    except OSError:
        return _Answer(0, None)
