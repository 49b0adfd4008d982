"""Checks of how the service uses PostgreSQL: statements by number of items, a pool that has no connection left."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import httpx

from archzero_lab.postgres.connection import connect
from archzero_lab.settings import PoolSettings, patient
from archzero_lab.stats.growth import fit
from archzero_lab.systems.arczero.checks.bench import Bench
from archzero_lab.systems.arczero.checks.statements_by_items import NOT_IN_TIME, grows, statements_by_items
from archzero_lab.systems.arczero.services import Serving, start_service, url_of_service
from archzero_lab.systems.checks import Tried
from archzero_lab.systems.http import metric, request

_POOL, _WAIT_S, _AT_ONCE = 2, 0.5, 30
_HANGS_S, _AWAKE_S = 10.0, 2.0
"""A request that has no answer after twenty times the pool's time-out hangs."""


def no_n_plus_one(bench: Bench) -> Tried:
    """No answer takes more statements for 10 or 100 items than for one, by the pool's own count of statements."""
    tried = Tried()
    counted = statements_by_items(bench.stack, bench.database_url, bench.ids)
    for name, counts in counted.items():
        for size, count in counts.items():
            if count == NOT_IN_TIME:
                tried.unanswered(f"{name} of {size}")
            else:
                tried.trial(count > 0, f"{name} of {size}: no answer, or no statement counted")
        if NOT_IN_TIME not in counts.values():
            law = fit(name, list(counts), list(counts.values())).word
            tried.trial(not grows(counts), f"{name}: {counts} statements by number of items, {law}")
    sent = sum(sum(counts.values()) for counts in counted.values())
    tried.mechanism = {"statements": sent, "moved": sent >= len(counted)}
    return tried


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
    pool = replace(patient(PoolSettings(max_size=_POOL, min_size=_POOL)), acquire_timeout_s=_WAIT_S)
    small = replace(bench.stack, settings=replace(bench.stack.settings, pool=pool))
    service = start_service(small, Serving("small-pool", url_of_service(bench.stack, bench.database_url), cached=False))
    try:
        refused = threading.Semaphore(0)

        def ask(_: int) -> _Answer:
            answer = _get(service.url + "/api/v1/cards?pageSize=1")
            if answer.status == 503:
                refused.release()
            return answer

        before = int(metric(service.url, "archzero_pool_refused_total"))
        with connect(bench.database_url) as holder, ThreadPoolExecutor(_AT_ONCE) as clients:
            holder.execute("LOCK TABLE cards IN ACCESS EXCLUSIVE MODE")
            futures = [clients.submit(ask, number) for number in range(_AT_ONCE)]
            deadline = time.monotonic() + _HANGS_S
            refusals = sum(
                refused.acquire(timeout=max(deadline - time.monotonic(), 0.01)) for _ in range(_AT_ONCE - _POOL)
            )
            awake = _is_awake(service.url)
            holder.rollback()
            answers = [future.result() for future in futures]
        for answer in answers:
            if answer.status == 0:
                tried.unanswered("a request while the pool was stuck")
                continue
            right = answer.status == 200 or (answer.status == 503 and answer.retry_after is not None)
            tried.trial(right, f"status {answer.status}, Retry-After {answer.retry_after}")
        hung = _AT_ONCE - _POOL - refusals
        if hung and not awake:
            tried.unanswered(f"{hung} requests, and one that needs no database")
        else:
            tried.trial(not hung, f"{hung} requests hung for {_HANGS_S:g} s")
        counted = int(metric(service.url, "archzero_pool_refused_total")) - before
        if not hung:
            tried.trial(counted == refusals, f"{refusals} requests were refused, {counted} counted")
        for _ in range(10):
            tried.trial(_get(service.url + "/api/v1/cards?pageSize=1").status == 200, "not well again after the lock")
    finally:
        bench.stack.registry.stop(service.record)
    tried.mechanism = {"refused": refusals, "counted": counted, "moved": refusals > 0}
    return tried


def _is_awake(url: str) -> bool:
    """Whether what needs no database is answered at once: else it is the machine that keeps everybody waiting."""
    began = time.monotonic()
    return _get(url + "/metrics").status == 200 and time.monotonic() - began < _AWAKE_S


def _get(url: str) -> _Answer:
    try:
        answer = request(url, "GET", "")
    except httpx.HTTPError:
        return _Answer(0, None)
    return _Answer(answer.status_code, answer.headers.get("Retry-After") if answer.status_code != 200 else None)
