"""What a hit costs in CPU, by layer: one client asks a cached service, and the processes' own clocks are read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from archzero_lab.systems.arczero.api.wire import ok_lines
from archzero_lab.systems.arczero.arms import ServiceArm
from archzero_lab.systems.arczero.cache.entries import NO_SEQUENCE, Hit, decode, encode_value
from archzero_lab.systems.arczero.cards.model import Document
from archzero_lab.systems.operations import Operation

LAYERS = {
    "sockets": "sockets: the kernel's part, of the client's connection and of Redis'",
    "loop": "event loop, HTTP and Redis' protocol",
    "cache": "cache: an entry read and judged",
    "answer": "answer: its headers made",
    "redis": "Redis itself",
}
"""Layers of a hit, from the outside in, and what a page says of each."""

_GENERATION = "0" * 16


def hit_costs(arm: ServiceArm, redis_pid: int, asked: Sequence[Operation], requests: int) -> dict[str, float]:
    """Microseconds of CPU a hit, by layer; nothing where this machine does not tell them or not all were hits.

    The service's and Redis' processes are charged by the kernel's scheduler (/proc/PID/schedstat, nanoseconds), and the
    service's part split into the kernel's and its own by its clock ticks. What the cache and the answer take is
    measured in this process, by the same code on an entry of the same bytes; the loop is what remains.
    """
    assert arm.process is not None
    for operation in asked:
        arm.ask(operation)
    service, redis = psutil.Process(arm.process.pid), psutil.Process(redis_pid)
    hits, _ = arm.cache_counts()
    try:
        before, ticks = (_cpu_s(service), _cpu_s(redis)), service.cpu_times()
        for number in range(requests):
            arm.ask(asked[number % len(asked)])
        after, later = (_cpu_s(service), _cpu_s(redis)), service.cpu_times()
    except OSError:  # no schedstat: not Linux, or a kernel without it
        return {}
    if arm.cache_counts()[0] - hits < requests:
        return {}
    of_service, of_redis = ((now - then) / requests * 1e6 for now, then in zip(after, before, strict=True))
    in_kernel, in_user = later.system - ticks.system, later.user - ticks.user
    if in_kernel + in_user <= 0:
        return {}
    sockets = of_service * in_kernel / (in_kernel + in_user)
    cache, answer = _ours(arm.body(asked[0]))
    return {
        "sockets": sockets,
        "loop": max(0.0, of_service - sockets - cache - answer),
        "cache": cache,
        "answer": answer,
        "redis": of_redis,
    }


def _cpu_s(process: psutil.Process) -> float:
    """CPU time of all threads of a process, in seconds."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _ours(body: bytes) -> tuple[float, float]:
    """(cache, answer) in microseconds, the least of several tries each."""
    document = Document(body, "0" * 20, 1)
    soft_ms = int(time.time() * 1000) + 3_600_000
    entry, generation = encode_value(_GENERATION, document, soft_ms, 5, NO_SEQUENCE), _GENERATION.encode()

    def look() -> None:
        found: Any = decode(entry, generation)
        assert isinstance(found, Hit)
        found.wants_refresh()

    return _least_us(look), _least_us(lambda: ok_lines(document))


def _least_us(call: Any, tries: int = 5, times: int = 500) -> float:
    found = []
    for _ in range(tries):
        began = time.perf_counter()
        for _ in range(times):
            call()
        found.append((time.perf_counter() - began) / times * 1e6)
    return min(found)
