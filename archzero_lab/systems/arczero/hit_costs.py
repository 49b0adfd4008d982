"""What a hit costs in CPU, by layer: one client asks a cached service, and the processes' own clocks are read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
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
_ROUND = 50
"""Reads between two looks at whether all were hits."""
_ENOUGH_S = 0.25
"""CPU time of the service that is split by its clock ticks: one is 10 ms, and of few the kernel's part is chance."""
_PATIENCE_S = 20.0
"""For all rounds: a busy machine makes a read late, which is then no hit, and its round does not count."""


def hit_costs(arm: ServiceArm, redis_pid: int, operations: Sequence[Operation]) -> dict[str, float]:
    """Microseconds of CPU a hit, by layer; nothing where this machine does not tell them or too few were hits.

    Asked in rounds, of which those count whose reads were all hits, until the service has worked for `_ENOUGH_S` in
    them. The service's and Redis' processes are charged by the kernel's scheduler (/proc/PID/schedstat, nanoseconds),
    and the service's part split into the kernel's and its own by its clock ticks. What the cache and the answer take
    is measured in this process, by the same code on an entry of the same bytes; the loop is what remains.
    """
    assert arm.process is not None
    service, redis = psutil.Process(arm.process.pid), psutil.Process(redis_pid)
    for operation in operations:
        arm.ask(operation)
    if not any(arm.cache_counts()):
        return {}
    used, counted, give_up = _Used(), 0, time.monotonic() + _PATIENCE_S
    while used.kernel + used.user < _ENOUGH_S:
        if time.monotonic() > give_up:
            return {}
        hits, _ = arm.cache_counts()
        try:
            before = _Used.by(service, redis)
            for number in range(counted, counted + _ROUND):
                arm.ask(operations[number % len(operations)])
            after = _Used.by(service, redis)
        except OSError:  # no schedstat: not Linux, or a kernel without it
            return {}
        if arm.cache_counts()[0] - hits >= _ROUND:
            used, counted = used.plus(before, after), counted + _ROUND
    of_service, of_redis = used.service_s / counted * 1e6, used.redis_s / counted * 1e6
    sockets = of_service * used.kernel / (used.kernel + used.user)
    cache, answer = _ours(arm.body(operations[0]))
    return {
        "sockets": sockets,
        "loop": max(0.0, of_service - sockets - cache - answer),
        "cache": cache,
        "answer": answer,
        "redis": of_redis,
    }


@dataclass(frozen=True)
class _Used:
    """CPU seconds of the two processes; of the service also by its clock ticks, in the kernel and outside it."""

    service_s: float = 0.0
    redis_s: float = 0.0
    kernel: float = 0.0
    user: float = 0.0

    @classmethod
    def by(cls, service: psutil.Process, redis: psutil.Process) -> _Used:
        """Until now. Raises OSError where the kernel does not tell."""
        ticks = service.cpu_times()
        return cls(_cpu_s(service), _cpu_s(redis), ticks.system, ticks.user)

    def plus(self, before: _Used, after: _Used) -> _Used:
        """With what was used from one look to the other."""
        return _Used(
            self.service_s + after.service_s - before.service_s,
            self.redis_s + after.redis_s - before.redis_s,
            self.kernel + after.kernel - before.kernel,
            self.user + after.user - before.user,
        )


def _cpu_s(process: psutil.Process) -> float:
    """CPU time of all threads of a process, in seconds; one that ends while they are read is left out."""
    times = []
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            times.append(int((task / "schedstat").read_text().split()[0]))
    if not times:
        raise FileNotFoundError(f"/proc/{process.pid}/task/*/schedstat")
    return sum(times) / 1e9


def _ours(body: bytes) -> tuple[float, float]:
    """(cache, answer) in microseconds, the least of several tries each."""
    document = Document(body, "0" * 20, 1)
    soft_ms = int(time.time() * 1000) + 3_600_000
    entry, generation = encode_value(_GENERATION, document, soft_ms, 5, NO_SEQUENCE), _GENERATION.encode()

    def look() -> None:
        entry_read: Any = decode(entry, generation)
        assert isinstance(entry_read, Hit)
        entry_read.wants_refresh()

    return _least_us(look), _least_us(lambda: ok_lines(document))


def _least_us(call: Any, tries: int = 5, times: int = 500) -> float:
    times_us = []
    for _ in range(tries):
        began = time.perf_counter()
        for _ in range(times):
            call()
        times_us.append((time.perf_counter() - began) / times * 1e6)
    return min(times_us)
