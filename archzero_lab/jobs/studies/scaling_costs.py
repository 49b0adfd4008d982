"""What a read, a write and what follows of it cost each server of a primary and its replicas, in CPU time; and whether
a mixed load costs what these say.

CPU time, not time: it is the same however many cores there are, so two of them can tell what more would carry.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle

import psutil
import psycopg

from archzero_lab.postgres.cluster_watch import STATE
from archzero_lab.postgres.databases import database_url
from archzero_lab.servers.replicas import Replicated
from archzero_lab.systems.scaled import Asked, Query

_WARM_S = 0.5
_WRITES_PER_S = 100


@dataclass(frozen=True)
class Costs:
    """CPU seconds: of a read where it is answered; of a write on the primary, its replay on a replica, and its sending
    to one; of one look at where a server is; and of a server that does nothing, a second."""

    read: float
    write: float
    replay: float
    send: float
    poll: float
    idle: float


@dataclass(frozen=True)
class Checked:
    """What a server did under a mixed load, and the CPU seconds that this took and should have taken by the costs."""

    replicas: int
    server: str
    reads: int
    writes: int
    measured_s: float
    predicted_s: float


def measure_costs(servers: Replicated, asked: Asked, seconds: float) -> Costs:
    """One client does the same again and again, `seconds` long each. Needs a replica."""
    primary, replica = servers.primary, servers.replicas[0]
    url = database_url(primary.url, asked.database)
    pids = {"primary": primary.record.pid, "replica": replica.record.pid}

    def spent(act: Callable[[], int]) -> tuple[int, dict[str, float], float, float]:
        """How often, by server how much CPU, how much of the primary's for sending, and how long."""
        before, sent, began = _busy(pids), _sending_s(pids["primary"]), time.monotonic()
        times = act()
        servers.wait_until_replayed()
        took = time.monotonic() - began
        after = _busy(pids)
        return times, {n: after[n] - before[n] for n in pids}, _sending_s(pids["primary"]) - sent, took

    _, nothing, _, took = spent(lambda: _wait(seconds))
    idle = max(nothing.values()) / took
    _repeat(url, asked.reads, _WARM_S)
    reads, busy, _, took = spent(lambda: _repeat(url, asked.reads, seconds))
    read = max(busy["primary"] - idle * took, 0) / reads
    polls, busy, _, took = spent(lambda: _repeat(url, [(STATE, ())], seconds))
    poll = max(busy["primary"] - idle * took, 0) / polls
    writes, busy, sending, took = spent(lambda: _repeat(url, asked.writes, seconds))
    followers = len(servers.replicas)
    return Costs(
        read,
        max(busy["primary"] - sending - idle * took, 0) / writes,
        max(busy["replica"] - idle * took, 0) / writes,
        max(sending, 0) / writes / followers,
        poll,
        idle,
    )


def check_costs(servers: Replicated, asked: Asked, costs: Costs, replicas: int, seconds: float) -> list[Checked]:
    """A writer at a steady rate on the primary, a reader on each of so many replicas; without any, on the primary."""
    named = {"primary": servers.primary}
    named |= {f"replica {number}": one for number, one in enumerate(servers.replicas, 1)}
    pids = {name: one.record.pid for name, one in named.items()}
    urls = {name: database_url(one.url, asked.database) for name, one in named.items()}
    reading = list(named)[1 : replicas + 1] or ["primary"]
    reads: dict[str, int] = dict.fromkeys(named, 0)
    writes = 0

    def read(name: str) -> None:
        reads[name] = _repeat(urls[name], asked.reads, seconds)

    def write() -> None:
        nonlocal writes
        writes = _repeat(urls["primary"], asked.writes, seconds, per_s=_WRITES_PER_S)

    threads = [threading.Thread(target=read, args=(name,)) for name in reading] + [threading.Thread(target=write)]
    before, began = _busy(pids), time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    servers.wait_until_replayed()
    after, took = _busy(pids), time.monotonic() - began
    followers = len(servers.replicas)
    found = []
    for name in named:
        per_write = costs.write + followers * costs.send if name == "primary" else costs.replay
        predicted = reads[name] * costs.read + writes * per_write + took * costs.idle
        found.append(Checked(replicas, name, reads[name], writes, after[name] - before[name], predicted))
    return found


def _repeat(url: str, queries: Sequence[Query], seconds: float, per_s: float | None = None) -> int:
    """Do these one after the other for so long, one at least, or so many a second; how many were done."""
    done = 0
    with psycopg.connect(url, autocommit=True) as connection:
        began = time.monotonic()
        for query, values in cycle(queries):
            cursor = connection.execute(query.encode(), values, prepare=True)
            if cursor.description is not None:
                cursor.fetchall()
            done += 1
            if time.monotonic() - began > seconds:
                return done
            if per_s is not None:
                time.sleep(max(0.0, began + done / per_s - time.monotonic()))
    return done


def _wait(seconds: float) -> int:
    time.sleep(seconds)  # what is measured: nothing is done
    return 1


def _busy(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far of each server with its processes, those that have ended too."""
    found = {}
    for name, pid in pids.items():
        server = psutil.Process(pid)
        own = server.cpu_times()
        found[name] = own.user + own.system + own.children_user + own.children_system
        for child in server.children(recursive=True):
            with suppress(psutil.Error):
                times = child.cpu_times()
                found[name] += times.user + times.system
    return found


def _sending_s(pid: int) -> float:
    """CPU seconds so far of those processes of a server that send to its replicas."""
    spent = 0.0
    for child in psutil.Process(pid).children():
        with suppress(psutil.Error):
            if "walsender" in " ".join(child.cmdline()):
                times = child.cpu_times()
                spent += times.user + times.system
    return spent
